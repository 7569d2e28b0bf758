//! The client's part: how a server shows its peers that it knows a password.
//!
//! Invariant: a server that does not know the password as well is never taken for one that does.
//! Source: RFC 2831 §2.1.2, §2.1.3; `com.sun.security.sasl.digest.DigestMD5Client`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{MAX_TOKEN_BYTES, NonceBytes, Proof, Rejected, Secret, directives, is_equal};

/// Who somebody is, and to whom it is to be shown.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    /// The user.
    pub user: &'a str,
    /// Its password.
    pub password: &'a Secret,
    /// The realm that must be offered.
    pub realm: &'a str,
    /// For what this is meant: `service/host`, and what else both sides know to be true.
    pub uri: &'a str,
}

/// The answer to a challenge, and what has to come back.
#[derive(Clone)]
pub struct Answer {
    /// What is to be sent.
    pub token: Vec<u8>,
    expected: String,
}

impl std::fmt::Debug for Answer {
    /// Never shows a token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answer")
    }
}

impl Login<'_> {
    /// The answer to `challenge`, with `random` bytes in it, so that nobody can have computed
    /// anything in advance.
    ///
    /// # Errors
    /// If it is no challenge, or one for something else.
    pub fn answer(&self, challenge: &[u8], random: NonceBytes) -> Result<Answer, Rejected> {
        if challenge.len() > MAX_TOKEN_BYTES {
            return Err(Rejected);
        }
        let directives = directives(challenge)?;
        let text = |name: &str| {
            let value = directives.get(name)?;
            std::str::from_utf8(value)
                .ok()
                .filter(|text| text.bytes().all(|b| b.is_ascii_graphic()))
        };
        let is = |name: &str, expected: &str| {
            directives.get(name).is_none_or(|it| it.eq_ignore_ascii_case(expected.as_bytes()))
        };
        let offers_auth = directives.get("qop").is_none_or(|qop| {
            qop.split(|byte| *byte == b',').any(|one| one.trim_ascii() == b"auth")
        });
        let is_acceptable = text("algorithm") == Some("md5-sess")
            && directives.get("realm").map(Vec::as_slice) == Some(self.realm.as_bytes())
            && is("charset", "utf-8")
            && offers_auth;
        let nonce = text("nonce").filter(|nonce| !nonce.is_empty() && !nonce.contains(['"', '\\']));
        let nonce = nonce.filter(|_| is_acceptable).ok_or(Rejected)?;
        let cnonce = STANDARD.encode(random);
        let proof = Proof {
            user: self.user,
            realm: self.realm,
            password: self.password.reveal(),
            nonce,
            cnonce: cnonce.as_bytes(),
            authzid: None,
            uri: self.uri,
        };
        let token = format!(
            "charset=utf-8,username={},realm={},nonce=\"{nonce}\",nc=00000001,cnonce=\"{cnonce}\",\
             digest-uri={},response={},qop=auth",
            quoted(self.user),
            quoted(self.realm),
            quoted(self.uri),
            proof.value("AUTHENTICATE"),
        );
        let expected = format!("rspauth={}", proof.value(""));
        Ok(Answer { token: token.into_bytes(), expected })
    }
}

impl Answer {
    /// Whether `token`, which came back, shows that the other side knows the password.
    pub fn is_matched_by(&self, token: &[u8]) -> bool {
        is_equal(token, self.expected.as_bytes())
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
