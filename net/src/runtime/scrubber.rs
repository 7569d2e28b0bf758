//! The worker that reads what is at rest, and how much it is granted.
//!
//! Invariant: a grant is given when the one before it was used up, or needed no more, so that a
//! slow disk gets no queue of them; and what a server reads in a second is what its limit says.

use std::time::Duration;

use zokor_core::Input;
use zokor_core::time::{Instant, Now};

use super::driver::Driver;
use super::facts::ScrubFacts;
use super::log_writer::{Done, LogJob, Steps};
use crate::storage::{Disk, Scrub, ScrubCounts, Scrubbed};

/// Who reads what is at rest.
pub trait ScrubStore: Send + 'static {
    /// Reads about so many bytes more.
    fn scrub(&mut self, now: Instant, n_bytes: u64) -> Scrubbed;
}

impl<D: Disk> ScrubStore for Scrub<D> {
    fn scrub(&mut self, now: Instant, n_bytes: u64) -> Scrubbed {
        self.step(now, n_bytes)
    }
}

/// Nothing is at rest.
impl ScrubStore for () {
    fn scrub(&mut self, _: Instant, _: u64) -> Scrubbed {
        Scrubbed::default()
    }
}

/// So many bytes may be read, now.
#[derive(Clone, Copy, Debug)]
pub struct ScrubJob {
    pub(super) now: Instant,
    pub(super) n_bytes: u64,
}

/// The steps of who reads.
#[derive(Debug)]
pub struct ScrubSteps<C>(pub(super) C);

impl<C: ScrubStore> Steps for ScrubSteps<C> {
    type Job = ScrubJob;
    const NAME: &'static str = "reader of what is at rest";

    fn step(&mut self, jobs: &mut Vec<ScrubJob>) -> Result<Option<Done>, String> {
        let n_bytes = jobs.iter().map(|job| job.n_bytes).sum();
        let Some(ScrubJob { now, .. }) = jobs.drain(..).next_back() else { return Ok(None) };
        Ok(Some(Done::Scrubbed(Box::new(self.0.scrub(now, n_bytes)))))
    }

    fn waits(&self) -> bool {
        false
    }
}

/// What is granted, and what it has come to.
#[derive(Debug)]
pub(super) struct Grants {
    /// Since when nothing was granted; `None` while a grant is out.
    since: Option<Instant>,
    pub(super) counts: ScrubCounts,
}

impl Grants {
    pub(super) fn new(now: Instant) -> Self {
        Grants { since: Some(now), counts: ScrubCounts::default() }
    }

    /// What may be read now at this rate; `None` if nothing.
    fn next(&mut self, now: Instant, bytes_per_second: u64) -> Option<u64> {
        let since = self.since?;
        let passed = now.since(since).min(LONGEST);
        let micros = u128::from(bytes_per_second) * passed.as_micros();
        let n_bytes = u64::try_from(micros / 1_000_000).unwrap_or(u64::MAX);
        if n_bytes == 0 {
            return None;
        }
        self.since = None;
        Some(n_bytes)
    }
}

impl Driver {
    /// Grants what may be read of what is at rest.
    pub(super) fn grant_scrub(&mut self, now: Now) {
        let rate = self.limits.scrub_bytes_per_second;
        if let Some(n_bytes) = self.scrub.next(now.instant, rate) {
            self.read_at_rest(ScrubJob { now: now.instant, n_bytes });
        }
    }

    /// How the reading stands.
    pub(super) fn scrub_facts(&self, now: Now) -> ScrubFacts {
        let counts = self.scrub.counts;
        let ended = counts.last_round_ended;
        ScrubFacts { counts, since_last_round: ended.map(|ended| now.instant.since(ended)) }
    }

    /// A grant was used.
    pub(super) fn scrubbed(&mut self, now: Now, scrubbed: Scrubbed) {
        let Scrubbed { damage, repairs, doubts, mends_log, wanted, counts } = scrubbed;
        self.scrub = Grants { since: Some(now.instant), counts };
        for what in damage {
            tracing::error!(what, "damage at rest: the disk does not keep what it was given");
        }
        for what in repairs {
            tracing::warn!(what, "damage at rest was put right");
        }
        for what in doubts {
            tracing::warn!(what, "a file at rest is left for the next round");
        }
        if mends_log {
            self.write_log(LogJob::Mend);
        }
        if let Some(above) = wanted {
            self.machine.handle(now, Input::SnapshotWanted { above });
        }
    }
}

/// What a server has missed for longer than this, it does not make up for.
const LONGEST: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1_000)
    }

    #[test]
    fn grants_add_up_to_the_rate_and_one_is_out_at_a_time() {
        let mut grants = Grants::new(at(0));
        assert_eq!(grants.next(at(0), 1_000), None, "no time has passed");
        assert_eq!(grants.next(at(250), 1_000), Some(250));
        assert_eq!(grants.next(at(500), 1_000), None, "one is out");
        grants.since = Some(at(600));
        assert_eq!(grants.next(at(850), 1_000), Some(250));
        grants.since = Some(at(900));
        assert_eq!(grants.next(at(900_000), 1_000), Some(1_000), "nothing is made up for");
        grants.since = Some(at(0));
        assert_eq!(grants.next(at(100), 0), None, "switched off");
        assert_eq!(grants.next(at(100), 3), None, "too little yet");
        assert_eq!(grants.next(at(400), 3), Some(1));
    }
}
