//! What hit ZooKeeper outside the synchronisation of followers.

use zokor_sim::fault::{CrashPoint, Fault, Word};
use zokor_sim::plan::Origin;
use zokor_sim::script::{Script, at_path, crash, ephemeral, micros, persistent, split};
use zokor_sim::workload::Op;

use crate::{tell, tell_some};

/// ZOOKEEPER-2247, 2495 (and Ganesan et al., FAST 2017). The leader could not write its log, its
/// writing thread hung or was dead, pings went on: it stayed leader of an ensemble without writes.
/// Here the leader's disk stands still for three seconds. If it were broken, 1 would still lead at
/// the end of the second, and no write would be answered meanwhile.
#[test]
fn a_leader_whose_disk_stands_still_gives_way_and_clients_go_on() {
    let script = Script::calm(3)
        .led()
        .home(1, 1)
        .home(2, 2)
        .home(3, 3)
        .writes(1, 1.2, 5.5, 0.02)
        .writes(2, 1.2, 5.5, 0.02)
        .writes(3, 1.2, 5.5, 0.02)
        .at(2.0, Fault::Stall(1, micros(3.0)));
    tell(&script, |story| {
        story.until(1.95);
        assert_eq!(story.world.leader(), Some(1));
        story.until(3.5);
        assert_ne!(story.world.leader(), Some(1));
        let answered = story.world.n_answered();
        story.until(4.9);
        assert!(story.world.n_answered() > answered + 50, "clients go on");
        let served = story.world.served();
        assert_eq!(served.get(&1), None, "clients of 1 have found another: {served:?}");
        assert_eq!(story.world.n_expired(), 0);
    });
}

/// ZOOKEEPER-1277. The counter in a zxid's lower half overflowed after 2^32 writes in one epoch;
/// the epoch changed without an election and servers disagreed. Here the log crosses that edge, in
/// the middle of what servers read back at their start; sessions opened before and behind it go
/// on. If it were broken, zxids would go back (C9), or clients be refused as if they came from the
/// future.
#[test]
fn a_full_counter_carries_and_sessions_from_before_the_edge_go_on() {
    let edge = (7 << 32) | 0xffff_fff0;
    let script = Script::calm(3)
        .with(|plan| plan.origin = Some(Origin { zxid: edge, sessions: 40 }))
        .led()
        .writes(1, 1.2, 4.0, 0.05)
        .writes(40, 1.2, 4.0, 0.05)
        .client(1, 1.3, ephemeral("/before"))
        .client(40, 1.3, ephemeral("/behind"))
        .at(2.5, crash(&[1], 0.5));
    tell_some(8, &script, |story| {
        story.until(2.0);
        assert!(story.has("/before") && story.has("/behind"));
        story.saw("session resumed");
        let before = story.world.zxid();
        assert_eq!(before.epoch(), 9, "8 by carrying, 9 by the election behind it");
        story.until(3.5);
        assert_eq!(story.world.zxid().epoch(), 10);
    });
}

/// ZOOKEEPER-1675, 2136. `sync` asked nobody, so that a leader deposed without knowing it answered
/// from the past. Here the former leader's process stood still with its clock: it believes that it
/// leads while another one does, and its clients ask for barriers. If it were broken, a barrier
/// would show less than was answered before it (R4).
#[test]
fn a_barrier_at_a_deposed_leader_shows_nothing_old() {
    let script = three_homes()
        .syncs(1, 2.2, 4.5, 0.01)
        .at(2.5, split(&[1], &[2, 3], 1.6))
        .at(2.5, Fault::Pause(1, micros(0.9), true));
    let both = tell(&script, |story| {
        story.until(2.2);
        assert_eq!(story.world.leader(), Some(1));
        story.until(5.0);
        story.count("two leaders at once")
    });
    assert!(both.iter().filter(|&&n| n > 0).count() >= 5, "{both:?}");
}

/// Server 1 leads at first, and each server has a client; those of 2 and 3 write.
pub(crate) fn three_homes() -> Script {
    Script::calm(3)
        .led()
        .home(1, 1)
        .home(2, 2)
        .home(3, 3)
        .writes(2, 2.0, 4.5, 0.01)
        .writes(3, 2.0, 4.5, 0.01)
}

/// ZOOKEEPER-1675, 2136, the other half: followers are told of a commit, and answer, before the
/// leader itself has applied it; a barrier asked of the leader then must not pass early. If it
/// were broken, R4 again.
#[test]
fn a_barrier_at_the_leader_waits_until_the_leader_has_applied() {
    let script = Script::calm(3)
        .led()
        .with(|plan| plan.process.poll_delay = 2_000)
        .home(1, 1)
        .home(2, 2)
        .writes(2, 1.2, 4.0, 0.005)
        .syncs(1, 1.2, 4.0, 0.003);
    tell_some(10, &script, |story| {
        story.until(4.0);
        assert_eq!(story.world.leader(), Some(1));
        assert!(story.world.n_answered() > 300);
    });
}

/// ZOOKEEPER-1382, 4475, 4466 (and 706 with few watches). Watches of dead connections stayed, or a
/// recursive one told too much. Here clients with watches reconnect again and again. If it were
/// broken, an event would come without a watch, twice, or not at all (V1, V6, V8).
#[test]
fn watches_follow_their_session_and_end_with_their_connection() {
    let mut script = Script::calm(3).led().heals_at(5.0);
    for n in 0..30 {
        let path = format!("/p-{n}");
        script = script.client(1, 1.2 + 0.01 * f64::from(n), Op::Exists(at_path(&path), true));
        script = script.client(2, 2.0 + 0.07 * f64::from(n), persistent(&path));
    }
    for n in 0u32..8 {
        let to = 1 + u64::from(n) % 3;
        let at = 1.7 + 0.3 * f64::from(n);
        script = script.client(1, at, Op::MoveTo(to)).client(1, at + 0.15, Op::Leave(true));
    }
    tell(&script, |story| {
        story.until(4.9);
        story.saw("watches set again");
        story.saw("watch fired");
        story.saw("watch fired on reconnect");
        let watches: u64 = (1..=3).map(|n| story.world.stats(n).map_or(0, |s| s.watches)).sum();
        assert_eq!(watches, 0, "all have fired, and none is left behind");
    });
}

/// ZOOKEEPER-2172, 2164. A server that joins, or restarts, in the middle of an election crashed
/// the quorum. Membership by clients is not built; what is there is a server that starts from
/// nothing beside a long log. If it were broken, the others would lose their leader, or it would
/// not catch up.
#[test]
fn a_server_that_starts_late_and_empty_disturbs_nobody() {
    let script = Script::calm(5)
        .led()
        .with(|plan| {
            plan.core.snapshot_entries = 20;
            plan.core.keep_entries = 5;
        })
        .at(0.11, crash(&[5], 2.5))
        .writes(1, 1.0, 4.5, 0.01)
        .writes(2, 1.0, 4.5, 0.01);
    tell(&script, |story| {
        story.until(2.5);
        assert_eq!(story.world.stats(5), None);
        let elections = story.world.elections();
        story.until(4.5);
        assert_eq!(story.world.elections(), elections, "nobody is disturbed");
        assert!(story.applied(5) + 50 > story.applied(1));
        story.saw("snapshot installed");
    });
}

/// ZOOKEEPER-1367, 2355 with a power cut: sessions and their ephemerals after a restart of all. If
/// it were broken, an ephemeral would stay without its session, or go with its session alive (S1).
#[test]
fn ephemerals_and_sessions_come_back_together_after_a_power_cut() {
    let script = Script::calm(3)
        .led()
        .client(1, 1.3, ephemeral("/stays"))
        .client(2, 1.3, ephemeral("/goes"))
        .when(1.6, 1, CrashPoint::Say(Word::Append, 1), crash(&[1, 2, 3], 0.2))
        .client(2, 1.6, Op::Close);
    tell(&script, |story| {
        story.until(1.55);
        assert!(story.has("/stays") && story.has("/goes"));
        story.until(5.5);
        story.all_struck();
        assert!(story.has("/stays"));
        assert_eq!(story.world.n_expired(), 0);
    });
}
