//! What goes wrong between an election and the moment when a follower serves: ZooKeeper's phase of
//! synchronisation, one step on paper and six in code.

use zokor_sim::fault::{CrashPoint, Fault, Word};
use zokor_sim::script::{
    FOR_GOOD, Script, crash, crash_each, ephemeral, micros, mute, persistent, split,
};
use zokor_sim::workload::Op;

use crate::{Story, tell, tell_some};

/// Server 1 leads at first; a client is at each of 1 and 2.
fn trio() -> Script {
    Script::calm(3).led().home(1, 1).home(2, 2)
}

/// ZOOKEEPER-335, 1653, 2164, 1818, 1732. The epoch, the vote and the log were several files; a
/// crash between two writes left a server that refused to start, or an election that never
/// settled. Here a server crashes at each write of an election in turn. If it were broken, the
/// server would stop at its start, or nobody would lead in the end.
#[test]
fn a_crash_between_the_writes_of_an_election_leaves_servers_that_start() {
    let points = [
        CrashPoint::Persist(1),
        CrashPoint::Persist(2),
        CrashPoint::BetweenTickets(1),
        CrashPoint::Say(Word::Vote, 1),
        CrashPoint::Hear(Word::Append, 1),
    ];
    for point in points {
        let script = trio()
            .writes(1, 1.2, 5.0, 0.02)
            .writes(2, 1.2, 5.0, 0.02)
            .when(1.99, 2, point, crash(&[2], 0.2))
            .when(1.99, 3, point, crash(&[3], 0.2))
            .at(2.0, crash(&[1], 1.0));
        tell_some(8, &script, |story| {
            story.until(1.9);
            assert_eq!(story.world.leader(), Some(1));
            story.until(5.5);
            story.saw("fault at an awaited point");
            assert!(story.world.leader().is_some(), "{point:?}");
            assert!(story.world.elections() >= 2);
        });
    }
}

/// ZOOKEEPER-3911, 4646, 3023, 4785. A follower that was brought up to date said so before the
/// entries were on its disk; the leader counted it, answered its clients, and after a power cut
/// the answered writes were gone. Here 3 comes back, is brought up to date and is the one whose
/// word makes the quorum; all lose power at that word. If it were broken, an entry would be
/// acknowledged that is not durable (C7), or committed on too few disks (C6).
#[test]
fn what_a_follower_acknowledges_in_its_synchronisation_survives_a_power_cut() {
    let script = trio()
        .writes(1, 1.2, 5.0, 0.01)
        .at(1.5, split(&[3], &[1, 2], 0.7))
        .at(2.19, split(&[2], &[1, 3], 1.0))
        .when(2.19, 3, CrashPoint::Say(Word::Acknowledge, 2), crash(&[1, 2, 3], 0.1));
    let answered = tell(&script, |story| {
        story.until(2.05);
        let behind = story.applied(3);
        assert!(story.applied(1) > behind + 20, "3 has missed what it is to catch up with");
        story.until(5.5);
        story.all_struck();
        assert!(story.world.leader().is_some());
        story.world.n_answered()
    });
    assert!(answered.iter().all(|&n| n > 50), "{answered:?}");
}

/// ZOOKEEPER-4643. A server raised its epoch before it logged the entries of the synchronisation;
/// after a crash it looked newer than it was, won, and had committed entries cut from the others.
/// Here 3 has voted in a new term and crashes before it gets the first entry; 2 has missed that
/// term, and has all that is committed. If it were broken, 3 would win and lead without committed
/// entries (C5).
#[test]
fn a_server_with_a_new_term_and_an_old_log_does_not_lead() {
    let gone = crash_each(&[(3, 0.1), (1, FOR_GOOD)]);
    let script = Script::calm(3)
        .slow(&[1, 6, 3])
        .heals_at(7.0)
        .home(1, 1)
        .home(2, 2)
        .writes(1, 1.2, 1.85, 0.01)
        .writes(2, 1.2, 1.85, 0.02)
        .at(1.4, split(&[3], &[1, 2], 0.6))
        .at(1.9, crash(&[1], 0.05))
        .at(1.9, split(&[2], &[1, 3], 1.3))
        .when(1.95, 3, CrashPoint::Hear(Word::Append, 1), gone);
    tell(&script, |story| {
        story.until(1.88);
        assert!(story.applied(2) > story.applied(3) + 10);
        story.until(3.1);
        story.all_struck();
        let heard_of = story.world.stats(3).expect("it is up again").term;
        assert!(heard_of > story.world.durable_last(2).term, "3 knows of a later term");
        story.until(6.8);
        assert_eq!(story.world.stats(1), None);
        assert_eq!(story.world.leader(), Some(2), "3 waits less, and is not elected");
    });
}

/// ZOOKEEPER-4685, 4394. A COMMIT or an ACK that came between NEWLEADER and UPTODATE met no case
/// in the code: a null pointer, or an acknowledgement in the wrong phase. Here what servers say
/// comes late, twice and in any order while three leaders die. If it were broken, a replica would
/// panic or acknowledge too much (C7).
#[test]
fn messages_of_a_synchronisation_may_come_in_any_order() {
    let script = trio()
        .with(|plan| {
            plan.network.reorder = true;
            plan.network.late = true;
            plan.network.duplicate_ppm = 200_000;
            plan.network.heavy_tail = true;
        })
        .writes(1, 1.2, 5.0, 0.01)
        .writes(2, 1.2, 5.0, 0.01)
        .at(2.0, Fault::CrashLeader(CrashPoint::Say(Word::Append, 3), micros(0.3)))
        .at(3.0, Fault::CrashLeader(CrashPoint::Now, micros(0.3)))
        .at(3.5, Fault::CrashLeader(CrashPoint::Say(Word::Append, 2), micros(0.3)));
    tell(&script, |story| {
        story.until(5.5);
        story.saw("crash at an effect");
        assert!(story.world.elections() >= 3);
    });
}

/// ZOOKEEPER-3104, 3642. A snapshot of the leader was in memory only when the leader died; the
/// next synchronisation was a DIFF on top of it, and a restart lost all that was before. Here the
/// two die at each step of taking a snapshot over. If it were broken, the log would begin behind a
/// snapshot that is not there (C8), or the digests would differ in the end.
#[test]
fn a_snapshot_that_is_taken_over_is_durable_before_it_counts() {
    let points = [
        CrashPoint::Hear(Word::Snapshot, 1),
        CrashPoint::Checkpoint,
        CrashPoint::Install,
        CrashPoint::Persist(1),
        CrashPoint::Say(Word::SnapshotReply, 1),
    ];
    for point in points {
        let both = crash_each(&[(3, 0.1), (1, 0.8)]);
        let script = trio()
            .with(|plan| {
                plan.core.snapshot_entries = 10;
                plan.core.keep_entries = 1;
            })
            .writes(1, 1.2, 5.0, 0.02)
            .writes(2, 1.2, 5.0, 0.02)
            .at(1.4, split(&[3], &[1, 2], 0.8))
            .when(2.19, 3, point, both);
        tell_some(8, &script, |story| {
            story.until(5.5);
            story.all_struck();
            story.saw("snapshot sent");
            assert!(story.applied(3) + 30 > story.applied(2), "3 is up and with the others");
        });
    }
}

/// ZOOKEEPER-5094. A server that was to cut its log broke off; its memory was ahead of its log,
/// and the next entries left a gap. Here the former leader crashes when it has asked for the cut.
/// If it were broken, two logs would differ below a common entry (C3), or digests in the end.
#[test]
fn a_cut_of_the_log_that_breaks_off_leaves_no_gap() {
    for (point, then) in [
        (CrashPoint::Truncate, crash(&[1], 0.1)),
        (CrashPoint::Truncate, crash(&[1, 2, 3], 0.1)),
        (CrashPoint::Truncate, split(&[1], &[2, 3], 0.3)),
    ] {
        let script = deposed_with_a_tail().when(2.3, 1, point, then);
        tell_some(8, &script, |story| {
            story.until(5.5);
            story.all_struck();
            story.saw("log truncated");
        });
    }
}

/// Server 1 is cut off with clients that go on writing there: its log has an end that nobody else
/// has. Another leads meanwhile, and after that 1 follows.
fn deposed_with_a_tail() -> Script {
    let others = trio().home(3, 1).writes(1, 1.2, 4.5, 0.01).writes(3, 1.2, 4.5, 0.01);
    others.writes(2, 1.2, 4.5, 0.02).at(2.0, split(&[1], &[2, 3], 1.0))
}

/// ZOOKEEPER-4882. The disk of one member failed to write while the quorum committed; it applied
/// in memory, its log kept a hole, and later it led. Here the disk of 3 stands still while the
/// others commit. If it were broken, 3 would have applied what its own disk does not hold, and
/// after the power cut it would differ.
#[test]
fn a_server_applies_nothing_that_its_own_disk_does_not_hold() {
    let script = trio()
        .writes(1, 1.2, 5.0, 0.01)
        .at(2.0, Fault::Stall(3, micros(2.0)))
        .at(3.0, crash(&[3], 0.1))
        .at(3.5, crash(&[1], 1.0));
    tell(&script, |story| {
        story.until(2.95);
        let durable = story.world.durable_last(3).index.0;
        assert!(story.applied(3) <= durable);
        assert!(story.applied(1) > durable + 20, "the others commit without 3");
        story.until(4.5);
        assert!(matches!(story.world.leader(), Some(2 | 3)));
    });
}

/// ZOOKEEPER-4925 (3.9.3). Entries committed during a synchronisation were left out of what the
/// follower kept for others; later it led and passed a hole on. Here 3 is brought up to date under
/// load, then leads, and 2, which was away, is fed by it. If it were broken, 2 would miss entries:
/// its log would not match (C3), or its digest.
#[test]
fn what_is_committed_during_a_synchronisation_is_passed_on_whole() {
    let script = Script::calm(3)
        .slow(&[1, 6, 3])
        .home(1, 1)
        .home(2, 1)
        .writes(1, 1.2, 5.0, 0.005)
        .writes(2, 1.2, 5.0, 0.005)
        .at(1.4, split(&[3], &[1, 2], 0.6))
        .at(2.1, split(&[2], &[1, 3], 1.0))
        .at(2.6, crash(&[1], FOR_GOOD));
    tell(&script, |story| {
        story.until(2.0);
        assert!(story.applied(1) > story.applied(3) + 30);
        story.until(2.55);
        assert!(story.applied(3) > story.applied(2) + 30);
        story.until(4.5);
        assert_eq!(story.world.leader(), Some(3));
        assert!(story.applied(2) > 200);
    });
}

/// ZOOKEEPER-2845, 4712, 4541. The database in memory outlived a change of role with entries in it
/// that were never committed, or an old thread wrote later. Here the former leader has such a tail
/// and follows in the same process. If it were broken, its digest would differ (C2).
#[test]
fn nothing_but_the_log_outlives_a_change_of_role() {
    tell(&deposed_with_a_tail(), |story| {
        story.until(2.9);
        assert!(matches!(story.world.leader(), Some(2 | 3)));
        story.saw("leader stepped down");
        story.until(5.5);
        story.saw("log truncated");
        assert!(story.applied(1) > 100, "1 follows, in the same process");
        assert_eq!(story.count("crash with a write under way"), 0);
    });
}

/// ZOOKEEPER-2355, 5010. A session ended while a follower was away or half synchronised; its
/// ephemeral znode stayed on that follower for good. Here 3 misses the end of the session, or is
/// the only one with the znode and never sees it committed. If it were broken, digests would
/// differ in the end.
#[test]
fn an_ephemeral_is_gone_everywhere_when_its_session_ended_during_a_synchronisation() {
    let script = trio()
        .client(1, 1.3, ephemeral("/e"))
        .at(1.6, split(&[3], &[1, 2], 0.7))
        .client(1, 1.8, Op::Close)
        .when(2.2, 3, CrashPoint::Hear(Word::Append, 1), crash_each(&[(1, 0.5), (3, 0.1)]))
        .writes(2, 1.2, 4.5, 0.02);
    tell(&script, |story| {
        story.until(1.55);
        assert!(story.has("/e"));
        story.until(2.15);
        assert!(!story.has("/e"));
        story.until(5.0);
        story.all_struck();
        assert!(!story.has("/e"));
    });
}

/// ZOOKEEPER-5010, 1154. The leader dies when one follower has its last entry, an ephemeral, and
/// the others do not. Whether the znode is to be or not, it is so on all servers in the end.
#[test]
fn an_entry_of_a_dead_leader_is_kept_by_all_or_by_none() {
    let script = Script::calm(5)
        .led()
        .home(1, 1)
        .home(2, 2)
        .writes(2, 1.2, 4.5, 0.05)
        .at(1.95, split(&[1], &[2, 3, 4], 3.0))
        .client(1, 2.0, ephemeral("/eph"))
        .when(2.0, 5, CrashPoint::Persist(1), crash_each(&[(1, 1.0), (5, 1.0)]));
    let kept = tell(&script, |story| {
        story.until(2.9);
        story.all_struck();
        assert!(matches!(story.world.leader(), Some(2..=4)));
        story.until(5.0);
        story.has("/eph")
    });
    assert!(kept.iter().all(|kept| !kept), "3 of 5 went on without it: {kept:?}");
}

/// ZOOKEEPER-2846, 4352, 3526, 2325, 3644, 3056, 3781. DIFF, TRUNC or SNAP was chosen by numbers
/// at their edges: the first or last entry kept, no snapshot, an empty one. Here a follower is
/// away for every number of entries around what is kept. If it were broken, it would get a hole,
/// or never catch up.
#[test]
fn a_follower_that_was_away_for_any_number_of_entries_catches_up() {
    let mut with_snapshot = 0;
    let mut without = 0;
    for missed in 0..14u32 {
        let mut script = trio()
            .with(|plan| {
                plan.core.snapshot_entries = 4;
                plan.core.keep_entries = 3;
            })
            .heals_at(4.0)
            .at(1.5, split(&[3], &[1, 2], 0.8));
        for n in 0..missed {
            script = script.client(1, 1.6 + 0.02 * f64::from(n), persistent(&format!("/n-{n}")));
        }
        let sent = tell_some(3, &script, |story| {
            story.until(2.2);
            let there = (0..missed).filter(|n| story.has(&format!("/n-{n}"))).count();
            assert_eq!(there, missed as usize, "all is written without 3");
            story.until(3.9);
            assert_eq!(story.applied(3), story.applied(1));
            story.count("snapshot sent") > 0
        });
        with_snapshot += sent.iter().filter(|sent| **sent).count();
        without += sent.iter().filter(|sent| !**sent).count();
    }
    assert!(with_snapshot > 3 && without > 3, "{with_snapshot} with, {without} without");
}

/// The same after the log was cut: a former leader with a tail is fed from a snapshot.
#[test]
fn a_former_leader_whose_tail_is_behind_a_snapshot_catches_up() {
    let script = deposed_with_a_tail().heals_at(8.0).with(|plan| {
        plan.core.snapshot_entries = 4;
        plan.core.keep_entries = 1;
    });
    tell(&script, |story: &mut Story| {
        // A snapshot that was lost is sent again after a while.
        story.until(7.5);
        story.saw("snapshot installed");
    });
}

/// ZOOKEEPER-3144, 3306, 1046, 1264, 1367. Snapshots were taken while txns ran and replayed on
/// top: sessions, ACLs, counters of children or digests differed after a restart. Here servers die
/// while they write one and before they purge. If it were broken, digests would differ, a number
/// of a sequential znode would come twice (model), or an ephemeral would outlive its session.
#[test]
fn a_snapshot_is_of_one_entry_exactly() {
    let mut script = trio()
        .with(|plan| plan.core.snapshot_entries = 5)
        .writes(1, 1.2, 5.0, 0.02)
        .writes(2, 1.2, 5.0, 0.02)
        .home(3, 3)
        .client(3, 2.6, Op::Close)
        .when(2.0, 2, CrashPoint::Checkpoint, crash(&[2], 0.1))
        .when(3.0, 3, CrashPoint::BeforePurge, crash(&[3], 0.1))
        .when(4.0, 1, CrashPoint::Checkpoint, crash(&[1, 2, 3], 0.1));
    for n in 0..20 {
        let path = format!("/e-{n}");
        script = script.client(3, 1.3 + 0.05 * f64::from(n), ephemeral(&path));
    }
    tell(&script, |story| {
        story.until(2.3);
        assert!(story.has("/e-3"));
        story.until(5.5);
        story.all_struck();
        story.saw("crash with a checkpoint under way");
        assert!(!story.has("/e-3"));
    });
}

/// ZOOKEEPER-2164. A server that came back met an election in which nobody would change his mind.
/// Here the third comes and goes every 300 ms while the other two have no leader. If it were
/// broken, nobody would lead.
#[test]
fn a_server_that_comes_and_goes_does_not_keep_the_others_from_an_election() {
    let mut script = trio().writes(2, 1.2, 5.0, 0.02).at(2.0, crash(&[1], 3.0));
    for n in 0..6 {
        script = script.at(2.0 + 0.3 * f64::from(n), crash(&[3], 0.1));
    }
    tell(&script, |story| {
        story.until(4.9);
        assert!(matches!(story.world.leader(), Some(2 | 3)));
        story.until(5.5);
    });
}

/// ZOOKEEPER-1154 and, seen from the other side, 4646: mute, a leader goes on to log what nobody
/// hears. If it were broken, its clients would hear of writes that no quorum has (W1).
#[test]
fn a_leader_that_nobody_hears_answers_no_write() {
    let script = trio().writes(1, 1.2, 4.5, 0.01).at(2.0, mute(1, 2, 1.0)).at(2.0, mute(1, 3, 1.0));
    tell(&script, |story| {
        story.until(2.9);
        story.saw("leader stepped down");
        assert!(matches!(story.world.leader(), Some(2 | 3)));
        story.until(4.5);
    });
}
