//! Whether and how servers prove to each other who they are: the keys `quorum.auth.*`.
//!
//! Invariant: what is asked for is in force or refuses the start; no message shows a password.
//! Sources: `QuorumPeerConfig.parseProperties`, `QuorumPeer.initialize`, `SaslQuorumAuthServer`,
//! `SaslQuorumAuthLearner`.

use zokor_core::auth::{PeerAuth, Secret};

use super::auth::{LOGIN_FILE, Section, section, users_of};
use super::flags::Flags;
use super::jaas::Module;
use super::keys::Keys;
use super::properties::ConfigError;

/// The keys that this file reads.
pub(super) const KEYS: &[&str] = &[ENABLED, ASKS, DEMANDS, SERVER_SECTION, LEARNER_SECTION];

/// What `keys` ask for; `None` if servers are not authenticated. One that `is_alone` has no peer,
/// and needs no passwords.
pub(super) fn peer_auth(
    keys: &Keys<'_>,
    flags: &Flags,
    is_alone: bool,
) -> Result<Option<PeerAuth>, ConfigError> {
    let enabled = keys.boolean(ENABLED, false)?;
    let (asks, demands) = (keys.boolean(ASKS, false)?, keys.boolean(DEMANDS, false)?);
    for (key, needed) in [(ASKS, ENABLED), (DEMANDS, ENABLED), (DEMANDS, ASKS)] {
        if keys.boolean(key, false)? && !keys.boolean(needed, false)? {
            let problem = format!("{key} is true and needs {needed}; add a line {needed}=true");
            return Err(keys.error(key, problem));
        }
    }
    if !enabled || is_alone {
        return Ok(None);
    }
    if keys.boolean("fips-mode", false)? {
        let problem = format!(
            "fips-mode forbids DIGEST-MD5, by which servers would authenticate each other; remove \
             {ENABLED}, or set fips-mode=false"
        );
        return Err(keys.error(ENABLED, problem));
    }
    let server = named(keys, flags, SERVER_SECTION, "QuorumServer")?;
    let users = users_of(&server.modules);
    if users.is_empty() {
        let problem = "has no option user_NAME=\"PASSWORD\", so no server could be authenticated";
        return Err(server.error(problem));
    }
    let learner = named(keys, flags, LEARNER_SECTION, "QuorumLearner")?;
    let option = |name: &str| {
        let found = learner.modules.iter().find_map(|module| module.options.get(name));
        found.filter(|text| !text.is_empty()).cloned().ok_or_else(|| {
            let problem = format!(
                "has no option {name}, by which this server would show its peers \
                                   who it is; write username=\"NAME\" password=\"PASSWORD\""
            );
            learner.error(&problem)
        })
    };
    let (user, password) = (option("username")?, Secret::new(option("password")?));
    Ok(Some(PeerAuth { users, user, password, asks, demands }))
}

/// A section that is there.
struct Named<'a> {
    name: &'a str,
    file: std::path::PathBuf,
    modules: Vec<Module>,
}

impl Named<'_> {
    fn error(&self, problem: &str) -> ConfigError {
        let line = self.modules.first().map(|module| module.line);
        let problem = format!("the section {} {problem}", self.name);
        ConfigError { file: self.file.clone(), line, problem }
    }
}

fn named<'a>(
    keys: &Keys<'a>,
    flags: &Flags,
    key: &str,
    usual: &'a str,
) -> Result<Named<'a>, ConfigError> {
    let name = keys.text(key).unwrap_or(usual);
    let Some(Section { file, modules }) = section(keys, flags, name)? else {
        let problem = format!(
            "{ENABLED} is true and no file with the passwords of servers is named; add \
             -D{LOGIN_FILE}=FILE to SERVER_JVMFLAGS, with the sections QuorumServer and \
             QuorumLearner in that file"
        );
        return Err(keys.error(ENABLED, problem));
    };
    match modules {
        Some(modules) => Ok(Named { name, file, modules }),
        None => {
            let problem = format!(
                "there is no section {name}, which {ENABLED} needs; add it, or say by {key} which \
                 one is meant"
            );
            Err(ConfigError { file, line: None, problem })
        }
    }
}

/// Whether servers can be authenticated at all.
pub(super) const ENABLED: &str = "quorum.auth.enableSasl";
const ASKS: &str = "quorum.auth.learnerRequireSasl";
const DEMANDS: &str = "quorum.auth.serverRequireSasl";
const SERVER_SECTION: &str = "quorum.auth.server.loginContext";
const LEARNER_SECTION: &str = "quorum.auth.learner.loginContext";

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::properties::Properties;
    use super::*;

    fn outcome(lines: &str, flags: &str, is_alone: bool) -> Result<Option<PeerAuth>, String> {
        let flags = Flags::parse(flags, "");
        let properties = Properties::parse(Path::new("zoo.cfg"), lines.as_bytes()).unwrap();
        let properties = properties.with_flags(&flags);
        let auth = peer_auth(&Keys::new(&properties), &flags, is_alone);
        auth.map_err(|error| error.to_string())
    }

    const MODULE: &str = "org.apache.zookeeper.server.auth.DigestLoginModule required";

    /// A file with `sections`, and the flag that names it.
    fn file(sections: &str) -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jaas.conf");
        fs::write(&path, sections.replace("MODULE", MODULE)).unwrap();
        let flag = format!("-Djava.security.auth.login.config={}", path.display());
        (dir, flag)
    }

    const BOTH: &str = "QuorumServer { MODULE user_ann=\"secret1\" user_bob=\"secret2\"; };\n\
        QuorumLearner { MODULE username=\"bob\" password=\"secret2\"; };\n\
        Mine { MODULE user_eve=\"secret3\"; };\n\
        MineToo { MODULE username=\"eve\" password=\"secret3\"; };\n\
        Nobody { MODULE; };\n\
        Kerberos { com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true; };\n";

    #[test]
    fn each_requirement_needs_the_one_before() {
        let (_dir, flag) = file(BOTH);
        let table = [
            ([false, false, false], None),
            ([true, false, false], Some("")),
            ([true, true, false], Some("")),
            ([true, true, true], Some("")),
            ([false, true, false], Some("learnerRequireSasl is true and needs quorum.auth.enable")),
            ([false, false, true], Some("serverRequireSasl is true and needs quorum.auth.enable")),
            ([false, true, true], Some("learnerRequireSasl is true and needs quorum.auth.enable")),
            ([true, false, true], Some("serverRequireSasl is true and needs quorum.auth.learner")),
        ];
        for (values, expected) in table {
            let keys = [ENABLED, ASKS, DEMANDS].iter().zip(values);
            let lines: String = keys.map(|(key, value)| format!("{key}={value}\n")).collect();
            match (outcome(&lines, &flag, false), expected) {
                (Ok(None), None) => {}
                (Ok(Some(auth)), Some("")) => {
                    assert_eq!([true, auth.asks, auth.demands], values);
                }
                (Err(error), Some(words)) if !words.is_empty() => {
                    assert!(
                        error.starts_with("zoo.cfg, line ") && error.contains(words),
                        "{error}"
                    );
                    assert!(error.contains("; add a line quorum.auth."), "{error}");
                }
                (other, _) => panic!("{lines}: {other:?}"),
            }
        }
        let error = outcome("quorum.auth.enableSasl=yes\n", &flag, false).unwrap_err();
        assert!(error.contains("write true or false"), "{error}");
    }

    #[test]
    fn the_sections_of_both_sides_are_read_and_may_be_named() {
        let (_dir, flag) = file(BOTH);
        let auth = outcome("quorum.auth.enableSasl=true\n", &flag, false).unwrap().unwrap();
        let users = [("ann", "secret1"), ("bob", "secret2")];
        let users = users.map(|(user, word)| (user.to_owned(), Secret::new(word)));
        assert_eq!(auth.users, users.into());
        assert_eq!((&*auth.user, &auth.password), ("bob", &Secret::new("secret2")));
        assert!(!format!("{auth:?}").contains("secret"), "{auth:?}");
        let lines = "quorum.auth.enableSasl=true\nquorum.auth.server.loginContext=Mine\n\
                     quorum.auth.learner.loginContext=MineToo\n";
        let auth = outcome(lines, &flag, false).unwrap().unwrap();
        assert_eq!(auth.users, [("eve".to_owned(), Secret::new("secret3"))].into());
        assert_eq!((&*auth.user, &auth.password), ("eve", &Secret::new("secret3")));
    }

    #[test]
    fn flags_say_the_same_as_lines() {
        let (_dir, flag) = file(BOTH);
        for prefix in ["-Dzookeeper.", "-D"] {
            let all = [ENABLED, ASKS, DEMANDS].map(|key| format!("{prefix}{key}=true"));
            let auth = outcome("", &format!("{flag} {}", all.join(" ")), false).unwrap().unwrap();
            assert!(auth.asks && auth.demands, "{prefix}");
            let flags = Flags::parse("", &all.join(" "));
            assert_eq!(flags.warnings, Vec::<String>::new());
        }
        let error = outcome("", "-Dquorum.auth.learnerRequireSasl=true", false).unwrap_err();
        assert!(error.starts_with("SERVER_JVMFLAGS, flag -Dquorum.auth.learner"), "{error}");
    }

    #[test]
    fn what_is_missing_is_named_and_nothing_secret_is_shown() {
        let (_dir, flag) = file(BOTH);
        let on = "quorum.auth.enableSasl=true\n";
        let server = "quorum.auth.server.loginContext=";
        let learner = "quorum.auth.learner.loginContext=";
        let table = [
            (format!("{on}{server}Nowhere\n"), "there is no section Nowhere, which quorum.auth."),
            (format!("{on}{learner}Nowhere\n"), "say by quorum.auth.learner.loginContext"),
            (format!("{on}{server}Nobody\n"), "line 5: the section Nobody has no option user_"),
            (format!("{on}{learner}Nobody\n"), "line 5: the section Nobody has no option username"),
            (format!("{on}{server}Kerberos\n"), "it does not speak Kerberos"),
            (format!("{on}{learner}Kerberos\n"), "it does not speak Kerberos"),
            (format!("{on}fips-mode=true\n"), "line 1: fips-mode forbids DIGEST-MD5"),
        ];
        for (lines, expected) in table {
            let error = outcome(&lines, &flag, false).unwrap_err();
            assert!(error.contains(expected), "{lines}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
        let error = outcome(on, "", false).unwrap_err();
        assert!(error.starts_with("zoo.cfg, line 1: quorum.auth.enableSasl is true and no file"));
        for half in ["username=\"x\"", "password=\"secret\"", "username=\"\" password=\"secret\""] {
            let sections = format!(
                "QuorumServer {{ MODULE user_x=\"y\"; }}; QuorumLearner {{ MODULE {half}; }};"
            );
            let (_dir, flag) = file(&sections);
            let error = outcome(on, &flag, false).unwrap_err();
            assert!(error.contains("QuorumLearner has no option"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn one_that_stands_alone_needs_no_passwords() {
        assert_eq!(outcome("quorum.auth.enableSasl=true\n", "", true), Ok(None));
        let error = outcome("quorum.auth.serverRequireSasl=true\n", "", true).unwrap_err();
        assert!(error.contains("needs quorum.auth.enableSasl"), "{error}");
    }
}
