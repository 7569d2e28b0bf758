//! The scheme `digest`: a user's name and the hash of the name and its password.
//!
//! Invariant: whatever a client shows becomes an identity; only the right password makes one that
//! opens something. Rules: `DigestAuthenticationProvider`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha1::{Digest, Sha1};
use sha2::{Sha224, Sha256, Sha384, Sha512, Sha512_224, Sha512_256};
use sha3::{Sha3_224, Sha3_256, Sha3_384, Sha3_512};

use super::secret::Secret;
use crate::proto::{Id, Text};

/// How `digest` works on this server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DigestConfig {
    /// ZooKeeper's `DigestAuthenticationProvider.digestAlg`. The same on all servers, or users are
    /// someone else on each. Default SHA-1.
    pub algorithm: DigestAlgorithm,
    /// ZooKeeper's `DigestAuthenticationProvider.superDigest`: who has this identity may do
    /// everything. Default nobody.
    pub super_digest: Option<Secret>,
}

/// What `digest` hashes with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of the standards say it")]
pub enum DigestAlgorithm {
    #[default]
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
    Sha512Of224,
    Sha512Of256,
    Sha3Of224,
    Sha3Of256,
    Sha3Of384,
    Sha3Of512,
    Md5,
}

impl DigestAlgorithm {
    /// The algorithm that Java calls `name`, in any case (`java.security.MessageDigest`).
    pub fn from_name(name: &str) -> Option<Self> {
        let named = |(spelling, _): &&(&str, _)| spelling.eq_ignore_ascii_case(name);
        NAMES.iter().find(named).map(|(_, algorithm)| *algorithm)
    }

    fn hash(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            DigestAlgorithm::Sha1 => Sha1::digest(bytes).to_vec(),
            DigestAlgorithm::Sha224 => Sha224::digest(bytes).to_vec(),
            DigestAlgorithm::Sha256 => Sha256::digest(bytes).to_vec(),
            DigestAlgorithm::Sha384 => Sha384::digest(bytes).to_vec(),
            DigestAlgorithm::Sha512 => Sha512::digest(bytes).to_vec(),
            DigestAlgorithm::Sha512Of224 => Sha512_224::digest(bytes).to_vec(),
            DigestAlgorithm::Sha512Of256 => Sha512_256::digest(bytes).to_vec(),
            DigestAlgorithm::Sha3Of224 => Sha3_224::digest(bytes).to_vec(),
            DigestAlgorithm::Sha3Of256 => Sha3_256::digest(bytes).to_vec(),
            DigestAlgorithm::Sha3Of384 => Sha3_384::digest(bytes).to_vec(),
            DigestAlgorithm::Sha3Of512 => Sha3_512::digest(bytes).to_vec(),
            DigestAlgorithm::Md5 => Md5::digest(bytes).to_vec(),
        }
    }
}

/// Java's names, and how people spell them who leave the hyphen out.
const NAMES: &[(&str, DigestAlgorithm)] = &[
    ("SHA", DigestAlgorithm::Sha1),
    ("SHA1", DigestAlgorithm::Sha1),
    ("SHA-1", DigestAlgorithm::Sha1),
    ("SHA224", DigestAlgorithm::Sha224),
    ("SHA-224", DigestAlgorithm::Sha224),
    ("SHA256", DigestAlgorithm::Sha256),
    ("SHA-256", DigestAlgorithm::Sha256),
    ("SHA384", DigestAlgorithm::Sha384),
    ("SHA-384", DigestAlgorithm::Sha384),
    ("SHA512", DigestAlgorithm::Sha512),
    ("SHA-512", DigestAlgorithm::Sha512),
    ("SHA512/224", DigestAlgorithm::Sha512Of224),
    ("SHA-512/224", DigestAlgorithm::Sha512Of224),
    ("SHA512/256", DigestAlgorithm::Sha512Of256),
    ("SHA-512/256", DigestAlgorithm::Sha512Of256),
    ("SHA3-224", DigestAlgorithm::Sha3Of224),
    ("SHA3-256", DigestAlgorithm::Sha3Of256),
    ("SHA3-384", DigestAlgorithm::Sha3Of384),
    ("SHA3-512", DigestAlgorithm::Sha3Of512),
    ("MD5", DigestAlgorithm::Md5),
];

impl DigestConfig {
    /// The identities that `user:password` makes; the super user's comes first.
    pub(super) fn identities(&self, credentials: &[u8]) -> Vec<Id> {
        let credentials = String::from_utf8_lossy(credentials);
        let user = credentials.split(':').next().unwrap_or_default();
        let hash = STANDARD.encode(self.algorithm.hash(credentials.as_bytes()));
        let id = format!("{user}:{hash}");
        let is_super = self.super_digest.as_ref().is_some_and(|it| *it == Secret::new(&*id));
        let own = Id { scheme: Text::from_static("digest"), id: Text::from(id) };
        if is_super { vec![Id::new("super", ""), own] } else { vec![own] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(algorithm: &str, credentials: &str) -> String {
        let algorithm = DigestAlgorithm::from_name(algorithm).expect(algorithm);
        let config = DigestConfig { algorithm, super_digest: None };
        let ids = config.identities(credentials.as_bytes());
        assert_eq!((ids.len(), &*ids[0].scheme), (1, "digest"));
        ids[0].id.to_string()
    }

    #[test]
    fn digests_are_the_published_ones() {
        let table = [
            ("SHA1", "super:test", "super:D/InIHSb7yEEbrWz8b9l71RjZJU="),
            ("sha-1", "super:zookeeper", "super:yyuhPKumRtNj4r8GnSbbwuq1vhE="),
            ("SHA", "super:foo", "super:t6lQTvqID/Gl5Or0n4FYE6kKP8w="),
            ("SHA1", "super:bar", "super:hTdNN4QH4isoRvCrQ1Jf7REREQ4="),
            ("SHA-256", "super:test", "super:wjySwxg860UATFtciuZ1lpzrCHrPeov6SPu/ZD56uig="),
            ("SHA3-256", "super:test", "super:cRy/KPYuDpW/dtsepniTMpuiuupnWgdU9txltIfv3hA="),
        ];
        for (algorithm, credentials, expected) in table {
            assert_eq!(id(algorithm, credentials), expected, "{algorithm}");
        }
    }

    #[test]
    fn every_name_stands_for_a_hash_of_its_length() {
        for (name, _) in NAMES {
            let bits: String = name.chars().rev().take_while(char::is_ascii_digit).collect();
            let bits: String = bits.chars().rev().collect();
            let bytes = match (&*bits, *name) {
                (_, "SHA" | "SHA1" | "SHA-1") => 20,
                (_, "MD5") => 16,
                (bits, _) => bits.parse::<usize>().unwrap() / 8,
            };
            let algorithm = DigestAlgorithm::from_name(&name.to_lowercase()).unwrap();
            assert_eq!(algorithm.hash(b"x").len(), bytes, "{name}");
        }
        for name in ["", "SHA-", "SHA-42", "SHA3-1", "CRC32"] {
            assert_eq!(DigestAlgorithm::from_name(name), None, "{name}");
        }
    }

    #[test]
    fn any_credentials_make_an_identity() {
        assert!(id("SHA1", "nocolon").starts_with("nocolon:"));
        assert!(id("SHA1", "a:b:c").starts_with("a:"));
        assert!(id("SHA1", "").starts_with(':'));
        assert_eq!(DigestConfig::default().identities(b"\xff\xfe:x").len(), 1);
    }

    #[test]
    fn the_super_digest_alone_makes_the_super_user() {
        let secret = Secret::new("super:D/InIHSb7yEEbrWz8b9l71RjZJU=");
        let config = DigestConfig { super_digest: Some(secret), ..DigestConfig::default() };
        let ids = config.identities(b"super:test");
        assert_eq!(ids[0], Id::new("super", ""));
        assert_eq!(ids[1], Id::new("digest", "super:D/InIHSb7yEEbrWz8b9l71RjZJU="));
        assert_eq!(config.identities(b"super:wrong").len(), 1);
        assert_eq!(DigestConfig::default().identities(b"super:test").len(), 1);
    }
}
