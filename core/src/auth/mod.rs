//! Who a connection is: what clients show, and the identities that come of it.
//!
//! Invariant: what one server's settings decide is decided here, where the connection is, and goes
//! into the log as identities and as the write itself. Whatever is applied asks for no setting, so
//! servers that are set differently come to the same state. Rules: `ProviderRegistry` and its
//! providers, `AuthenticationHelper`, `ZooKeeperServer.processSasl`.

mod digest;
mod digest_md5;
mod peer;
mod secret;

use std::collections::BTreeSet;

pub use digest::{DigestAlgorithm, DigestConfig};
pub use digest_md5::{Answer, DigestMd5, Exchange, Login, NonceBytes, Rejected, Step};
pub use peer::{Call, Nonces, PeerAuth};
pub use secret::Secret;

use crate::proto::{Acl, AclList, Create, Id, Text, Write};
use crate::tree::ANY_SASL;

/// How the connections of one server prove who they are, and what is asked of them. The default is
/// ZooKeeper's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthConfig {
    /// `None` if ZooKeeper's `DigestAuthenticationProvider.enabled` is false.
    pub digest: Option<DigestConfig>,
    /// Users of SASL; `None` if nobody can log in by it: the answer is a null token then.
    pub sasl: Option<DigestMd5>,
    /// Whether ACLs may name users of SASL: ZooKeeper's `SASLAuthenticationProvider` is registered.
    /// Without it who logs in is nobody in particular.
    pub sasl_in_acls: bool,
    /// Users of SASL who may do everything: ZooKeeper's `superUser` and `superUser.N`.
    pub sasl_super_users: BTreeSet<Text>,
    /// ZooKeeper's `letAnySaslUserDoX`: what this user of SASL may do, every other may, too.
    pub any_sasl_user: Option<Text>,
    /// ZooKeeper's `allowSaslFailedClients`: who fails to log in may stay.
    pub keeps_failed_sasl: bool,
    /// Whether ACLs may name subjects of certificates: ZooKeeper's `X509AuthenticationProvider`.
    pub x509_in_acls: bool,
    /// Whose certificate may do everything: ZooKeeper's `X509AuthenticationProvider.superUser`.
    pub x509_super_user: Option<Text>,
    /// Whether the scheme `key` is offered: ZooKeeper's sample `KeyAuthenticationProvider`.
    pub key: bool,
    /// The names of this ensemble, if clients may ask by the scheme `ensemble` whether they are
    /// where they mean to be; none of them fits all.
    pub ensemble_names: Option<BTreeSet<Text>>,
    /// A connection needs an identity of one of these schemes for any request; empty asks for
    /// nothing. ZooKeeper's `enforce.auth.schemes` and `sessionRequireClientSASLAuth`.
    pub required_schemes: BTreeSet<Text>,
}

impl Default for AuthConfig {
    fn default() -> Self {
        AuthConfig {
            digest: Some(DigestConfig::default()),
            sasl: None,
            sasl_in_acls: false,
            sasl_super_users: BTreeSet::new(),
            any_sasl_user: None,
            keeps_failed_sasl: false,
            x509_in_acls: false,
            x509_super_user: None,
            key: false,
            ensemble_names: None,
            required_schemes: BTreeSet::new(),
        }
    }
}

/// Why credentials are not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The scheme is not offered, or does not accept them.
    Failed,
    /// The client looks for another ensemble. It is let go without a word, so that it tries another
    /// server: an answer would make it give up (`EnsembleAuthenticationProvider`).
    OtherEnsemble,
}

impl AuthConfig {
    /// The identities that an auth packet adds to its connection. `key` tells the data of the znode
    /// `/key`, for the scheme of that name: `None` if it is missing, `Some(None)` if it is null.
    ///
    /// # Errors
    /// If the scheme is not offered here, or does not take the credentials.
    pub fn authenticate(
        &self,
        scheme: &str,
        auth: Option<&[u8]>,
        key: impl FnOnce() -> Option<Option<Vec<u8>>>,
    ) -> Result<Vec<Id>, Refusal> {
        match scheme {
            // It is there already.
            "ip" => Ok(Vec::new()),
            "digest" => {
                let digest = self.digest.as_ref().ok_or(Refusal::Failed)?;
                auth.map(|auth| digest.identities(auth)).ok_or(Refusal::Failed)
            }
            "key" if self.key => {
                let auth = auth.ok_or(Refusal::Failed)?;
                // Without a key everyone has it, so that someone can make one.
                let fits = key().is_none_or(|key| key.is_some_and(|key| is_multiple(auth, &key)));
                if fits { Ok(vec![Id::new("key", "")]) } else { Err(Refusal::Failed) }
            }
            "ensemble" => {
                let names = self.ensemble_names.as_ref().ok_or(Refusal::Failed)?;
                let asked = auth.map(String::from_utf8_lossy).unwrap_or_default();
                let fits = asked.is_empty() || names.is_empty() || names.contains(&*asked);
                if fits { Ok(Vec::new()) } else { Err(Refusal::OtherEnsemble) }
            }
            _ => Err(Refusal::Failed),
        }
    }

    /// The identities of a user that has logged in by SASL.
    pub fn sasl_identities(&self, user: &str) -> Vec<Id> {
        let mut ids = Vec::new();
        if self.sasl_in_acls {
            ids.push(Id::new("sasl", user));
            ids.extend(self.any_sasl_user.as_deref().map(|any| Id::new(ANY_SASL, any)));
        }
        if self.sasl_super_users.contains(user) {
            ids.push(Id::new("super", ""));
        }
        ids
    }

    /// The identities of a connection whose certificate was verified and is about `subject`, in the
    /// form of RFC 2253.
    pub fn x509_identities(&self, subject: &str) -> Vec<Id> {
        let is_super = self.x509_super_user.as_deref() == Some(subject);
        let id = self.x509_in_acls.then(|| Id::new("x509", subject));
        is_super.then(|| Id::new("super", subject)).into_iter().chain(id).collect()
    }

    /// Whether a connection with these identities may ask for anything but to log in.
    pub fn suffices(&self, identities: &[Id]) -> bool {
        self.required_schemes.is_empty()
            || identities.iter().any(|id| self.required_schemes.contains(&id.scheme))
    }

    /// Whether nothing but a login by SASL will do, or one of several that will.
    pub fn requires_sasl(&self) -> bool {
        self.required_schemes.contains("sasl")
    }

    /// Whether this server offers a scheme, be it for credentials or for ACLs.
    pub fn offers(&self, scheme: &str) -> bool {
        match scheme {
            "ip" => true,
            "digest" => self.digest.is_some(),
            "sasl" => self.sasl_in_acls,
            "x509" => self.x509_in_acls,
            "key" => self.key,
            "ensemble" => self.ensemble_names.is_some(),
            _ => false,
        }
    }

    /// Puts nobody in place of identities whose scheme is not offered here: such an entry
    /// of an ACL is refused by every server alike when its turn has come, as it should be, and no
    /// server has to know what this one offers.
    pub fn strike(&self, write: &mut Write) {
        match write {
            Write::Create(create) => self.strike_from(&mut create.acl),
            Write::SetAcl { acl, .. } => self.strike_from(acl),
            // It holds no multi, so this goes one step deep.
            Write::Multi(writes) => {
                if writes.iter().any(|part| self.names_foreign(part)) {
                    writes.change(|part| self.strike(part));
                }
            }
            Write::Delete { .. }
            | Write::SetData { .. }
            | Write::Check { .. }
            | Write::CloseSession => {}
        }
    }

    /// Whether there is anything to strike from a part of a multi.
    fn names_foreign(&self, part: &Write) -> bool {
        match part {
            Write::Create(Create { acl, .. }) | Write::SetAcl { acl, .. } => {
                acl.iter().any(|entry| self.is_foreign(entry))
            }
            _ => false,
        }
    }

    fn strike_from(&self, acl: &mut AclList) {
        let is_foreign = |entry: &Acl| self.is_foreign(entry);
        if acl.iter().any(is_foreign) {
            let nobody = |entry: &Acl| Acl { id: Id::new("", ""), ..entry.clone() };
            let struck =
                |entry: &Acl| if is_foreign(entry) { nobody(entry) } else { entry.clone() };
            *acl = acl.iter().map(struck).collect();
        }
    }

    fn is_foreign(&self, entry: &Acl) -> bool {
        match &*entry.id.scheme {
            "digest" | "sasl" | "x509" | "key" => !self.offers(&entry.id.scheme),
            // The others are known to whoever applies the write, or to nobody.
            _ => false,
        }
    }
}

/// Whether both are whole numbers, and `auth` is a multiple of `key` or `key` is zero.
fn is_multiple(auth: &[u8], key: &[u8]) -> bool {
    let number = |bytes| std::str::from_utf8(bytes).ok()?.parse::<i32>().ok();
    match (number(auth), number(key)) {
        (Some(_), Some(0)) => true,
        (Some(auth), Some(key)) => auth.wrapping_rem(key) == 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
