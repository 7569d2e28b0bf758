//! Ensembles of every size: how many servers may be gone.

use zokor_sim::script::{FOR_GOOD, Script, crash};

use crate::tell_some;

/// An ensemble of an even size survives no more than the one smaller by one; it must survive as
/// many. Quorums too small would let both halves go on (M09: C1, C6), too large ones would stop at
/// one loss less.
#[test]
fn an_ensemble_survives_what_leaves_a_quorum_and_not_one_more() {
    for (servers, survives) in [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2), (6, 2), (7, 3)] {
        let gone: Vec<u64> = (1..=survives).collect();
        let mut script = Script::calm(servers)
            .heals_at(6.5)
            .at(2.0, crash(&gone, FOR_GOOD))
            .at(4.5, crash(&[survives + 1], FOR_GOOD));
        for client in 1..=4 {
            script = script.writes(client, 1.0, 6.4, 0.05);
        }
        tell_some(5, &script, |story| {
            story.until(3.5);
            let answered = story.world.n_answered();
            story.until(4.45);
            let what = format!("{servers} servers, {survives} gone");
            assert!(story.world.leader().is_some(), "{what}");
            assert!(story.world.n_answered() > answered + 5, "{what}");
            story.until(5.5);
            assert_eq!(story.world.leader(), None, "{what}, and one more");
            let answered = story.world.n_answered();
            story.until(6.4);
            assert_eq!(story.world.n_answered(), answered, "{what}, and one more");
        });
    }
}

/// Two halves of an even ensemble: neither may go on alone.
#[test]
fn no_half_of_an_even_ensemble_goes_on_alone() {
    for servers in [2, 4, 6] {
        let half: Vec<u64> = (1..=servers / 2).collect();
        let other: Vec<u64> = (servers / 2 + 1..=servers).collect();
        let mut script =
            Script::calm(servers).led().at(2.0, zokor_sim::script::split(&half, &other, 3.0));
        for client in 1..=4 {
            script = script.writes(client, 1.0, 5.8, 0.05);
        }
        tell_some(5, &script, |story| {
            story.until(1.95);
            assert!(story.world.leader().is_some());
            story.until(3.5);
            assert_eq!(story.world.leader(), None);
            let answered = story.world.n_answered();
            story.until(4.9);
            assert_eq!(story.world.n_answered(), answered);
            story.until(5.9);
            assert!(story.world.leader().is_some());
        });
    }
}

/// Three groups, of which two decide: two servers of five that are two groups go on without the
/// other three, and three that are one group stand still.
#[test]
fn an_ensemble_in_groups_survives_what_leaves_enough_of_them() {
    let grouped = || {
        let places = vec![(1, 1), (2, 1), (3, 1), (3, 0), (3, 0)];
        Script::calm(5).with(|plan| plan.members.groups = places).heals_at(6.5)
    };
    for (gone, goes_on) in [(&[3, 4, 5][..], true), (&[1, 4, 5], true), (&[1, 2], false)] {
        let mut script = grouped().at(2.0, crash(gone, FOR_GOOD));
        for client in 1..=4 {
            script = script.writes(client, 1.0, 6.4, 0.05);
        }
        tell_some(5, &script, |story| {
            story.until(4.0);
            let answered = story.world.n_answered();
            story.until(6.4);
            let leader = story.world.leader();
            assert_eq!(leader.is_some(), goes_on, "without {gone:?}");
            assert!(leader.is_none_or(|leader| leader <= 3), "4 and 5 weigh nothing");
            assert_eq!(story.world.n_answered() > answered + 5, goes_on, "without {gone:?}");
        });
    }
}
