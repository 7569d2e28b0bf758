//! The mechanism DIGEST-MD5 of SASL: RFC 2831, as Java speaks it. Here is the server's part
//! (`com.sun.security.sasl.digest.DigestMD5Server`), and in [`client`] the other.
//!
//! Invariant: one exchange has one challenge and one answer to it, whatever came of it; no password
//! ever leaves this server, and who has none is not told apart from who has another.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};

pub use self::client::{Answer, Login};
use super::secret::{Secret, is_equal};

mod client;

/// The users of one server, and what it calls itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestMd5 {
    /// The realm that is offered. Users of another are strangers.
    pub realm: String,
    /// What an answer must be meant for: `service/host`.
    pub uri: String,
    /// Every user with the password.
    pub users: BTreeMap<String, Secret>,
}

impl DigestMd5 {
    /// The mechanism as ZooKeeper offers it (`ZooKeeperSaslServer`).
    pub fn of_zookeeper(users: BTreeMap<String, Secret>) -> Self {
        DigestMd5 {
            realm: "zk-sasl-md5".to_owned(),
            uri: "zookeeper/zk-sasl-md5".to_owned(),
            users,
        }
    }
}

/// Random bytes of one challenge, as many as Java takes.
pub type NonceBytes = [u8; 30];

/// One conversation with a client.
#[derive(Clone, Debug, Default)]
pub enum Exchange {
    /// Nothing was said.
    #[default]
    Begun,
    /// The challenge is out.
    Challenged {
        /// What the answer must contain.
        nonce: String,
    },
    /// The answer was judged. There is no second one.
    Over,
}

/// What is said next.
#[derive(Clone, PartialEq, Eq)]
pub enum Step {
    /// Prove who you are.
    Challenge(Vec<u8>),
    /// It is proven; and this server proves that it knows the password as well.
    Proven {
        /// The last token.
        token: Vec<u8>,
        /// Who it is.
        user: String,
    },
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Challenge(_) => f.write_str("Challenge"),
            Step::Proven { user, .. } => write!(f, "Proven({user:?})"),
        }
    }
}

/// What a client said is no right answer; the client is not told why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected;

impl Exchange {
    /// Takes the client's next token; `random` is used if it asks for a challenge.
    ///
    /// # Errors
    /// If the token is no right answer at this point.
    pub fn take(
        &mut self,
        mechanism: &DigestMd5,
        token: &[u8],
        random: impl FnOnce() -> NonceBytes,
    ) -> Result<Step, Rejected> {
        if token.len() > MAX_TOKEN_BYTES {
            *self = Exchange::Over;
            return Err(Rejected);
        }
        match std::mem::replace(self, Exchange::Over) {
            // A mechanism in which the server speaks first. What a client says before that is
            // overlooked, as in ZooKeeper on Java 17.
            Exchange::Begun => {
                let nonce = STANDARD.encode(random());
                let challenge = challenge(&mechanism.realm, &nonce);
                *self = Exchange::Challenged { nonce };
                Ok(Step::Challenge(challenge))
            }
            Exchange::Challenged { nonce } => judge(mechanism, &nonce, token),
            Exchange::Over => Err(Rejected),
        }
    }
}

/// No `qop`, which means the only one that there is: authentication without a layer.
fn challenge(realm: &str, nonce: &str) -> Vec<u8> {
    format!("realm=\"{realm}\",nonce=\"{nonce}\",charset=utf-8,algorithm=md5-sess").into_bytes()
}

fn judge(mechanism: &DigestMd5, nonce: &str, token: &[u8]) -> Result<Step, Rejected> {
    let directives = directives(token)?;
    let bytes = |name: &str| directives.get(name).map(|value| &value[..]);
    let text = |name: &str| bytes(name).map(String::from_utf8_lossy);
    let is = |name: &str, expected: &str| bytes(name).is_none_or(|it| it == expected.as_bytes());
    let user = text("username").filter(|user| !user.is_empty()).ok_or(Rejected)?;
    let uri = text("digest-uri").ok_or(Rejected)?;
    let is_first = bytes("nc").is_none_or(|count| {
        let count = std::str::from_utf8(count).ok();
        count.and_then(|count| u32::from_str_radix(count, 16).ok()) == Some(1)
    });
    let is_acceptable = is("charset", "utf-8")
        && is("qop", "auth")
        && is_first
        && bytes("realm") == Some(mechanism.realm.as_bytes())
        && bytes("nonce") == Some(nonce.as_bytes())
        && uri.eq_ignore_ascii_case(&mechanism.uri);
    if !is_acceptable {
        return Err(Rejected);
    }
    let nobody = Secret::default();
    let known = mechanism.users.get(&*user);
    let proof = Proof {
        user: &user,
        realm: &mechanism.realm,
        password: known.unwrap_or(&nobody).reveal(),
        nonce,
        cnonce: bytes("cnonce").ok_or(Rejected)?,
        // Who a client would like to be is part of the proof and of no consequence.
        authzid: bytes("authzid"),
        uri: &uri,
    };
    let response = bytes("response").ok_or(Rejected)?;
    let is_right = is_equal(response, proof.value("AUTHENTICATE").as_bytes());
    if !is_right || known.is_none() {
        return Err(Rejected);
    }
    let token = format!("rspauth={}", proof.value("")).into_bytes();
    Ok(Step::Proven { token, user: user.into_owned() })
}

/// What both sides hash, each to show the other that it knows the password (RFC 2831 §2.1.2.1).
struct Proof<'a> {
    user: &'a str,
    realm: &'a str,
    password: &'a str,
    nonce: &'a str,
    cnonce: &'a [u8],
    authzid: Option<&'a [u8]>,
    uri: &'a str,
}

impl Proof<'_> {
    /// In hexadecimal: a client's proof if `method` is `AUTHENTICATE`, the server's if it is empty.
    fn value(&self, method: &str) -> String {
        let secret = Md5::new()
            .chain_update(narrow(self.user))
            .chain_update(":")
            .chain_update(narrow(self.realm))
            .chain_update(":")
            .chain_update(narrow(self.password))
            .finalize();
        let mut a1 = Md5::new()
            .chain_update(secret)
            .chain_update(":")
            .chain_update(self.nonce)
            .chain_update(":")
            .chain_update(self.cnonce);
        if let Some(authzid) = self.authzid {
            a1.update(":");
            a1.update(authzid);
        }
        let a2 = Md5::new().chain_update(method).chain_update(":").chain_update(self.uri);
        let value = Md5::new()
            .chain_update(hex(&a1.finalize()))
            .chain_update(":")
            .chain_update(self.nonce)
            .chain_update(":00000001:")
            .chain_update(self.cnonce)
            .chain_update(":auth:")
            .chain_update(hex(&a2.finalize()));
        hex(&value.finalize())
    }
}

/// Text that Latin-1 can hold is hashed as such, also with UTF-8 agreed on (RFC 2831 §2.1.2.1).
fn narrow(text: &str) -> Vec<u8> {
    let latin: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
    latin.unwrap_or_else(|| text.as_bytes().to_vec())
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = |byte: &u8| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    bytes.iter().flat_map(digits).map(char::from).collect()
}

/// `name=value,name="value"`: the values by their names, in lower case.
fn directives(token: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, Rejected> {
    let mut found = BTreeMap::new();
    let mut rest = Rest(token);
    loop {
        rest.skip(|byte| byte == b',' || is_blank(byte));
        if rest.0.is_empty() {
            return Ok(found);
        }
        let name = rest.take(|byte| !is_blank(byte) && byte != b'=' && byte != b',');
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        rest.skip(is_blank);
        rest.expect(b'=')?;
        rest.skip(is_blank);
        let value = if rest.0.first() == Some(&b'"') {
            rest.quoted()?
        } else {
            rest.take(|byte| byte != b',' && !is_blank(byte)).to_vec()
        };
        rest.skip(is_blank);
        let is_cut_off = rest.0.is_empty() || rest.0[0] == b',';
        if !is_cut_off || found.insert(name, value).is_some() {
            return Err(Rejected);
        }
    }
}

/// What is not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, belongs: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.0.iter().position(|&byte| !belongs(byte)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    fn skip(&mut self, belongs: impl Fn(u8) -> bool) {
        self.take(belongs);
    }

    fn expect(&mut self, byte: u8) -> Result<(), Rejected> {
        match self.0.split_first() {
            Some((&first, rest)) if first == byte => {
                self.0 = rest;
                Ok(())
            }
            _ => Err(Rejected),
        }
    }

    fn quoted(&mut self) -> Result<Vec<u8>, Rejected> {
        self.expect(b'"')?;
        let mut value = Vec::new();
        loop {
            let (&byte, rest) = self.0.split_first().ok_or(Rejected)?;
            self.0 = rest;
            match byte {
                b'"' => return Ok(value),
                b'\\' => {
                    let (&escaped, rest) = self.0.split_first().ok_or(Rejected)?;
                    self.0 = rest;
                    value.push(escaped);
                }
                byte => value.push(byte),
            }
        }
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// As in Java.
const MAX_TOKEN_BYTES: usize = 4096;

#[cfg(test)]
mod tests;
