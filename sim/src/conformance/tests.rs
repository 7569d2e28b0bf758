//! Hand-made runs: one that is right, and copies of it with one thing wrong.

use std::sync::Arc;

use zokor_core::db::Database;
use zokor_core::proto::Zxid;
use zokor_core::raft::{Entry, EntryId, HardState, Index, Message as Word, Payload, Persist, Role};
use zokor_core::raft::{SharedEntry, SnapshotMeta};
use zokor_core::replica::{Snapshot, Stats};
use zokor_core::{Output, raft};

use super::*;

const ONE: ServerId = ServerId(1);
const TWO: ServerId = ServerId(2);

fn start() -> Conformance {
    let voters = raft::Membership::of_voters([1, 2, 3].map(ServerId));
    let mut conformance = Conformance::new(3, &voters);
    for server in 1..=3 {
        conformance.starts(ServerId(server)).expect("a server starts");
    }
    conformance
}

fn id((term, index): (u64, u64)) -> EntryId {
    EntryId { term: raft::Term(term), index: Index(index) }
}

fn entry(of: (u64, u64)) -> SharedEntry<zokor_core::db::Txn> {
    Arc::new(Entry { id: id(of), payload: Payload::Blank })
}

fn persist(ticket: u64, hard_state: Option<(u64, u64)>, entries: &[(u64, u64)]) -> Output {
    let hard = |(term, vote)| HardState { term: raft::Term(term), vote: Some(ServerId(vote)) };
    Output::Persist(Persist {
        ticket: Ticket(ticket),
        hard_state: hard_state.map(hard),
        reset: None,
        truncate_after: None,
        append: entries.iter().copied().map(entry).collect(),
    })
}

fn send(to: u64, term: u64, body: Body<zokor_core::db::Txn>) -> Output {
    let message = Message::Raft(Word { term: raft::Term(term), body });
    Output::Send { to: ServerId(to), message }
}

fn stats(role: Role, term: u64, commit: u64) -> Stats {
    Stats { role, term: raft::Term(term), commit: Index(commit), ..Stats::default() }
}

fn persisted(ticket: u64) -> Input {
    Input::Persisted { ticket: Ticket(ticket) }
}

/// One wins term 1 with Two's vote, and both have its blank entry on disk but for what `early`
/// leaves out: the last completion at One.
fn elected(one_is_durable: bool) -> Result<Conformance, Violation> {
    let mut run = start();
    run.polled(ONE, &stats(Role::Candidate, 1, 0), &[persist(1, Some((1, 1)), &[])])?;
    run.input(ONE, &persisted(1))?;
    let ask = send(2, 1, Body::Vote { last: EntryId::default(), transfer: false });
    run.polled(ONE, &stats(Role::Candidate, 1, 0), &[ask])?;
    run.polled(TWO, &stats(Role::Follower, 1, 0), &[persist(1, Some((1, 1)), &[])])?;
    run.input(TWO, &persisted(1))?;
    let vote = send(1, 1, Body::VoteReply { granted: true });
    run.polled(TWO, &stats(Role::Follower, 1, 0), &[vote])?;
    run.polled(ONE, &stats(Role::Leader, 1, 0), &[persist(2, None, &[(1, 1)])])?;
    run.input(TWO, &hears(ONE, 1, append(&[(1, 1)])))?;
    run.polled(TWO, &stats(Role::Follower, 1, 0), &[persist(2, None, &[(1, 1)])])?;
    run.input(TWO, &persisted(2))?;
    if one_is_durable {
        run.input(ONE, &persisted(2))?;
    }
    Ok(run)
}

fn append(entries: &[(u64, u64)]) -> Body<zokor_core::db::Txn> {
    let entries = entries.iter().copied().map(entry).collect();
    Body::Append { previous: EntryId::default(), commit: Index(0), entries }
}

fn hears(from: ServerId, term: u64, body: Body<zokor_core::db::Txn>) -> Input {
    Input::Message { from, message: Message::Raft(Word { term: raft::Term(term), body }) }
}

fn acknowledgement() -> Output {
    send(1, 1, Body::AppendReply { received: Index(1), persisted: Index(1) })
}

fn why(verdict: Verdict) -> String {
    verdict.expect_err("the model does not allow it").sentence
}

#[test]
fn an_election_and_a_commit_are_allowed() {
    let mut run = elected(true).expect("the model allows it");
    run.polled(TWO, &stats(Role::Follower, 1, 0), &[acknowledgement()]).expect("it is durable");
    run.polled(ONE, &stats(Role::Leader, 1, 1), &[]).expect("a quorum has it");
    assert!(run.actions() > 10);
}

#[test]
fn a_vote_that_is_not_durable_may_not_be_told() {
    let mut run = start();
    run.polled(ONE, &stats(Role::Candidate, 1, 0), &[persist(1, Some((1, 1)), &[])])
        .expect("it stands for election");
    let ask = send(2, 1, Body::Vote { last: EntryId::default(), transfer: false });
    let refused = why(run.polled(ONE, &stats(Role::Candidate, 1, 0), &[ask]));
    assert!(refused.contains("a vote is durable before it is told"), "{refused}");
    assert!(refused.contains("Request { server: 0"), "{refused}");
}

#[test]
fn a_leader_without_votes_is_refused() {
    let mut run = start();
    run.polled(ONE, &stats(Role::Candidate, 1, 0), &[persist(1, Some((1, 1)), &[])])
        .expect("it stands for election");
    run.input(ONE, &persisted(1)).expect("it is done");
    let lead = persist(2, None, &[(1, 1)]);
    let refused = why(run.polled(ONE, &stats(Role::Leader, 1, 0), &[lead]));
    assert!(refused.contains("no quorum has voted for it"), "{refused}");
}

#[test]
fn a_commit_without_a_quorum_of_disks_is_refused() {
    for (one_is_durable, two_says) in [(false, true), (true, false)] {
        let mut run = elected(one_is_durable).expect("the model allows it");
        if two_says {
            run.polled(TWO, &stats(Role::Follower, 1, 0), &[acknowledgement()])
                .expect("it is durable there");
        }
        let refused = why(run.polled(ONE, &stats(Role::Leader, 1, 1), &[]));
        assert!(refused.contains("no quorum has it on disk"), "{refused}");
    }
}

#[test]
fn a_write_that_nothing_led_to_is_refused() {
    let mut run = start();
    let refused =
        why(run.polled(ONE, &stats(Role::Follower, 0, 0), &[persist(1, None, &[(1, 1)])]));
    assert!(refused.contains("what is written is in the log"), "{refused}");
}

#[test]
fn a_number_that_the_model_does_not_hold_is_refused() {
    let refused = why(start().polled(ONE, &stats(Role::Follower, 3, 0), &[]));
    assert!(refused.contains("(term, leads, commit) are (3, false, 0)"), "{refused}");
}

#[test]
fn a_disk_that_keeps_what_was_never_written_is_refused_at_the_next_start() {
    let mut run = start();
    run.polled(ONE, &stats(Role::Candidate, 1, 0), &[persist(1, Some((1, 1)), &[])])
        .expect("it stands for election");
    run.input(ONE, &persisted(1)).expect("it is done");
    run.crashed(ONE, &Disk::default());
    assert!(why(run.starts(ONE)).contains("its power is cut"));
}

#[test]
fn a_leader_may_begin_a_round_and_step_down_before_it_is_polled() {
    let round = send(2, 1, Body::Heartbeat { commit: Index(0), round: 1 });
    let mut run = elected(true).expect("the model allows it");
    run.polled(ONE, &stats(Role::Follower, 1, 0), std::slice::from_ref(&round))
        .expect("it led until then");
    let next = send(2, 1, Body::Heartbeat { commit: Index(0), round: 2 });
    let refused = why(run.polled(ONE, &stats(Role::Follower, 1, 0), &[next]));
    assert!(refused.contains("only a leader has rounds"), "{refused}");
}

/// Three, which has nothing, is given a snapshot of term 1, and then the entry behind it; before it
/// is polled it hears of term 2.
fn behind_a_snapshot(is_durable: bool) -> Verdict {
    const THREE: ServerId = ServerId(3);
    let mut run = elected(true)?;
    run.polled(TWO, &stats(Role::Follower, 1, 0), &[acknowledgement()])?;
    run.polled(ONE, &stats(Role::Leader, 1, 1), &[persist(3, None, &[(1, 2)])])?;
    let meta = SnapshotMeta { last: id((1, 1)), membership: None };
    let image = Database::new().freeze();
    let snapshot = Snapshot { meta: meta.clone(), zxid: Zxid(0), image };
    let message = Message::Snapshot { term: raft::Term(1), snapshot: snapshot.clone() };
    run.input(THREE, &Input::Message { from: ONE, message })?;
    let change = |ticket, term, reset, entries: &[(u64, u64)]| match persist(ticket, None, entries)
    {
        Output::Persist(persist) => {
            let hard_state = Some(HardState { term: raft::Term(term), vote: None });
            Output::Persist(Persist { hard_state, reset, ..persist })
        }
        other => other,
    };
    let keeps = Output::Checkpoint { ticket: Ticket(1), snapshot };
    run.polled(THREE, &stats(Role::Follower, 1, 0), &[change(1, 1, None, &[]), keeps])?;
    run.input(THREE, &persisted(1))?;
    if is_durable {
        run.input(THREE, &Input::Checkpointed { ticket: Ticket(1) })?;
    }
    run.input(THREE, &hears(ONE, 1, append(&[(1, 1), (1, 2)])))?;
    run.polled(TWO, &stats(Role::Candidate, 2, 0), &[persist(3, Some((2, 2)), &[])])?;
    run.input(TWO, &persisted(3))?;
    let ask = || Body::Vote { last: id((1, 1)), transfer: false };
    run.polled(TWO, &stats(Role::Candidate, 2, 0), &[send(3, 2, ask())])?;
    run.input(THREE, &hears(TWO, 2, ask()))?;
    let goes_on = change(2, 2, Some(meta), &[(1, 2)]);
    run.polled(THREE, &stats(Role::Follower, 2, 1), &[goes_on])
}

#[test]
fn entries_of_a_term_that_is_left_may_go_on_after_a_snapshot_of_the_same_poll() {
    behind_a_snapshot(true).expect("the snapshot was in force before they came");
    let refused = why(behind_a_snapshot(false));
    assert!(refused.contains("the entry before them is not there"), "{refused}");
}
