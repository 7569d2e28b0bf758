//! Who asks for a command that not everybody may have. Source: `zookeeper: Commands`
//! (handleAuthentication, handleAuthorization).
//!
//! Invariant: what is shown counts for this one request; nothing of it is logged or kept.

use std::net::{IpAddr, SocketAddr};

use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap};
use zokor_core::auth::AuthConfig;
use zokor_core::proto::{Acl, Id, Permissions};
use zokor_core::tree::permits;

/// Why a command is refused: the status and the text of the answer.
pub(super) type Refused = (StatusCode, &'static str);

/// Whether who sends these headers may do everything with the root, whose list is `acl`.
///
/// # Errors
/// What he hears if he may not.
pub(super) fn admit(
    headers: &HeaderMap,
    from: SocketAddr,
    auth: &AuthConfig,
    acl: &[Acl],
    skips_acl: bool,
) -> Result<(), Refused> {
    let Some(shown) = headers.get(AUTHORIZATION) else {
        return Err((StatusCode::UNAUTHORIZED, "Auth info is missing for the command"));
    };
    let identities = identities(shown.as_bytes(), from, auth).ok_or(NOT_AUTHENTICATED)?;
    let bits = [
        Permissions::READ,
        Permissions::WRITE,
        Permissions::CREATE,
        Permissions::DELETE,
        Permissions::ADMIN,
    ];
    // Each by itself: to have one of them is not enough.
    if skips_acl || bits.into_iter().all(|bit| permits(acl, bit, &identities)) {
        Ok(())
    } else {
        Err((StatusCode::FORBIDDEN, "Not authorized"))
    }
}

/// The identities behind `scheme data`; `None` if there are none.
fn identities(shown: &[u8], from: SocketAddr, auth: &AuthConfig) -> Option<Vec<Id>> {
    let shown = std::str::from_utf8(shown).ok()?;
    // As Java splits: what is empty at the end does not count.
    let (scheme, data) = match shown.trim_end_matches(' ').split_once(' ') {
        None => (shown.trim_end_matches(' '), None),
        Some((_, data)) if data.contains(' ') => return None,
        Some((scheme, data)) => (scheme, Some(data.as_bytes())),
    };
    let identities = match scheme {
        "ip" => vec![Id::new("ip", &java_address(from.ip()))],
        "digest" => auth.authenticate("digest", data, || None).ok()?,
        // Of the others nobody can show anything here.
        _ => return None,
    };
    (!identities.is_empty()).then_some(identities)
}

/// An address as Java prints it, and as the identities of clients have it: IPv6 in full.
fn java_address(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => address.segments().map(|group| format!("{group:x}")).join(":"),
    }
}

const NOT_AUTHENTICATED: Refused = (StatusCode::UNAUTHORIZED, "Not authenticated");

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(shown: Option<&str>, acl: &[Acl]) -> Result<(), (u16, &'static str)> {
        let mut headers = HeaderMap::new();
        if let Some(shown) = shown {
            headers.insert(AUTHORIZATION, shown.parse().unwrap());
        }
        let from = "[::ffff:10.0.0.7]:5".parse().unwrap();
        let admitted = admit(&headers, from, &AuthConfig::default(), acl, false);
        admitted.map_err(|(status, text)| (status.as_u16(), text))
    }

    fn entry(bits: i32, scheme: &str, id: &str) -> Acl {
        Acl { permissions: Permissions(bits), id: Id::new(scheme, id) }
    }

    #[test]
    fn an_open_root_lets_everybody_in_who_shows_anything() {
        let open = [entry(31, "world", "anyone")];
        for shown in ["digest ann:secret", "ip", "ip ", "ip whatever", "digest ann:secret  "] {
            assert_eq!(asked(Some(shown), &open), Ok(()), "{shown:?}");
        }
        let missing = Err((401, "Auth info is missing for the command"));
        assert_eq!(asked(None, &open), missing);
        for shown in
            ["", "digest", "digest  a:b", "digest a b", "nope a:b", "x509", "sasl ann", "world a"]
        {
            assert_eq!(asked(Some(shown), &open), Err((401, "Not authenticated")), "{shown:?}");
        }
    }

    #[test]
    fn a_root_that_is_not_open_lets_in_who_may_do_everything_with_it() {
        let no = Err((403, "Not authorized"));
        let here = [entry(31, "ip", "10.0.0.7")];
        assert_eq!(asked(Some("ip"), &here), Ok(()));
        assert_eq!(asked(Some("digest ann:secret"), &here), no);
        for bits in [1, 2, 4, 8, 16, 30] {
            assert_eq!(asked(Some("ip"), &[entry(bits, "ip", "10.0.0.7")]), no, "{bits}");
        }
        let both = [entry(15, "ip", "10.0.0.0/8"), entry(16, "world", "anyone")];
        assert_eq!(asked(Some("ip"), &both), Ok(()));
    }

    #[test]
    fn a_server_that_asks_for_no_permission_asks_for_none_here() {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, "ip".parse().unwrap());
        let from = "10.0.0.7:5".parse().unwrap();
        let shut = [entry(31, "digest", "ann:x")];
        assert_eq!(admit(&headers, from, &AuthConfig::default(), &shut, true), Ok(()));
    }
}
