//! The `server.N`, `group.N` and `weight.N` lines of a file, and what must hold between them.
//!
//! Invariant: ids are unique, also modulo 256, since the lowest byte of a server's id goes into
//! every session id that it gives out (`zookeeper: SessionTrackerImpl.initializeNextSessionId`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use zokor_core::groups::{GroupLine, Groups, GroupsError};
use zokor_core::id::ServerId;
use zokor_core::raft::Membership;

use super::member::{PeerRole, ServerLine};
use super::properties::{ConfigError, Entry, Properties};

impl ServerLine {
    /// All `server.N` lines in the content of `file`, ascending by id. An `Err` is what is
    /// malformed.
    pub fn parse_all(file: &Path, bytes: &[u8]) -> Result<Vec<ServerLine>, ConfigError> {
        server_lines(&Properties::parse(file, bytes)?)
    }
}

/// All `server.N` lines of `properties`, ascending by id.
pub(super) fn server_lines(properties: &Properties) -> Result<Vec<ServerLine>, ConfigError> {
    let mut lines: BTreeMap<ServerId, (&Entry, ServerLine)> = BTreeMap::new();
    for entry in &properties.entries {
        let Some(number) = entry.key.strip_prefix("server.") else {
            continue;
        };
        let id = parse_id(number).ok_or_else(|| {
            properties.error(
                Some(entry.line),
                format!("{:?} is no server id; write server.N with N from 1 to 255", entry.key),
            )
        })?;
        let line = ServerLine::parse(id, &entry.value)
            .map_err(|problem| properties.error(Some(entry.line), problem))?;
        if let Some((earlier, _)) = lines.get(&id).filter(|(_, earlier)| *earlier != line) {
            return Err(properties.error(
                Some(entry.line),
                format!(
                    "server.{id} stands on line {} already with another address; give every \
                     server its own id",
                    earlier.line
                ),
            ));
        }
        lines.insert(id, (entry, line));
    }
    check_low_bytes(properties, lines.iter().map(|(&id, (entry, _))| (id, entry.line)))?;
    Ok(lines.into_values().map(|(_, line)| line).collect())
}

/// The groups by which these participants decide; none if no line speaks of any.
///
/// Source: `zookeeper: QuorumHierarchical.parse`. It takes what cannot be meant, too: a weight
/// below zero, servers that do not exist, and groups by which nothing could ever be decided.
pub(super) fn groups(properties: &Properties, lines: &[ServerLine]) -> Result<Groups, ConfigError> {
    let mut by_key: BTreeMap<&str, &Entry> = BTreeMap::new();
    for entry in properties.entries.iter().filter(|entry| is_about_groups(&entry.key)) {
        let earlier = by_key.insert(&entry.key, entry);
        if let Some(earlier) = earlier.filter(|earlier| earlier.value != entry.value) {
            let problem = format!(
                "{} stands on line {} already with another value; keep one of the two",
                entry.key, earlier.line
            );
            return Err(properties.error(Some(entry.line), problem));
        }
    }
    if by_key.is_empty() {
        return Ok(Groups::none());
    }
    let of_role = |role: PeerRole| -> BTreeSet<ServerId> {
        lines.iter().filter(|line| line.role == role).map(|line| line.id).collect()
    };
    let (voters, observers) = (of_role(PeerRole::Participant), of_role(PeerRole::Observer));
    let group_lines: Vec<GroupLine<'_>> =
        by_key.iter().map(|(key, entry)| GroupLine { key, value: &entry.value }).collect();
    let groups = Groups::of_lines(&group_lines, &voters, &observers).map_err(|error| {
        let (key, problem) = told(error);
        properties.error(key.and_then(|key| by_key.get(key)).map(|entry| entry.line), problem)
    })?;
    if !voters.is_empty() && !Membership::of_groups(voters, groups.clone()).can_decide() {
        let problem = "even if all participants agree, they do not have more than half of the \
                       weight in more than half of the groups, so that nothing could ever be \
                       decided; give more of them a weight";
        return Err(properties.error(None, problem));
    }
    Ok(groups)
}

/// Whether a line with this key speaks of groups or weights.
pub(super) fn is_about_groups(key: &str) -> bool {
    key.starts_with("group.") || key.starts_with("weight.")
}

/// The key at fault, if it is one, and what is wrong and what to do.
fn told(error: GroupsError<'_>) -> (Option<&str>, String) {
    match error {
        GroupsError::NoNumber { key, found } => (
            Some(key),
            format!(
                "{key} has {found:?} where a number belongs; write group.N=ID:ID:... with the ids \
                 of servers, and weight.ID=WEIGHT"
            ),
        ),
        GroupsError::Negative { key, found } => (
            Some(key),
            format!(
                "{key} is {found}, and nothing weighs less than nothing; write 0 for a server \
                 whose vote is not to count"
            ),
        ),
        GroupsError::InTwo { server } => {
            (None, format!("server.{server} stands in groups twice; leave it in one of them"))
        }
        GroupsError::InNone { server } => (
            None,
            format!(
                "server.{server} is in no group; add it to a group.N line, or, if it observes, \
                 remove its weight"
            ),
        ),
        GroupsError::Unweighed { server } => (
            None,
            format!(
                "server.{server} observes, is in a group, and has no weight; add \
                 weight.{server}=0, or take it out of the group"
            ),
        ),
        GroupsError::Unknown { server, key } => (
            Some(key),
            format!(
                "{key} speaks of server {server}, for which there is no server.{server} line; add \
                 one, or take it out"
            ),
        ),
    }
}

/// A server id, as in `server.N` and `myid`.
pub(super) fn parse_id(text: &str) -> Option<ServerId> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let id = text.parse::<u64>().ok().filter(|_| digits)?;
    (i64::try_from(id).is_ok()).then_some(ServerId(id))
}

/// How many of `lines` have a vote.
pub(super) fn n_participants(lines: &[ServerLine]) -> usize {
    lines.iter().filter(|line| line.role == PeerRole::Participant).count()
}

fn check_low_bytes(
    properties: &Properties,
    ids: impl Iterator<Item = (ServerId, usize)>,
) -> Result<(), ConfigError> {
    let mut by_low_byte: BTreeMap<u8, ServerId> = BTreeMap::new();
    for (id, line) in ids {
        if let Some(other) = by_low_byte.insert(id.0.to_le_bytes()[0], id) {
            return Err(properties.error(
                Some(line),
                format!(
                    "server.{other} and server.{id} would give out the same session ids, since \
                     their ids are equal modulo 256; use ids from 1 to 255"
                ),
            ));
        }
    }
    Ok(())
}
