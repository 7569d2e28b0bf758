//! A leader hears from a quorum within an election timeout of its own clock, or leads no more (Raft
//! thesis §6.2).
//!
//! That its clients wait in vain is seen only where nothing else ends its office; this shows each
//! leader that stays on alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use zokor_core::id::ServerId;
use zokor_core::raft::{Membership, Term};
use zokor_core::time::Instant;

use super::membership::is_quorum;
use super::{Verdict, must};

/// When each server last heard from each other.
#[derive(Debug, Default)]
pub struct CheckQuorum {
    by_server: BTreeMap<ServerId, Heard>,
}

/// What one server has heard, by its own clock.
#[derive(Debug, Default)]
struct Heard {
    /// When it last took anything in: it knows of no later time.
    now: Instant,
    /// The term in which it leads, or led last.
    term: Term,
    by_peer: BTreeMap<ServerId, Instant>,
}

impl CheckQuorum {
    /// `server` takes something in at `now`, from a peer or not.
    pub fn takes_in(&mut self, server: ServerId, now: Instant, from: Option<ServerId>) {
        let heard = self.by_server.entry(server).or_default();
        heard.now = now;
        if let Some(from) = from {
            heard.by_peer.insert(from, now);
        }
    }

    /// `server` leads in `term`, by one of `memberships` since it was looked at last. In a new
    /// term each member has a whole `timeout` to speak, and so has one that is new later.
    ///
    /// # Errors
    /// If those that it has heard from within `timeout` are no quorum, itself counted.
    pub fn leads(
        &mut self,
        server: ServerId,
        term: Term,
        timeout: Duration,
        memberships: &[&Membership],
    ) -> Verdict {
        let heard = self.by_server.entry(server).or_default();
        if heard.term != term {
            heard.term = term;
            heard.by_peer.clear();
        }
        let members: BTreeSet<ServerId> =
            memberships.iter().flat_map(|membership| membership.servers()).collect();
        // A server that left and came back is new.
        heard.by_peer.retain(|member, _| members.contains(member));
        for member in members {
            heard.by_peer.entry(member).or_insert(heard.now);
        }
        let attends = |voter| {
            voter == server || heard.by_peer.get(&voter).is_some_and(|&at| heard.now < at + timeout)
        };
        let has_quorum = memberships.iter().any(|membership| is_quorum(membership, attends));
        must("a leader hears from a quorum", has_quorum, || {
            let silent = heard.by_peer.iter().map(|(voter, at)| (voter.0, heard.now.since(*at)));
            format!(
                "server {server} still leads in term {term} although the others were silent for \
                 {:?}, the election timeout is {timeout:?}",
                silent.filter(|(voter, _)| *voter != server.0).collect::<Vec<_>>()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEADER: ServerId = ServerId(1);
    const TIMEOUT: Duration = Duration::from_micros(100);

    fn leads(check_quorum: &mut CheckQuorum, term: u64, voters: u64) -> Verdict {
        let membership = Membership::of_voters((1..=voters).map(ServerId));
        check_quorum.leads(LEADER, Term(term), TIMEOUT, &[&membership])
    }

    fn tick(check_quorum: &mut CheckQuorum, now: u64, from: Option<u64>) {
        check_quorum.takes_in(LEADER, Instant::from_micros(now), from.map(ServerId));
    }

    #[test]
    fn a_leader_that_hears_from_no_quorum_is_found() {
        let mut check_quorum = CheckQuorum::default();
        tick(&mut check_quorum, 1_000, None);
        assert!(leads(&mut check_quorum, 1, 3).is_ok());
        tick(&mut check_quorum, 1_099, None);
        assert!(leads(&mut check_quorum, 1, 3).is_ok(), "all have a whole timeout to speak");
        tick(&mut check_quorum, 1_100, None);
        assert!(leads(&mut check_quorum, 1, 3).is_err());
        tick(&mut check_quorum, 1_101, Some(2));
        assert!(leads(&mut check_quorum, 1, 3).is_ok(), "one of two others is enough");
        assert!(leads(&mut check_quorum, 1, 5).is_ok(), "new members have a timeout too");
        tick(&mut check_quorum, 1_200, Some(5));
        assert!(leads(&mut check_quorum, 1, 5).is_ok());
        tick(&mut check_quorum, 1_201, None);
        assert!(leads(&mut check_quorum, 1, 5).is_err(), "only server 5 was heard");
        assert!(leads(&mut check_quorum, 1, 1).is_ok());
        assert!(leads(&mut check_quorum, 1, 5).is_ok(), "those that come back are new");
    }

    #[test]
    fn a_new_term_begins_anew_and_a_lone_voter_needs_nobody() {
        let mut check_quorum = CheckQuorum::default();
        tick(&mut check_quorum, 1_000, None);
        assert!(leads(&mut check_quorum, 1, 3).is_ok());
        tick(&mut check_quorum, 2_000, None);
        assert!(leads(&mut check_quorum, 2, 3).is_ok());
        tick(&mut check_quorum, 3_000, None);
        assert!(leads(&mut check_quorum, 2, 1).is_ok());
    }
}
