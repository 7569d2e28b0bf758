//! `zoo.cfg`, ZooKeeper's configuration file, unmodified, as typed values.
//!
//! Invariant: a [`ZooConfig`] can be started: every rule that one file can break has been checked.
//! Keys without effect are named in `warnings`, none is dropped in silence.
//! Source: `zookeeper: QuorumPeerConfig`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use zokor_core::auth::{AuthConfig, PeerAuth};
use zokor_core::groups::Groups;
use zokor_core::id::ServerId;
use zokor_core::proto::{Ensemble, Member};
use zokor_core::session::lane_of;

use super::admin::{self, AdminConfig};
use super::auth::auth_config;
use super::ensemble::{groups, is_about_groups, n_participants, parse_id, server_lines};
use super::flags::Flags;
use super::keys::Keys;
use super::known::{Kind, kind_of};
use super::limits::ClientLimits;
use super::log_writes::LogWrites;
use super::member::{HostPort, PeerRole, ServerLine, WILDCARD};
use super::peer_auth::peer_auth;
use super::peers::PeerSettings;
use super::properties::{ConfigError, Properties};
use super::times::Times;
use super::tree::TreeConfig;
use crate::first_start::FirstStart;

/// What one server is told by its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZooConfig {
    /// ZooKeeper's basic unit, in milliseconds. At least 1. Default 3,000.
    pub tick_time_ms: u32,
    /// How many ticks a follower may take to connect and catch up; 0 only if standalone.
    pub init_limit_ticks: u32,
    /// How many ticks a follower may be out of touch; 0 only if standalone.
    pub sync_limit_ticks: u32,
    /// Where snapshots and `myid` lie.
    pub data_dir: PathBuf,
    /// Where the log lies. Default: `data_dir`.
    pub data_log_dir: PathBuf,
    /// `zokor.logWrites`: how the log is written. Default: measured.
    pub log_writes: LogWrites,
    /// Whether folders and a database that are not there are made.
    pub first_start: FirstStart,
    /// Where clients connect. Port 0 lets the system choose.
    pub client: HostPort,
    /// The listen backlog of the client port; `None` leaves it to the system.
    pub client_backlog: Option<u32>,
    /// Connections from one address, at most; 0 is without limit. Default 60.
    pub max_connections_per_address: u32,
    /// Connections in all, at most; 0 is without limit. Default 0.
    pub max_connections: u32,
    /// The least session timeout, in milliseconds. Default 2 ticks.
    pub min_session_timeout_ms: i32,
    /// The largest session timeout, in milliseconds; not below the least. Default 20 ticks.
    pub max_session_timeout_ms: i32,
    /// The value of `4lw.commands.whitelist`, if there is one.
    pub four_letter_words: Option<String>,
    /// Requests that may wait for their answer, if limited in the file. At least 1.
    pub outstanding_limit: Option<usize>,
    /// What else clients may do.
    pub limits: ClientLimits,
    /// How it deals with the other servers.
    pub peers: PeerSettings,
    /// A snapshot is taken after this many entries. At least 2. Default 100,000.
    pub snapshot_entries: u64,
    /// ... or after this many bytes of log, if limited in the file.
    pub snapshot_bytes: Option<u64>,
    /// Snapshots to keep. At least 3. Default 3.
    pub snapshots_kept: u32,
    /// What the leader lets happen to the data tree.
    pub tree: TreeConfig,
    /// Whether new sessions are known to their server alone. Without effect if standalone, as in
    /// ZooKeeper. Default false.
    pub local_sessions: bool,
    /// Whether such a session may become one that all servers know. Default false.
    pub local_upgrading: bool,
    /// Whether a server without a leader answers reads. In ZooKeeper a property of the command
    /// line, not of the file. Default false.
    pub read_only_mode: bool,
    /// Whether the ports for peers listen on all addresses. Default false.
    pub quorum_listen_on_all_ips: bool,
    /// Whether clients may wish for another membership. Default false.
    pub reconfig_enabled: bool,
    /// Whether a single participant makes a standalone server. Default true.
    pub standalone_enabled: bool,
    /// `zokor.firstStart`: whether a server of an ensemble on whose disk nothing was ever written
    /// waits for all voters before it takes itself for new. Default `all`: it does.
    pub first_start_waits_for_all: bool,
    /// This server: from `myid`, or 1 if standalone without one.
    pub id: ServerId,
    /// The ensemble, ascending by id; empty if standalone.
    pub servers: Vec<ServerLine>,
    /// The groups by which the participants decide; none for a majority, and if standalone.
    pub groups: Groups,
    /// How clients prove who they are.
    pub auth: AuthConfig,
    /// How servers prove to each other who they are; `None` if they do not, and if standalone.
    pub peer_auth: Option<PeerAuth>,
    /// What operators are offered.
    pub admin: AdminConfig,
    /// The file, without its secrets; empty if there is none.
    pub file_text: String,
    /// What ZooKeeper makes properties of its machine, with the names that they have there.
    pub machine_properties: BTreeMap<String, String>,
    /// One sentence for each thing that an operator should know and that stops nobody.
    pub warnings: Vec<String>,
}

impl ZooConfig {
    /// Reads `path`, the dynamic file that it may name, `myid`, and the file of users that a flag
    /// may name.
    pub fn read(path: &Path, flags: &Flags) -> Result<Self, ConfigError> {
        ZooConfig::from_properties(&Properties::read(path)?.with_flags(flags), flags)
    }

    /// The configuration of ZooKeeper's other command line, `PORT DATADIR [tickTime]
    /// [maxClientCnxns]`: a standalone server.
    pub fn from_arguments(arguments: &[String], flags: &Flags) -> Result<Self, ConfigError> {
        const KEYS: [&str; 4] = ["clientPort", "dataDir", "tickTime", "maxClientCnxns"];
        let mut properties = Properties::default();
        if !(2..=KEYS.len()).contains(&arguments.len()) {
            let form = "write PORT DATADIR [TICK_TIME] [MAX_CLIENT_CNXNS], or --config FILE";
            return Err(properties.error(None, form));
        }
        for (key, value) in KEYS.iter().zip(arguments) {
            properties.push(key, value);
        }
        ZooConfig::from_properties(&properties.with_flags(flags), flags)
    }

    /// A standalone server with the values of ZooKeeper's sample file. The caller may add an
    /// ensemble that `id` is part of.
    pub fn minimal(id: ServerId, data_dir: PathBuf, client: HostPort) -> Self {
        ZooConfig {
            tick_time_ms: 2_000,
            init_limit_ticks: 10,
            sync_limit_ticks: 5,
            data_log_dir: data_dir.clone(),
            data_dir,
            log_writes: LogWrites::Measured,
            first_start: FirstStart::default(),
            client,
            client_backlog: None,
            max_connections_per_address: 0,
            max_connections: 0,
            min_session_timeout_ms: 4_000,
            max_session_timeout_ms: 40_000,
            four_letter_words: None,
            outstanding_limit: None,
            limits: ClientLimits::default(),
            peers: PeerSettings::default(),
            snapshot_entries: 100_000,
            snapshot_bytes: None,
            snapshots_kept: 3,
            tree: TreeConfig::default(),
            local_sessions: false,
            local_upgrading: false,
            read_only_mode: false,
            quorum_listen_on_all_ips: false,
            reconfig_enabled: false,
            standalone_enabled: true,
            first_start_waits_for_all: true,
            id,
            servers: Vec::new(),
            groups: Groups::none(),
            auth: AuthConfig::default(),
            peer_auth: None,
            admin: AdminConfig::default(),
            file_text: String::new(),
            machine_properties: BTreeMap::new(),
            warnings: Vec::new(),
        }
    }

    /// Whether it is alone: it forms no ensemble and needs no peer.
    pub fn is_standalone(&self) -> bool {
        self.servers.is_empty()
    }

    /// The line of this server; `None` if standalone.
    pub fn own_line(&self) -> Option<&ServerLine> {
        self.servers.iter().find(|line| line.id == self.id)
    }

    /// What `/zookeeper/config` shows; empty if standalone.
    pub fn ensemble(&self) -> Ensemble {
        let members = self.servers.iter();
        let members =
            members.map(|line| Member { id: line.id, line: line.canonical().into() }).collect();
        Ensemble { members, groups: self.groups.clone() }
    }

    fn from_properties(properties: &Properties, flags: &Flags) -> Result<Self, ConfigError> {
        let keys = Keys::new(properties);
        let mut warnings = flags.warnings.clone();
        warnings.extend(warnings_about_keys(&keys));
        let data_dir = PathBuf::from(keys.text("dataDir").ok_or_else(|| {
            keys.error("dataDir", "dataDir is missing; add a line dataDir=/path/to/data")
        })?);
        let times = Times::read(&keys)?;
        let membership = Membership::read(properties, &keys, &data_dir, &mut warnings)?;
        times.check_limits(&keys, membership.servers.is_empty())?;
        let peers = PeerSettings::read(&keys)?;
        peers.check_addresses(&keys, &membership.servers)?;
        let client = client_address(&keys, membership.own.as_ref())?;
        check_election_algorithm(&keys)?;
        let ids = membership.servers.iter().map(|line| line.id).chain([membership.id]);
        let tree = TreeConfig::read(&keys, ids)?;
        let peer_auth = peer_auth(&keys, flags, membership.servers.is_empty())?;
        Ok(ZooConfig {
            tick_time_ms: times.tick_time_ms,
            init_limit_ticks: times.init_limit_ticks,
            sync_limit_ticks: times.sync_limit_ticks,
            data_log_dir: keys.text("dataLogDir").map_or_else(|| data_dir.clone(), PathBuf::from),
            data_dir,
            log_writes: LogWrites::read(&keys)?,
            first_start: FirstStart {
                makes_folders: keys.boolean("datadir.autocreate", true)?,
                makes_database: keys.boolean("db.autocreate", true)?,
            },
            client,
            client_backlog: keys
                .number("clientPortListenBacklog", -1..=i32::MAX)?
                .and_then(|backlog| u32::try_from(backlog).ok()),
            max_connections_per_address: keys
                .number("maxClientCnxns", 0..=i32::MAX as u32)?
                .unwrap_or(60),
            max_connections: keys.number("maxCnxns", 0..=i32::MAX as u32)?.unwrap_or(0),
            min_session_timeout_ms: times.min_session_timeout_ms,
            max_session_timeout_ms: times.max_session_timeout_ms,
            four_letter_words: four_letter_words(&keys),
            outstanding_limit: keys.number("globalOutstandingLimit", 1..=i32::MAX as usize)?,
            limits: ClientLimits::read(&keys, &mut warnings)?,
            peers,
            snapshot_entries: keys
                .number("snapCount", 0..=i32::MAX as u64)?
                .map_or(100_000, |entries| entries.max(2)),
            snapshot_bytes: keys
                .number("snapSizeLimitInKb", i32::MIN.into()..=i64::from(i32::MAX))?
                .and_then(|kib| u64::try_from(kib).ok().filter(|&kib| kib > 0))
                .map(|kib| kib << 10),
            snapshots_kept: snapshots_kept(&keys)?,
            tree,
            local_sessions: local_sessions(&keys, &membership)?,
            local_upgrading: keys.boolean("localSessionsUpgradingEnabled", false)?,
            read_only_mode: keys.boolean("readonlymode.enabled", false)?,
            quorum_listen_on_all_ips: keys.boolean("quorumListenOnAllIPs", false)?,
            reconfig_enabled: keys.boolean("reconfigEnabled", false)?,
            standalone_enabled: keys.boolean("standaloneEnabled", true)?,
            first_start_waits_for_all: first_start_waits_for_all(&keys, &mut warnings)?,
            id: membership.id,
            servers: membership.servers,
            groups: membership.groups,
            auth: auth_config(&keys, flags, &mut warnings)?,
            peer_auth,
            admin: AdminConfig::read(&keys, &mut warnings)?,
            file_text: admin::shown(&properties.text),
            machine_properties: keys.machine_properties(),
            warnings,
        })
    }
}

/// ZooKeeper keeps three at least, too.
fn snapshots_kept(keys: &Keys<'_>) -> Result<u32, ConfigError> {
    let kept = keys.number("autopurge.snapRetainCount", 0..=i32::MAX as u32)?;
    Ok(kept.map_or(3, |kept| kept.max(3)))
}

/// ZooKeeper has no such key: its servers vote with empty folders.
fn first_start_waits_for_all(
    keys: &Keys<'_>,
    warnings: &mut Vec<String>,
) -> Result<bool, ConfigError> {
    const KEY: &str = "zokor.firstStart";
    match keys.text(KEY) {
        None | Some("all") => Ok(true),
        Some("quorum") => {
            warnings.push(format!(
                "{KEY} is quorum: with an empty folder this server votes as a new one; take the \
                 key away when the ensemble has begun, or a lost disk can take writes with it"
            ));
            Ok(false)
        }
        Some(other) => Err(keys.error(KEY, format!("{KEY} is {other:?}; write all, or quorum"))),
    }
}

/// Who this server is and who the others are.
struct Membership {
    id: ServerId,
    /// Empty if standalone.
    servers: Vec<ServerLine>,
    /// None if standalone.
    groups: Groups,
    /// The line that tells where clients connect, also if standalone.
    own: Option<ServerLine>,
}

impl Membership {
    fn read(
        properties: &Properties,
        keys: &Keys<'_>,
        data_dir: &Path,
        warnings: &mut Vec<String>,
    ) -> Result<Self, ConfigError> {
        let (lines, groups) = match keys.text("dynamicConfigFile") {
            Some(path) => dynamic_lines(keys, Path::new(path))?,
            None => lines_and_groups(properties)?,
        };
        let alone = |id, own| Membership { id, own, servers: Vec::new(), groups: Groups::none() };
        let myid = read_myid(data_dir)?;
        let standalone_enabled = keys.boolean("standaloneEnabled", true)?;
        let peer_type = peer_type(keys)?;
        let voters = n_participants(&lines);
        if voters == 0 && !lines.is_empty() {
            let problem = "all servers are observers, and nobody could decide anything; make at \
                           least one a participant";
            return Err(keys.error("", problem));
        }
        if voters == 1 && standalone_enabled {
            if lines.len() > 1 {
                let problem = "one participant with observers forms an ensemble only with \
                               standaloneEnabled=false; add that line, or more participants";
                return Err(keys.error("standaloneEnabled", problem));
            }
            let id = myid.unwrap_or(lines[0].id);
            return Ok(alone(id, lines.into_iter().next()));
        }
        if lines.is_empty() {
            if !standalone_enabled {
                let problem = "standaloneEnabled=false needs server lines; add one for this \
                               server, or remove standaloneEnabled";
                return Err(keys.error("standaloneEnabled", problem));
            }
            let id = myid.unwrap_or(ServerId(1));
            return Ok(alone(id, None));
        }
        let id = myid.ok_or_else(|| missing_myid(data_dir, &lines))?;
        let own = lines.iter().find(|line| line.id == id).cloned();
        let own = own.ok_or_else(|| stranger(data_dir, id, &lines))?;
        if own.secure_client.is_some() {
            warnings.push(format!(
                "server.{id} names a TLS port for clients, which is NOT in force: zokor does not \
                 speak TLS to clients yet"
            ));
        }
        if peer_type.is_some_and(|peer_type| peer_type != own.role) {
            warnings.push(format!(
                "peerType says something else than the line of server.{id}; the line counts, and \
                 this server is {} {}",
                if own.role == PeerRole::Observer { "an" } else { "a" },
                own.role.as_str()
            ));
        }
        if voters.is_multiple_of(2) && groups.is_empty() {
            warnings.push(format!(
                "{voters} participants survive no more failures than {} would; consider an odd \
                 number",
                voters - 1
            ));
        }
        Ok(Membership { id, own: Some(own), servers: lines, groups })
    }
}

fn lines_and_groups(properties: &Properties) -> Result<(Vec<ServerLine>, Groups), ConfigError> {
    let lines = server_lines(properties)?;
    let groups = groups(properties, &lines)?;
    Ok((lines, groups))
}

/// The server lines and groups of the dynamic file, which must hold nothing but membership.
fn dynamic_lines(keys: &Keys<'_>, path: &Path) -> Result<(Vec<ServerLine>, Groups), ConfigError> {
    let is_membership = |key: &str| key.starts_with("server.") || is_about_groups(key);
    if let Some(key) = keys.names().find(|key| is_membership(key)) {
        let problem = format!(
            "{key} cannot stand beside dynamicConfigFile; move it to {}, or remove \
             dynamicConfigFile",
            path.display()
        );
        return Err(keys.error(key, problem));
    }
    let properties = Properties::read(path)?;
    let dynamic = Keys::new(&properties);
    if let Some(key) = dynamic.names().find(|key| !is_membership(key) && *key != "version") {
        let problem = format!(
            "{key} cannot stand in a dynamic configuration, which holds only server, group, \
             weight and version; move it to the static file"
        );
        return Err(dynamic.error(key, problem));
    }
    lines_and_groups(&properties)
}

/// The id in `dataDir/myid`; `None` if there is no such file.
fn read_myid(data_dir: &Path) -> Result<Option<ServerId>, ConfigError> {
    let file = data_dir.join("myid");
    let error = |problem: String| ConfigError { file: file.clone(), line: None, problem };
    let text = match std::fs::read(&file) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(failure) if failure.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(failure) => return Err(error(format!("cannot read the id of this server: {failure}"))),
    };
    let first = text.lines().next().unwrap_or_default().trim();
    match parse_id(first) {
        Some(id) => Ok(Some(id)),
        None => Err(error(format!(
            "{first:?} is no server id; write the N of this server's server.N line"
        ))),
    }
}

fn missing_myid(data_dir: &Path, lines: &[ServerLine]) -> ConfigError {
    ConfigError {
        file: data_dir.join("myid"),
        line: None,
        problem: format!(
            "the file is missing; write into it which of the servers {} this one is",
            listed(lines)
        ),
    }
}

fn stranger(data_dir: &Path, id: ServerId, lines: &[ServerLine]) -> ConfigError {
    ConfigError {
        file: data_dir.join("myid"),
        line: None,
        problem: format!(
            "this server is {id}, and the configuration has only the servers {}; correct this \
             file, or add a line server.{id}",
            listed(lines)
        ),
    }
}

fn listed(lines: &[ServerLine]) -> String {
    let ids: Vec<_> = lines.iter().map(|line| line.id.to_string()).collect();
    ids.join(", ")
}

fn peer_type(keys: &Keys<'_>) -> Result<Option<PeerRole>, ConfigError> {
    let Some(text) = keys.text("peerType") else {
        return Ok(None);
    };
    let problem = || format!("peerType is {text:?}; write participant or observer");
    PeerRole::parse(text).map(Some).ok_or_else(|| keys.error("peerType", problem()))
}

/// Where clients connect: the static keys, or this server's own line; if both, they must agree.
fn client_address(keys: &Keys<'_>, own: Option<&ServerLine>) -> Result<HostPort, ConfigError> {
    let port = keys.number("clientPort", 0..=u16::MAX)?;
    let host = keys.text("clientPortAddress").map(without_brackets);
    let in_line = own.and_then(|line| line.client.as_ref());
    if port.is_none() && host.is_some() {
        let problem = "clientPortAddress is without effect since clientPort is missing; add a \
                       line clientPort=2181";
        return Err(keys.error("clientPortAddress", problem));
    }
    let fixed = port.map(|port| HostPort { host: host.unwrap_or(WILDCARD).to_owned(), port });
    match (fixed, in_line) {
        (Some(fixed), Some(in_line)) => {
            let agree = fixed.port == in_line.port
                && (host.is_none_or(is_wildcard) || fixed.host == in_line.host);
            if !agree {
                let problem = format!(
                    "clientPort and clientPortAddress say {fixed}, and the server line of this \
                     server says {in_line}; remove one of them"
                );
                return Err(keys.error("clientPort", problem));
            }
            Ok(in_line.clone())
        }
        (Some(fixed), None) => Ok(fixed),
        (None, Some(in_line)) => Ok(in_line.clone()),
        (None, None) => {
            let problem = "clientPort is missing, and clients could not connect; add a line \
                           clientPort=2181 (secureClientPort alone is not enough: zokor does not \
                           speak TLS to clients yet)";
            Err(keys.error("secureClientPort", problem))
        }
    }
}

fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn is_wildcard(host: &str) -> bool {
    host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_unspecified())
}

/// The value of `4lw.commands.whitelist`, which may be empty; `None` if the key is not there. A
/// server that may be read-only must be asked whether it is.
// zookeeper: FourLetterCommands.isEnabled
fn four_letter_words(keys: &Keys<'_>) -> Option<String> {
    const KEY: &str = "4lw.commands.whitelist";
    let mut words = keys.names().any(|key| key == KEY).then(|| keys.text(KEY).unwrap_or(""))?;
    let with_isro = format!("{words},isro");
    if keys.text("readonlymode.enabled").is_some_and(|text| text.eq_ignore_ascii_case("true")) {
        words = &with_isro;
    }
    Some(words.to_owned())
}

/// Local sessions need a place in the log by the number of their server: see `session::lane_of`.
fn local_sessions(keys: &Keys<'_>, membership: &Membership) -> Result<bool, ConfigError> {
    const KEY: &str = "localSessionsEnabled";
    let wanted = keys.boolean(KEY, false)?;
    let id = membership.id;
    if wanted && !membership.servers.is_empty() && lane_of(id).is_none() {
        let problem = format!("server {id} is above 65535; give it a smaller id, or remove {KEY}");
        return Err(keys.error(KEY, problem));
    }
    Ok(wanted)
}

/// ZooKeeper 3.6 and later refuse every other number.
fn check_election_algorithm(keys: &Keys<'_>) -> Result<(), ConfigError> {
    match keys.text("electionAlg") {
        None | Some("3") => Ok(()),
        Some(other) => Err(keys.error(
            "electionAlg",
            format!("electionAlg is {other:?}; remove the line, only 3 was ever left to choose"),
        )),
    }
}

/// At most one sentence for each kind of key that has no effect.
fn warnings_about_keys(keys: &Keys<'_>) -> Vec<String> {
    let of_kind = |kind: Kind| -> Vec<&str> {
        let off = |key: &str| keys.text(key).is_some_and(|text| text.eq_ignore_ascii_case("false"));
        // A protection that is switched off is as much in force here as there.
        keys.names()
            .filter(|key| kind_of(key) == kind && !(kind == Kind::Security && off(key)))
            .map(|key| keys.spelling(key))
            .collect()
    };
    let mut warnings = Vec::new();
    let mut warn = |kind: Kind, sentence: &str| {
        let names = of_kind(kind);
        if !names.is_empty() {
            warnings.push(format!("{sentence}: {}", names.join(", ")));
        }
    };
    warn(
        Kind::Security,
        "these settings protect a ZooKeeper server and are NOT in force in zokor, which neither \
         encrypts nor authenticates by them",
    );
    warn(Kind::Known, "these settings of ZooKeeper have no effect in zokor");
    warn(
        Kind::Prefixed,
        "these settings have no effect as they are written; leave out the \"zookeeper.\"",
    );
    warn(Kind::Unknown, "these settings are unknown to ZooKeeper and to zokor, check the spelling");
    for key in keys.names() {
        if let Kind::Moot(why) = kind_of(key) {
            warnings.push(format!("{key} has no effect in zokor and needs none: here {why}"));
        }
    }
    warnings
}

#[cfg(test)]
mod tests;
