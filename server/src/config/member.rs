//! The right-hand side of a `server.N` line: `zookeeper: QuorumPeer.QuorumServer`.
//!
//! Invariant: what [`ServerLine::canonical`] prints is what a ZooKeeper server would print for it,
//! and parses to a line that prints alike.

use std::fmt;
use std::net::Ipv6Addr;

use zokor_core::id::ServerId;

/// A host, by name or number, and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// A name, an IPv4 or an IPv6 address; the latter without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", bracketed(&self.host), self.port)
    }
}

/// One address at which other servers reach a server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerAddress {
    /// As in [`HostPort`].
    pub host: String,
    /// ZooKeeper's quorum port. All of zokor's traffic between servers goes to this port.
    pub quorum_port: u16,
    /// ZooKeeper's election port. Part of the line; zokor does not open it.
    pub election_port: u16,
}

/// Whether a server has a vote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PeerRole {
    /// It has.
    #[default]
    Participant,
    /// It has not: it only receives the log.
    Observer,
}

impl PeerRole {
    /// The word for `text`, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        [PeerRole::Participant, PeerRole::Observer]
            .into_iter()
            .find(|role| role.as_str().eq_ignore_ascii_case(text))
    }

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            PeerRole::Participant => "participant",
            PeerRole::Observer => "observer",
        }
    }
}

/// One `server.N` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerLine {
    /// The N.
    pub id: ServerId,
    /// Where other servers reach it; never empty.
    pub addresses: Vec<PeerAddress>,
    /// Whether it has a vote.
    pub role: PeerRole,
    /// Where clients reach it, if the line says so.
    pub client: Option<HostPort>,
    /// Where clients reach it over TLS, if the line says so.
    pub secure_client: Option<HostPort>,
}

impl ServerLine {
    /// Parses the text after the equals sign. An `Err` is a sentence without file and line.
    pub fn parse(id: ServerId, text: &str) -> Result<Self, String> {
        let mut parts = text.split(';').map(str::trim);
        let servers = parts.next().unwrap_or_default();
        let (client, secure) = (parts.next(), parts.next());
        if parts.next().is_some() {
            return Err(format!("server.{id} has more than three parts between \";\"; {FORM}"));
        }
        let mut addresses = Vec::new();
        let mut role = None;
        for server in servers.split('|') {
            let (address, named) = parse_address(id, server.trim())?;
            addresses.push(address);
            if role.is_some() && named.is_some() && role != named {
                return Err(format!(
                    "the addresses of server.{id} name different roles; give all the same role"
                ));
            }
            role = role.or(named);
        }
        let client = parse_client(id, client.filter(|text| !text.is_empty() || secure.is_none()))?;
        let secure_client = parse_client(id, secure)?;
        Ok(ServerLine { id, addresses, role: role.unwrap_or_default(), client, secure_client })
    }

    /// Where ZooKeeper's other servers follow it.
    pub fn quorum_addresses(&self) -> impl Iterator<Item = HostPort> {
        self.addresses.iter().map(|a| HostPort { host: a.host.clone(), port: a.quorum_port })
    }

    /// Where ZooKeeper's other servers elect with it.
    pub fn election_addresses(&self) -> impl Iterator<Item = HostPort> {
        self.addresses.iter().map(|a| HostPort { host: a.host.clone(), port: a.election_port })
    }

    /// The line as ZooKeeper prints it in `/zookeeper/config`.
    pub fn canonical(&self) -> String {
        let mut addresses: Vec<_> = self.addresses.iter().collect();
        addresses.sort_by_key(|address| printed(&address.host));
        let addresses: Vec<_> = addresses
            .iter()
            .map(|a| format!("{}:{}:{}", bracketed(&a.host), a.quorum_port, a.election_port))
            .collect();
        let mut line = format!("{}:{}", addresses.join("|"), self.role.as_str());
        if let Some(client) = &self.client {
            line.push_str(&format!(";{client}"));
        }
        line
    }
}

/// Parses `host:quorumPort:electionPort[:role]`.
fn parse_address(id: ServerId, text: &str) -> Result<(PeerAddress, Option<PeerRole>), String> {
    let (host, rest) = split_host(text).ok_or_else(|| malformed(id, text))?;
    let (quorum, election, role) = match rest[..] {
        [quorum, election] => (quorum, election, None),
        [quorum, election, role] => {
            let role = PeerRole::parse(role).ok_or_else(|| {
                format!(
                    "server.{id} has the role {role:?}; write participant or observer (an IPv6 \
                     address needs brackets)"
                )
            })?;
            (quorum, election, Some(role))
        }
        _ => return Err(malformed(id, text)),
    };
    if host.is_empty() {
        return Err(malformed(id, text));
    }
    let quorum_port = parse_port(id, quorum)?;
    let election_port = parse_port(id, election)?;
    if quorum_port == election_port {
        return Err(format!(
            "server.{id} has {quorum_port} as quorum port and as election port; give it two \
             different ports"
        ));
    }
    Ok((PeerAddress { host, quorum_port, election_port }, role))
}

/// Parses `[host:]port`.
fn parse_client(id: ServerId, text: Option<&str>) -> Result<Option<HostPort>, String> {
    let Some(text) = text else {
        return Ok(None);
    };
    let port_only = !text.starts_with('[') && !text.contains(':');
    let (host, port) = if port_only {
        (WILDCARD.to_owned(), text)
    } else {
        match split_host(text) {
            Some((host, rest)) if rest.len() == 1 && !host.is_empty() => (host, rest[0]),
            _ => {
                return Err(format!(
                    "server.{id} has the client address {text:?}; write ;PORT or ;HOST:PORT, with \
                     an IPv6 address in brackets"
                ));
            }
        }
    };
    Ok(Some(HostPort { host, port: parse_port(id, port)? }))
}

/// Cuts the host, which may stand in brackets, from what follows it.
fn split_host(text: &str) -> Option<(String, Vec<&str>)> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(inside) => {
            let (host, rest) = inside.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, rest.strip_prefix(':')?)
        }
        None => text.split_once(':')?,
    };
    if host.contains(char::is_whitespace) {
        return None;
    }
    Some((host.to_owned(), rest.split(':').map(str::trim).collect()))
}

fn parse_port(id: ServerId, text: &str) -> Result<u16, String> {
    text.parse::<u16>()
        .ok()
        .filter(|&port| port > 0)
        .ok_or_else(|| format!("server.{id} has the port {text:?}; write a number from 1 to 65535"))
}

fn malformed(id: ServerId, text: &str) -> String {
    format!("server.{id} has the address {text:?}; {FORM}")
}

/// `host` with brackets if it is an IPv6 address.
fn bracketed(host: &str) -> String {
    let printed = printed(host);
    if printed.contains(':') { format!("[{printed}]") } else { printed }
}

/// `host` as Java prints it: an IPv6 address without the short form for zeros.
fn printed(host: &str) -> String {
    match host.parse::<Ipv6Addr>() {
        Ok(address) => {
            let segments: Vec<_> =
                address.segments().iter().map(|segment| format!("{segment:x}")).collect();
            segments.join(":")
        }
        Err(_) => host.to_owned(),
    }
}

/// Where a server listens that names a port only.
pub const WILDCARD: &str = "0.0.0.0";

const FORM: &str = "write HOST:QUORUM_PORT:ELECTION_PORT[:ROLE][;[CLIENT_HOST:]CLIENT_PORT], with \
                    an IPv6 address in brackets";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_server_line_is_read_and_printed_as_zookeeper_prints_it() {
        let table = [
            ("h1:2888:3888", "h1:2888:3888:participant"),
            ("h1:2888:3888:participant", "h1:2888:3888:participant"),
            ("h1:2888:3888:observer", "h1:2888:3888:observer"),
            ("h1:2888:3888:OBSERVER", "h1:2888:3888:observer"),
            ("h1:2888:3888;2181", "h1:2888:3888:participant;0.0.0.0:2181"),
            ("h1:2888:3888:observer;2181", "h1:2888:3888:observer;0.0.0.0:2181"),
            ("h1:2888:3888;10.0.0.1:2181", "h1:2888:3888:participant;10.0.0.1:2181"),
            ("h1:2888: 3888 ; 2181 ", "h1:2888:3888:participant;0.0.0.0:2181"),
            ("[::1]:2888:3888", "[0:0:0:0:0:0:0:1]:2888:3888:participant"),
            (
                "[2001:DB8::A]:2888:3888:observer;[::]:2181",
                "[2001:db8:0:0:0:0:0:a]:2888:3888:observer;[0:0:0:0:0:0:0:0]:2181",
            ),
            ("h2:2888:3888|h1:2889:3889", "h1:2889:3889|h2:2888:3888:participant"),
            ("h2:1:2:observer|h1:3:4:observer;2181", "h1:3:4|h2:1:2:observer;0.0.0.0:2181"),
            ("h2:1:2|h1:3:4:observer", "h1:3:4|h2:1:2:observer"),
            ("h1:2888:3888;2181;2281", "h1:2888:3888:participant;0.0.0.0:2181"),
            ("h1:2888:3888;;2281", "h1:2888:3888:participant"),
            ("h1:2888:3888;;h1:2281", "h1:2888:3888:participant"),
        ];
        for (text, canonical) in table {
            let line = ServerLine::parse(ServerId(1), text).unwrap();
            assert_eq!(line.canonical(), canonical, "{text}");
            let again = ServerLine::parse(ServerId(1), canonical).unwrap();
            assert_eq!(again.canonical(), canonical, "{text}");
        }
    }

    #[test]
    fn the_secure_part_is_kept_apart() {
        let line = ServerLine::parse(ServerId(1), "h1:2888:3888;;h2:2281").unwrap();
        assert_eq!(line.client, None);
        assert_eq!(line.secure_client, Some(HostPort { host: "h2".into(), port: 2281 }));
    }

    #[test]
    fn every_malformed_line_is_refused_with_advice() {
        let table = [
            ("", "write HOST:QUORUM_PORT:ELECTION_PORT"),
            ("h1", "write HOST:QUORUM_PORT:ELECTION_PORT"),
            ("h1:2888", "write HOST:QUORUM_PORT:ELECTION_PORT"),
            (":2888:3888", "write HOST:QUORUM_PORT:ELECTION_PORT"),
            ("h1:2888:3888:observer:9", "write HOST:QUORUM_PORT:ELECTION_PORT"),
            ("h1:2888:3888|", "write HOST:QUORUM_PORT:ELECTION_PORT"),
            ("[::1:2888:3888", "write HOST:QUORUM_PORT:ELECTION_PORT"),
            ("[::1]2888:3888", "write HOST:QUORUM_PORT:ELECTION_PORT"),
            ("[h1]:2888:3888", "write HOST:QUORUM_PORT:ELECTION_PORT"),
            ("h 1:2888:3888", "write HOST:QUORUM_PORT:ELECTION_PORT"),
            ("h1:2888:3888:leader", "write participant or observer"),
            ("h1:x:3888", "write a number from 1 to 65535"),
            ("h1:0:3888", "write a number from 1 to 65535"),
            ("h1:2888:65536", "write a number from 1 to 65535"),
            ("h1:-1:3888", "write a number from 1 to 65535"),
            ("h1:2888:2888", "give it two different ports"),
            ("h1:1:2:observer|h2:1:2:participant", "give all the same role"),
            ("h1:2888:3888;", "write a number from 1 to 65535"),
            ("h1:2888:3888;a:b:c", "write ;PORT or ;HOST:PORT"),
            ("h1:2888:3888;:2181", "write ;PORT or ;HOST:PORT"),
            ("h1:2888:3888;x", "write a number from 1 to 65535"),
            ("h1:2888:3888;1;2;3", "more than three parts"),
        ];
        for (text, advice) in table {
            let problem = ServerLine::parse(ServerId(3), text).unwrap_err();
            assert!(problem.contains("server.3"), "{text}: {problem}");
            assert!(problem.contains(advice), "{text}: {problem}");
        }
    }
}
