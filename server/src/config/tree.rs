//! What is to be done to the data tree, and what not: the keys behind the leader's rules, and those
//! of its reaping.
//!
//! Invariant: none of it need be the same on all servers. The leader's rules go with each
//! transaction, so that servers with different files have the same tree.

use std::time::Duration;

use zokor_core::db::Rules;
use zokor_core::id::ServerId;

use super::keys::Keys;
use super::properties::ConfigError;

/// The tree's part of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeConfig {
    /// `extendedTypesEnabled`, `skipACL` and `enforceQuota`. By default none is set.
    pub rules: Rules,
    /// `enableEagerACLCheck`: a write without permission is refused before it is put to the
    /// ensemble. Default false.
    pub eager_acl: bool,
    /// `znode.container.checkIntervalMs`: how often the leader looks for empty containers and
    /// overdue TTL znodes. Default 60 s.
    pub reap_interval: Duration,
    /// `znode.container.maxPerMinute`: how many it takes away a minute. At least 1. Default 10,000.
    pub reap_per_minute: u32,
    /// `znode.container.maxNeverUsedIntervalMs`: how long a container may stay that never had a
    /// child; zero for ever. Default zero.
    pub reap_unused_after: Duration,
    /// `digest.enabled`: the state is compared with those of the other servers. Default true.
    pub compares_states: bool,
}

impl Default for TreeConfig {
    fn default() -> Self {
        TreeConfig {
            rules: Rules::default(),
            eager_acl: false,
            reap_interval: Duration::from_secs(60),
            reap_per_minute: 10_000,
            reap_unused_after: Duration::ZERO,
            compares_states: true,
        }
    }
}

impl TreeConfig {
    /// What `keys` say, for an ensemble of `servers`. An `Err` is a malformed value, or a server id
    /// that TTL znodes leave no room for.
    pub(super) fn read(
        keys: &Keys<'_>,
        servers: impl Iterator<Item = ServerId>,
    ) -> Result<Self, ConfigError> {
        let defaults = TreeConfig::default();
        let millis = |key: &str, least: u64| {
            let found = keys.number(key, least..=i32::MAX as u64)?;
            Ok::<_, ConfigError>(found.map(Duration::from_millis))
        };
        let rules = Rules {
            extended_types: keys.boolean("extendedTypesEnabled", false)?,
            skip_acl: skip_acl(keys)?,
            enforce_quota: keys.boolean("enforceQuota", false)?,
            // Never a setting: the leader knows when.
            no_room: false,
        };
        let emulated = keys.boolean("emulate353TTLNodes", false)?;
        if rules.extended_types {
            check_ids(keys, emulated, servers)?;
        }
        Ok(TreeConfig {
            rules,
            eager_acl: keys.boolean("enableEagerACLCheck", false)?,
            reap_interval: millis("znode.container.checkIntervalMs", 1)?
                .unwrap_or(defaults.reap_interval),
            reap_per_minute: keys
                .number("znode.container.maxPerMinute", 1..=i32::MAX as u32)?
                .unwrap_or(defaults.reap_per_minute),
            reap_unused_after: millis("znode.container.maxNeverUsedIntervalMs", 0)?
                .unwrap_or(defaults.reap_unused_after),
            compares_states: keys.boolean("digest.enabled", defaults.compares_states)?,
        })
    }
}

/// Unlike all other switches, ZooKeeper's has "yes" for a word, and takes "true" for a no.
fn skip_acl(keys: &Keys<'_>) -> Result<bool, ConfigError> {
    match keys.text("skipACL") {
        None | Some("no") => Ok(false),
        Some("yes") => Ok(true),
        Some(other) => Err(keys.error("skipACL", format!("skipACL is {other:?}; write yes or no"))),
    }
}

/// Session ids begin with the server's id, and marks of TTL znodes with 0xff; those of ZooKeeper
/// 3.5.3 with 0x80. zokor stores no mark of the latter kind, but a server id that is refused there
/// is refused here, so that the way back stays open.
fn check_ids(
    keys: &Keys<'_>,
    emulated: bool,
    servers: impl Iterator<Item = ServerId>,
) -> Result<(), ConfigError> {
    let (largest, key) =
        if emulated { (127, "emulate353TTLNodes") } else { (254, "extendedTypesEnabled") };
    for id in servers {
        if id.0 > largest {
            let problem = format!(
                "{key}=true leaves room for server ids up to {largest} only, and there is server \
                 {id}; give it a smaller id, or switch {key} off"
            );
            return Err(keys.error(key, problem));
        }
    }
    Ok(())
}
