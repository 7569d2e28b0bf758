//! Who clients may prove to be: the keys of authentication, and the file of users that they name.
//!
//! Invariant: what asks for more than this server can do is an error or a warning, never ignored;
//! no message shows a secret. Sources: `ProviderRegistry`, `AuthenticationHelper`,
//! `ServerCnxnFactory`, `DigestAuthenticationProvider`, `SASLAuthenticationProvider`.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};

use zokor_core::auth::{AuthConfig, DigestAlgorithm, DigestConfig, DigestMd5, Secret};
use zokor_core::proto::Text;

use super::flags::Flags;
use super::jaas::{self, Module};
use super::keys::Keys;
use super::peer_auth::ENABLED;
use super::properties::ConfigError;

/// What `keys` ask for; more sentences for `warnings`.
pub(super) fn auth_config(
    keys: &Keys<'_>,
    flags: &Flags,
    warnings: &mut Vec<String>,
) -> Result<AuthConfig, ConfigError> {
    let super_users = keys.below("superUser.").map(|(_, user)| Text::from(user));
    let text = |key: &str| keys.text(key).map(Text::from);
    let digest = keys.boolean(DIGEST_ENABLED, true)?.then(|| digest_config(keys)).transpose()?;
    let mut auth = AuthConfig {
        digest,
        sasl: sasl_users(keys, flags, warnings)?,
        sasl_super_users: text("superUser").into_iter().chain(super_users).collect(),
        any_sasl_user: text("letAnySaslUserDoX"),
        keeps_failed_sasl: keys.boolean("allowSaslFailedClients", false)?,
        // ZooKeeper registers it with its secure port.
        x509_in_acls: keys.text("secureClientPort").is_some(),
        ..AuthConfig::default()
    };
    register(keys, &mut auth, warnings)?;
    auth.required_schemes = required_schemes(keys, &auth)?.into_iter().collect();
    if auth.requires_sasl() && auth.sasl.is_none() {
        warnings.push(
            "clients must log in by SASL and nobody can: name a file with a section Server by \
             -Djava.security.auth.login.config=FILE in JVMFLAGS"
                .to_owned(),
        );
    }
    match keys.text("skipACL") {
        None | Some("no" | "false") => {}
        Some("yes") => warnings.push(
            "skipACL is set: whoever connects to this server may read and change everything"
                .to_owned(),
        ),
        Some(_) => warnings.push("skipACL is without effect unless it is yes".to_owned()),
    }
    Ok(auth)
}

fn digest_config(keys: &Keys<'_>) -> Result<DigestConfig, ConfigError> {
    let algorithm = match keys.text(DIGEST_ALGORITHM) {
        None => DigestAlgorithm::default(),
        Some(name) => DigestAlgorithm::from_name(name).ok_or_else(|| {
            let problem = format!(
                "{DIGEST_ALGORITHM} is {name:?}; write SHA1, SHA-256, SHA-512, SHA3-256 or the like"
            );
            keys.error(DIGEST_ALGORITHM, problem)
        })?,
    };
    Ok(DigestConfig { algorithm, super_digest: keys.text(SUPER_DIGEST).map(Secret::new) })
}

/// Takes up what the keys `authProvider.*` name, in the order of the keys.
fn register(
    keys: &Keys<'_>,
    auth: &mut AuthConfig,
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    for (key, class) in keys.below("authProvider.") {
        match class.strip_prefix("org.apache.zookeeper.server.auth.").unwrap_or_default() {
            "SASLAuthenticationProvider" => auth.sasl_in_acls = true,
            "X509AuthenticationProvider" => auth.x509_in_acls = true,
            "KeyAuthenticationProvider" => auth.key = true,
            "IPAuthenticationProvider" => {}
            // Named like this it is there, whatever else is said.
            "DigestAuthenticationProvider" => auth.digest = Some(digest_config(keys)?),
            "EnsembleAuthenticationProvider" => {
                let names = keys.text("ensembleAuthName").map(|names| names.split(','));
                let names = names.into_iter().flatten().map(|name| Text::from(name.trim()));
                auth.ensemble_names = Some(names.collect());
            }
            _ => warnings.push(format!(
                "{} names the class {class}, which is NOT in force: zokor has ZooKeeper's own \
                 providers only",
                keys.spelling(key)
            )),
        }
    }
    Ok(())
}

fn required_schemes(keys: &Keys<'_>, auth: &AuthConfig) -> Result<Vec<Text>, ConfigError> {
    let (key, schemes) = if keys.boolean(SASL_REQUIRED, false)? {
        (SASL_REQUIRED, "sasl")
    } else if keys.boolean(ENFORCED, false)? {
        let schemes = keys.text(ENFORCED_SCHEMES).ok_or_else(|| {
            let problem = format!(
                "{ENFORCED} is true and no scheme is required; add a line {ENFORCED_SCHEMES}=sasl, \
                 or which schemes you mean"
            );
            keys.error(ENFORCED, problem)
        })?;
        (ENFORCED_SCHEMES, schemes)
    } else {
        return Ok(Vec::new());
    };
    let schemes = schemes.split(',').map(str::trim);
    let required = schemes.map(|scheme| match scheme {
        _ if auth.offers(scheme) => Ok(Text::from(scheme)),
        "sasl" => Err(keys.error(
            key,
            format!(
                "{key} requires the scheme sasl, which is not registered; add a line \
                 authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider"
            ),
        )),
        _ => Err(keys.error(
            key,
            format!("{key} requires the scheme {scheme:?}, which this server does not offer"),
        )),
    });
    required.collect()
}

/// A section of the file of users.
pub(super) struct Section {
    /// The file, as it is named.
    pub(super) file: PathBuf,
    /// Its modules; `None` if there is no such section.
    pub(super) modules: Option<Vec<Module>>,
}

/// The section `name` of the file of users; `None` if no file is named.
pub(super) fn section(
    keys: &Keys<'_>,
    flags: &Flags,
    name: &str,
) -> Result<Option<Section>, ConfigError> {
    let Some(file) = keys.text(LOGIN_FILE) else { return Ok(None) };
    // Java takes `==` as well, and an address instead of a path.
    let file = file.strip_prefix('=').unwrap_or(file);
    let file = file.strip_prefix("file://").or(file.strip_prefix("file:")).unwrap_or(file);
    let property = |name: &str| {
        let given = flags.others.iter().rev().find(|(property, _)| property == name);
        match (given, name) {
            (Some((_, value)), _) => Some(value.clone()),
            (None, "user.home") => env::var("HOME").ok(),
            (None, "user.dir") => env::current_dir().ok()?.to_str().map(str::to_owned),
            (None, _) => None,
        }
    };
    let file = PathBuf::from(file);
    let modules = jaas::read(&file, name, &property)?;
    for module in modules.iter().flatten() {
        check_module(&file, name, module)?;
    }
    Ok(Some(Section { file, modules }))
}

/// The users whom options named `user_NAME` name, with their passwords.
pub(super) fn users_of(modules: &[Module]) -> BTreeMap<String, Secret> {
    let options = modules.iter().flat_map(|module| &module.options);
    let users = options.filter_map(|(option, word)| {
        Some((option.strip_prefix("user_")?.to_owned(), Secret::new(&**word)))
    });
    users.collect()
}

/// The users in the section for servers, if a file is named and has it.
fn sasl_users(
    keys: &Keys<'_>,
    flags: &Flags,
    warnings: &mut Vec<String>,
) -> Result<Option<DigestMd5>, ConfigError> {
    let name = keys.text("sasl.serverconfig").unwrap_or("Server");
    let Some(Section { file, modules }) = section(keys, flags, name)? else { return Ok(None) };
    let file = file.display();
    let Some(modules) = modules else {
        // A file for servers alone is as good.
        if !keys.boolean(ENABLED, false)? {
            warnings.push(format!("{file} has no section {name}, so nobody can log in by SASL"));
        }
        return Ok(None);
    };
    let mut users = users_of(&modules);
    if let (Some(known), Some(word)) = (users.get_mut("super"), keys.text(SUPER_PASSWORD)) {
        *known = Secret::new(word);
    }
    if keys.boolean("fips-mode", false)? {
        warnings.push("fips-mode forbids DIGEST-MD5, so nobody can log in by SASL".to_owned());
        return Ok(None);
    }
    if users.is_empty() {
        warnings.push(format!("the section {name} of {file} has no option user_NAME"));
    }
    Ok(Some(DigestMd5::of_zookeeper(users)))
}

fn check_module(file: &Path, section: &str, module: &Module) -> Result<(), ConfigError> {
    if module.class == "org.apache.zookeeper.server.auth.DigestLoginModule" {
        return Ok(());
    }
    Err(ConfigError {
        file: file.to_owned(),
        line: Some(module.line),
        problem: format!(
            "the section {section} asks for {}, and zokor knows no login module but \
             org.apache.zookeeper.server.auth.DigestLoginModule; it does not speak Kerberos",
            module.class
        ),
    })
}

const DIGEST_ENABLED: &str = "DigestAuthenticationProvider.enabled";
const DIGEST_ALGORITHM: &str = "DigestAuthenticationProvider.digestAlg";
const SUPER_DIGEST: &str = "DigestAuthenticationProvider.superDigest";
const SUPER_PASSWORD: &str = "SASLAuthenticationProvider.superPassword";
pub(super) const LOGIN_FILE: &str = "java.security.auth.login.config";
const SASL_REQUIRED: &str = "sessionRequireClientSASLAuth";
const ENFORCED: &str = "enforce.auth.enabled";
const ENFORCED_SCHEMES: &str = "enforce.auth.schemes";

#[cfg(test)]
mod tests;
