//! The servers of the ensemble as clients see them: the text of `/zookeeper/config`.

use serde::{Deserialize, Serialize};

use super::Text;
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

/// All servers, ascending by id. Empty for a standalone server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ensemble {
    /// The members, ascending by id.
    pub members: Vec<Member>,
}

impl Ensemble {
    /// The data of `/zookeeper/config` for a configuration of this `version`; empty if standalone.
    pub fn to_text(&self, version: i64) -> String {
        if self.members.is_empty() {
            return String::new();
        }
        let mut text = String::new();
        for member in &self.members {
            text.push_str(&format!("server.{}={}\n", member.id, member.line));
        }
        text.push_str(&format!("version={version:x}"));
        text
    }
}
