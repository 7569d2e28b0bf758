//! Tests of the keys of authentication, and of the file of users.

use std::fs;

use super::super::properties::Properties;
use super::*;

/// What became of a configuration, and the warnings.
type Outcome = Result<(AuthConfig, Vec<String>), String>;

/// The lines of a file beside what stands in JVMFLAGS.
fn outcome(lines: &str, flags: &str) -> Outcome {
    let flags = Flags::parse("", flags);
    let properties = Properties::parse(Path::new("zoo.cfg"), lines.as_bytes()).unwrap();
    let properties = properties.with_flags(&flags);
    let mut warnings = Vec::new();
    let auth = auth_config(&Keys::new(&properties), &flags, &mut warnings);
    auth.map(|auth| (auth, warnings)).map_err(|error| error.to_string())
}

fn auth(lines: &str) -> AuthConfig {
    let (auth, warnings) = outcome(lines, "").unwrap_or_else(|error| panic!("{lines}: {error}"));
    assert_eq!(warnings, Vec::<String>::new(), "{lines}");
    auth
}

const SASL: &str = "authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider\n";
const JAAS: &str = "Server { org.apache.zookeeper.server.auth.DigestLoginModule required\n\
    user_super=\"adminsecret\" user_bob=\"bobsecret\"; };\n\
    Other { org.apache.zookeeper.server.auth.DigestLoginModule required user_eve=\"x\"; };\n\
    Kerberos { com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true; };\n\
    Empty { org.apache.zookeeper.server.auth.DigestLoginModule required; };\n";

#[test]
fn without_a_key_everything_is_as_by_default() {
    assert_eq!(auth(""), AuthConfig::default());
}

#[test]
fn every_key_of_authentication_has_its_effect() {
    let off = auth("DigestAuthenticationProvider.enabled=false\n");
    assert_eq!(off.digest, None);
    let class = "org.apache.zookeeper.server.auth.DigestAuthenticationProvider";
    let named = format!("DigestAuthenticationProvider.enabled=false\nauthProvider.9={class}\n");
    assert!(auth(&named).digest.is_some());
    let digest = auth(
        "DigestAuthenticationProvider.digestAlg=sha-256\n\
         DigestAuthenticationProvider.superDigest=super:hash=\n",
    );
    let expected = DigestConfig {
        algorithm: DigestAlgorithm::Sha256,
        super_digest: Some(Secret::new("super:hash=")),
    };
    assert_eq!(digest.digest, Some(expected));
    let supers = auth("superUser=a\nsuperUser.1=b\nsuperUser.x=c/host@REALM\nsuperUser.2=\n");
    let expected = ["a", "b", "c/host@REALM"].map(Text::from);
    assert_eq!(supers.sasl_super_users, expected.into());
    let rest = auth(
        "letAnySaslUserDoX=x\nallowSaslFailedClients=true\nenableEagerACLCheck=TRUE\n\
         secureClientPort=2281\n",
    );
    assert_eq!(rest.any_sasl_user.as_deref(), Some("x"));
    assert!(rest.keeps_failed_sasl && rest.x509_in_acls);
}

#[test]
fn providers_are_registered_by_their_classes() {
    let class =
        |name: &str| format!("authProvider.{name}={PROVIDERS}{name}AuthenticationProvider\n");
    const PROVIDERS: &str = "org.apache.zookeeper.server.auth.";
    let all = ["SASL", "X509", "Key", "IP", "Ensemble"].map(class).concat();
    let registered = auth(&all);
    for scheme in ["ip", "digest", "sasl", "x509", "key", "ensemble"] {
        assert!(registered.offers(scheme), "{scheme}");
    }
    assert_eq!(registered.ensemble_names, Some([].into()));
    let named = auth(&format!("{all}ensembleAuthName=east, west\n"));
    assert_eq!(named.ensemble_names, Some(["east", "west"].map(Text::from).into()));
    assert_eq!(auth("ensembleAuthName=east\n").ensemble_names, None, "it is not registered");
    let (auth, warnings) = outcome("", "-Dzookeeper.authProvider.1=com.example.Mine").unwrap();
    assert_eq!(auth, AuthConfig::default());
    assert_eq!(
        warnings,
        ["-Dzookeeper.authProvider.1 names the class com.example.Mine, which is NOT in force: \
          zokor has ZooKeeper's own providers only"]
    );
}

#[test]
fn what_is_required_must_be_offered() {
    let enforced = |schemes: &str| {
        outcome(&format!("enforce.auth.enabled=true\nenforce.auth.schemes={schemes}\n"), "")
    };
    let (required, warnings) = enforced("digest, ip").unwrap();
    assert_eq!(required.required_schemes, ["digest", "ip"].map(Text::from).into());
    assert_eq!(warnings, Vec::<String>::new());
    let refused = enforced("digest,x509").unwrap_err();
    assert!(refused.contains("line 2: enforce.auth.schemes requires the scheme \"x509\""));
    assert!(enforced("sasl").unwrap_err().contains("add a line authProvider.1="));
    assert!(enforced("").unwrap_err().contains("no scheme is required"));
    assert!(enforced("digest,,ip").is_err());
    let refused = outcome("enforce.auth.enabled=yes\n", "").unwrap_err();
    assert!(refused.contains("write true or false"), "{refused}");
    assert_eq!(auth("enforce.auth.schemes=x509\n").required_schemes, [].into(), "not enforced");

    let refused = outcome("sessionRequireClientSASLAuth=true\n", "").unwrap_err();
    assert!(refused.contains("line 1: sessionRequireClientSASLAuth requires"), "{refused}");
    let lines = format!("{SASL}sessionRequireClientSASLAuth=true\nenforce.auth.enabled=true\n");
    let (required, warnings) = outcome(&lines, "").unwrap();
    assert_eq!(required.required_schemes, ["sasl"].map(Text::from).into());
    assert!(warnings[0].starts_with("clients must log in by SASL and nobody can"), "{warnings:?}");
}

#[test]
fn users_of_sasl_stand_in_the_file_that_a_flag_names() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("jaas.conf");
    fs::write(&file, JAAS).unwrap();
    let path = file.display();
    let with = |lines: &str, flag: &str| outcome(lines, flag).unwrap_or_else(|e| panic!("{e}"));
    let users = |(auth, _): &(AuthConfig, Vec<String>)| auth.sasl.clone().map(|sasl| sasl.users);
    let both: BTreeMap<String, Secret> = [("super", "adminsecret"), ("bob", "bobsecret")]
        .map(|(user, word)| (user.to_owned(), Secret::new(word)))
        .into();
    for flag in ["", "=", "file:", "file://"] {
        let flag = format!("-Djava.security.auth.login.config={flag}{path}");
        let told = with("", &flag);
        assert_eq!(users(&told), Some(both.clone()), "{flag}");
        assert_eq!(told.1, Vec::<String>::new());
        assert!(!format!("{told:?}").contains("secret"), "{told:?}");
    }
    let flag = format!("-Djava.security.auth.login.config={path}");
    let told = with("sasl.serverconfig=Other\n", &flag);
    assert_eq!(users(&told), Some([("eve".to_owned(), Secret::new("x"))].into()));
    let told = with("SASLAuthenticationProvider.superPassword=other\n", &flag);
    let users_then = users(&told).unwrap();
    assert_eq!(users_then["super"], Secret::new("other"));
    assert_eq!(users_then["bob"], both["bob"]);

    for (section, warning) in [
        ("Nowhere", "has no section Nowhere, so nobody can log in by SASL"),
        ("Empty", "has no option user_NAME"),
    ] {
        let told = with(&format!("sasl.serverconfig={section}\n"), &flag);
        assert!(told.1[0].contains(warning), "{told:?}");
    }
    let told = with("fips-mode=true\n", &flag);
    assert_eq!(users(&told), None);
    assert!(told.1[0].contains("fips-mode forbids DIGEST-MD5"), "{told:?}");
    let error = outcome("sasl.serverconfig=Kerberos\n", &flag).unwrap_err();
    assert!(error.contains("jaas.conf, line 4: the section Kerberos asks for com.sun"), "{error}");
    let error = outcome("", "-Djava.security.auth.login.config=/nowhere/x").unwrap_err();
    assert!(error.starts_with("/nowhere/x: cannot read the login configuration"), "{error}");
}

#[test]
fn what_switches_protection_off_is_told() {
    let (_, warnings) = outcome("skipACL=yes\n", "").unwrap();
    assert!(warnings[0].contains("may read and change everything"), "{warnings:?}");
    let (_, warnings) = outcome("skipACL=true\n", "").unwrap();
    assert_eq!(warnings, ["skipACL is without effect unless it is yes"]);
}

#[test]
fn an_unknown_hash_is_an_error() {
    let error = outcome("DigestAuthenticationProvider.digestAlg=CRC32\n", "").unwrap_err();
    assert!(error.starts_with("zoo.cfg, line 1: DigestAuthenticationProvider.digestAlg is"));
}
