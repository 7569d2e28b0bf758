//! Disks that lose what they held, and what becomes of the ensemble: nothing that was acknowledged
//! is lost, and what can be had comes back by itself (`docs/repair.md`; Alagappan et al., FAST
//! 2018). A full disk on the leader, the sixth of the hard situations, is told beside.

use zokor_sim::fault::{CrashPoint, Damage, Fault, Word};
use zokor_sim::plan::SectorPlan;
use zokor_sim::script::{Script, crash, micros};

use crate::{Story, tell_some};

const VARIATIONS: u64 = 8;

/// Three servers, with a client at each that goes on writing.
fn trio() -> Script {
    let sectors = SectorPlan::mending(64 << 10);
    let mut script = Script::calm(3)
        .with(|plan| plan.disk.sectors = Some(sectors.clone()))
        .led()
        .heals_at(8.0)
        .home(1, 1)
        .home(2, 2)
        .home(3, 3);
    for client in 1..=3 {
        script = script.writes(client, 1.2, 7.5, 0.02);
    }
    script
}

fn damage(server: u64, damage: Damage, down: f64) -> Fault {
    Fault::DiskDamage(server, damage, micros(down))
}

fn is_mended(story: &Story, n: u64) {
    assert_eq!(story.count("storage: a damaged server is whole again"), n);
}

/// Bits flipped in the log of one server. ZooKeeper's server ends, or cuts its log there (FAST
/// 2018, table 2); etcd's does not start.
#[test]
fn a_server_whose_log_has_rotted_gets_its_entries_back() {
    let script = trio().at(3.0, damage(2, Damage::RotLog(400), 0.3));
    tell_some(VARIATIONS, &script, |story| {
        story.until(5.5);
        assert_eq!(story.count("storage: a damaged server starts"), 1);
        is_mended(story, 1);
        let answered = story.world.n_answered();
        story.until(6.5);
        assert!(story.world.n_answered() > answered + 50, "clients go on");
        assert!(story.applied(2) + 20 > story.applied(1), "it follows");
    });
}

/// Other entries lost in each log: no quorum is whole, and yet nothing is lost.
#[test]
fn three_logs_with_a_hole_each_make_one_that_is_whole() {
    let script = trio()
        .at(3.0, damage(1, Damage::RotLog(200), 0.5))
        .at(3.0, damage(2, Damage::RotLog(500), 0.6))
        .at(3.0, damage(3, Damage::RotLog(800), 0.7));
    tell_some(VARIATIONS, &script, |story| {
        story.until(6.0);
        assert_eq!(story.count("storage: a damaged server starts"), 3);
        is_mended(story, 3);
        let answered = story.world.n_answered();
        story.until(7.0);
        assert!(story.world.n_answered() > answered + 50, "clients go on");
    });
}

/// One that was in the last quorum forgets the end of its log, while the third was away: it must
/// not help the third to lead.
#[test]
fn a_tail_that_is_lost_in_the_last_quorum_takes_no_write_with_it() {
    let script = trio()
        .at(2.5, crash(&[3], 1.5))
        .at(3.5, damage(2, Damage::CutLog, 0.2))
        .at(3.55, crash(&[1], 1.6));
    tell_some(VARIATIONS, &script, |story| {
        story.until(5.0);
        assert_eq!(story.count("storage: a damaged server starts"), 1);
        assert_eq!(story.world.leader(), None, "only the first has everything");
        story.until(7.0);
        is_mended(story, 1);
    });
}

/// The record of a vote rots, right after the vote was told: the copies know it, and its server
/// needs no word of anybody to know what it has promised (`docs/repair.md`).
#[test]
fn a_vote_whose_record_has_rotted_is_known_by_its_copies() {
    let told = |server| {
        let rots = Box::new(damage(server, Damage::RotVote, 0.2));
        Fault::When(Some(server), CrashPoint::Say(Word::Vote, 1), rots)
    };
    let script = trio().at(2.9, told(2)).at(2.9, told(3)).at(3.0, crash(&[1], 1.0));
    tell_some(VARIATIONS, &script, |story| {
        story.until(6.5);
        let n_rotten = story.count("disk: rot where the vote is");
        assert!((1..=2).contains(&n_rotten), "one votes, and the other perhaps when it is back");
        is_mended(story, n_rotten);
        let answered = story.world.n_answered();
        story.until(7.0);
        assert!(story.world.n_answered() > answered + 20, "clients go on");
    });
}

/// The newest snapshot cannot be read: the one before and the log behind it say the same.
#[test]
fn a_rotten_snapshot_is_made_good_by_the_older_one_and_the_log() {
    let script = trio()
        .with(|plan| plan.core.snapshot_entries = 40)
        .at(4.0, damage(2, Damage::RotSnapshot, 0.3));
    tell_some(VARIATIONS, &script, |story| {
        story.until(5.5);
        story.saw("storage: older snapshot used");
        assert!(story.applied(2) + 20 > story.applied(1), "it follows");
    });
}

/// What rots while nobody reads it comes out when the server starts, and costs a repair by the
/// others, if they can (Ganesan et al., FAST 2017). Here the server finds it while the state in its
/// memory is right, and starts afterwards as if nothing had been.
#[test]
fn what_rots_at_rest_is_put_right_before_anybody_has_to_start_from_it() {
    let script = trio()
        .with(|plan| {
            plan.core.snapshot_entries = 40;
            plan.disk.sectors.as_mut().expect("it has").segment_bytes = 16 << 10;
            plan.disk.sectors.as_mut().expect("it has").scrubs = true;
        })
        .at(3.0, Fault::DiskDamage(2, Damage::AtRest(false), 0))
        .at(3.0, Fault::DiskDamage(2, Damage::AtRest(true), 0))
        .at(6.0, crash(&[2], 0.2));
    let found: Vec<u64> = tell_some(2 * VARIATIONS, &script, |story| {
        story.until(5.9);
        assert_eq!(story.count("scrub: what rotted at rest is put right"), 1);
        story.until(7.5);
        assert_eq!(story.count("storage: a damaged server starts"), 0);
        assert_eq!(story.count("storage: older snapshot used"), 0);
        assert_eq!(story.count("storage: a damaged log is written anew from a snapshot"), 0);
        assert!(story.applied(2) + 20 > story.applied(1), "it follows");
        story.count("scrub: damage found")
    });
    // Some of it rots where nothing counts any more.
    let n_found = found.iter().filter(|n| **n > 0).count();
    assert!(n_found > found.len() / 2, "{found:?}");
}

/// A server with an empty disk, while another is away: as a new one it would vote for whoever asks.
#[test]
fn a_wiped_server_elects_nobody_while_the_one_that_knows_is_away() {
    let script = trio()
        .at(2.5, crash(&[3], 2.0))
        .at(3.5, damage(2, Damage::LostDisk, 0.2))
        .at(3.55, crash(&[1], 2.5));
    tell_some(VARIATIONS, &script, |story| {
        story.until(5.9);
        story.saw("storage: a wiped server starts");
        assert_eq!(story.world.leader(), None, "only the first has everything");
        story.until(7.8);
        is_mended(story, 1);
        assert!(story.world.leader().is_some());
    });
}

/// One disk after the other is replaced.
#[test]
fn every_disk_is_replaced_once_and_clients_only_see_elections() {
    let script = trio()
        .at(2.0, damage(1, Damage::LostDisk, 0.3))
        .at(4.0, damage(2, Damage::LostDisk, 0.3))
        .at(6.0, damage(3, Damage::LostDisk, 0.3));
    tell_some(VARIATIONS, &script, |story| {
        for round in 1..=3u32 {
            story.until(1.9 + 2.0 * f64::from(round));
            assert_eq!(story.count("storage: a wiped server starts"), u64::from(round));
            is_mended(story, u64::from(round));
        }
        assert_eq!(story.world.n_expired(), 0);
    });
}
