//! What the driver asks of the storage workers.
//!
//! Invariant: when one of them has ended nothing more is asked of any: the server is about to end.

use super::driver::Driver;
use super::log_writer::LogJob;
use super::scrubber::ScrubJob;
use super::snapshot_writer::SnapshotJob;

impl Driver {
    pub(super) fn write_log(&mut self, job: LogJob) {
        if self.storage.as_ref().is_none_or(|storage| storage.log.send(job).is_err()) {
            self.lose_storage();
        }
    }

    pub(super) fn read_at_rest(&mut self, job: ScrubJob) {
        if self.storage.as_ref().is_none_or(|storage| storage.scrub.send(job).is_err()) {
            self.lose_storage();
        }
    }

    pub(super) fn keep(&mut self, job: SnapshotJob) {
        if self.storage.as_ref().is_none_or(|it| it.snapshots.send(job).is_err()) {
            self.lose_storage();
        }
    }

    /// A worker has ended. Nothing more is carried out; why, its report says, which it sent before
    /// and which is on its way.
    pub(super) fn lose_storage(&mut self) {
        self.storage = None;
    }
}
