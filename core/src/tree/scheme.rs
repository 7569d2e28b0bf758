//! The schemes of identities: `digest` and `ip`. (`world`, `auth` and `super` are words of
//! [`acl`](super::acl).)
//!
//! Invariant: an identity of one scheme never matches an entry of another. Rules:
//! `DigestAuthenticationProvider`, `IPAuthenticationProvider`.

use std::net::{Ipv4Addr, Ipv6Addr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use crate::proto::{ErrorCode, Id, Text};

/// The identities that an auth packet adds to its connection. `ip` is always there already, so it adds
/// none; a wrong password of `digest` only makes an identity that opens nothing.
///
/// # Errors
/// `AuthFailed` if the scheme is unknown or there are no credentials where some are needed.
pub fn authenticate(scheme: &str, auth: Option<&[u8]>) -> Result<Vec<Id>, ErrorCode> {
    match (scheme, auth) {
        ("ip", _) => Ok(Vec::new()),
        ("digest", Some(auth)) => {
            let credentials = String::from_utf8_lossy(auth);
            let user = credentials.split(':').next().unwrap_or_default();
            let hash = STANDARD.encode(Sha1::digest(credentials.as_bytes()));
            let id = Text::from(format!("{user}:{hash}"));
            Ok(vec![Id { scheme: Text::from_static("digest"), id }])
        }
        _ => Err(ErrorCode::AuthFailed),
    }
}

/// What `whoAmI` shows of an identity: never more than the user.
pub fn user_of(id: &Id) -> Text {
    if id.scheme == "digest" {
        id.id.split(':').next().unwrap_or_default().into()
    } else {
        id.id.clone()
    }
}

/// Whether `auth` in an ACL stands for this identity, too: one that was proven.
pub(super) fn is_authenticated(id: &Id) -> bool {
    id.scheme == "digest"
}

/// Whether an entry of an ACL may name this identity.
pub(super) fn is_valid(id: &Id) -> bool {
    match &*id.scheme {
        // Java's split drops empty parts at the end.
        "digest" => id.id.trim_end_matches(':').split(':').count() == 2,
        "ip" => Net::parse(&id.id).is_some(),
        _ => false,
    }
}

/// Whether a connection's identity is the one that an entry of an ACL names.
pub(super) fn matches(own: &Id, named: &Id) -> bool {
    if own.scheme != named.scheme {
        return false;
    }
    match &*named.scheme {
        "digest" => own.id == named.id,
        "ip" => match (Net::parse(&own.id), Net::parse(&named.id)) {
            (Some(own), Some(named)) => named.contains(own),
            _ => false,
        },
        _ => false,
    }
}

/// An address with the number of its leading bits that count.
#[derive(Clone, Copy)]
struct Net {
    /// The address in the upper bits.
    address: u128,
    width: u32,
    bits: u32,
}

impl Net {
    fn parse(text: &str) -> Option<Net> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(decimal(bits)?)),
            None => (text, None),
        };
        let (address, width) = match parse_v4(address) {
            Some(v4) => (u128::from(v4.to_bits()) << 96, 32),
            None => (parse_v6(address)?.to_bits(), 128),
        };
        let bits = bits.unwrap_or(width);
        (bits <= width).then_some(Net { address, width, bits })
    }

    /// Whether the address of `other` lies within; families never mix.
    fn contains(self, other: Net) -> bool {
        let mask = u128::MAX.checked_shl(128 - self.bits).unwrap_or(0);
        self.width == other.width && (self.address ^ other.address) & mask == 0
    }
}

/// Four decimal numbers; as in Java, zeros may lead.
fn parse_v4(text: &str) -> Option<Ipv4Addr> {
    let mut parts = text.split('.');
    let mut octets = [0; 4];
    for octet in &mut octets {
        *octet = u8::try_from(decimal(parts.next()?)?).ok()?;
    }
    parts.next().is_none().then(|| Ipv4Addr::from(octets))
}

/// Without the notation that embeds an IPv4 address, which ZooKeeper does not understand.
fn parse_v6(text: &str) -> Option<Ipv6Addr> {
    if text.contains('.') { None } else { text.parse().ok() }
}

fn decimal(text: &str) -> Option<u32> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_the_published_ones() {
        let pairs = [
            ("super:test", "super:D/InIHSb7yEEbrWz8b9l71RjZJU="),
            ("super:zookeeper", "super:yyuhPKumRtNj4r8GnSbbwuq1vhE="),
            ("super:foo", "super:t6lQTvqID/Gl5Or0n4FYE6kKP8w="),
            ("super:bar", "super:hTdNN4QH4isoRvCrQ1Jf7REREQ4="),
        ];
        for (auth, id) in pairs {
            let ids = authenticate("digest", Some(auth.as_bytes()));
            assert_eq!(ids, Ok(vec![Id::new("digest", id)]), "{auth}");
        }
    }

    #[test]
    fn digest_takes_any_credentials_but_none() {
        let id = &authenticate("digest", Some(b"nocolon")).unwrap()[0];
        assert!(id.id.starts_with("nocolon:"));
        assert!(authenticate("digest", Some(b"\xff\xfe:x")).is_ok());
        assert!(authenticate("digest", Some(b"")).is_ok());
        assert_eq!(authenticate("digest", None), Err(ErrorCode::AuthFailed));
        assert_eq!(authenticate("ip", None), Ok(vec![]));
        for scheme in ["world", "auth", "super", "sasl", ""] {
            assert_eq!(authenticate(scheme, Some(b"a:b")), Err(ErrorCode::AuthFailed), "{scheme}");
        }
    }

    #[test]
    fn a_valid_name_has_the_form_of_its_scheme() {
        let table = [
            ("digest", "a:b", true),
            ("digest", ":b", true),
            ("digest", "a:b::", true),
            ("digest", "a:", false),
            ("digest", "a", false),
            ("digest", "", false),
            ("digest", "a:b:c", false),
            ("ip", "127.0.0.1", true),
            ("ip", "127.0.0.1/0", true),
            ("ip", "127.0.0.1/32", true),
            ("ip", "127.0.0.1/33", false),
            ("ip", "127.0.0.256", false),
            ("ip", "127.0.0", false),
            ("ip", "127.0.0.1.2", false),
            ("ip", "127.0.0.1/", false),
            ("ip", "127.0.0.1/-1", false),
            ("ip", "127.0.0.1/+1", false),
            ("ip", "", false),
            ("ip", "0:0:0:0:0:0:0:1", true),
            ("ip", "fe80::/10", true),
            ("ip", "::1/128", true),
            ("ip", "::1/129", false),
            ("ip", "::ffff:1.2.3.4", false),
            ("ip", "localhost", false),
            ("world", "anyone", false),
            ("super", "", false),
        ];
        for (scheme, id, expected) in table {
            assert_eq!(is_valid(&Id::new(scheme, id)), expected, "{scheme}:{id}");
        }
    }

    #[test]
    fn an_address_matches_the_net_around_it() {
        let table = [
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4", false),
            ("10.1.2.3", "10.1.2.4/24", true),
            ("10.1.3.3", "10.1.2.4/24", false),
            ("10.1.3.3", "1.1.1.1/0", true),
            ("0:0:0:0:0:0:0:1", "::1", true),
            ("0:0:0:0:0:0:0:1", "::2/126", true),
            ("0:0:0:0:0:0:0:1", "::8/126", false),
            ("0:0:0:0:0:0:0:1", "0.0.0.1/0", false),
        ];
        for (own, named, expected) in table {
            assert_eq!(
                matches(&Id::new("ip", own), &Id::new("ip", named)),
                expected,
                "{own} {named}"
            );
        }
    }

    #[test]
    fn who_am_i_shows_users_without_hashes() {
        assert_eq!(user_of(&Id::new("digest", "bob:hash")), "bob");
        assert_eq!(user_of(&Id::new("ip", "0:0:0:0:0:0:0:1")), "0:0:0:0:0:0:0:1");
    }
}
