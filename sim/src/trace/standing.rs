//! What each server was, and from which event to which: down, or in one of Raft's roles.
//!
//! Invariant: the tenures of a server follow one another without a gap, from the beginning of the
//! trace to its end.

use super::{Event, EventId, Kind, Lane, Trace};

/// What a server is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// Its process does not run.
    #[default]
    Down,
    /// It follows, or looks for, a leader.
    Follower,
    /// It asks for votes.
    Candidate,
    /// It leads.
    Leader,
}

impl Standing {
    /// What a server is after `event` in its lane, if that tells.
    ///
    /// The text of a change of role names the new role.
    pub fn after(event: &Event) -> Option<Standing> {
        match event.kind {
            Kind::Start => Some(Standing::Follower),
            Kind::Crash => Some(Standing::Down),
            Kind::Role => {
                let text = event.text.to_lowercase();
                Some(if text.contains("candidate") {
                    Standing::Candidate
                } else if text.contains("lead") && !text.contains("follow") {
                    Standing::Leader
                } else {
                    Standing::Follower
                })
            }
            Kind::Fault
            | Kind::Heal
            | Kind::Commit
            | Kind::Apply
            | Kind::Persist
            | Kind::Persisted
            | Kind::Send
            | Kind::Receive
            | Kind::Lose
            | Kind::Note
            | Kind::Violation => None,
        }
    }
}

/// A stretch of a trace in which a server was one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenure {
    /// Which server.
    pub server: u64,
    /// What it was.
    pub standing: Standing,
    /// Since which event; 0 is the beginning of the trace.
    pub from: EventId,
    /// Until which event; the one after the last is the end of the trace.
    pub until: EventId,
}

impl Trace {
    /// What the server was, one thing after the other.
    pub fn tenures(&self, server: u64) -> Vec<Tenure> {
        let mut tenures = Vec::new();
        let (mut standing, mut from) = (Standing::default(), 0);
        for event in self.events.iter().filter(|event| event.lane == Lane::Server(server)) {
            let Some(next) = Standing::after(event) else { continue };
            if next != standing {
                tenures.push(Tenure { server, standing, from, until: event.id });
                (standing, from) = (next, event.id);
            }
        }
        let until = self.events.len() as EventId + 1;
        tenures.push(Tenure { server, standing, from, until });
        tenures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenures_follow_one_another() {
        let mut trace = Trace::full();
        let mut note = |time, kind, text: &str| {
            trace.note(time, Lane::Server(1), kind, || text.to_owned());
        };
        note(5, Kind::Start, "starts");
        note(6, Kind::Note, "leads nobody");
        note(7, Kind::Role, "candidate in term 1");
        note(8, Kind::Role, "LEADS in term 1");
        note(9, Kind::Crash, "CRASHES");
        trace.note(10, Lane::Server(2), Kind::Start, String::new);
        let tenures: Vec<_> =
            trace.tenures(1).iter().map(|t| (t.standing, t.from, t.until)).collect();
        let expected = [
            (Standing::Down, 0, 1),
            (Standing::Follower, 1, 3),
            (Standing::Candidate, 3, 4),
            (Standing::Leader, 4, 5),
            (Standing::Down, 5, 7),
        ];
        assert_eq!(tenures, expected);
    }

    #[test]
    fn a_leader_that_follows_leads_no_longer() {
        let mut trace = Trace::full();
        for (time, text) in [(1, "leader in term 1"), (2, "follower in term 2")] {
            trace.note(time, Lane::Server(1), Kind::Role, || text.to_owned());
        }
        assert_eq!(trace.tenures(1).last().unwrap().standing, Standing::Follower);
    }
}
