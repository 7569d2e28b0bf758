//! The rules of the leader by which an action is applied.
//!
//! Invariant: every server applies an entry by the rules stamped on it, never by its own settings.
//! Servers that are configured differently, as they are while an operator edits one file after the
//! other, go on having the same state.

use serde::{Deserialize, Serialize};

/// What the settings of the leader were when it took an action up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rules {
    /// ZooKeeper's `extendedTypesEnabled`: whether TTL znodes may be made. Those that are there are
    /// what they are, whatever is set.
    #[serde(default)]
    pub extended_types: bool,
    /// ZooKeeper's `skipACL`: nobody is asked for a permission. A list that a client sends must be
    /// valid all the same.
    #[serde(default)]
    pub skip_acl: bool,
    /// ZooKeeper's `enforceQuota`: whether a hard quota refuses what would exceed it. Usage is
    /// counted in any case.
    #[serde(default)]
    pub enforce_quota: bool,
    /// No quorum has room on its disks: what would store anything is refused. Not a setting; see
    /// [`Action::stores`](super::Action::stores).
    #[serde(default)]
    pub no_room: bool,
}

impl Rules {
    /// One bit for each rule, the first the lowest; none is set by default.
    pub fn bits(self) -> u8 {
        let rules = [self.extended_types, self.skip_acl, self.enforce_quota, self.no_room];
        rules.iter().enumerate().map(|(place, &rule)| u8::from(rule) << place).sum()
    }

    /// The rules of these bits; `None` if one is set that means nothing.
    pub fn from_bits(bits: u8) -> Option<Rules> {
        let has = |place: u8| bits >> place & 1 == 1;
        let rules = Rules {
            extended_types: has(0),
            skip_acl: has(1),
            enforce_quota: has(2),
            no_room: has(3),
        };
        (bits >> 4 == 0).then_some(rules)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_bits_and_back_and_no_other_bits_are_rules() {
        assert_eq!(Rules::default().bits(), 0);
        for bits in 0..=u8::MAX {
            let rules = Rules::from_bits(bits);
            assert_eq!(rules.is_some(), bits < 16, "{bits}");
            assert!(rules.is_none_or(|rules| rules.bits() == bits));
        }
        assert_eq!(Rules { enforce_quota: true, ..Rules::default() }.bits(), 4);
    }
}
