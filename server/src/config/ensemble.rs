//! The `server.N` lines of a file, and what must hold between them.
//!
//! Invariant: ids are unique, also modulo 256, since the lowest byte of a server's id goes into
//! every session id that it gives out (`zookeeper: SessionTrackerImpl.initializeNextSessionId`).

use std::collections::BTreeMap;
use std::path::Path;

use zokor_core::id::ServerId;

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
