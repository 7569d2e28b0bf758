//! The keys that say how servers deal with each other.
//!
//! All of them are system properties of ZooKeeper, or have one as their other name, so that their
//! numbers are written as Java's `Integer.decode` reads them.
//! Source: `zookeeper: LearnerSyncThrottler`, `QuorumPeerConfig.parseProperties`.

use super::keys::Keys;
use super::limits::integer;
use super::properties::ConfigError;

/// What one server does for, and to, the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSettings {
    /// `leader.maxConcurrentSnapSyncs`: snapshots under way at a time, beyond which observers wait
    /// for their turn. At least 1. Default 10.
    pub max_snapshots: usize,
    /// `leader.maxConcurrentDiffSyncs`: servers that are brought into step by the log at a time,
    /// likewise. At least 1. Default 100.
    pub max_log_syncs: usize,
}

/// The keys that this file reads.
pub(super) const KEYS: &[&str] =
    &["leader.maxConcurrentDiffSyncs", "leader.maxConcurrentSnapSyncs"];

impl Default for PeerSettings {
    fn default() -> Self {
        PeerSettings { max_snapshots: 10, max_log_syncs: 100 }
    }
}

impl PeerSettings {
    /// Reads them. An `Err` is what is malformed.
    pub(super) fn read(keys: &Keys<'_>) -> Result<Self, ConfigError> {
        let default = PeerSettings::default();
        let count = |key: &str, default: usize| {
            let found = integer(keys, key, 1..=i32::MAX.into())?;
            Ok::<_, ConfigError>(found.map_or(default, |count| count as usize))
        };
        Ok(PeerSettings {
            max_snapshots: count("leader.maxConcurrentSnapSyncs", default.max_snapshots)?,
            max_log_syncs: count("leader.maxConcurrentDiffSyncs", default.max_log_syncs)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::properties::Properties;
    use super::*;

    fn read(text: &str) -> Result<PeerSettings, String> {
        let properties = Properties::parse(Path::new("zoo.cfg"), text.as_bytes()).unwrap();
        PeerSettings::read(&Keys::new(&properties)).map_err(|error| error.problem)
    }

    #[test]
    fn how_many_servers_come_into_step_at_a_time_is_read() {
        assert_eq!(read(""), Ok(PeerSettings::default()));
        let text = "leader.maxConcurrentSnapSyncs=0x2\nleader.maxConcurrentDiffSyncs=7\n";
        let expected = PeerSettings { max_snapshots: 2, max_log_syncs: 7 };
        assert_eq!(read(text), Ok(expected));
        for text in ["leader.maxConcurrentSnapSyncs=0", "leader.maxConcurrentDiffSyncs=-1"] {
            let problem = read(text).unwrap_err();
            assert!(problem.contains("write a whole number from 1 to"), "{problem}");
        }
    }
}
