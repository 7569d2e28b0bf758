//! Raft servers on a bad network with bad luck: loss, copies, delays, cuts, pauses and crashes that
//! take back what was not durable. After every step the promises of Raft (figure 3) are checked
//! against the disks, not against what the servers say of themselves.

mod damage;
mod disk;
mod luck;
mod network;

use std::sync::Arc;
use std::time::Duration;

use crate::disk::Word;
use crate::network::Network;
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use zokor_core::id::{Seed, ServerId};
use zokor_core::raft::*;
use zokor_core::time::Instant;

/// Names the seed if the run panics.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "seed {}: replay with RAFT_SEED={} cargo test -p zokor-core --test raft_network",
                self.0, self.0
            );
        }
    }
}

#[test]
fn promises_hold_on_a_bad_network_and_all_heals() {
    let only = std::env::var("RAFT_SEED").ok().and_then(|seed| seed.parse().ok());
    let n_seeds = std::env::var("RAFT_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(350);
    let seeds = only.map_or(0..n_seeds, |seed: u64| seed..seed + 1);
    let (mut n_committed, mut n_readable, mut n_snapshots, mut n_terms) = (0, 0, 0, 0);
    let (mut n_changes, mut n_damaged, mut n_repaired) = (0, 0, 0);
    for seed in seeds {
        let named = Named(seed);
        let mut network = Network::new(seed);
        assert_eq!(network.seed, seed);
        network.run(5_000, true);
        network.heal();
        n_committed += network.committed.len();
        n_readable += network.n_readable;
        n_snapshots += network.n_snapshots;
        n_changes += network.n_changes;
        n_damaged += network.n_damaged;
        n_repaired += network.n_repaired;
        n_terms += network.leaders.len();
        drop(named);
    }
    println!("{n_committed} commits, {n_readable} reads, {n_snapshots} snapshots");
    println!("{n_terms} terms, {n_changes} changes, {n_damaged} damages, {n_repaired} repairs");
    if only.is_none() && n_seeds >= 350 {
        assert!(n_committed > 10_000 && n_readable > 10_000, "the runs do something");
        assert!(n_repaired > 50, "disks are damaged and repaired");
        assert!(n_snapshots > 50 && n_terms > 500 && n_changes > 100, "the runs are eventful");
    }
}

#[test]
fn nonsense_is_survived() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for round in 0..300u64 {
        // As a voter, and as a learner.
        let mut membership = Membership::of_voters((1..=3).map(ServerId));
        if round % 3 == 1 {
            membership = Membership::of_voters((2..=3).map(ServerId));
            membership.learners = [ServerId(1)].into();
        } else if round % 3 == 2 {
            membership.learners = [ServerId(4)].into();
        }
        let mut config = Config::new(ServerId(1), membership);
        config.relays = !round.is_multiple_of(3);
        let mut recovered = Recovered::default();
        if round.is_multiple_of(2) {
            // A log of 1, 2, -, 4, or one whose end and votes are gone.
            let blank = |index| {
                let id = EntryId { term: Term(1), index: Index(index) };
                Arc::new(Entry { id, payload: Payload::Blank })
            };
            recovered.hard_state.term = Term(1);
            recovered.entries = vec![blank(1), blank(2)];
            recovered.damage = Some(Damage {
                behind: vec![blank(4)],
                named: Vec::new(),
                seams: [Index(4)].into(),
                last: EntryId { term: Term(1), index: Index(4) },
                is_end_lost: round.is_multiple_of(4),
                is_vote_lost: round.is_multiple_of(4),
            });
        }
        let mut raft: Raft<Word> =
            Raft::new(Instant::ZERO, config, Seed([round as u8; 32]), recovered);
        let mut now = Instant::ZERO;
        for _ in 0..80 {
            now += Duration::from_millis(rng.next_u64() % 400);
            raft.wake(now);
            let from = ServerId(rng.next_u64() % 5);
            let message = nonsense(&mut rng);
            raft.step(now, from, message);
            while let Some(effect) = raft.poll(now) {
                if let Effect::Persist(persist) = effect {
                    raft.persisted(now, persist.ticket);
                }
            }
        }
        assert!(raft.commit() <= raft.last().index);
    }
}

fn nonsense(rng: &mut ChaCha8Rng) -> Message<Word> {
    let number = |rng: &mut ChaCha8Rng| match rng.next_u64() % 8 {
        0 => u64::MAX,
        1 => u64::MAX - 1,
        2 => 1 << 61,
        _ => rng.next_u64() % 6,
    };
    let id = |rng: &mut ChaCha8Rng| EntryId { term: Term(number(rng)), index: Index(number(rng)) };
    let index = |rng: &mut ChaCha8Rng| Index(number(rng));
    let body = match rng.next_u64() % 20 {
        0 => Body::PreVote { last: id(rng) },
        1 => Body::PreVoteReply { granted: rng.next_u64().is_multiple_of(2) },
        2 => Body::Vote { last: id(rng), transfer: rng.next_u64().is_multiple_of(2) },
        3 => Body::VoteReply { granted: rng.next_u64().is_multiple_of(2) },
        4 | 5 => {
            let mut entries = Vec::new();
            let mut at = id(rng);
            let previous = at;
            for _ in 0..rng.next_u64() % 4 {
                at.index.0 = at.index.0.wrapping_add(1 + rng.next_u64() % 10 / 9);
                let payload = match rng.next_u64() % 3 {
                    0 => Payload::Blank,
                    1 => Payload::Command(Word(number(rng))),
                    _ => Payload::Membership(Membership::default()),
                };
                entries.push(Arc::new(Entry { id: at, payload }));
            }
            Body::Append { previous, commit: index(rng), entries }
        }
        6 => Body::AppendReply { received: index(rng), persisted: index(rng) },
        7 => Body::AppendReject { previous: index(rng), hint: id(rng) },
        8 => Body::Heartbeat { commit: index(rng), round: number(rng) },
        9 => {
            Body::HeartbeatReply { round: number(rng), received: index(rng), persisted: index(rng) }
        }
        10 => Body::ReadIndex { token: ReadToken { life: number(rng), number: number(rng) } },
        11 => Body::TimeoutNow,
        12 => {
            Body::Seek { after: id(rng), names: (0..rng.next_u64() % 3).map(|_| id(rng)).collect() }
        }
        13 => {
            let matched = rng.next_u64().is_multiple_of(2).then(|| id(rng));
            let (after, name) = (id(rng), id(rng));
            let entries = (0..rng.next_u64() % 3)
                .map(|_| Arc::new(Entry { id: id(rng), payload: Payload::Blank }))
                .collect();
            Body::Found { after, name, matched, entries }
        }
        14 => Body::NotFound {
            has_snapshot: rng.next_u64().is_multiple_of(2),
            leads: rng.next_u64().is_multiple_of(2),
        },
        15 => Body::SeekState { after: id(rng), wants_leader: rng.next_u64().is_multiple_of(2) },
        16 => Body::FeedMe { round: number(rng), received: index(rng), persisted: index(rng) },
        17 => Body::Feeding {
            round: (!rng.next_u64().is_multiple_of(3)).then(|| number(rng)),
            is_snapshot: rng.next_u64().is_multiple_of(2),
        },
        18 => Body::FedByOther { is_fed: rng.next_u64().is_multiple_of(2) },
        _ => Body::SnapshotReply { index: index(rng) },
    };
    let term =
        Term(if rng.next_u64().is_multiple_of(20) { number(rng) } else { rng.next_u64() % 12 });
    Message { term, body }
}
