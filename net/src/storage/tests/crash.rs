//! The power is cut at every call to the disk.

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::model::{Model, Step, step};
use super::*;
use crate::storage::Fault;

/// The states that a crash may leave: the last one that was reported durable, and those after it
/// whose report never came.
struct Allowed {
    states: Vec<Model>,
}

impl Allowed {
    fn surely(&mut self, model: &Model) {
        self.states = vec![model.clone()];
    }

    fn perhaps(&mut self, model: &Model) {
        self.states.push(model.clone());
    }

    /// The state that was found; it must be one of those allowed, and whole.
    fn found(&self, opened: &Opened<MemoryDisk>) -> Model {
        let recovered = &opened.recovered;
        let is_it = |model: &&Model| {
            recovered.hard_state == model.hard_state
                && snapshot_index(opened) == model.snapshot.0
                && recovered.entries == model.entries_after_snapshot()
        };
        let Some(model) = self.states.iter().find(is_it) else {
            panic!(
                "found snapshot {}, entries {:?}, {:?}; allowed were {:?}",
                snapshot_index(opened),
                indexes(opened),
                recovered.hard_state,
                self.states
                    .iter()
                    .map(|m| (m.snapshot, m.first, m.last(), m.hard_state))
                    .collect::<Vec<_>>(),
            );
        };
        model.clone()
    }
}

/// Does one step; `Err` if the disk failed in it.
fn run(
    opened: &mut Opened<MemoryDisk>,
    step: &Step,
    model: &mut Model,
    allowed: &mut Allowed,
) -> Result<(), Error> {
    if let Some(snapshot) = step.saves(model) {
        let last = snapshot.meta.last;
        let mut after = model.clone();
        after.snapshot = (last.index.0, last.term.0);
        if last.index.0 > model.last() {
            // Whatever the log holds goes when a snapshot beyond it is found.
            after.first = last.index.0 + 1;
            after.entries.clear();
        }
        allowed.perhaps(&after);
        opened.snapshots.save(&snapshot)?;
        *model = after;
        allowed.surely(model);
    }
    // The batches of an install are made before its snapshot moves the model.
    for batch in step.batches(model) {
        let is_reset = matches!(step, Step::Install(_));
        let batch = if is_reset { vec![reset(model.snapshot.1, model.snapshot.0)] } else { batch };
        let mut after = model.clone();
        batch.iter().for_each(|persist| after.apply(persist));
        allowed.perhaps(&after);
        opened.wal.persist(&batch)?;
        *model = after;
        allowed.surely(model);
    }
    match step {
        Step::Purge => opened.wal.purge(Index(model.snapshot.0)),
        Step::Idle => opened.wal.idle().map(|_| ()),
        Step::Mark => opened.wal.mark(),
        Step::Append { .. }
        | Step::Vote(_)
        | Step::Conflict(_)
        | Step::Checkpoint(_)
        | Step::Install(_)
        | Step::Restart => Ok(()),
    }
}

/// Opens until it works; the machine may stop several times on the way.
fn start(disk: &MemoryDisk, seed: u64, faults: u64) -> Opened<MemoryDisk> {
    for round in 0..faults {
        disk.fault_at((seed >> round) % 23, Fault::Stop);
        match open(disk.clone(), &options()) {
            Ok(opened) => {
                drop(opened);
                disk.crash(seed + round);
            }
            Err(Error::Io { .. }) => disk.crash(seed + round),
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }
    open(disk.clone(), &options()).unwrap_or_else(|error| panic!("seed {seed}: {error}"))
}

pub(super) fn steps_of(seed: u64, n: usize) -> Vec<Step> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    (0..n).map(|_| step().new_tree(&mut runner).unwrap().current()).collect()
}

/// Runs the steps of a seed, with the machine stopping every now and then at any call.
fn survive(seed: u64, fault: Fault, n_steps: usize) -> bool {
    let disk = MemoryDisk::new();
    let mut model = Model::new();
    let mut allowed = Allowed { states: vec![model.clone()] };
    let mut opened = start(&disk, seed, seed % 3);
    let mut dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = |limit: u64| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        dice % limit
    };
    disk.fault_at(next(60), fault);
    for step in steps_of(seed, n_steps) {
        let stopped = run(&mut opened, &step, &mut model, &mut allowed).is_err();
        if stopped || matches!(step, Step::Restart) {
            // A want of room that was noticed in time is no failure.
            let is_full = !opened.wal.is_poisoned() && !opened.snapshots.is_poisoned();
            if stopped && !(is_full && fault == Fault::Full) {
                assert_poisoned(&mut opened, &disk);
            }
            drop(opened);
            match next(4) {
                0 => disk.kill(),
                _ => disk.crash(next(u64::MAX)),
            }
            opened = start(&disk, next(u64::MAX / 2), next(3));
            model = allowed.found(&opened);
            allowed.surely(&model);
            disk.fault_at(next(60), fault);
        }
    }
    let is_reused = |(name, content): (String, Vec<u8>)| {
        name.starts_with("log-") && name.ends_with(".zk") && content[88] & 2 != 0
    };
    disk.contents().into_iter().any(is_reused)
}

/// After a failure the half that failed does nothing any more.
fn assert_poisoned(opened: &mut Opened<MemoryDisk>, disk: &MemoryDisk) {
    let calls = disk.calls();
    if matches!(opened.wal.persist(&[]), Err(Error::Poisoned)) {
        assert!(matches!(opened.wal.persist(&[append(9, 9, 9)]), Err(Error::Poisoned)));
        assert!(matches!(opened.wal.idle(), Err(Error::Poisoned)));
        assert!(matches!(opened.wal.purge(Index(1)), Err(Error::Poisoned)));
    } else {
        assert!(matches!(opened.snapshots.save(&snapshot(1, 1)), Err(Error::Poisoned)));
    }
    assert_eq!(disk.calls(), calls);
}

#[test]
fn what_was_reported_durable_survives_power_cuts() {
    let n_reused = (0..3_000).filter(|seed| survive(*seed, Fault::Stop, 50)).count();
    assert!(n_reused > 100, "in {n_reused} stories of 3,000 a segment's file was used again");
}

#[test]
fn a_failed_write_or_sync_is_never_taken_for_a_good_one() {
    for seed in 0..500 {
        survive(seed, Fault::Fail, 30);
    }
}

#[test]
fn a_full_disk_loses_nothing() {
    for seed in 0..300 {
        survive(seed, Fault::Full, 30);
    }
}

#[test]
fn each_call_of_a_fixed_story_may_be_the_last() {
    let story = |opened: &mut Opened<MemoryDisk>, model: &mut Model, allowed: &mut Allowed| {
        let steps = [
            Step::Vote(1),
            Step::Append { n: 5, size: 900, n_parts: 2 },
            Step::Conflict(4),
            Step::Append { n: 5, size: 900, n_parts: 2 },
            Step::Checkpoint(1),
            Step::Append { n: 5, size: 900, n_parts: 1 },
            Step::Checkpoint(1),
            Step::Purge,
            Step::Install(5),
            Step::Append { n: 5, size: 1400, n_parts: 2 },
            Step::Purge,
            Step::Vote(2),
            Step::Checkpoint(1),
            Step::Checkpoint(0),
            Step::Purge,
            Step::Append { n: 5, size: 1400, n_parts: 2 },
            Step::Append { n: 2, size: 900, n_parts: 1 },
            Step::Checkpoint(1),
            Step::Purge,
            Step::Append { n: 5, size: 1400, n_parts: 1 },
        ];
        steps.iter().try_for_each(|step| run(opened, step, model, allowed))
    };
    for at in 0.. {
        let mut finished = false;
        for seed in 0..12 {
            let disk = MemoryDisk::new();
            let mut model = Model::new();
            let mut allowed = Allowed { states: vec![model.clone()] };
            let mut opened = reopen(&disk);
            disk.fault_at(at, Fault::Stop);
            finished = story(&mut opened, &mut model, &mut allowed).is_ok();
            drop(opened);
            disk.crash(seed);
            allowed.found(&reopen(&disk));
        }
        if finished {
            assert!(at > 60, "the story makes {at} calls");
            return;
        }
    }
}

#[test]
fn a_folder_that_was_never_finished_is_begun_again() {
    for at in 0..30 {
        for seed in 0..20 {
            let disk = MemoryDisk::new();
            disk.fault_at(at, Fault::Stop);
            let first = open(disk.clone(), &options());
            disk.crash(seed);
            drop(first);
            let opened = reopen(&disk);
            assert_eq!(opened.recovered.hard_state, HardState::default());
            assert!(opened.recovered.entries.is_empty());
        }
    }
}
