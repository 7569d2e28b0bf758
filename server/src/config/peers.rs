//! The keys that say how servers deal with each other.
//!
//! All of them are system properties of ZooKeeper, or have one as their other name, so that their
//! numbers are written as Java's `Integer.decode` reads them.
//! Source: `zookeeper: LearnerSyncThrottler`, `QuorumPeerConfig.parseProperties`.

use std::time::Duration;

use super::keys::Keys;
use super::limits::{integer, milliseconds};
use super::member::ServerLine;
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
    /// Whether there is an `observerMasterPort`: observers are fed by followers. The port itself is
    /// not opened. Default false.
    pub relays: bool,
    /// `multiAddress.enabled`: a server may have several addresses. Default false.
    pub several_addresses: bool,
    /// `multiAddress.reachabilityCheckEnabled`: the way to a server that has several is given up
    /// when nothing has come back on it for twice the time below, instead of after the six seconds
    /// that a connection between servers has otherwise. Default true.
    pub reach_check: bool,
    /// `multiAddress.reachabilityCheckTimeoutMs`: how long one of several addresses may take to
    /// answer before the next is tried. Default 1 s.
    pub reach_timeout: Duration,
    /// `zokor.snapshotRateMb`, in bytes: so much of a snapshot goes to another server in a second
    /// at most; 0, the default, sets no limit.
    pub snapshot_rate: u64,
}

/// The keys that this file reads.
pub(super) const KEYS: &[&str] = &[
    "leader.maxConcurrentDiffSyncs",
    "leader.maxConcurrentSnapSyncs",
    "multiAddress.enabled",
    "multiAddress.reachabilityCheckEnabled",
    "multiAddress.reachabilityCheckTimeoutMs",
    "observerMasterPort",
];

impl Default for PeerSettings {
    fn default() -> Self {
        PeerSettings {
            max_snapshots: 10,
            max_log_syncs: 100,
            relays: false,
            several_addresses: false,
            reach_check: true,
            reach_timeout: Duration::from_secs(1),
            snapshot_rate: 0,
        }
    }
}

impl PeerSettings {
    /// An `Err` is a sentence about the first of `lines` with more addresses than it may have.
    pub(super) fn check_addresses(
        &self,
        keys: &Keys<'_>,
        lines: &[ServerLine],
    ) -> Result<(), ConfigError> {
        let line = lines.iter().find(|line| line.addresses.len() > 1);
        let Some(line) = line.filter(|_| !self.several_addresses) else { return Ok(()) };
        let problem = format!(
            "server.{} has {} addresses, and one is all that is allowed; add a line \
             multiAddress.enabled=true on every server, or leave one address",
            line.id,
            line.addresses.len()
        );
        Err(keys.error(&format!("server.{}", line.id), problem))
    }

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
            relays: keys.number("observerMasterPort", 0..=u16::MAX)?.is_some_and(|port| port > 0),
            several_addresses: keys.boolean("multiAddress.enabled", default.several_addresses)?,
            reach_check: keys
                .boolean("multiAddress.reachabilityCheckEnabled", default.reach_check)?,
            reach_timeout: milliseconds(keys, "multiAddress.reachabilityCheckTimeoutMs", 1)?
                .unwrap_or(default.reach_timeout),
            snapshot_rate: integer(keys, "zokor.snapshotRateMb", 0..=i32::MAX.into())?
                .map_or(default.snapshot_rate, |megabytes| (megabytes as u64) << 20),
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
        let expected =
            PeerSettings { max_snapshots: 2, max_log_syncs: 7, ..PeerSettings::default() };
        assert_eq!(read(text), Ok(expected));
        for text in ["leader.maxConcurrentSnapSyncs=0", "leader.maxConcurrentDiffSyncs=-1"] {
            let problem = read(text).unwrap_err();
            assert!(problem.contains("write a whole number from 1 to"), "{problem}");
        }
    }

    #[test]
    fn how_fast_snapshots_go_is_read() {
        let read = |text: &str| read(text).map(|settings| settings.snapshot_rate);
        assert_eq!(read(""), Ok(0));
        assert_eq!(read("zokor.snapshotRateMb=20"), Ok(20 << 20));
        let problem = read("zokor.snapshotRateMb=-1").unwrap_err();
        assert!(problem.contains("write a whole number from 0 to"), "{problem}");
    }

    #[test]
    fn a_port_for_observers_at_followers_lets_followers_feed_them() {
        let read = |text: &str| read(text).map(|settings| settings.relays);
        assert_eq!(read("observerMasterPort=2191"), Ok(true));
        assert_eq!(read("observerMasterPort=0"), Ok(false));
        assert!(read("observerMasterPort=x").is_err());
    }

    #[test]
    fn what_becomes_of_several_addresses_is_read() {
        let text = "multiAddress.enabled=TRUE\nmultiAddress.reachabilityCheckEnabled=false\n\
                    multiAddress.reachabilityCheckTimeoutMs=250\n";
        let expected = PeerSettings {
            several_addresses: true,
            reach_check: false,
            reach_timeout: Duration::from_millis(250),
            ..PeerSettings::default()
        };
        assert_eq!(read(text), Ok(expected));
        for text in ["multiAddress.enabled=yes", "multiAddress.reachabilityCheckTimeoutMs=0"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
