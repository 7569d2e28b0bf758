//! Each rule of the protocol is needed: without it the checker finds a way to break a promise, in a
//! world in which all holds with it.

mod checked;

use checked::search;
use zokor_spec::explore::Bounds;
use zokor_spec::{Broken, Groups, Servers};

/// Three servers; who may stand for election in each term.
fn world(candidates: &[&[usize]], entries: usize) -> Bounds {
    let candidates = candidates.iter().map(|servers| Servers::of(servers.iter().copied()));
    Bounds { candidates: candidates.collect(), ..Bounds::new(3, 0, entries) }
}

/// Without the rule `broken`, `property` fails within `bounds`; with it, nothing does.
fn is_needed(broken: Broken, bounds: &Bounds, property: &str) {
    is_missed(broken, bounds, property);
    let with = search(bounds.clone(), None);
    println!("with it: {} states in {:.1?}", with.states, with.took);
    assert!(with.violation.is_none(), "{:#?}", with.violation);
}

/// Without the rule `broken`, `property` fails within `bounds`.
fn is_missed(broken: Broken, bounds: &Bounds, property: &str) {
    let without = search(bounds.clone(), Some(broken));
    let (violated, way) = without.violation.expect("the rule is not needed here");
    println!("without {broken:?}: {violated}, in {} steps, {:.1?}", way.len(), without.took);
    assert_eq!(violated, property, "{way:#?}");
}

/// Two leaders, one after the other, and one read. That all holds here if no rule is left out is
/// shown in `exhaustive.rs`.
fn with_a_read(rounds: u64) -> Bounds {
    Bounds { reads: 1, rounds, ..world(&[&[0], &[1]], 2) }
}

#[test]
fn a_vote_is_durable_before_it_is_told() {
    let bounds = world(&[&[1, 2]], 1).with_crashes(1);
    is_needed(Broken::VoteBeforeDurable, &bounds, "election safety");
}

#[test]
fn a_server_votes_once_in_a_term() {
    is_needed(Broken::VoteTwice, &world(&[&[1, 2]], 1), "election safety");
}

#[test]
fn a_vote_goes_to_a_log_that_is_not_behind() {
    let bounds = world(&[&[0], &[2]], 2);
    is_needed(Broken::VoteForShorterLog, &bounds, "leader completeness");
}

#[test]
fn only_durable_entries_are_acknowledged() {
    let bounds = world(&[&[1], &[2]], 1).with_crashes(1);
    let bounds = Bounds { entries: 2, ..bounds };
    is_needed(Broken::AckBeforeDurable, &bounds, "leader completeness");
}

#[test]
fn a_leader_counts_itself_when_its_own_disk_has_the_entry() {
    let bounds = world(&[&[0], &[2]], 2).with_crashes(1);
    is_needed(Broken::LeaderCountsEarly, &bounds, "leader completeness");
}

#[test]
fn only_entries_of_the_own_term_are_committed_by_counting() {
    let bounds = world(&[&[0], &[1], &[0], &[1]], 2);
    // That all holds in these four terms otherwise takes a minute: `figure 8` in the example.
    is_missed(Broken::CommitByCounting, &bounds, "leader completeness");
}

#[test]
fn a_log_is_cut_only_where_it_is_in_conflict() {
    let bounds = world(&[&[0], &[2]], 2);
    is_needed(Broken::CutWithoutConflict, &bounds, "leader completeness");
}

#[test]
fn a_term_is_durable_before_an_entry_of_it() {
    let bounds = world(&[&[1]], 1).with_crashes(1);
    is_needed(Broken::LogBeforeHardState, &bounds, "a term is durable before an entry of it");
}

#[test]
fn a_server_that_starts_does_not_know_what_is_agreed_on() {
    let bounds = world(&[&[0], &[1]], 2).with_crashes(1);
    is_needed(Broken::CommitAtRestart, &bounds, "leader completeness");
}

#[test]
fn voters_change_by_way_of_a_joint_membership() {
    let bounds = Bounds { changes: vec![Servers::of([0])], ..world(&[&[0], &[1]], 3) };
    is_needed(Broken::ChangeInOneStep, &bounds, "leader completeness");
}

#[test]
fn groups_change_by_way_of_a_joint_membership() {
    let alone = Groups::of([(0, 0, 1), (1, 0, 0), (2, 0, 0)]);
    let bounds = Bounds { regroups: vec![alone], ..world(&[&[0], &[1]], 3) };
    is_needed(Broken::ChangeInOneStep, &bounds, "leader completeness");
}

#[test]
fn a_read_is_confirmed_by_a_quorum() {
    is_missed(Broken::ReadWithoutRound, &with_a_read(1), "reads are linearizable");
}

#[test]
fn a_read_is_confirmed_by_answers_to_its_own_round() {
    is_missed(Broken::ReadByAnyRound, &with_a_read(2), "reads are linearizable");
}

#[test]
fn a_read_is_confirmed_by_a_round_that_began_after_it() {
    is_missed(Broken::ReadByEarlierRound, &with_a_read(1), "reads are linearizable");
}

#[test]
fn a_read_waits_for_the_first_commit_of_the_term() {
    is_missed(Broken::ReadBeforeOwnCommit, &with_a_read(1), "reads are linearizable");
}
