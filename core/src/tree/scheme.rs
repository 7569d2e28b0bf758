//! The schemes of identities: `digest`, `ip`, `sasl`, `x509` and `key`. (`world`, `auth` and
//! `super` are words of `acl`.)
//!
//! Invariant: an identity of one scheme never matches an entry of another, and no setting of a
//! server has a say: which schemes a client may use is decided where it is connected. Rules:
//! `DigestAuthenticationProvider`, `IPAuthenticationProvider`, `SASLAuthenticationProvider`,
//! `X509AuthenticationProvider`, `KeyAuthenticationProvider`.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::names::{is_distinguished, is_kerberos};
use crate::proto::{Id, Text};

/// The scheme of an identity that matches the entries of ACLs for one user of SASL, while its
/// connection is another user. No client sees it, and no ACL may name it.
pub const ANY_SASL: &str = "any-sasl";

/// What `whoAmI` shows of an identity: never more than the user, and nothing (`None`) of what only
/// servers know.
pub fn shown(id: &Id) -> Option<Id> {
    let user = match &*id.scheme {
        ANY_SASL => return None,
        "digest" => id.id.split(':').next().unwrap_or_default().into(),
        // It has no provider that could tell a name.
        "super" => Text::default(),
        _ => id.id.clone(),
    };
    Some(Id { scheme: id.scheme.clone(), id: user })
}

/// Whether `auth` in an ACL stands for this identity, too: one that was proven.
pub(super) fn is_authenticated(id: &Id) -> bool {
    matches!(&*id.scheme, "digest" | "sasl" | "x509" | "key")
}

/// Whether an identity passes every check.
pub(super) fn is_above_all(id: &Id) -> bool {
    id.scheme == "super"
}

/// Whether an entry of an ACL may name this identity.
pub(super) fn is_valid(id: &Id) -> bool {
    match &*id.scheme {
        // Java's split drops empty parts at the end.
        "digest" => id.id.trim_end_matches(':').split(':').count() == 2,
        "ip" => Net::parse(&id.id).is_some(),
        "sasl" => is_kerberos(&id.id),
        "x509" => is_distinguished(&id.id),
        "key" => true,
        _ => false,
    }
}

/// Whether a connection's identity is the one that an entry of an ACL names.
pub(super) fn matches(own: &Id, named: &Id) -> bool {
    if own.scheme != named.scheme {
        return own.scheme == ANY_SASL && named.scheme == "sasl" && own.id == named.id;
    }
    match &*named.scheme {
        "digest" | "x509" | "key" => own.id == named.id,
        // The user of this name is everyone, as in ZooKeeper.
        "sasl" => own.id == named.id || own.id == "super",
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
            ("ip", "127.0.0.01", true),
            ("ip", "::", true),
            ("ip", "1::2::3", false),
            ("ip", "1:2:3:4:5:6:7:8:9", false),
            ("ip", "12345::", false),
            ("sasl", "bob", true),
            ("sasl", "", true),
            ("sasl", "bob/host@REALM", true),
            ("sasl", "bob@REALM@OTHER", false),
            ("x509", "CN=localhost,O=x", true),
            ("x509", "localhost", false),
            ("key", "", true),
            ("world", "anyone", false),
            ("super", "", false),
            ("ensemble", "east", false),
            (ANY_SASL, "bob", false),
            ("", "", false),
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
    fn names_match_within_their_scheme() {
        let table = [
            (("digest", "a:b"), ("digest", "a:b"), true),
            (("digest", "a:b"), ("sasl", "a:b"), false),
            (("sasl", "bob"), ("sasl", "bob"), true),
            (("sasl", "bob"), ("sasl", "eve"), false),
            (("sasl", "super"), ("sasl", "eve"), true),
            (("sasl", "super"), ("digest", "eve:h"), false),
            ((ANY_SASL, "eve"), ("sasl", "eve"), true),
            ((ANY_SASL, "eve"), ("sasl", "bob"), false),
            ((ANY_SASL, "eve"), ("digest", "eve"), false),
            (("x509", "CN=a"), ("x509", "CN=a"), true),
            (("x509", "CN=a"), ("x509", "CN=b"), false),
            (("key", ""), ("key", ""), true),
            (("key", ""), ("key", "5"), false),
            (("super", ""), ("super", ""), false),
        ];
        for (own, named, expected) in table {
            let id = |(scheme, id)| Id::new(scheme, id);
            assert_eq!(matches(&id(own), &id(named)), expected, "{own:?} {named:?}");
        }
    }

    #[test]
    fn who_am_i_shows_users_without_hashes() {
        let table = [
            (("digest", "bob:hash"), Some(("digest", "bob"))),
            (("ip", "0:0:0:0:0:0:0:1"), Some(("ip", "0:0:0:0:0:0:0:1"))),
            (("sasl", "bob"), Some(("sasl", "bob"))),
            (("x509", "CN=a"), Some(("x509", "CN=a"))),
            (("super", "CN=a"), Some(("super", ""))),
            ((ANY_SASL, "bob"), None),
        ];
        for ((scheme, id), expected) in table {
            let expected = expected.map(|(scheme, id)| Id::new(scheme, id));
            assert_eq!(shown(&Id::new(scheme, id)), expected, "{scheme}:{id}");
        }
    }
}
