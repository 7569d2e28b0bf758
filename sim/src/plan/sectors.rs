//! The plan of disks of sectors.

use serde::{Deserialize, Serialize};

use crate::rng::{Concern, Stream};

/// What a disk of sectors is like, and how it fails.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SectorPlan {
    /// Bytes of a sector: 512 or 4096.
    pub sector_bytes: usize,
    /// As in `storage::Options`.
    pub segment_bytes: u64,
    /// As in `storage::Options`.
    pub snapshots_kept: usize,
    /// Writes and syncs fail.
    pub errors: bool,
    /// Disks are full for a time.
    pub full: bool,
    /// Disks of a minority are damaged or lost.
    pub damage: bool,
    /// What is damaged comes back: servers open their disks as ones that have peers, and operators
    /// replace what cannot be opened. Else damage ends a server.
    #[serde(default)]
    pub repairs: bool,
    /// Servers read what is at rest, and damage at rest comes while they run.
    #[serde(default)]
    pub scrubs: bool,
    /// Where damage comes back, some of it strikes a log where its last term and vote stand.
    #[serde(default)]
    pub votes: bool,
}

impl SectorPlan {
    /// The disks of the run of `seed`, whichever world it is for.
    pub fn new(seed: u64, calm: bool, all: bool) -> Self {
        let s = &mut Stream::new(seed, Concern::Sectors);
        let on = |s: &mut Stream| !calm && (s.coin() || all);
        SectorPlan {
            sector_bytes: *s.pick(&[512, 512, 4096]),
            segment_bytes: 4096 * s.log_between(2, 32),
            snapshots_kept: s.between(1, 3) as usize,
            errors: on(s),
            full: on(s),
            damage: on(s),
            repairs: !calm && s.below(3) > 0,
            scrubs: s.below(2) == 0,
            votes: !calm && s.coin(),
        }
    }

    /// Small sectors of which nothing fails by chance: a scene damages them, and what is damaged
    /// comes back.
    pub fn mending(segment_bytes: u64) -> Self {
        SectorPlan {
            sector_bytes: 512,
            segment_bytes,
            snapshots_kept: 2,
            errors: false,
            full: false,
            damage: true,
            repairs: true,
            scrubs: false,
            votes: false,
        }
    }

    /// Whether logs rot where their votes are.
    pub fn rots_votes(&self) -> bool {
        self.damage && self.repairs && self.votes
    }
}
