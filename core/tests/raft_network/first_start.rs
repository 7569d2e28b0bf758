//! Ensembles that begin, and disks that are wiped: nobody votes as if it were new who is not, and
//! nobody waits for ever.

use crate::Named;
use crate::disk::Word;
use crate::network::{Event, Luck, Network, decides};
use rand_core::RngCore;
use zokor_core::id::ServerId;
use zokor_core::raft::*;

impl Network {
    /// Servers that have to find out by themselves whether they are new; none runs yet.
    fn unborn(seed: u64, n_servers: u64) -> Self {
        let mut network = Network::of(seed, n_servers);
        network.may_be_wiped = true;
        (network.luck.damage, network.luck.changes) = (false, false);
        network
    }

    /// As [`unborn`](Self::unborn), all voters, on a network without faults.
    fn calm(seed: u64, n_servers: u64) -> Self {
        let mut network = Network::unborn(seed, n_servers);
        network.initial = Membership::of_voters((1..=n_servers).map(ServerId));
        network.luck = Luck::default();
        network
    }

    fn has_something(&self, id: ServerId) -> bool {
        let server = &self.servers[&id];
        let in_memory = server.raft.as_ref().is_some_and(|raft| raft.last().index > Index::ZERO);
        in_memory || server.disk.last() > Index::ZERO
    }

    /// Has not begun, as far as its disk says, or has lost its disk and not got back what it had.
    fn is_out(&self, id: ServerId) -> bool {
        let server = &self.servers[&id];
        server.disk.hard_state == HardState::default() || server.ghost.is_some()
    }

    /// Whether the others can make good the loss of this disk: if less than a quorum is out, or if
    /// there is nothing to lose yet.
    fn may_be_wiped(&self, id: ServerId) -> bool {
        let Membership { voters, groups, learners, .. } = &self.initial;
        let others = || voters.iter().copied().filter(|other| *other != id);
        let is_left = |other: ServerId| other != id && !self.is_out(other);
        if learners.contains(&id) || decides(voters, groups, is_left) {
            return true;
        }
        // The checks know each term once.
        let highest = self.leaders.keys().next_back().copied().unwrap_or_default();
        let known = others().map(|other| self.servers[&other].disk.hard_state.term).max();
        // One that has its vote already may become the leader that it has helped to elect.
        let stands = |other: ServerId| {
            let raft = self.servers[&other].raft.as_ref();
            raft.is_some_and(|raft| raft.role() != Role::Follower)
        };
        let counts = |other: ServerId| self.has_something(other) || stands(other);
        !self.ids().into_iter().any(|other| other != id && counts(other))
            && known.is_some_and(|known| known >= highest)
    }

    /// Everything on its disk is gone. Connections do not outlive a process.
    fn wipe(&mut self, id: ServerId) {
        if self.servers[&id].raft.is_some() {
            self.crash(id);
        }
        let server = self.servers.get_mut(&id).expect("known");
        let before = std::mem::take(&mut server.disk);
        if server.ghost.is_none() && before.hard_state != HardState::default() {
            server.ghost = Some(before);
        }
        self.events.retain(|_, event| match event {
            Event::Message { to, from, .. } | Event::Snapshot { to, from, .. } => {
                *to != id && *from != id
            }
            _ => true,
        });
        self.n_damaged += 1;
    }

    fn leader(&self) -> Option<ServerId> {
        self.ids().into_iter().find(|id| self.leads(*id))
    }

    /// Has the leader commit one more word.
    fn write(&mut self) -> EntryId {
        let leader = self.leader().expect("there is one");
        let (now, word) = (self.clock(leader), Word(self.next_word + 1));
        self.next_word += 1;
        let id = self.raft(leader).expect("alive").propose(now, word).expect("it leads");
        self.drain(leader);
        self.run(1_000, false);
        assert_eq!(self.committed.get(&id.index), Some(&id));
        id
    }

    fn first_start(&self, id: ServerId) -> Option<FirstStart> {
        self.servers[&id].raft.as_ref()?.repair()?.first_start
    }
}

/// Starts, stops, wipes, cuts and pauses servers at random, from before the first start on.
fn live(network: &mut Network) {
    let wiped_percent = [2, 10, 50][network.seed as usize / 4 % 3];
    for _ in 0..500 {
        network.run(10, false);
        let id = network.any();
        let is_up = network.servers[&id].raft.is_some();
        match network.rng.next_u64() % 24 {
            0 if is_up => network.crash(id),
            1..=5 if !is_up => network.start(id),
            6 | 7 if network.chance(wiped_percent) && network.may_be_wiped(id) => {
                network.wipe(id);
            }
            8..=12 => network.stir(),
            _ => {}
        }
    }
}

#[test]
fn nobody_who_was_wiped_votes_as_new_and_every_ensemble_begins() {
    let only = std::env::var("RAFT_SEED").ok().and_then(|seed| seed.parse().ok());
    let n_seeds = std::env::var("RAFT_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(250);
    let seeds = only.map_or(0..n_seeds, |seed: u64| seed..seed + 1);
    let (mut n_wiped, mut n_committed, mut n_terms) = (0, 0, 0);
    for seed in seeds {
        let named = Named(seed);
        let mut network = Network::unborn(seed, 2 + seed % 4);
        live(&mut network);
        network.heal();
        for id in network.ids() {
            assert_eq!(network.first_start(id), None, "server {id} has begun");
        }
        n_wiped += network.n_damaged;
        n_committed += network.committed.len();
        n_terms += network.leaders.len();
        drop(named);
    }
    println!("{n_wiped} wiped, {n_committed} commits, {n_terms} terms");
    if only.is_none() && n_seeds >= 250 {
        assert!(n_wiped > 500 && n_committed > 2_000 && n_terms > 500, "the runs are eventful");
    }
}

/// Three servers that start at the same time, until one of them has committed: after each step one
/// of them is stopped, or wiped, and comes back at once or late.
#[test]
fn a_first_start_goes_well_whichever_step_is_its_last() {
    let mut n_cases = 0;
    for (is_wiped, is_late) in [(false, false), (false, true), (true, false), (true, true)] {
        for victim in (1..=3).map(ServerId) {
            for n_steps in (0..).step_by(if is_late { 3 } else { 1 }) {
                let mut network = Network::calm(7, 3);
                network.ids().into_iter().for_each(|id| network.start(id));
                for _ in 0..n_steps {
                    network.step(u64::MAX);
                }
                if network.servers.values().all(|server| server.delivered > Index::ZERO) {
                    break;
                }
                assert!(n_steps < 600, "it begins");
                let may_be_wiped = network.may_be_wiped(victim);
                match is_wiped {
                    true if !may_be_wiped => continue,
                    true => network.wipe(victim),
                    false => network.crash(victim),
                }
                if is_late {
                    network.run(3_000, false);
                }
                network.start(victim);
                network.heal();
                n_cases += 1;
            }
        }
    }
    println!("{n_cases} cases");
    assert!(n_cases > 100, "many steps were the last");
}

#[test]
fn the_first_start_waits_for_the_last_voter_and_names_it() {
    let mut network = Network::calm(1, 3);
    network.start(ServerId(1));
    network.start(ServerId(2));
    network.run(5_000, false);
    assert_eq!(network.leader(), None);
    for id in [1, 2].map(ServerId) {
        let waits_for = vec![ServerId(3)];
        assert_eq!(network.first_start(id), Some(FirstStart { waits_for, holders: vec![] }));
    }
    network.start(ServerId(3));
    network.run(2_000, false);
    network.write();
}

/// The one fault of the old rule: a quorum of one that forgot and one that never knew.
#[test]
fn a_wiped_server_and_one_that_was_away_elect_nobody_until_the_third_is_back() {
    let mut network = Network::calm(1, 3);
    network.ids().into_iter().for_each(|id| network.start(id));
    network.run(3_000, false);
    let [known, wiped, away] = [1, 2, 3].map(ServerId);
    network.crash(away);
    network.run(2_000, false);
    network.write();
    network.crash(known);
    network.wipe(wiped);
    network.start(wiped);
    network.start(away);
    network.run(20_000, false);
    assert_eq!(network.leader(), None, "what was acknowledged is at the third alone");
    let first_start = network.first_start(wiped).expect("it does not know");
    assert_eq!((first_start.waits_for, first_start.holders), (vec![known], vec![away]));
    network.start(known);
    network.heal();
}

#[test]
fn a_server_that_is_wiped_votes_only_with_what_the_others_had() {
    let mut network = Network::calm(3, 3);
    network.ids().into_iter().for_each(|id| network.start(id));
    network.run(3_000, false);
    // One disk after the other, while all others serve.
    for id in network.ids() {
        let last = network.write();
        network.wipe(id);
        network.start(id);
        network.run(4_000, false);
        assert_eq!(network.first_start(id), None);
        assert!(network.servers[&id].disk.has(last), "it has what was agreed on");
        network.write();
    }
}

#[test]
fn an_ensemble_that_has_lost_all_disks_is_a_new_one() {
    let mut network = Network::calm(1, 3);
    network.ids().into_iter().for_each(|id| network.start(id));
    network.run(3_000, false);
    network.write();
    network.ids().into_iter().for_each(|id| network.wipe(id));
    // What the checks know is of the former one.
    let former = network;
    let mut network = Network::calm(2, 3);
    network.servers = former.servers;
    for server in network.servers.values_mut() {
        server.ghost = None;
    }
    network.ids().into_iter().for_each(|id| network.start(id));
    network.run(3_000, false);
    network.write();
}

#[test]
fn an_observer_that_holds_something_keeps_wiped_voters_from_beginning_anew() {
    let mut network = Network::calm(1, 4);
    network.initial.voters.remove(&ServerId(4));
    network.initial.learners.insert(ServerId(4));
    network.ids().into_iter().for_each(|id| network.start(id));
    network.run(3_000, false);
    network.write();
    (1..=3).map(ServerId).for_each(|id| network.wipe(id));
    (1..=3).map(ServerId).for_each(|id| network.start(id));
    network.run(5_000, false);
    assert_eq!(network.leader(), None);
    let first_start = network.first_start(ServerId(1)).expect("it does not know");
    assert_eq!(first_start.holders, [ServerId(4)]);
}

/// No election is needed for it, and no answer of the voter that is away.
#[test]
fn an_observer_that_is_wiped_gets_everything_back_from_the_leader_of_the_day() {
    let mut network = Network::calm(1, 4);
    network.initial.voters.remove(&ServerId(4));
    network.initial.learners.insert(ServerId(4));
    network.ids().into_iter().for_each(|id| network.start(id));
    network.run(3_000, false);
    let last = network.write();
    let leader = network.leader().expect("there is one");
    let away = ServerId(1 + leader.0 % 3);
    network.crash(away);
    let n_terms = network.leaders.len();
    network.wipe(ServerId(4));
    network.start(ServerId(4));
    network.run(4_000, false);
    assert_eq!(network.first_start(ServerId(4)), None);
    assert!(network.servers[&ServerId(4)].disk.has(last));
    assert_eq!(network.leaders.len(), n_terms, "nobody stood for election");
    let last = network.write();
    assert!(network.servers[&ServerId(4)].disk.has(last), "it follows");
}

/// The operator knows it, and says so on each server that starts.
#[test]
fn servers_that_are_told_to_begin_wait_for_nobody_and_the_last_one_gets_what_they_have() {
    let mut network = Network::calm(1, 3);
    network.may_be_wiped = false;
    network.start(ServerId(1));
    network.start(ServerId(2));
    network.run(3_000, false);
    network.write();
    network.may_be_wiped = true;
    network.start(ServerId(3));
    network.run(3_000, false);
    assert_eq!(network.first_start(ServerId(3)), None);
    network.write();
    assert_eq!(
        network.servers[&ServerId(3)].disk.last(),
        network.servers[&ServerId(1)].disk.last()
    );
}

/// It knows of more voters than there are, since its own file alone names it as one.
#[test]
fn a_server_that_is_added_needs_a_quorum_of_those_that_have_votes() {
    let mut network = Network::calm(1, 4);
    network.initial = Membership::of_voters((1..=3).map(ServerId));
    (1..=3).map(ServerId).for_each(|id| network.start(id));
    network.run(3_000, false);
    // The membership is in the log once it was changed.
    let leader = network.leader().expect("there is one");
    let voters = network.initial.voters.clone();
    for learners in [[ServerId(4)].into(), [].into()] {
        let now = network.clock(leader);
        let raft = network.raft(leader).expect("alive");
        let next = Membership { learners, ..Membership::of_voters(voters.clone()) };
        raft.change(now, next).expect("it leads");
        network.drain(leader);
        network.run(1_000, false);
    }
    let last = network.write();
    network.crash(ServerId(1 + leader.0 % 3));
    network.initial = Membership::of_voters((1..=4).map(ServerId));
    network.start(ServerId(4));
    network.run(4_000, false);
    assert_eq!(network.first_start(ServerId(4)), None, "the voter that is away is not missed");
    let snapshot = network.servers[&ServerId(4)].disk.snapshot.last;
    assert!(snapshot.index >= last.index, "{snapshot:?}");
}
