//! The causal past of an event.
//!
//! Invariant: an event's past is closed: with each event it holds its cause and what came before
//! it in its lane (Lamport, "Time, clocks, and the ordering of events", 1978).

use std::collections::{BTreeMap, BTreeSet};

use super::{EventId, Lane, Trace};

impl Trace {
    /// The event `id` and all that can have made it happen; empty if there is no such event.
    pub fn past(&self, id: EventId) -> BTreeSet<EventId> {
        let before = self.before();
        let mut past = BTreeSet::new();
        let mut open = BTreeSet::from([id]);
        while let Some(id) = open.pop_last() {
            let Some(event) = self.event(id) else { continue };
            // Causes lie in the past, so that no event is opened twice.
            assert!(event.cause < id, "event {id} is caused by a later one");
            past.insert(id);
            open.insert(event.cause);
            open.insert(before[id as usize - 1]);
        }
        past
    }

    /// For each event, what came before it in its lane; 0 if nothing.
    fn before(&self) -> Vec<EventId> {
        let mut newest: BTreeMap<Lane, EventId> = BTreeMap::new();
        let last = |event: &super::Event| newest.insert(event.lane, event.id).unwrap_or(0);
        self.events.iter().map(last).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    /// Server 1 tells server 2, which tells server 3; server 1 and a client go on meanwhile.
    fn story() -> Trace {
        let mut trace = Trace::full();
        let mut note = |server, kind, cause| {
            let lane = Lane::Server(server);
            trace.caused(0, lane, kind, cause, String::new)
        };
        assert_eq!(note(1, Kind::Start, 0), 1);
        assert_eq!(note(2, Kind::Start, 0), 2);
        assert_eq!(note(3, Kind::Start, 0), 3);
        assert_eq!(note(1, Kind::Send, 0), 4);
        assert_eq!(note(1, Kind::Commit, 0), 5);
        assert_eq!(note(2, Kind::Receive, 4), 6);
        assert_eq!(note(2, Kind::Send, 0), 7);
        assert_eq!(note(2, Kind::Commit, 0), 8);
        assert_eq!(note(3, Kind::Receive, 7), 9);
        trace
    }

    #[test]
    fn a_past_holds_causes_and_predecessors_and_nothing_else() {
        let trace = story();
        assert_eq!(trace.past(9), BTreeSet::from([1, 2, 3, 4, 6, 7, 9]));
        assert_eq!(trace.past(5), BTreeSet::from([1, 4, 5]));
        assert_eq!(trace.past(2), BTreeSet::from([2]));
    }

    #[test]
    fn what_never_was_has_no_past() {
        let trace = story();
        assert!(trace.past(0).is_empty());
        assert!(trace.past(10).is_empty());
    }
}
