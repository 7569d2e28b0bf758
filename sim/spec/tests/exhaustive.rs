//! Every state of small worlds, by the model checker. `cargo test --profile sim -p zokor-spec`
//! takes about a minute; larger worlds are in `examples/check.rs`.

mod checked;

use checked::holds;
use zokor_spec::explore::Bounds;
use zokor_spec::{Groups, Servers};

#[test]
fn all_holds_in_two_terms() {
    holds("3 servers, 2 terms, 2 entries", Bounds::new(3, 2, 2));
}

#[test]
fn all_holds_with_a_power_cut_in_one_term() {
    holds("3 servers, 1 term, 2 entries, 1 power cut", Bounds::new(3, 1, 2).with_crashes(1));
}

#[test]
fn all_holds_with_a_power_cut_at_the_first_leader() {
    let candidates = vec![Servers::of([0]), Servers::of([1, 2])];
    let bounds = Bounds { candidates, ..Bounds::new(3, 2, 2) };
    holds("3 servers, 2 terms, 2 entries, 1 power cut at the leader", bounds.with_crashes(1));
}

#[test]
fn all_holds_with_snapshots_and_a_power_cut_in_one_term() {
    let candidates = vec![Servers::of([1])];
    let bounds = Bounds { candidates, snapshots: true, ..Bounds::new(3, 1, 2) };
    holds("3 servers, 1 term, 2 entries, snapshots, 1 power cut", bounds.with_crashes(1));
}

#[test]
fn all_holds_when_late_votes_are_told() {
    let candidates = vec![Servers::of([1, 2]), Servers::of([1])];
    let bounds = Bounds { candidates, late_votes: true, ..Bounds::new(3, 2, 2) };
    holds("3 servers, 2 terms, 2 entries, late votes", bounds);
}

#[test]
fn all_holds_with_a_read() {
    let candidates = vec![Servers::of([0]), Servers::of([1])];
    let bounds = Bounds { candidates, reads: 1, rounds: 1, ..Bounds::new(3, 2, 2) };
    holds("3 servers, 2 terms, 2 entries, a read", bounds);
}

/// Server 0 weighs as much as the other two, so that a quorum is 0 and one of them.
#[test]
fn all_holds_with_weights() {
    let groups = Groups::of([(0, 0, 2), (1, 0, 1), (2, 0, 1)]);
    let bounds = Bounds { groups, ..Bounds::new(3, 2, 2) };
    holds("3 servers with weights, 2 terms, 2 entries", bounds);
}

/// Three groups, the last of which has a member that weighs nothing: it follows, and never stands.
#[test]
fn all_holds_with_groups_and_one_without_weight() {
    let groups = Groups::of([(0, 0, 1), (1, 1, 1), (2, 2, 1), (3, 2, 0)]);
    let candidates = vec![Servers::of([0, 3]), Servers::of([2, 3])];
    let bounds = Bounds { groups, candidates, ..Bounds::new(4, 2, 1) };
    holds("4 servers in 3 groups, 2 terms, 1 entry", bounds);
}

#[test]
fn all_holds_when_a_majority_gives_way_to_groups() {
    let regroups = vec![Groups::of([(0, 0, 2), (1, 0, 1), (2, 0, 0)])];
    let candidates = vec![Servers::of([0]), Servers::of([1])];
    let bounds = Bounds { regroups, candidates, ..Bounds::new(3, 2, 3) };
    holds("3 servers that change to weights, 2 terms, 3 entries", bounds);
}
