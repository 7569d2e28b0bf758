//! What happened in a run: events with their causes, and the times during which something was out
//! of order.
//!
//! Invariant: tracing changes nothing in the run; a run that is not traced formats nothing.

mod chart;

use serde::Serialize;

use crate::world::network::Link;
use crate::world::queue::Micros;

/// Names an event of a trace; 0 is none, as in a run that is not traced.
pub type EventId = u64;

/// Where something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Lane {
    /// In the world around: faults, the end of the faults.
    World,
    /// In a server.
    Server(u64),
    /// In a client.
    Client(u64),
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Kind {
    /// A process starts.
    Start,
    /// A process ends.
    Crash,
    /// A fault strikes.
    Fault,
    /// Faults end.
    Heal,
    /// A server has another role.
    Role,
    /// A server learns that entries are agreed.
    Commit,
    /// A server applies entries.
    Apply,
    /// A server asks its disk for something.
    Persist,
    /// Its disk has done it.
    Persisted,
    /// A message leaves, to a server or to a client.
    Send,
    /// It arrives.
    Receive,
    /// It is lost.
    Lose,
    /// Anything else.
    Note,
    /// What must not happen.
    Violation,
}

/// One thing that happened.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// Its name: 1, 2, and so on in the order of time.
    pub id: EventId,
    /// When.
    pub time: Micros,
    /// Where.
    pub lane: Lane,
    /// What.
    pub kind: Kind,
    /// What made it happen, besides what came before it in its own lane; 0 if nothing.
    pub cause: EventId,
    /// In words.
    pub text: String,
}

/// What can be out of order for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Trouble {
    /// A server's process stands still.
    Pause(u64),
    /// A server's disk stands still.
    Stall(u64),
    /// Nothing passes from one server to another.
    Cut(Link),
    /// Nothing passes between a client and a server.
    ClientCut(u64, u64),
}

/// A time during which something was out of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Span {
    /// What.
    pub trouble: Trouble,
    /// Since when.
    pub from: Micros,
    /// Until when.
    pub until: Micros,
}

/// All that happened in a run.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    on: bool,
    events: Vec<Event>,
    spans: Vec<Span>,
}

impl Trace {
    /// A trace that keeps everything.
    pub fn full() -> Self {
        Trace { on: true, ..Trace::default() }
    }

    /// A trace that keeps nothing.
    pub fn off() -> Self {
        Trace::default()
    }

    /// Whether anything is kept.
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// Notes something that nothing outside its lane has caused.
    pub fn note(
        &mut self,
        time: Micros,
        lane: Lane,
        kind: Kind,
        text: impl FnOnce() -> String,
    ) -> EventId {
        self.caused(time, lane, kind, 0, text)
    }

    /// Notes something that `cause` made happen.
    pub fn caused(
        &mut self,
        time: Micros,
        lane: Lane,
        kind: Kind,
        cause: EventId,
        text: impl FnOnce() -> String,
    ) -> EventId {
        if !self.on {
            return 0;
        }
        let id = self.events.len() as EventId + 1;
        self.events.push(Event { id, time, lane, kind, cause, text: text() });
        id
    }

    /// Notes that something is out of order for a time.
    pub fn trouble(&mut self, trouble: Trouble, from: Micros, until: Micros) {
        if self.on && from < until {
            self.spans.push(Span { trouble, from, until });
        }
    }

    /// All events, in the order of time.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// All times of trouble, by their beginning.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The event `id`.
    pub fn event(&self, id: EventId) -> Option<&Event> {
        self.events.get(usize::try_from(id.checked_sub(1)?).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_named_in_order_and_know_their_causes() {
        let mut trace = Trace::full();
        let sent = trace.note(1, Lane::Server(1), Kind::Send, || "a".to_owned());
        let heard = trace.caused(2, Lane::Server(2), Kind::Receive, sent, || "b".to_owned());
        assert_eq!((sent, heard), (1, 2));
        assert_eq!(trace.event(heard).unwrap().cause, sent);
        assert!(trace.event(0).is_none() && trace.event(3).is_none());
    }

    #[test]
    fn a_trace_that_is_off_formats_nothing() {
        let mut trace = Trace::off();
        let id = trace.note(1, Lane::World, Kind::Note, || unreachable!("nobody reads it"));
        assert_eq!(id, 0);
        assert!(trace.events().is_empty());
    }
}
