//! Groups of servers with weights: ZooKeeper's hierarchical quorums.
//!
//! A set of servers is a quorum if it has more than half of the weight of more than half of the
//! groups that weigh anything. What a group holds is fixed when it is read; who counts is up to
//! whoever votes.
//!
//! Invariant: a server is in one group at most, a group is never empty, and no weight is larger
//! than [`MAX_WEIGHT`]. Source: `zookeeper: QuorumHierarchical`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::ServerId;

/// The largest weight of one server: that of ZooKeeper's files, a signed number of 64 bits.
pub const MAX_WEIGHT: u64 = i64::MAX as u64;

/// Which servers stand together, and what each weighs. Without any group every voter weighs the
/// same, and a majority decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Groups(Option<Arc<ByNumber>>);

/// Shared, so that memberships, most of which have none, stay small. Never empty.
type ByNumber = BTreeMap<u64, BTreeMap<ServerId, u64>>;

impl Groups {
    /// None: a majority decides.
    pub const fn none() -> Self {
        Groups(None)
    }

    /// Whether there are none: a majority decides.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Puts `server` into the group of this number. Whether that could be: it is in no group yet,
    /// and its weight is not too large.
    #[must_use]
    pub fn put(&mut self, group: u64, server: ServerId, weight: u64) -> bool {
        if weight > MAX_WEIGHT || self.weight(server).is_some() {
            return false;
        }
        let by_number = Arc::make_mut(self.0.get_or_insert_default());
        by_number.entry(group).or_default().insert(server, weight);
        true
    }

    /// What `server` weighs, if it is in a group.
    pub fn weight(&self, server: ServerId) -> Option<u64> {
        self.iter().find_map(|(_, members)| members.get(&server).copied())
    }

    /// Whether the word of `server` counts among those that are in groups: always, if there are
    /// none.
    pub fn weighs(&self, server: ServerId) -> bool {
        self.is_empty() || self.weight(server).is_some_and(|weight| weight > 0)
    }

    /// The groups, ascending by number, each with its servers and their weights, ascending by id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u64, &BTreeMap<ServerId, u64>)> + Clone {
        let by_number = self.0.as_deref().unwrap_or(&NOBODY);
        by_number.iter().map(|(number, members)| (*number, members))
    }

    /// Every server that is in a group, and its weight; ascending by id.
    pub fn weights(&self) -> BTreeMap<ServerId, u64> {
        let members = self.iter().flat_map(|(_, members)| members);
        members.map(|(server, weight)| (*server, *weight)).collect()
    }

    /// The groups that the two kinds of lines speak of, for an ensemble of these voters and
    /// observers. A voter without a weight weighs 1.
    ///
    /// # Errors
    /// What ZooKeeper would not take, and what could decide nothing.
    pub fn of_lines<'a>(
        lines: &[GroupLine<'a>],
        voters: &BTreeSet<ServerId>,
        observers: &BTreeSet<ServerId>,
    ) -> Result<Self, GroupsError<'a>> {
        let mut weights = BTreeMap::new();
        let is_known = |server: &ServerId| voters.contains(server) || observers.contains(server);
        for line in lines.iter().filter(|line| !line.is_group()) {
            let server = ServerId(number(line, line.number())?);
            if !is_known(&server) {
                return Err(GroupsError::Unknown { server, key: line.key });
            }
            weights.insert(server, weight_of(line)?);
        }
        let mut groups = Groups::default();
        for line in lines.iter().filter(|line| line.is_group()) {
            let group = number(line, line.number())?;
            for member in line.value.split(':') {
                let server = ServerId(number(line, member.trim())?);
                if !is_known(&server) {
                    return Err(GroupsError::Unknown { server, key: line.key });
                }
                let of_voter = voters.contains(&server).then_some(1);
                let weight = weights.get(&server).copied().or(of_voter);
                let weight = weight.ok_or(GroupsError::Unweighed { server })?;
                if !groups.put(group, server, weight) {
                    return Err(GroupsError::InTwo { server });
                }
            }
        }
        if let Some(&server) = voters.iter().find(|voter| groups.weight(**voter).is_none()) {
            return Err(GroupsError::InNone { server });
        }
        if let Some(&server) = weights.keys().find(|server| groups.weight(**server).is_none()) {
            return Err(GroupsError::InNone { server });
        }
        Ok(groups)
    }

    /// The lines that ZooKeeper would print: first the groups, then the weights.
    pub fn to_lines(&self) -> String {
        let mut text = String::new();
        for (group, members) in self.iter() {
            let members: Vec<String> = members.keys().map(ServerId::to_string).collect();
            text.push_str(&format!("group.{group}={}\n", members.join(":")));
        }
        for (server, weight) in self.weights() {
            text.push_str(&format!("weight.{server}={weight}\n"));
        }
        text
    }

    /// The groups that [`to_lines`](Groups::to_lines) has printed. What is no such line, or makes
    /// no sense, is passed over.
    pub fn from_lines(text: &str) -> Self {
        let lines = || text.lines().filter_map(GroupLine::parse);
        let weights: BTreeMap<u64, u64> = lines()
            .filter(|line| !line.is_group())
            .filter_map(|line| Some((line.number().parse().ok()?, line.value.parse().ok()?)))
            .collect();
        let mut groups = Groups::default();
        for line in lines().filter(GroupLine::is_group) {
            let Ok(group) = line.number().parse() else { continue };
            for server in line.value.split(':').filter_map(|server| server.parse().ok()) {
                let weight = weights.get(&server).copied().unwrap_or(1);
                // A server that is in another group already stays there.
                let _ = groups.put(group, ServerId(server), weight);
            }
        }
        groups
    }
}

static NOBODY: ByNumber = BTreeMap::new();

/// A line that begins with `group` or `weight`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupLine<'a> {
    /// What stands before the equals sign.
    pub key: &'a str,
    /// What stands after it.
    pub value: &'a str,
}

impl<'a> GroupLine<'a> {
    /// Whether a key speaks of groups or weights, by ZooKeeper's rule.
    pub fn is_key(key: &str) -> bool {
        key.starts_with("group") || key.starts_with("weight")
    }

    fn parse(line: &'a str) -> Option<Self> {
        let (key, value) = line.split_once('=')?;
        GroupLine::is_key(key).then_some(GroupLine { key, value })
    }

    fn is_group(&self) -> bool {
        self.key.starts_with("group")
    }

    /// The text after the first dot.
    fn number(&self) -> &'a str {
        self.key.split_once('.').map_or(self.key, |(_, number)| number)
    }
}

/// Why lines make no groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupsError<'a> {
    /// Where a number ought to stand there is something else, or one that is too large.
    NoNumber {
        /// The key of the line.
        key: &'a str,
        /// What stands there.
        found: &'a str,
    },
    /// A weight is below zero.
    Negative {
        /// The key of the line.
        key: &'a str,
        /// What stands there.
        found: &'a str,
    },
    /// A server is in two groups, or twice in one.
    InTwo {
        /// Which.
        server: ServerId,
    },
    /// A voter, or a server that has a weight, is in no group.
    InNone {
        /// Which.
        server: ServerId,
    },
    /// An observer is in a group, and no line says what it weighs.
    Unweighed {
        /// Which.
        server: ServerId,
    },
    /// A server is named that is no member.
    Unknown {
        /// Which.
        server: ServerId,
        /// The key of the line.
        key: &'a str,
    },
}

fn number<'a>(line: &GroupLine<'a>, text: &'a str) -> Result<u64, GroupsError<'a>> {
    let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| is_digits && *number <= MAX_WEIGHT);
    number.ok_or(GroupsError::NoNumber { key: line.key, found: text })
}

fn weight_of<'a>(line: &GroupLine<'a>) -> Result<u64, GroupsError<'a>> {
    let found = line.value.trim();
    match found.parse::<i64>() {
        Ok(weight) => {
            u64::try_from(weight).map_err(|_| GroupsError::Negative { key: line.key, found })
        }
        Err(_) => Err(GroupsError::NoNumber { key: line.key, found }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: &[u64]) -> BTreeSet<ServerId> {
        ids.iter().map(|id| ServerId(*id)).collect()
    }

    fn read<'a>(
        text: &'a str,
        voters: &[u64],
        observers: &[u64],
    ) -> Result<Groups, GroupsError<'a>> {
        let lines: Vec<GroupLine> = text.split(' ').filter_map(GroupLine::parse).collect();
        Groups::of_lines(&lines, &set(voters), &set(observers))
    }

    #[test]
    fn lines_become_groups_and_are_printed_as_zookeeper_prints_them() {
        let text = "weight.4=0 group.2=5:4 group.1=1:2:3 weight.3=7 weight.5=0";
        let groups = read(text, &[1, 2, 3, 4], &[5]).expect("they make sense");
        let lines = "group.1=1:2:3\ngroup.2=4:5\n\
                     weight.1=1\nweight.2=1\nweight.3=7\nweight.4=0\nweight.5=0\n";
        assert_eq!(groups.to_lines(), lines);
        assert_eq!(Groups::from_lines(lines), groups);
        assert_eq!(groups.weight(ServerId(3)), Some(7));
        assert_eq!(groups.weight(ServerId(6)), None);
        let weighs = |id| groups.weighs(ServerId(id));
        assert_eq!([1, 4, 5, 6].map(weighs), [true, false, false, false]);
        assert!(Groups::none().weighs(ServerId(6)) && Groups::none().to_lines().is_empty());
    }

    #[test]
    fn lines_that_make_no_groups_are_refused() {
        let server = ServerId(2);
        for (text, error) in [
            ("group.1=1:2 group.2=2:3", GroupsError::InTwo { server }),
            ("group.1=1:2:2:3", GroupsError::InTwo { server }),
            ("group.1=1:3", GroupsError::InNone { server }),
            ("weight.1=1", GroupsError::InNone { server: ServerId(1) }),
            ("group.1=1:2:3:4", GroupsError::Unweighed { server: ServerId(4) }),
            ("group.1=1:2:3 weight.4=1", GroupsError::InNone { server: ServerId(4) }),
            ("group.1=1:2:3:9", GroupsError::Unknown { server: ServerId(9), key: "group.1" }),
            ("weight.9=1", GroupsError::Unknown { server: ServerId(9), key: "weight.9" }),
            ("weight.1=-2", GroupsError::Negative { key: "weight.1", found: "-2" }),
            ("weight.1=x", GroupsError::NoNumber { key: "weight.1", found: "x" }),
            ("group.1=", GroupsError::NoNumber { key: "group.1", found: "" }),
            ("group.x=1", GroupsError::NoNumber { key: "group.x", found: "x" }),
            ("group=1", GroupsError::NoNumber { key: "group", found: "group" }),
            ("group.1=1:+2", GroupsError::NoNumber { key: "group.1", found: "+2" }),
        ] {
            assert_eq!(read(text, &[1, 2, 3], &[4]), Err(error), "{text}");
        }
        let huge = "weight.1=9223372036854775808";
        assert!(matches!(read(huge, &[1], &[]), Err(GroupsError::NoNumber { .. })));
        assert!(!Groups::none().put(1, ServerId(1), MAX_WEIGHT + 1));
    }

    #[test]
    fn nonsense_in_a_text_is_passed_over() {
        let text = "group.x=1\ngroup.1=1:x:2\ngroup.2=2:3\nweight.1=-4\nweight.3=5\nversion=1";
        let groups = Groups::from_lines(text);
        assert_eq!(
            groups.to_lines(),
            "group.1=1:2\ngroup.2=3\nweight.1=1\nweight.2=1\nweight.3=5\n"
        );
        assert!(Groups::from_lines("server.1=a:1:2\nversion=1").is_empty());
    }
}
