//! A client's wish for another membership (op 16): whether it could be had, in ZooKeeper's order of
//! checks.
//!
//! Invariant: a wish is judged by the description of the ensemble alone, on every server alike, and
//! changes nothing. Source: `zookeeper: PrepRequestProcessor.pRequest2Txn`, `QuorumPeerConfig`,
//! `QuorumServer`. Where the Java server meets an exception that nobody foresaw, its client hears
//! of a request that could not be read; so does ours.

use std::collections::BTreeMap;

use crate::id::ServerId;
use crate::proto::{Ensemble, ErrorCode, Reconfig};
use crate::replica::ReconfigRules;

/// Whether what is `asked` differs from what is `present`.
///
/// # Errors
/// `BadArguments`, `MarshallingError` or `NewConfigNoQuorum`, whichever ZooKeeper finds first. A
/// server that is no member cannot be in step, so a quorum must be of members.
pub(super) fn judge(
    present: &Ensemble,
    asked: &Reconfig,
    rules: &ReconfigRules,
) -> Result<bool, ErrorCode> {
    let least_voters = rules.least_voters;
    let max_addresses = if rules.several_addresses { usize::MAX } else { 1 };
    let shown = shown(present);
    let (wanted, is_weighted) = match &asked.members {
        Some(members) => listed(members, least_voters, max_addresses)?,
        None => (altered(&shown, asked, max_addresses)?, false),
    };
    let voters: Vec<&ServerId> =
        wanted.iter().filter(|(_, line)| line.votes).map(|(id, _)| id).collect();
    if voters.len() < least_voters {
        return Err(ErrorCode::BadArguments);
    }
    let n_members = voters.iter().filter(|id| shown.contains_key(id)).count();
    if n_members <= voters.len() / 2 {
        return Err(ErrorCode::NewConfigNoQuorum);
    }
    Ok(is_weighted || wanted != shown)
}

type Servers = BTreeMap<ServerId, Line>;

/// One `server.N` line, as far as it matters whether two are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    /// Host, port for peers, election port.
    addresses: Vec<(String, u16, u16)>,
    votes: bool,
    client: Option<(String, u16)>,
}

/// The members as they are described.
fn shown(present: &Ensemble) -> Servers {
    let line = |text: &str| Line::parse(text, usize::MAX).ok();
    let members = present.members.iter();
    members.filter_map(|member| Some((member.id, line(&member.line)?))).collect()
}

/// All servers of a whole new list, and whether it speaks of groups and weights.
fn listed(
    text: &str,
    least_voters: usize,
    max_addresses: usize,
) -> Result<(Servers, bool), ErrorCode> {
    let mut servers = Servers::new();
    let mut is_weighted = false;
    for (key, value) in text.split([',', '\n', '\r']).filter_map(property) {
        if let Some(id) = key.strip_prefix("server.") {
            let id = server_id(id)?;
            servers.insert(id, Line::parse(value, max_addresses)?);
        } else if key.starts_with("group") || key.starts_with("weight") {
            is_weighted = true;
        } else if key == "version" {
            i64::from_str_radix(value, 16).map_err(|_| ErrorCode::MarshallingError)?;
        } else {
            return Err(ErrorCode::BadArguments);
        }
    }
    let n_voters = servers.values().filter(|line| line.votes).count();
    let has_observers = n_voters < servers.len();
    let may_stand_alone = least_voters > 1;
    match n_voters {
        0 if has_observers || !may_stand_alone => Err(ErrorCode::MarshallingError),
        1 if has_observers && may_stand_alone => Err(ErrorCode::MarshallingError),
        _ => Ok((servers, is_weighted)),
    }
}

/// The servers after some have left and others have joined, or got another line.
fn altered(shown: &Servers, asked: &Reconfig, max_addresses: usize) -> Result<Servers, ErrorCode> {
    let mut servers = shown.clone();
    for leaving in parts(asked.leaving.as_deref().unwrap_or_default(), ',') {
        servers.remove(&server_id(leaving)?);
    }
    for joining in parts(asked.joining.as_deref().unwrap_or_default(), ',') {
        let [name, text] = parts(joining, '=')[..] else { return Err(ErrorCode::BadArguments) };
        let id = server_id(name.rsplit_once('.').map_or(name, |(_, id)| id))?;
        let line = Line::parse(text, max_addresses)?;
        if line.client.is_none() {
            return Err(ErrorCode::BadArguments);
        }
        let mut others = servers.iter().filter(|(other, _)| **other != id);
        if others.any(|(_, other)| line.meets(other)) {
            return Err(ErrorCode::BadArguments);
        }
        servers.insert(id, line);
    }
    Ok(servers)
}

impl Line {
    /// The text after the equals sign, with so many addresses at most.
    fn parse(text: &str, max_addresses: usize) -> Result<Line, ErrorCode> {
        let parts = split(text, ';');
        let client = match parts.get(1) {
            Some(text) if !text.is_empty() => Some(client_address(text)?),
            Some(_) | None => None,
        };
        let servers = split(parts.first().copied().unwrap_or_default(), '|');
        if servers.len() > max_addresses || servers.is_empty() {
            return Err(ErrorCode::BadArguments);
        }
        let mut addresses = Vec::new();
        let mut votes = None;
        for server in servers {
            let (host, rest) = host_and_rest(server)?;
            let (quorum, election, role) = match rest[..] {
                [quorum, election] => (quorum, election, None),
                [quorum, election, role] => (quorum, election, Some(is_participant(role)?)),
                _ => return Err(ErrorCode::BadArguments),
            };
            let (quorum, election) = (port(quorum)?, port(election)?);
            let differs = votes.is_some() && role.is_some() && votes != role;
            if quorum == election || differs {
                return Err(ErrorCode::BadArguments);
            }
            votes = votes.or(role);
            addresses.push((host.to_owned(), quorum, election));
        }
        Ok(Line { addresses, votes: votes.unwrap_or(true), client })
    }

    /// Whether both would listen at one address. Every host is itself; "all addresses" is none.
    fn meets(&self, other: &Line) -> bool {
        let others = other.listens();
        self.listens().iter().any(|address| others.contains(address))
    }

    fn listens(&self) -> Vec<(&str, u16)> {
        let peers = self.addresses.iter().flat_map(|(host, quorum, election)| {
            [(host.as_str(), *quorum), (host.as_str(), *election)]
        });
        let client = self.client.iter().map(|(host, port)| (host.as_str(), *port));
        let is_somewhere = |host: &str| {
            !host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_unspecified())
        };
        peers.chain(client).filter(|(host, _)| is_somewhere(host)).collect()
    }
}

/// `[host:]port`.
fn client_address(text: &str) -> Result<(String, u16), ErrorCode> {
    let (host, rest) = host_and_rest(text)?;
    match rest[..] {
        [] => Ok(("0.0.0.0".to_owned(), port(host)?)),
        [number] => Ok((host.to_owned(), port(number)?)),
        _ => Err(ErrorCode::BadArguments),
    }
}

/// What stands before the first colon, in brackets or not, and what stands between the others.
fn host_and_rest(text: &str) -> Result<(&str, Vec<&str>), ErrorCode> {
    let Some(inside) = text.strip_prefix('[') else {
        let parts = split(text, ':');
        let (host, rest) = parts.split_first().ok_or(ErrorCode::BadArguments)?;
        return Ok((host, rest.to_vec()));
    };
    let (host, rest) = inside.split_once(']').ok_or(ErrorCode::BadArguments)?;
    match rest.strip_prefix(':') {
        Some("") => Err(ErrorCode::BadArguments),
        Some(rest) => Ok((host, split(rest, ':'))),
        None if rest.is_empty() => Ok((host, Vec::new())),
        None => Err(ErrorCode::BadArguments),
    }
}

fn port(text: &str) -> Result<u16, ErrorCode> {
    let number: i32 = text.parse().map_err(|_| ErrorCode::BadArguments)?;
    u16::try_from(number).map_err(|_| ErrorCode::MarshallingError)
}

fn is_participant(role: &str) -> Result<bool, ErrorCode> {
    match role {
        _ if role.eq_ignore_ascii_case("participant") => Ok(true),
        _ if role.eq_ignore_ascii_case("observer") => Ok(false),
        _ => Err(ErrorCode::BadArguments),
    }
}

fn server_id(text: &str) -> Result<ServerId, ErrorCode> {
    let id: i64 = text.parse().map_err(|_| ErrorCode::MarshallingError)?;
    // ZooKeeper would take a negative one, and no server can have it.
    u64::try_from(id).map(ServerId).map_err(|_| ErrorCode::MarshallingError)
}

/// Key and value of one line of a Java properties file; `None` for blanks and comments.
fn property(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start();
    if line.is_empty() || line.starts_with(['#', '!']) {
        return None;
    }
    let end = line.find(|c: char| c == '=' || c == ':' || c.is_ascii_whitespace());
    let (key, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start();
    Some((key, rest.strip_prefix(['=', ':']).unwrap_or(rest).trim()))
}

/// Without blanks around them, and without empty ones.
fn parts(text: &str, separator: char) -> Vec<&str> {
    text.split(separator).map(str::trim).filter(|part| !part.is_empty()).collect()
}

/// As Java splits: empty parts at the end are none.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut parts: Vec<&str> = text.split(separator).map(str::trim).collect();
    while parts.last().is_some_and(|part| part.is_empty()) {
        parts.pop();
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "server.1=h1:2888:3888:participant;0.0.0.0:2181";
    const TWO: &str = "server.2=h2:2888:3888:participant;0.0.0.0:2181";
    const THREE: &str = "server.3=h3:2888:3888:participant;0.0.0.0:2181";

    fn present() -> Ensemble {
        Ensemble::from_text(&[ONE, TWO, THREE].join("\n"))
    }

    fn change(joining: &str, leaving: &str) -> Result<bool, ErrorCode> {
        let some = |text: &str| Some(text.into());
        let asked =
            Reconfig { joining: some(joining), leaving: some(leaving), members: None, version: -1 };
        judge(&present(), &asked, &ReconfigRules::default())
    }

    fn replace(members: &str, least_voters: usize) -> Result<bool, ErrorCode> {
        let members = Some(members.into());
        let asked = Reconfig { joining: None, leaving: None, members, version: -1 };
        judge(&present(), &asked, &ReconfigRules { least_voters, ..ReconfigRules::default() })
    }

    #[test]
    fn what_leaves_the_membership_as_it_is_is_no_change() {
        assert_eq!(change("", ""), Ok(false));
        assert_eq!(change("", "7, 8"), Ok(false), "who is no member cannot leave");
        assert_eq!(change(TWO, ""), Ok(false));
        assert_eq!(replace(&[THREE, TWO, ONE].join(","), 2), Ok(false));
        assert_eq!(replace(&[ONE, TWO, THREE, "version=1f"].join("\n"), 2), Ok(false));
    }

    #[test]
    fn servers_join_leave_and_get_other_lines() {
        assert_eq!(change("server.4=h4:1:2;3", ""), Ok(true));
        assert_eq!(change("server.4 = [::1]:1:2:OBSERVER;[::1]:3 ", "1"), Ok(true));
        assert_eq!(change("server.3=h3:2888:3888:observer;2181", ""), Ok(true));
        assert_eq!(change("", "3"), Ok(true));
        assert_eq!(replace(&[ONE, TWO].join(","), 2), Ok(true));
        assert_eq!(replace(&[ONE, TWO, THREE, "group.1=1:2:3"].join("\n"), 2), Ok(true));
        assert_eq!(replace(ONE, 1), Ok(true));
    }

    #[test]
    fn wrong_arguments_are_told_as_zookeeper_tells_them() {
        let bad = Err(ErrorCode::BadArguments);
        for joining in [
            "nonsense",
            "server.4=",
            "server.4=h4:1:2",
            "server.4=h4:1;3",
            "server.4=h4:1:1;3",
            "server.4=h4:a:2;3",
            "server.4=h4:1:2;x",
            "server.4=h4:1:2:leader;3",
            "server.4=h4:1:2|h5:1:2;3",
            "server.4=[::1:1:2;3",
            "server.4=h4:1:2;a:b:c",
            "server.4=h1:2888:2;3",
            "server.4=h4:1:2;h1:3888",
            "server.4=a=b",
        ] {
            assert_eq!(change(joining, ""), bad, "{joining}");
        }
        assert_eq!(change("", "2,3"), bad, "one voter is too few");
        assert_eq!(replace("foo=bar", 2), bad);
        assert_eq!(replace("", 2), bad);
        assert_eq!(replace(ONE, 2), bad);
    }

    #[test]
    fn who_joins_has_several_addresses_only_where_that_is_enabled() {
        let joining = Some("server.4=h4:1:2|h5:1:2;3".into());
        let joins = Reconfig { joining, leaving: None, members: None, version: -1 };
        let members = Some(format!("{ONE},{TWO},server.4=h4:1:2|h5:1:2;3").into());
        let replaces = Reconfig { joining: None, leaving: None, members, version: -1 };
        for asked in [joins, replaces] {
            for (several_addresses, judged) in
                [(false, Err(ErrorCode::BadArguments)), (true, Ok(true))]
            {
                let rules = ReconfigRules { several_addresses, ..ReconfigRules::default() };
                assert_eq!(judge(&present(), &asked, &rules), judged, "{asked:?}");
            }
        }
        let joining = Some("server.4=h4:1:2|h1:1:2888;3".into());
        let meets = Reconfig { joining, leaving: None, members: None, version: -1 };
        let rules = ReconfigRules { several_addresses: true, ..ReconfigRules::default() };
        assert_eq!(judge(&present(), &meets, &rules), Err(ErrorCode::BadArguments));
    }

    #[test]
    fn what_surprises_the_java_server_is_told_as_unreadable() {
        let unread = Err(ErrorCode::MarshallingError);
        for joining in ["server.x=h4:1:2;3", "server.-4=h4:1:2;3", "server.4=h4:1:70000;3"] {
            assert_eq!(change(joining, ""), unread, "{joining}");
        }
        assert_eq!(change("", "x"), unread);
        for members in ["server.x=h1:1:2;3", "server.1=h1:1:2:observer;3", "version=zz"] {
            assert_eq!(replace(members, 2), unread, "{members}");
        }
        assert_eq!(replace("", 1), unread);
    }

    #[test]
    fn a_quorum_of_the_new_membership_must_be_members() {
        let strangers = "server.7=h7:1:2;3,server.8=h8:1:2;3";
        let asked = format!("{ONE},{strangers}");
        assert_eq!(replace(&asked, 2), Err(ErrorCode::NewConfigNoQuorum));
        assert_eq!(replace(&format!("{TWO},{asked}"), 2), Err(ErrorCode::NewConfigNoQuorum));
        assert_eq!(replace(&format!("{THREE},{TWO},{asked}"), 2), Ok(true));
    }
}
