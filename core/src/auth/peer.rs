//! How servers prove to each other who they are: ZooKeeper's `quorum.auth.*`, by DIGEST-MD5.
//!
//! Invariant: a proof is about one server that calls one other of one ensemble, and is worth
//! nothing anywhere else, so that nobody who sees or receives one can use it to be another.
//! Rules: `SaslQuorumAuthServer`, `SaslQuorumAuthLearner`, `QuorumAuth`.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use super::digest_md5::{Answer, DigestMd5, Login, NonceBytes, Rejected};
use super::secret::Secret;
use crate::id::{Seed, ServerId};

/// What one server knows of passwords between servers, and what it insists on. Whoever has one has
/// `quorum.auth.enableSasl`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAuth {
    /// Who may come in, with the passwords: the section `QuorumServer`.
    pub users: BTreeMap<String, Secret>,
    /// Who this server is where it calls: the section `QuorumLearner`.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// `quorum.auth.learnerRequireSasl`: where it calls, it wants to be authenticated, and to be
    /// shown in return that the password is known there.
    pub asks: bool,
    /// `quorum.auth.serverRequireSasl`: whoever calls has to be authenticated. Without it one who
    /// does not ask for that is let in as he is.
    pub demands: bool,
}

/// The two ends of a call between servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Who calls.
    pub from: ServerId,
    /// Who is called.
    pub to: ServerId,
    /// The number of the ensemble of both.
    pub ensemble: u64,
}

impl Call {
    /// The third part of an address in the mechanism is there for services of which there are
    /// several (RFC 2831 §2.1.2, `serv-name`).
    fn uri(&self) -> String {
        let Call { from, to, ensemble } = self;
        format!("{SERVICE}/{REALM}/{from}-to-{to}-of-{ensemble:016x}")
    }
}

impl PeerAuth {
    /// Judges the proof of whoever calls.
    pub fn mechanism(&self, call: &Call) -> DigestMd5 {
        DigestMd5 { realm: REALM.to_owned(), uri: call.uri(), users: self.users.clone() }
    }

    /// The proof of this server, which calls.
    ///
    /// # Errors
    /// If what came is no challenge of a server.
    pub fn answer(
        &self,
        call: &Call,
        challenge: &[u8],
        random: NonceBytes,
    ) -> Result<Answer, Rejected> {
        let (user, password) = (&*self.user, &self.password);
        Login { user, password, realm: REALM, uri: &call.uri() }.answer(challenge, random)
    }
}

/// Random bytes for one exchange after another.
pub struct Nonces(ChaCha8Rng);

impl Nonces {
    /// From a seed that nobody else knows, another one for each process.
    pub fn new(seed: Seed) -> Self {
        Nonces(ChaCha8Rng::from_seed(seed.0))
    }

    /// The next.
    pub fn draw(&mut self) -> NonceBytes {
        let mut nonce = [0; 30];
        self.0.fill_bytes(&mut nonce);
        nonce
    }
}

/// `QuorumAuth.QUORUM_SERVER_PROTOCOL_NAME`.
const SERVICE: &str = "zookeeper-quorum";
/// `QuorumAuth.QUORUM_SERVER_SASL_DIGEST`.
const REALM: &str = "zk-quorum-sasl-md5";

#[cfg(test)]
mod tests {
    use super::super::{Exchange, Step};
    use super::*;

    fn settings(password: &str) -> PeerAuth {
        PeerAuth {
            users: [("peer".to_owned(), Secret::new("secret"))].into(),
            user: "peer".to_owned(),
            password: Secret::new(password),
            asks: true,
            demands: true,
        }
    }

    const CALL: Call = Call { from: ServerId(1), to: ServerId(2), ensemble: 3 };

    /// What becomes of a proof that is made for one call and shown in another.
    fn shown(password: &str, made_for: Call, shown_in: Call) -> Result<bool, Rejected> {
        let settings = settings(password);
        let (mechanism, mut exchange) = (settings.mechanism(&shown_in), Exchange::default());
        let Step::Challenge(challenge) = exchange.take(&mechanism, b"", || [7; 30])? else {
            panic!("a challenge comes first");
        };
        let answer = settings.answer(&made_for, &challenge, [8; 30])?;
        match exchange.take(&mechanism, &answer.token, || [9; 30])? {
            Step::Proven { token, user } => Ok(user == "peer" && answer.is_matched_by(&token)),
            Step::Challenge(_) => panic!("there is one challenge"),
        }
    }

    #[test]
    fn a_proof_holds_for_one_server_that_calls_one_other_of_one_ensemble() {
        assert_eq!(shown("secret", CALL, CALL), Ok(true));
        let others = [
            Call { from: ServerId(3), ..CALL },
            Call { to: ServerId(3), ..CALL },
            Call { from: ServerId(2), to: ServerId(1), ..CALL },
            Call { ensemble: 0, ..CALL },
        ];
        for other in others {
            assert_eq!(shown("secret", CALL, other), Err(Rejected), "{other:?}");
        }
        assert_eq!(shown("Secret", CALL, CALL), Err(Rejected));
    }

    #[test]
    fn it_speaks_of_the_service_that_zookeeper_names() {
        assert_eq!(CALL.uri(), "zookeeper-quorum/zk-quorum-sasl-md5/1-to-2-of-0000000000000003");
        assert_eq!(settings("x").mechanism(&CALL).realm, "zk-quorum-sasl-md5");
        assert!(!format!("{:?}", settings("hunter2")).contains("hunter2"));
    }

    #[test]
    fn no_two_draws_are_alike() {
        let mut nonces = Nonces::new(Seed([3; 32]));
        let mut other = Nonces::new(Seed([4; 32]));
        let (first, second) = (nonces.draw(), nonces.draw());
        assert_ne!(first, second);
        assert_ne!(first, other.draw());
    }
}
