//! The servers of the ensemble as clients see them: the text of `/zookeeper/config`.

use serde::{Deserialize, Serialize};

use super::Text;
use crate::groups::Groups;
use crate::id::ServerId;

/// One `server.N` line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The N.
    pub id: ServerId,
    /// The text after the equals sign, in ZooKeeper's canonical form, e.g.
    /// `10.0.0.1:2888:3888:participant;0.0.0.0:2181`.
    pub line: Text,
}

impl Member {
    /// The same server, as one that votes or as one that observes.
    pub fn in_role(&self, votes: bool) -> Member {
        let (peers, client) = match self.line.rsplit_once(';') {
            Some((peers, client)) => (peers, Some(client)),
            None => (&*self.line, None),
        };
        let addresses = peers.strip_suffix(PARTICIPANT).or(peers.strip_suffix(OBSERVER));
        let role = if votes { PARTICIPANT } else { OBSERVER };
        let mut line = format!("{}{role}", addresses.unwrap_or(peers));
        if let Some(client) = client {
            line.push_str(&format!(";{client}"));
        }
        Member { id: self.id, line: line.into() }
    }
}

/// ZooKeeper's words for the two kinds of servers, as they end the first half of a line.
const PARTICIPANT: &str = ":participant";
const OBSERVER: &str = ":observer";

/// All servers, ascending by id. Empty for a standalone server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ensemble {
    /// The members, ascending by id.
    pub members: Vec<Member>,
    /// The groups by which the participants decide; none for a majority.
    #[serde(default)]
    pub groups: Groups,
}

impl Ensemble {
    /// The line of `id`.
    pub fn member(&self, id: ServerId) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }

    /// The ensemble that `text` shows, as [`to_text`](Ensemble::to_text) writes it. What is no line
    /// of a server or a group is passed over.
    pub fn from_text(text: &str) -> Self {
        let member = |line: &str| {
            let (id, line) = line.strip_prefix("server.")?.split_once('=')?;
            Some(Member { id: ServerId(id.parse().ok()?), line: line.into() })
        };
        let members = text.lines().filter_map(member).collect();
        Ensemble { members, groups: Groups::from_lines(text) }
    }

    /// The data of `/zookeeper/config` for a configuration of this `version`; empty if standalone.
    pub fn to_text(&self, version: i64) -> String {
        if self.members.is_empty() {
            return String::new();
        }
        let mut text = String::new();
        for member in &self.members {
            text.push_str(&format!("server.{}={}\n", member.id, member.line));
        }
        text.push_str(&self.groups.to_lines());
        text.push_str(&format!("version={version:x}"));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64, line: &str) -> Member {
        Member { id: ServerId(id), line: line.into() }
    }

    #[test]
    fn what_is_shown_is_read_back() {
        let members =
            vec![member(1, "a:1:2:participant;0.0.0.0:3"), member(12, "[::1]:4:5:observer")];
        let mut groups = Groups::none();
        assert!(groups.put(3, ServerId(1), 2) && groups.put(3, ServerId(12), 0));
        let shown = "server.1=a:1:2:participant;0.0.0.0:3\nserver.12=[::1]:4:5:observer\n\
                     group.3=1:12\nweight.1=2\nweight.12=0\nversion=100000007";
        let ensemble = Ensemble { members, groups };
        assert_eq!(ensemble.to_text(0x1_0000_0007), shown);
        assert_eq!(Ensemble::from_text(&ensemble.to_text(0x1_0000_0007)), ensemble);
        assert_eq!(Ensemble::from_text(""), Ensemble::default());
        assert_eq!(Ensemble::from_text("server.x=a\nserver.7\nversion=9"), Ensemble::default());
        assert_eq!(ensemble.member(ServerId(12)), Some(&ensemble.members[1]));
        assert_eq!(ensemble.member(ServerId(2)), None);
    }

    #[test]
    fn a_member_is_shown_in_its_role() {
        for (line, votes, shown) in [
            ("a:1:2:participant;b:3", true, "a:1:2:participant;b:3"),
            ("a:1:2:participant;b:3", false, "a:1:2:observer;b:3"),
            ("a:1:2:observer;b:3", true, "a:1:2:participant;b:3"),
            ("a:1:2|c:1:2:observer", false, "a:1:2|c:1:2:observer"),
            ("a:1:2", true, "a:1:2:participant"),
        ] {
            assert_eq!(member(1, line).in_role(votes), member(1, shown));
        }
    }
}
