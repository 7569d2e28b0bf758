//! Servers that make another state of the same entries: a bit flips in memory, or a disk gives
//! back what was never written (Bairavasundaram et al., FAST 2008). The others notice, and nobody
//! is served with it any longer (`docs/repair.md`).

use zokor_sim::fault::{CrashPoint, Fault, Word};
use zokor_sim::plan::SectorPlan;
use zokor_sim::script::{Script, crash, micros, when};

use crate::{Story, tell_some};

const VARIATIONS: u64 = 8;

/// Three servers, with a client at each that goes on writing; the first leads.
fn trio() -> Script {
    busy(Script::calm(3).led().heals_at(8.0), 3)
}

fn busy(script: Script, clients: u64) -> Script {
    (1..=clients)
        .fold(script, |script, client| script.home(client, client).writes(client, 1.2, 7.5, 0.02))
}

/// The same on disks of sectors, with a snapshot every few entries, so that wrong ones are kept.
fn on_sectors() -> Script {
    let sectors = SectorPlan {
        sector_bytes: 512,
        segment_bytes: 64 << 10,
        snapshots_kept: 2,
        errors: false,
        full: false,
        damage: false,
        repairs: false,
        scrubs: false,
        votes: false,
    };
    trio().with(|plan| {
        plan.disk.sectors = Some(sectors.clone());
        plan.core.snapshot_entries = 8;
    })
}

fn rot(server: u64) -> Fault {
    Fault::TreeRot(server, None)
}

fn is_found_and_mended(story: &Story) {
    assert_eq!(story.count("state made wrong"), 1);
    story.saw("wrong state found");
    assert_eq!(story.count("a server doubts its state"), 1);
    assert_eq!(story.count("wrong state mended"), 1);
    assert_eq!(story.count("alarm: mended"), 1);
    assert_eq!(story.count("alarm: no quorum has the same state"), 0);
}

#[test]
fn a_follower_with_a_wrong_state_is_found_within_a_second_and_serves_again_soon() {
    tell_some(VARIATIONS, &trio().at(3.0, rot(2)), |story| {
        story.until(4.0);
        assert_eq!(story.count("alarm: a server is odd"), 1);
        story.saw("closed: state in doubt");
        story.until(6.0);
        is_found_and_mended(story);
        let answered = story.world.n_answered();
        story.until(7.0);
        assert!(story.world.n_answered() > answered + 50, "clients go on");
        assert!(story.applied(2) + 20 > story.applied(1), "it follows");
        assert_eq!((story.world.n_expired(), story.world.elections()), (0, 1));
    });
}

#[test]
fn a_leader_with_a_wrong_state_lets_another_lead_and_no_session_is_lost() {
    tell_some(VARIATIONS, &trio().at(3.0, rot(1)), |story| {
        story.until(6.0);
        assert_eq!(story.count("alarm: the leader itself is odd"), 1);
        is_found_and_mended(story);
        assert_ne!(story.world.leader(), Some(1));
        assert_eq!(story.world.n_expired(), 0);
    });
}

#[test]
fn an_observer_with_a_wrong_state_is_found_by_the_word_of_the_voters() {
    let script = Script::calm(4).with(|plan| plan.members.observers = 1).led().heals_at(8.0);
    tell_some(VARIATIONS, &busy(script, 4).at(3.0, rot(4)), |story| {
        story.until(6.0);
        assert_eq!(story.count("alarm: a server is odd"), 1);
        is_found_and_mended(story);
    });
}

/// The ensemble does nothing, and a state goes wrong.
#[test]
fn a_wrong_state_is_found_while_nobody_writes() {
    let script = Script::calm(3).led().heals_at(8.0).home(1, 1).at(5.0, rot(3));
    tell_some(VARIATIONS, &script, |story| {
        story.until(7.0);
        is_found_and_mended(story);
    });
}

/// Three servers, three states: no one can tell, so all go on, and say so. Operators start those
/// anew whose memory is bad.
#[test]
fn where_no_quorum_has_the_same_state_everyone_says_so_and_nobody_is_taken_out() {
    let script = trio()
        .at(3.0, Fault::TreeRot(2, Some(1)))
        .at(3.0, Fault::TreeRot(3, Some(2)))
        .at(5.0, crash(&[2], 0.3))
        .at(6.0, crash(&[3], 0.3));
    tell_some(VARIATIONS, &script, |story| {
        story.until(4.9);
        assert_eq!(story.count("alarm: no quorum has the same state"), 3, "each of the three");
        assert_eq!(story.count("a server doubts its state"), 0);
        let answered = story.world.n_answered();
        assert!(answered > 200, "they serve");
    });
}

/// The server crashes at every step of its way back, and its snapshots are wrong, too.
#[test]
fn a_server_that_crashes_on_its_way_back_serves_nobody_before_it_has_a_right_state() {
    for point in [
        CrashPoint::Distrust,
        CrashPoint::Say(Word::WantState, 1),
        CrashPoint::Hear(Word::Snapshot, 1),
        CrashPoint::Checkpoint,
        CrashPoint::Trust,
    ] {
        let dies = when(2, point, crash(&[2], 0.4));
        let script = on_sectors().when(3.0, 2, CrashPoint::Apply, rot(2)).at(
            3.0,
            match point {
                CrashPoint::Checkpoint => when(2, CrashPoint::Hear(Word::Snapshot, 1), dies),
                _ => dies,
            },
        );
        tell_some(4, &script, |story| {
            story.until(6.5);
            story.all_struck();
            story.saw("a server doubts its state");
            story.saw("wrong state mended");
            assert!(story.applied(2) + 30 > story.applied(1), "{point:?}: it follows");
        });
    }
}

/// The leader that was to give its state crashes meanwhile.
#[test]
fn the_next_leader_gives_its_state_if_the_last_one_could_not() {
    let dies = when(1, CrashPoint::Hear(Word::WantState, 1), crash(&[1], 1.0));
    let script = on_sectors().at(3.0, rot(2)).at(3.0, dies);
    tell_some(VARIATIONS, &script, |story| {
        story.until(6.5);
        story.all_struck();
        is_found_and_mended(story);
    });
}

/// A state goes wrong while an election is held, and while the leader's disk stands still.
#[test]
fn a_wrong_state_is_found_after_whatever_else_is_wrong_is_over() {
    let script =
        trio().at(3.0, rot(3)).at(3.001, crash(&[1], 0.5)).at(4.5, Fault::Stall(2, micros(0.3)));
    tell_some(VARIATIONS, &script, |story| {
        story.until(7.5);
        story.saw("a server doubts its state");
        assert_eq!(story.count("wrong state mended"), 1);
    });
}
