//! What hit Raft and those who built on it. The thesis' single-server membership change is told by
//! `core/tests/raft_script/two_changes.txt`, figure 8 to the letter by `old_term_commit.txt`.

use zokor_sim::fault::{CrashPoint, Fault, Word};
use zokor_sim::script::{
    FOR_GOOD, Script, crash, crash_each, micros, mute, persistent, split, when,
};
use zokor_sim::workload::Op;

use crate::{tell, tell_some};

/// Raft, figure 8 (LogCabin #44). An entry of an old term is on a quorum of disks and counted as
/// committed; then a server without it wins and overwrites it. Here 1 and 2 have such an entry; of
/// the other three one leads in a later term and writes to its own disk only. Then 1 is back and
/// brings the old entry onto a third disk, but nothing of its own term, and is gone. If it were
/// broken, 1 would commit by counting (C6), and what was committed would change (C4).
#[test]
fn an_entry_of_an_old_term_is_not_committed_by_counting() {
    let all = [1, 2, 3, 4, 5];
    let mut script = Script::calm(5)
        .slow(&[1, 12, 3, 3, 3])
        .with(|plan| {
            // One entry an append, and one append at a time: the old entry travels alone.
            plan.core.max_append_bytes = 1;
            plan.core.max_appends_in_flight = 1;
        })
        .home(1, 1)
        .at(2.0, split(&[1, 2], &[3, 4, 5], 1.1))
        .client(1, 2.005, persistent("/x"))
        .at(2.04, crash_each(&[(1, 0.9), (2, 0.9)]))
        .when(2.5, 1, CrashPoint::Lead, mute(1, 2, 3.0))
        .when(2.5, 1, CrashPoint::StepDown, crash(&[1], FOR_GOOD));
    for one in [3, 4, 5] {
        let others: Vec<u64> = all.into_iter().filter(|&other| other != one).collect();
        let alone = split(&[one], &others, 0.5);
        let gone = when(one, CrashPoint::Send(12), crash(&[one], 0.7));
        let silence = Fault::Cut([2, 3, 4, 5].map(|to| (1, to)).to_vec(), micros(3.0));
        let third = when(one, CrashPoint::Say(Word::Acknowledge, 1), silence);
        script = script
            .when(2.04, one, CrashPoint::Lead, alone)
            .when(2.04, one, CrashPoint::Lead, gone)
            .when(2.5, 1, CrashPoint::Lead, third);
    }
    let replaced = tell_some(40, &script, |story| {
        story.until(5.5);
        story.count("entry on a quorum of disks replaced")
    });
    assert!(replaced.iter().filter(|&&n| n > 0).count() >= 2, "{replaced:?}");
}

/// hashicorp/raft #661, nodedb #161, Keeper #113654. Term and vote were written one after the
/// other, or told before they were durable; after a crash the server voted a second time in the
/// same term. Here voters die at the very moment at which their vote has left, and are back in
/// time for the next candidate. If it were broken, a vote would be told that is not durable (C7),
/// or two servers would lead in one term (C1).
#[test]
fn a_vote_is_remembered_over_a_crash() {
    let mut script = Script::calm(5).writes(1, 1.0, 5.0, 0.05).with(|plan| {
        plan.core.election_timeout = std::time::Duration::from_millis(200);
        plan.network.latency_spread = 40_000;
        plan.disk.latency_spread = 20_000;
    });
    for round in 0..4 {
        let at = 1.5 + f64::from(round);
        script = script.at(at, Fault::CrashLeader(CrashPoint::Now, micros(0.4)));
        for server in 1..=5 {
            let vote = CrashPoint::Say(Word::Vote, 1);
            script = script.when(at, server, vote, crash(&[server], 0.005));
        }
    }
    tell(&script, |story| {
        story.until(5.9);
        assert!(story.count("fault at an awaited point") >= 4);
        assert!(story.world.elections() >= 3);
    });
}

/// etcd #7331. A new leader that has committed nothing in its own term does not know what the one
/// before it committed; a read barrier from its commit index is too early. Here 1 dies when it has
/// answered a write, another leads and cannot commit for a while, though it hears the others. If
/// it were broken, a barrier there would show less than was answered (R4).
#[test]
fn a_new_leader_gives_no_barrier_before_it_has_committed_in_its_term() {
    let slow = |leader| {
        let stall = |server| when(leader, CrashPoint::Lead, Fault::Stall(server, micros(0.3)));
        [stall(2), stall(3)]
    };
    let script = Script::calm(3)
        .led()
        .home(1, 1)
        .home(2, 2)
        .writes(1, 1.2, 2.2, 0.02)
        .home(3, 3)
        .syncs(2, 1.2, 4.0, 0.01)
        .syncs(3, 1.2, 4.0, 0.01)
        .when(2.0, 1, CrashPoint::Reply, crash(&[1], FOR_GOOD));
    let script = [2, 3].into_iter().flat_map(slow).fold(script, |script, at| script.at(1.99, at));
    tell(&script, |story| {
        story.until(4.0);
        assert!(matches!(story.world.leader(), Some(2 | 3)));
        assert!(story.count("fault at an awaited point") >= 3);
        story.saw("sync during an election");
        story.until(5.0);
    });
}

/// etcd #20418 (2025). Ids of read barriers were reused, and late copies of old heartbeat answers
/// confirmed a leader that no longer was one; found by stopping processes. Here the leader's
/// process stands still with its clock, twice, while others lead, and what was said comes late and
/// twice. If it were broken, a barrier at the former leader would show something old (R4).
#[test]
fn late_answers_confirm_no_leader() {
    let script = crate::zookeeper::three_homes()
        .with(|plan| {
            plan.network.duplicate_ppm = 300_000;
            plan.network.late = true;
            plan.network.reorder = true;
        })
        .syncs(1, 2.0, 6.8, 0.005)
        .heals_at(7.0)
        .at(2.6, Fault::Pause(1, micros(1.7), true))
        .at(4.6, Fault::Pause(2, micros(1.7), true));
    let both = tell(&script, |story| {
        story.until(2.55);
        assert_eq!(story.world.leader(), Some(1));
        story.until(5.5);
        assert!(story.world.elections() >= 2);
        story.count("two leaders at once")
    });
    assert!(both.iter().filter(|&&n| n > 0).count() >= 10, "{both:?}");
}

/// etcd #14370, etcd raft #105. An ensemble of one acknowledged before its own disk had the entry,
/// or read before it had replayed its log. Here the only server dies at a write, at a reply, and
/// between both. If it were broken, an answered write would be gone, or a session would be shown
/// the past (R2).
#[test]
fn a_lone_server_counts_its_own_disk_like_any_other() {
    let mut script = Script::calm(1).writes(1, 0.6, 5.5, 0.01).writes(2, 0.6, 5.5, 0.01);
    let points = [
        CrashPoint::Persist(3),
        CrashPoint::Reply,
        CrashPoint::BetweenTickets(1),
        CrashPoint::Apply,
    ];
    for (n, point) in (0u32..).zip(points) {
        script = script.when(1.5 + f64::from(n), 1, point, crash(&[1], 0.05));
    }
    tell(&script, |story| {
        story.until(5.9);
        story.all_struck();
        story.saw("crash with a write under way");
        assert!(story.world.n_answered() > 100);
    });
}

/// Keeper #102629 (2026). The index up to which the log is durable was not taken back with a log
/// that was cut; entries that came later counted as durable too early. Here the disk of the former
/// leader stands still while its tail is replaced by later entries; then all lose power at its
/// word. If it were broken, it would acknowledge what it does not hold (C7).
#[test]
fn a_log_that_was_cut_is_durable_only_as_far_as_it_was_written_again() {
    let script = Script::calm(3)
        .led()
        .home(1, 1)
        .home(2, 2)
        .home(3, 1)
        .writes(1, 1.2, 4.5, 0.005)
        .writes(3, 1.2, 4.5, 0.005)
        .writes(2, 1.2, 4.5, 0.01)
        .at(2.0, split(&[1], &[2, 3], 0.9))
        .at(2.04, Fault::Stall(1, micros(1.3)))
        .when(2.05, 1, CrashPoint::Truncate, Fault::Stall(1, micros(0.3)))
        .when(2.9, 1, CrashPoint::Say(Word::Acknowledge, 1), crash(&[1, 2, 3], 0.1));
    tell(&script, |story| {
        story.until(2.85);
        assert!(matches!(story.world.leader(), Some(2 | 3)));
        story.until(5.5);
        story.all_struck();
        story.saw("log truncated");
    });
}

/// etcd #13766, #14685, #20426. State, applied index and snapshot were written apart; after a
/// crash entries were applied twice or never. Here each server dies when it has applied something,
/// between two writes, and with a snapshot half written. If it were broken, a number of a
/// sequential znode would be left out or come twice (W3), or digests would differ.
#[test]
fn every_entry_is_applied_exactly_once_over_crashes() {
    let mut script = Script::calm(3)
        .led()
        .with(|plan| plan.core.snapshot_entries = 7)
        .writes(1, 1.0, 5.5, 0.02)
        .writes(2, 1.0, 5.5, 0.02);
    for server in 1..=3 {
        let at = 1.5 + 1.4 * (server - 1) as f64;
        let again = |point| when(server, point, crash(&[server], 0.08));
        script = script
            .at(at, again(CrashPoint::Apply))
            .at(at + 0.45, again(CrashPoint::BetweenTickets(1)))
            .at(at + 0.9, again(CrashPoint::Checkpoint));
    }
    tell(&script, |story| {
        story.until(5.9);
        assert!(story.count("fault at an awaited point") >= 7);
        assert!(story.world.n_answered() > 50);
    });
}

/// Disruption by servers that cannot hear the leader: two halves that meet in one server only
/// ("bridge"). Terms rose for ever, and every election deposed a good leader. If it were broken,
/// there would be elections, or no progress, while the bridge stands.
#[test]
fn a_bridge_between_two_halves_keeps_its_leader() {
    let script = Script::calm(5)
        .led()
        .home(1, 1)
        .home(2, 4)
        .home(3, 5)
        .writes(1, 1.2, 5.0, 0.02)
        .writes(2, 1.2, 5.0, 0.05)
        .at(2.0, split(&[1, 2], &[4, 5], 2.5));
    tell(&script, |story| {
        story.until(1.95);
        assert_eq!(story.world.leader(), Some(1));
        let (elections, answered) = (story.world.elections(), story.world.n_answered());
        story.until(4.4);
        assert_eq!((story.world.leader(), story.world.elections()), (Some(1), elections));
        assert!(story.world.n_answered() > answered + 50);
        assert_eq!(story.world.n_expired(), 0, "clients of 4 and 5 have found the other side");
        story.until(5.5);
        assert_eq!(story.world.elections(), elections, "nor when the halves meet again");
    });
}

/// The same when nobody writes: those who do not hear the leader have logs as good as his, and
/// only that others hear him keeps them from an election. So too with one server that does not
/// hear the leader, or is not heard by him. If it were broken, the leader would lose its office.
#[test]
fn who_cannot_hear_the_leader_of_a_quiet_ensemble_disturbs_nobody() {
    let faults = [
        split(&[1, 2], &[4, 5], 2.5),
        Fault::Cut(vec![(1, 5)], micros(2.5)),
        Fault::Cut(vec![(5, 1)], micros(2.5)),
    ];
    for fault in faults {
        let script = Script::calm(5).led().writes(1, 1.2, 1.6, 0.02).at(2.0, fault);
        tell_some(10, &script, |story| {
            story.until(1.95);
            assert_eq!(story.world.leader(), Some(1));
            let elections = story.world.elections();
            assert_eq!(story.world.durable_last(5), story.world.durable_last(1));
            story.until(5.9);
            assert_eq!((story.world.leader(), story.world.elections()), (Some(1), elections));
        });
    }
}

/// One server that does not hear the leader, or is not heard by him, under load; and a leader that
/// hears nobody. If it were broken, the first two would cost the leader its office, and the third
/// would keep the ensemble without one.
#[test]
fn a_server_that_hears_half_of_it_disturbs_nobody() {
    for link in [(1, 3), (3, 1)] {
        let script = Script::calm(3)
            .led()
            .home(1, 1)
            .writes(1, 1.2, 5.0, 0.02)
            .at(2.0, mute(link.0, link.1, 2.5));
        tell_some(10, &script, |story| {
            story.until(1.95);
            let elections = story.world.elections();
            let answered = story.world.n_answered();
            story.until(5.5);
            assert_eq!((story.world.leader(), story.world.elections()), (Some(1), elections));
            assert!(story.world.n_answered() > answered + 100);
        });
    }
    let deaf = Fault::Cut(vec![(2, 1), (3, 1)], micros(2.5));
    let script = Script::calm(3).led().home(2, 2).writes(2, 1.2, 5.0, 0.02).at(2.0, deaf);
    tell_some(10, &script, |story| {
        story.until(4.4);
        assert!(matches!(story.world.leader(), Some(2 | 3)), "1 hears nobody, and leads no more");
    });
}

/// Leases by the clock (Consul, and leader leases in general). A pause or a jump of the clock, and
/// two leaders answer reads, or sessions end. Here every wall clock jumps by hours and the
/// leader's process stands still. If it were broken, a session would expire (S5), or R4.
#[test]
fn no_clock_is_trusted() {
    let hour = 3_600_000;
    let mut script = crate::zookeeper::three_homes().syncs(1, 2.0, 5.0, 0.01);
    for (server, by) in [(1, 5 * hour), (2, -7 * hour), (3, hour), (1, -9 * hour), (2, 9 * hour)] {
        let at = 2.2 + 0.3 * server as f64;
        script = script.at(at, Fault::WallJump(server, by));
    }
    script = script.at(3.2, Fault::Pause(1, micros(0.9), false));
    tell(&script, |story| {
        story.until(5.5);
        assert_eq!(story.world.n_expired(), 0);
        assert!(story.world.n_answered() > 100);
        assert!(story.world.elections() >= 2);
    });
}

/// Non-determinism when entries are applied (Keeper #65198, #82370). What was checked when a write
/// came in was not what was there when it was applied. Here clients race for the same znodes from
/// all servers, over two elections. If it were broken, digests would differ (C2), or answers from
/// the model's (W2).
#[test]
fn writes_that_race_end_alike_on_all_servers() {
    let mut script = Script::calm(3)
        .led()
        .at(2.5, crash(&[1], 0.5))
        .at(4.0, Fault::CrashLeader(CrashPoint::Say(Word::Append, 2), micros(0.3)));
    let race = zokor_sim::script::at_path("/race");
    for n in 0..100u32 {
        let at = 1.2 + 0.04 * f64::from(n);
        script = script
            .client(1, at, persistent("/race"))
            .client(2, at, Op::Set(race.clone(), (n % 7) as i32, Some(9)))
            .client(3, at, Op::Delete(race.clone(), -1));
    }
    tell(&script, |story| {
        story.until(5.5);
        assert!(story.world.n_answered() > 150);
        assert!(story.world.elections() >= 3);
    });
}

/// A leader that dies as it hands over (TimeoutNow), and a successor that dies as it hears of it.
/// If it were broken, two would lead in a term (C1), or nobody in the end.
#[test]
fn a_hand_over_that_fails_leaves_an_election() {
    for (server, point) in
        [(1, CrashPoint::Say(Word::TimeoutNow, 1)), (2, CrashPoint::Lead), (3, CrashPoint::Lead)]
    {
        let script = Script::calm(3)
            .led()
            .writes(1, 1.2, 5.0, 0.01)
            .writes(2, 1.2, 5.0, 0.01)
            // The leader's disk stands still: it hands over to the best follower.
            .at(2.0, Fault::Stall(1, micros(1.0)))
            .when(2.0, server, point, crash(&[server], 0.3));
        tell_some(8, &script, |story| {
            story.until(5.5);
            assert!(story.world.leader().is_some());
            assert!(story.world.elections() >= 2);
            assert!(story.count("fault at an awaited point") <= 1);
        });
    }
}
