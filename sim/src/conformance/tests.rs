//! Hand-made runs: one that is right, and copies of it with one thing wrong.

use std::sync::Arc;

use zokor_core::raft::{Entry, EntryId, HardState, Index, Message as Word, Payload, Persist, Role};
use zokor_core::replica::Stats;
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

fn persist(ticket: u64, hard_state: Option<(u64, u64)>, entries: &[(u64, u64)]) -> Output {
    let entry = |&(term, index): &(u64, u64)| {
        let id = EntryId { term: raft::Term(term), index: Index(index) };
        Arc::new(Entry { id, payload: Payload::Blank })
    };
    let hard = |(term, vote)| HardState { term: raft::Term(term), vote: Some(ServerId(vote)) };
    Output::Persist(Persist {
        ticket: Ticket(ticket),
        hard_state: hard_state.map(hard),
        reset: None,
        truncate_after: None,
        append: entries.iter().map(entry).collect(),
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
    let entry = EntryId { term: raft::Term(1), index: Index(1) };
    let entries = vec![Arc::new(Entry { id: entry, payload: Payload::Blank })];
    let body = Body::Append { previous: EntryId::default(), commit: Index(0), entries };
    let message = Message::Raft(Word { term: raft::Term(1), body });
    run.input(TWO, &Input::Message { from: ONE, message })?;
    run.polled(TWO, &stats(Role::Follower, 1, 0), &[persist(2, None, &[(1, 1)])])?;
    run.input(TWO, &persisted(2))?;
    if one_is_durable {
        run.input(ONE, &persisted(2))?;
    }
    Ok(run)
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
