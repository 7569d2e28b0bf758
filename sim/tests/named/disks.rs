//! Disks that fill up under an ensemble. (Damage has stories of its own where repair is.)

use zokor_sim::fault::Fault;
use zokor_sim::plan::SectorPlan;
use zokor_sim::script::{Script, micros};

use crate::tell_some;

/// Three servers on small log segments, with a client at each.
fn trio() -> Script {
    let sectors = SectorPlan {
        sector_bytes: 512,
        segment_bytes: 16 << 10,
        snapshots_kept: 2,
        errors: false,
        full: true,
        damage: false,
        repairs: false,
        scrubs: false,
        votes: false,
    };
    let mut script = Script::calm(3)
        .with(|plan| plan.disk.sectors = Some(sectors.clone()))
        .led()
        .heals_at(7.0)
        .home(1, 1)
        .home(2, 2)
        .home(3, 3);
    for client in 1..=3 {
        script = script.writes(client, 1.2, 6.5, 0.02);
    }
    script
}

/// ZOOKEEPER-2247, etcd's NOSPACE alarm. The leader's disk filled up: ZooKeeper's leader went on
/// leading without a log, etcd stopped taking writes from anybody until an operator came. Here the
/// leader has no room for three seconds. If it were broken, writes would stand still, a session
/// expire, or the server be gone for good.
#[test]
fn a_leader_whose_disk_is_full_gives_way_and_follows_when_there_is_room() {
    let script = trio().at(2.0, Fault::DiskFull(1, 0, micros(3.0)));
    tell_some(8, &script, |story| {
        story.until(1.95);
        assert_eq!(story.world.leader(), Some(1));
        story.until(3.5);
        assert!(!matches!(story.world.leader(), None | Some(1)), "{:?}", story.world.leader());
        let answered = story.world.n_answered();
        story.until(4.9);
        assert!(story.world.n_answered() > answered + 50, "clients go on");
        story.until(6.4);
        story.saw("storage: waited for room");
        let applied = [1, 2, 3].map(|server| story.applied(server));
        assert!(applied[0] + 20 > applied[1], "1 follows again: {applied:?}");
        assert_eq!(story.world.n_expired(), 0);
    });
}

/// All disks are full. Nothing that is acknowledged may be lost then, and nobody may end: when
/// there is room everything goes on, with the same sessions.
#[test]
fn an_ensemble_whose_disks_are_all_full_waits_for_room_and_goes_on() {
    let mut script = trio();
    for server in 1..=3 {
        script = script.at(2.0, Fault::DiskFull(server, 2_000, micros(1.5)));
    }
    tell_some(8, &script, |story| {
        story.until(3.4);
        story.saw("write refused for want of room");
        story.until(4.5);
        let answered = story.world.n_answered();
        story.until(6.4);
        assert!(story.world.n_answered() > answered + 50, "clients go on");
        assert_eq!(story.count("storage: server ended by a failed write"), 0);
        assert_eq!(story.world.n_expired(), 0);
    });
}
