//! Who may do what, in the model: identities of connections, lists of permissions, and what a list
//! must be like to be stored. Rules: ZooKeeper's `ZooKeeperServer.checkACL`,
//! `PrepRequestProcessor.fixupACL`, `DigestAuthenticationProvider`, `IPAuthenticationProvider`.
//!
//! Invariant: it is written from the rules and shares nothing with the code that it judges.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use zokor_core::proto::{Acl, AuthPacket, ErrorCode, Id, Identities, Permissions};

/// Read data and children.
pub const READ: i32 = 1;
/// Set data.
pub const WRITE: i32 = 2;
/// Create a child.
pub const CREATE: i32 = 4;
/// Delete a child.
pub const DELETE: i32 = 8;
/// Set the ACL.
pub const ADMIN: i32 = 16;

/// What the identities of one connection may weigh together.
const MAX_IDENTITY_BYTES: usize = 32 << 10;

/// The identities of a connection from `address` before any credentials.
pub fn from_address(address: IpAddr) -> Identities {
    let text = match address {
        IpAddr::V4(address) => address.to_string(),
        // As Java prints it: eight groups, none left out.
        IpAddr::V6(address) => address.segments().map(|part| format!("{part:x}")).join(":"),
    };
    [Id::new("ip", &text)].into()
}

/// The identities after the credentials of `packet` were shown.
///
/// # Errors
/// `AuthFailed` if they are not accepted.
pub fn joined(known: &Identities, packet: &AuthPacket) -> Result<Identities, ErrorCode> {
    let proven = match (&*packet.scheme, &packet.auth) {
        ("ip", _) => return Ok(known.clone()),
        ("digest", Some(auth)) => {
            let text = String::from_utf8_lossy(auth);
            let user = text.split_once(':').map_or(&*text, |(user, _)| user);
            Id::new("digest", &format!("{user}:{}", STANDARD.encode(Sha1::digest(text.as_bytes()))))
        }
        _ => return Err(ErrorCode::AuthFailed),
    };
    if known.contains(&proven) {
        return Ok(known.clone());
    }
    let all: Identities = known.iter().cloned().chain([proven]).collect();
    let weight: usize = all.iter().map(|id| 32 + id.scheme.len() + id.id.len()).sum();
    if weight > MAX_IDENTITY_BYTES { Err(ErrorCode::AuthFailed) } else { Ok(all) }
}

/// Whether one of `identities` may do one of the `wanted` bits.
pub fn may(acl: &[Acl], wanted: i32, identities: &[Id]) -> bool {
    let is_super = identities.iter().any(|own| own.scheme == "super");
    acl.is_empty()
        || is_super
        || acl.iter().any(|entry| {
            let named = &entry.id;
            let fits = is_anyone(named) || identities.iter().any(|own| is_named(own, named));
            entry.permissions.0 & wanted != 0 && fits
        })
}

/// [`may`], as an answer.
///
/// # Errors
/// `NoAuth` if not.
pub fn need(acl: &[Acl], wanted: i32, identities: &[Id]) -> Result<(), ErrorCode> {
    if may(acl, wanted, identities) { Ok(()) } else { Err(ErrorCode::NoAuth) }
}

/// The list to be stored for what a client sent.
///
/// # Errors
/// `InvalidAcl` if there is none.
pub fn fixed_up(acl: &[Acl], identities: &[Id]) -> Result<Vec<Acl>, ErrorCode> {
    let mut stored = Vec::new();
    for (place, entry) in acl.iter().enumerate() {
        if acl[..place].contains(entry) {
            continue;
        }
        let named = &entry.id;
        let of = |id: &Id| Acl { permissions: Permissions(entry.permissions.0), id: id.clone() };
        let before = stored.len();
        match &*named.scheme {
            "world" if is_anyone(named) => stored.push(of(named)),
            "auth" => stored.extend(identities.iter().filter(|id| id.scheme == "digest").map(of)),
            "digest" if named.id.trim_end_matches(':').split(':').count() == 2 => {
                stored.push(of(named));
            }
            "ip" if parse(&named.id).is_some() => stored.push(of(named)),
            _ => return Err(ErrorCode::InvalidAcl),
        }
        if stored.len() == before {
            return Err(ErrorCode::InvalidAcl);
        }
    }
    if stored.is_empty() { Err(ErrorCode::InvalidAcl) } else { Ok(stored) }
}

/// The list without the hashes of passwords.
pub fn masked(acl: &[Acl]) -> Vec<Acl> {
    let masked = |entry: &Acl| match entry.id.id.split_once(':') {
        Some((user, _)) if entry.id.scheme == "digest" => {
            Acl { id: Id::new("digest", &format!("{user}:x")), ..entry.clone() }
        }
        _ => entry.clone(),
    };
    acl.iter().map(masked).collect()
}

/// The identities as `whoAmI` shows them.
pub fn shown(identities: &[Id]) -> Vec<Id> {
    let shown = |id: &Id| match id.id.split_once(':') {
        Some((user, _)) if id.scheme == "digest" => Id::new("digest", user),
        _ => id.clone(),
    };
    identities.iter().map(shown).collect()
}

fn is_anyone(id: &Id) -> bool {
    id.scheme == "world" && id.id == "anyone"
}

fn is_named(own: &Id, named: &Id) -> bool {
    match (&*own.scheme, &*named.scheme) {
        ("digest", "digest") => own.id == named.id,
        ("ip", "ip") => match (parse(&own.id), parse(&named.id)) {
            (Some((own, _)), Some((net, bits))) => {
                own.len() == net.len() && own.iter().zip(&net).take(bits).all(|(a, b)| a == b)
            }
            _ => false,
        },
        _ => false,
    }
}

/// An address as single bits, and how many of them count.
fn parse(text: &str) -> Option<(Vec<bool>, usize)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<usize>().ok()?)),
        None => (text, None),
    };
    let octets = match address.parse::<IpAddr>().ok()? {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let all: Vec<bool> =
        octets.iter().flat_map(|octet| (0..8).rev().map(move |n| octet >> n & 1 == 1)).collect();
    let bits = bits.unwrap_or(all.len());
    (bits <= all.len()).then_some((all, bits))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn packet(scheme: &str, auth: &'static str) -> AuthPacket {
        AuthPacket { scheme: scheme.into(), auth: Some(Bytes::from_static(auth.as_bytes())) }
    }

    fn entry(permissions: i32, scheme: &str, id: &str) -> Acl {
        Acl { permissions: Permissions(permissions), id: Id::new(scheme, id) }
    }

    #[test]
    fn credentials_become_the_published_digest() {
        let known = from_address(IpAddr::from([127, 0, 0, 1]));
        let joined = joined(&known, &packet("digest", "super:test")).unwrap();
        assert_eq!(joined[0], Id::new("ip", "127.0.0.1"));
        assert_eq!(joined[1], Id::new("digest", "super:D/InIHSb7yEEbrWz8b9l71RjZJU="));
        assert_eq!(shown(&joined)[1], Id::new("digest", "super"));
        assert_eq!(super::joined(&known, &packet("magic", "x")), Err(ErrorCode::AuthFailed));
    }

    #[test]
    fn lists_permit_whom_they_name() {
        let own = [Id::new("ip", "10.0.0.7"), Id::new("digest", "bob:h")];
        for (acl, wanted, expected) in [
            (entry(READ, "world", "anyone"), READ, true),
            (entry(READ, "world", "anyone"), WRITE, false),
            (entry(31, "digest", "bob:h"), ADMIN, true),
            (entry(31, "digest", "eve:h"), ADMIN, false),
            (entry(31, "ip", "10.0.0.0/29"), CREATE, true),
            (entry(31, "ip", "10.0.0.0/30"), CREATE, false),
        ] {
            assert_eq!(may(std::slice::from_ref(&acl), wanted, &own), expected, "{acl:?}");
        }
    }

    #[test]
    fn lists_are_fixed_up_or_refused() {
        let own = [Id::new("ip", "10.0.0.7"), Id::new("digest", "bob:h")];
        let auth = entry(7, "auth", "whatever");
        let fixed = fixed_up(&[auth.clone(), auth.clone()], &own);
        assert_eq!(fixed, Ok(vec![entry(7, "digest", "bob:h")]));
        assert_eq!(masked(&fixed.unwrap()), [entry(7, "digest", "bob:x")]);
        for bad in [entry(1, "world", "x"), entry(1, "digest", "bob"), entry(1, "ip", "a")] {
            assert_eq!(fixed_up(&[bad], &own), Err(ErrorCode::InvalidAcl));
        }
        assert_eq!(fixed_up(&[auth], &own[..1]), Err(ErrorCode::InvalidAcl));
        assert_eq!(fixed_up(&[], &own), Err(ErrorCode::InvalidAcl));
    }
}
