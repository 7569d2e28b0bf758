//! What becomes of snapshots: they are saved, and found to be wrong, and replaced, in the order in
//! which that was asked for.

use std::collections::VecDeque;

use zokor_core::raft::{Index, Ticket};
use zokor_core::replica::Snapshot;

use super::log_writer::{Done, Refusal, Steps};
use crate::storage::{Disk, Snapshots};

/// Where snapshots go.
pub trait SnapshotStore: Send + 'static {
    /// Makes the snapshot durable.
    ///
    /// # Errors
    /// If the disk fails, or has no room.
    fn save(&mut self, snapshot: &Snapshot) -> Result<(), Refusal>;

    /// Remembers durably, for the reason `why`, that no snapshot here is to be trusted, and keeps
    /// `evidence` if there is room: in which file.
    ///
    /// # Errors
    /// As above.
    fn distrust(&mut self, why: &str, evidence: &Snapshot) -> Result<Option<String>, Refusal>;

    /// The snapshot up to `from` is right: forgets that, and those of before.
    ///
    /// # Errors
    /// As above.
    fn trust(&mut self, from: Index) -> Result<(), Refusal>;
}

impl<D: Disk> SnapshotStore for Snapshots<D> {
    fn save(&mut self, snapshot: &Snapshot) -> Result<(), Refusal> {
        Snapshots::save(self, snapshot).map_err(|error| Refusal::of(&error, self.is_poisoned()))
    }

    fn distrust(&mut self, why: &str, evidence: &Snapshot) -> Result<Option<String>, Refusal> {
        let done = Snapshots::distrust(self, why, evidence);
        done.map_err(|error| Refusal::of(&error, self.is_poisoned()))
    }

    fn trust(&mut self, from: Index) -> Result<(), Refusal> {
        Snapshots::trust(self, from).map_err(|error| Refusal::of(&error, self.is_poisoned()))
    }
}

/// What is asked of the snapshots.
#[derive(Debug)]
pub enum SnapshotJob {
    /// It is to be durable.
    Save {
        /// To be named when it is done.
        ticket: Ticket,
        /// What to keep.
        snapshot: Snapshot,
    },
    /// None that is there is to be trusted.
    Distrust {
        /// Why, for people.
        why: String,
        /// What is wrong.
        evidence: Snapshot,
    },
    /// From this one on they are.
    Trust {
        /// The last index of the first that is right.
        from: Index,
    },
}

/// The snapshots' steps.
#[derive(Debug)]
pub struct SnapshotSteps<S> {
    store: S,
    /// What is not done yet, in order.
    waiting: VecDeque<SnapshotJob>,
    /// The first of them finds no room, and that was told.
    is_stuck: bool,
}

impl<S: SnapshotStore> SnapshotSteps<S> {
    pub(super) fn new(store: S) -> Self {
        SnapshotSteps { store, waiting: VecDeque::new(), is_stuck: false }
    }

    fn carry_out(&mut self) -> Result<Option<Done>, Refusal> {
        let store = &mut self.store;
        match self.waiting.front() {
            None => Ok(None),
            Some(SnapshotJob::Save { ticket, snapshot }) => {
                store.save(snapshot).map(|()| Some(Done::Checkpointed(*ticket)))
            }
            Some(SnapshotJob::Distrust { why, evidence }) => {
                store.distrust(why, evidence).map(|file| Some(Done::Distrusted(file)))
            }
            Some(SnapshotJob::Trust { from }) => store.trust(*from).map(|()| None),
        }
    }
}

impl<S: SnapshotStore> Steps for SnapshotSteps<S> {
    type Job = SnapshotJob;
    const NAME: &'static str = "snapshot writer";

    fn step(&mut self, jobs: &mut Vec<SnapshotJob>) -> Result<Option<Done>, String> {
        self.waiting.extend(jobs.drain(..));
        match self.carry_out() {
            Ok(done) => {
                self.waiting.pop_front();
                self.is_stuck = false;
                Ok(done)
            }
            Err(Refusal::Full(why)) => {
                let is_news = !std::mem::replace(&mut self.is_stuck, true);
                Ok(is_news.then_some(Done::Waits(why)))
            }
            Err(Refusal::Failed(why)) => Err(why),
        }
    }

    fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use zokor_core::db::Database;
    use zokor_core::proto::Zxid;
    use zokor_core::raft::SnapshotMeta;

    use super::*;

    /// What was done, and how many calls find no room.
    #[derive(Default)]
    struct Store(Vec<&'static str>, usize);

    impl Store {
        fn has(&mut self, what: &'static str) -> Result<(), Refusal> {
            if self.1 > 0 {
                self.1 -= 1;
                return Err(Refusal::Full("no space is left".to_owned()));
            }
            self.0.push(what);
            Ok(())
        }
    }

    impl SnapshotStore for Store {
        fn save(&mut self, _: &Snapshot) -> Result<(), Refusal> {
            self.has("save")
        }

        fn distrust(&mut self, _: &str, _: &Snapshot) -> Result<Option<String>, Refusal> {
            self.has("distrust").map(|()| Some("evidence".to_owned()))
        }

        fn trust(&mut self, _: Index) -> Result<(), Refusal> {
            self.has("trust")
        }
    }

    #[test]
    fn what_is_asked_is_done_in_order_and_a_want_of_room_is_told_once() {
        let image = Database::new().freeze();
        let snapshot = Snapshot { meta: SnapshotMeta::default(), zxid: Zxid(0), image };
        let evidence = snapshot.clone();
        let mut jobs = vec![
            SnapshotJob::Distrust { why: String::new(), evidence },
            SnapshotJob::Save { ticket: Ticket(1), snapshot },
            SnapshotJob::Trust { from: Index(1) },
        ];
        let mut steps = SnapshotSteps::new(Store(Vec::new(), 2));
        assert!(matches!(steps.step(&mut jobs), Ok(Some(Done::Waits(_)))));
        assert!(matches!(steps.step(&mut jobs), Ok(None)) && steps.waits());
        assert!(matches!(steps.step(&mut jobs), Ok(Some(Done::Distrusted(Some(_))))));
        assert!(matches!(steps.step(&mut jobs), Ok(Some(Done::Checkpointed(Ticket(1))))));
        assert!(matches!(steps.step(&mut jobs), Ok(None)) && !steps.waits());
        assert_eq!(steps.store.0, ["distrust", "save", "trust"]);
    }
}
