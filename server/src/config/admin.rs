//! What operators are offered: the admin server, metrics for Prometheus, and the audit log.
//!
//! Invariant: a key that would protect what is offered, and cannot, refuses the start.
//! Source: `zookeeper: JettyAdminServer`, `PrometheusMetricsProvider`, `ZKAuditProvider`.

use std::path::PathBuf;
use std::time::Duration;

use super::keys::Keys;
use super::member::{HostPort, WILDCARD};
use super::properties::ConfigError;
use crate::admin::MetricsExposition;

/// The operators' part of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdminConfig {
    /// `None` if the admin server is switched off.
    pub http: Option<AdminHttp>,
    /// Where metrics are served for Prometheus, if they are, and what of them.
    pub metrics: Option<(HostPort, MetricsExposition)>,
    /// Whether there is an audit log, and where.
    pub audit: Option<AuditLog>,
}

/// The admin server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminHttp {
    /// `admin.serverAddress` and `admin.serverPort`; 0 lets the system choose.
    pub address: HostPort,
    /// `admin.idleTimeout`: a connection on which nothing moves for so long is closed.
    pub idle_timeout: Duration,
    /// `admin.commandURL`, without a slash at its end.
    pub command_url: String,
    /// `admin.snapshot.enabled`.
    pub snapshot_enabled: bool,
    /// `admin.restore.enabled`.
    pub restore_enabled: bool,
    /// `serializeLastProcessedZxid.enabled`, without which ZooKeeper does neither.
    pub with_last_zxid: bool,
    /// `admin.rateLimiterIntervalInMS`: one restore in so long. Of a snapshot ZooKeeper takes it
    /// for microseconds.
    pub limit_interval: Duration,
}

/// Where the audit log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditLog {
    /// Among the lines of the server's log, on stderr.
    WithTheLog,
    /// To the end of this file: `zokor.auditFile`.
    File(PathBuf),
}

impl AdminConfig {
    /// What `keys` say. An `Err` is a malformed value, or one that asks for a protection that is
    /// not there.
    pub(super) fn read(keys: &Keys<'_>, warnings: &mut Vec<String>) -> Result<Self, ConfigError> {
        Ok(AdminConfig {
            http: admin_server(keys)?,
            metrics: metrics(keys)?,
            audit: audit(keys, warnings)?,
        })
    }
}

fn admin_server(keys: &Keys<'_>) -> Result<Option<AdminHttp>, ConfigError> {
    if !keys.boolean("admin.enableServer", true)? {
        return Ok(None);
    }
    for key in ["admin.forceHttps", "admin.needClientAuth"] {
        if keys.boolean(key, false)? {
            let problem = format!(
                "{key} asks for TLS on the admin server, which zokor does not speak yet; remove \
                 it and keep admin.serverAddress in a closed network, or write \
                 admin.enableServer=false"
            );
            return Err(keys.error(key, problem));
        }
    }
    keys.boolean("admin.portUnification", false)?;
    let host = keys.text("admin.serverAddress").unwrap_or(WILDCARD);
    let port = keys.number("admin.serverPort", 0..=u16::MAX)?.unwrap_or(8_080);
    let millis = |key: &str, least: u64, default: u64| {
        let found = keys.number(key, least..=i32::MAX as u64)?;
        Ok::<_, ConfigError>(Duration::from_millis(found.unwrap_or(default)))
    };
    Ok(Some(AdminHttp {
        address: HostPort { host: without_brackets(host).to_owned(), port },
        idle_timeout: millis("admin.idleTimeout", 1, 30_000)?,
        command_url: command_url(keys)?,
        snapshot_enabled: keys.boolean("admin.snapshot.enabled", true)?,
        restore_enabled: keys.boolean("admin.restore.enabled", true)?,
        with_last_zxid: keys.boolean("serializeLastProcessedZxid.enabled", true)?,
        limit_interval: millis("admin.rateLimiterIntervalInMS", 0, 300_000)?,
    }))
}

fn command_url(keys: &Keys<'_>) -> Result<String, ConfigError> {
    const KEY: &str = "admin.commandURL";
    let url = keys.text(KEY).unwrap_or("/commands");
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-_.~".contains(c);
    let trimmed = url.trim_end_matches('/');
    if !url.starts_with('/') || trimmed.is_empty() || !url.chars().all(is_plain) {
        let problem = format!(
            "{KEY} is {url:?}; write a path like /commands, of letters, digits, slashes and -_.~"
        );
        return Err(keys.error(KEY, problem));
    }
    Ok(trimmed.to_owned())
}

fn metrics(keys: &Keys<'_>) -> Result<Option<(HostPort, MetricsExposition)>, ConfigError> {
    const CLASS: &str = "metricsProvider.className";
    match keys.text(CLASS) {
        None | Some(DEFAULT_PROVIDER | NULL_PROVIDER) => return Ok(None),
        Some(PROMETHEUS_PROVIDER) => {}
        Some(other) => {
            let problem = format!(
                "{CLASS} is {other:?}, which is not there; write {PROMETHEUS_PROVIDER}, or remove \
                 the line"
            );
            return Err(keys.error(CLASS, problem));
        }
    }
    const TLS_PORT: &str = "metricsProvider.httpsPort";
    if keys.number(TLS_PORT, -1..=i32::from(u16::MAX))?.is_some_and(|port| port != -1) {
        let problem = format!(
            "{TLS_PORT} asks for metrics over TLS, which zokor does not speak yet; remove it and \
             keep metricsProvider.httpHost in a closed network"
        );
        return Err(keys.error(TLS_PORT, problem));
    }
    let process = keys.boolean("metricsProvider.exportJvmInfo", true)?;
    let host = keys.text("metricsProvider.httpHost").unwrap_or(WILDCARD);
    let port = keys.number("metricsProvider.httpPort", 0..=u16::MAX)?.unwrap_or(7_000);
    let address = HostPort { host: without_brackets(host).to_owned(), port };
    Ok(Some((address, MetricsExposition { process })))
}

fn audit(keys: &Keys<'_>, warnings: &mut Vec<String>) -> Result<Option<AuditLog>, ConfigError> {
    if !keys.boolean("audit.enable", false)? {
        return Ok(None);
    }
    if keys.text("audit.impl.class").is_some_and(|class| class != DEFAULT_AUDIT) {
        warnings.push(
            "audit.impl.class names a class of Java, which cannot be had here; the audit log is \
             written as ZooKeeper's own class writes it"
                .to_owned(),
        );
    }
    let file = keys.text("zokor.auditFile").map(PathBuf::from);
    Ok(Some(file.map_or(AuditLog::WithTheLog, AuditLog::File)))
}

fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Whether the value of a key is nobody's business.
pub(super) fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["password", "passwd", "superdigest", "secret"].iter().any(|part| key.contains(part))
}

/// A file as it is shown: the values of secrets are left out.
pub(super) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut in_secret = false;
    for line in text.split_inclusive('\n') {
        let goes_on = line.trim_end_matches(['\n', '\r']).ends_with('\\');
        if in_secret {
            in_secret = goes_on;
            continue;
        }
        let key = line.trim_start().split(['=', ':', ' ', '\t', '\r', '\n']).next();
        let key = key.unwrap_or_default();
        if !key.starts_with(['#', '!']) && is_secret(key) {
            shown.push_str(key);
            shown.push_str("=***\n");
            in_secret = goes_on;
        } else {
            shown.push_str(line);
        }
    }
    shown
}

const PROMETHEUS_PROVIDER: &str =
    "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider";
const DEFAULT_PROVIDER: &str = "org.apache.zookeeper.metrics.impl.DefaultMetricsProvider";
const NULL_PROVIDER: &str = "org.apache.zookeeper.metrics.impl.NullMetricsProvider";
const DEFAULT_AUDIT: &str = "org.apache.zookeeper.audit.Slf4jAuditLogger";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::properties::Properties;

    fn read(text: &str) -> Result<(AdminConfig, Vec<String>), String> {
        let properties = Properties::parse(Path::new("zoo.cfg"), text.as_bytes()).unwrap();
        let mut warnings = Vec::new();
        let config = AdminConfig::read(&Keys::new(&properties), &mut warnings);
        config.map(|config| (config, warnings)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_admin_server_is_on_unless_it_is_switched_off_and_all_else_is_off() {
        let (config, warnings) = read("").unwrap();
        let http = config.http.unwrap();
        assert_eq!(http.address, HostPort { host: WILDCARD.to_owned(), port: 8_080 });
        assert_eq!(http.command_url, "/commands");
        assert_eq!(http.idle_timeout, Duration::from_secs(30));
        assert!(http.snapshot_enabled && http.restore_enabled && http.with_last_zxid);
        assert_eq!((config.metrics, config.audit, warnings.len()), (None, None, 0));
        assert_eq!(read("admin.enableServer=false\nadmin.forceHttps=true").unwrap().0.http, None);
    }

    #[test]
    fn every_key_of_the_admin_server_is_read() {
        let text = "admin.serverAddress=[::1]\nadmin.serverPort=0\nadmin.commandURL=/a/b/\n\
                    admin.idleTimeout=7\nadmin.snapshot.enabled=false\n\
                    admin.restore.enabled=false\nadmin.rateLimiterIntervalInMS=9\n\
                    serializeLastProcessedZxid.enabled=false\n";
        let expected = AdminHttp {
            address: HostPort { host: "::1".to_owned(), port: 0 },
            idle_timeout: Duration::from_millis(7),
            command_url: "/a/b".to_owned(),
            snapshot_enabled: false,
            restore_enabled: false,
            with_last_zxid: false,
            limit_interval: Duration::from_millis(9),
        };
        assert_eq!(read(text).unwrap().0.http, Some(expected));
    }

    #[test]
    fn prometheus_is_asked_for_by_its_class() {
        let class = format!("metricsProvider.className={PROMETHEUS_PROVIDER}\n");
        let address = |text: &str| read(&format!("{class}{text}")).unwrap().0.metrics.unwrap();
        let (usual, what) = address("");
        assert_eq!((usual.to_string().as_str(), what.process), ("0.0.0.0:7000", true));
        let text = "metricsProvider.httpHost=127.0.0.1\nmetricsProvider.httpPort=7001\n\
                    metricsProvider.exportJvmInfo=false\nmetricsProvider.httpsPort=-1\n";
        let (own, what) = address(text);
        assert_eq!((own.to_string().as_str(), what.process), ("127.0.0.1:7001", false));
        for class in [DEFAULT_PROVIDER, NULL_PROVIDER, ""] {
            let text = format!("metricsProvider.className={class}\nmetricsProvider.httpPort=x");
            assert_eq!(read(&text).unwrap().0.metrics, None);
        }
    }

    #[test]
    fn what_cannot_be_is_refused_in_a_sentence() {
        let prometheus = format!("metricsProvider.className={PROMETHEUS_PROVIDER}\n");
        let table = [
            ("admin.forceHttps=true", "admin.forceHttps asks for TLS on the admin server, which"),
            ("admin.needClientAuth=TRUE", "admin.needClientAuth asks for TLS"),
            ("admin.enableServer=on", "admin.enableServer is \"on\"; write true or false"),
            ("admin.serverPort=65536", "admin.serverPort is \"65536\"; write a whole number"),
            ("admin.idleTimeout=0", "admin.idleTimeout is \"0\"; write a whole number from 1"),
            ("admin.commandURL=commands", "admin.commandURL is \"commands\"; write a path"),
            ("admin.commandURL=/", "admin.commandURL is \"/\"; write a path"),
            ("admin.commandURL=/a?b", "admin.commandURL is \"/a?b\"; write a path"),
            ("metricsProvider.className=Nope", "metricsProvider.className is \"Nope\", which is"),
            (&format!("{prometheus}metricsProvider.httpPort=-5"), "metricsProvider.httpPort is"),
            (&format!("{prometheus}metricsProvider.httpsPort=7"), "metricsProvider.httpsPort asks"),
            ("audit.enable=yes", "audit.enable is \"yes\"; write true or false"),
        ];
        for (text, expected) in table {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn the_audit_log_goes_with_the_log_or_to_its_own_file() {
        let audit = |text: &str| read(text).unwrap();
        assert_eq!(audit("audit.enable=false\nzokor.auditFile=/a").0.audit, None);
        assert_eq!(audit("audit.enable=true").0.audit, Some(AuditLog::WithTheLog));
        let (config, warnings) =
            audit("audit.enable=true\nzokor.auditFile=/a\naudit.impl.class=x.Y\n");
        assert_eq!(config.audit, Some(AuditLog::File("/a".into())));
        assert!(warnings[0].starts_with("audit.impl.class names a class of Java"), "{warnings:?}");
        let own = format!("audit.enable=true\naudit.impl.class={DEFAULT_AUDIT}");
        assert!(audit(&own).1.is_empty());
    }

    #[test]
    fn a_file_is_shown_without_its_secrets() {
        let text = "# password of nobody\ntickTime=2\nssl.keyStore.password=a=b\n \
                    DigestAuthenticationProvider.superDigest : super:x\nx.passwd a\\\n  b\\\nc\n\
                    dataDir=/d";
        let expected = "# password of nobody\ntickTime=2\nssl.keyStore.password=***\n\
                        DigestAuthenticationProvider.superDigest=***\nx.passwd=***\ndataDir=/d";
        assert_eq!(shown(text), expected);
    }
}
