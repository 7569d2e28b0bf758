//! Every state of small worlds, by the model checker. `cargo test --profile sim -p zokor-spec`
//! takes about a minute; larger worlds are in `examples/check.rs`.

mod checked;

use checked::holds;
use zokor_spec::Servers;
use zokor_spec::explore::Bounds;

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
