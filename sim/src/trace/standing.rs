//! What each server was, and for how long: down, or in one of Raft's roles.
//!
//! Invariant: the tenures of a server follow one another without a gap, from the beginning of the
//! trace to its end.

use super::{Event, Kind, Lane, Trace};
use crate::world::queue::Micros;

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

/// A time during which a server was one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenure {
    /// Which server.
    pub server: u64,
    /// What it was.
    pub standing: Standing,
    /// Since when.
    pub from: Micros,
    /// Until when.
    pub until: Micros,
}

impl Trace {
    /// What the server was at each time.
    pub fn tenures(&self, server: u64) -> Vec<Tenure> {
        let mut tenures = Vec::new();
        let (mut standing, mut from) = (Standing::default(), 0);
        for event in self.events.iter().filter(|event| event.lane == Lane::Server(server)) {
            let Some(next) = Standing::after(event) else { continue };
            if next != standing {
                if from < event.time {
                    tenures.push(Tenure { server, standing, from, until: event.time });
                }
                (standing, from) = (next, event.time);
            }
        }
        let until = self.events.last().map_or(0, |event| event.time);
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
            (Standing::Down, 0, 5),
            (Standing::Follower, 5, 7),
            (Standing::Candidate, 7, 8),
            (Standing::Leader, 8, 9),
            (Standing::Down, 9, 10),
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
