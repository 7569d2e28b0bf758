//! Which keys ZooKeeper knows, and what becomes of each here.
//!
//! Invariant: every key of a file falls into exactly one [`Kind`], so that no key is dropped in
//! silence. Source: `zookeeper: QuorumPeerConfig.parseProperties` and its system properties.

use std::fmt;

use super::limits::KEYS as LIMITS;
use super::peer_auth::KEYS as PEER_AUTH;
use super::peers::KEYS as PEERS;

/// What becomes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It has the effect that it has in ZooKeeper.
    Honoured,
    /// It is zokor's own; ZooKeeper takes it for a mistake and says nothing.
    Own,
    /// It would make the service more secure and is without effect.
    Security,
    /// ZooKeeper knows it; here it is without effect.
    Known,
    /// ZooKeeper knows it; here it could have no effect, since what it sets is not there. Why, in
    /// words that follow "here".
    Moot(&'static str),
    /// It has ZooKeeper's prefix for properties, which has no place in a file.
    Prefixed,
    /// ZooKeeper does not know it either.
    Unknown,
}

impl fmt::Display for Kind {
    /// One word, by which `zokor keys` and COMPATIBILITY.md call it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Honoured => "honoured",
            Kind::Own => "own",
            Kind::Security => "security",
            Kind::Known => "known",
            Kind::Moot(_) => "moot",
            Kind::Prefixed => "prefixed",
            Kind::Unknown => "unknown",
        })
    }
}

/// Every key that is not [`Kind::Unknown`]; a `*` stands for any end.
pub fn known_keys() -> impl Iterator<Item = String> {
    let moot = MOOT.iter().map(|(key, _)| key);
    let whole = honoured().chain(OWN).chain(SECURITY).chain(KNOWN).chain(moot);
    let whole = whole.map(|key| (*key).to_owned());
    let prefixes =
        ["group.", "server.", "weight."].iter().chain(SECURITY_PREFIXES).chain(KNOWN_PREFIXES);
    whole.chain(prefixes.map(|prefix| format!("{prefix}*")))
}

fn honoured() -> impl Iterator<Item = &'static &'static str> {
    HONOURED.iter().chain(LIMITS).chain(PEERS).chain(PEER_AUTH)
}

/// Sorts `key`, which is spelled as in the file: ZooKeeper minds the case.
pub fn kind_of(key: &str) -> Kind {
    let has_prefix = |prefixes: &[&str]| prefixes.iter().any(|prefix| key.starts_with(prefix));
    if honoured().any(|it| *it == key) || has_prefix(HONOURED_PREFIXES) {
        Kind::Honoured
    } else if OWN.contains(&key) {
        Kind::Own
    } else if let Some((_, why)) = MOOT.iter().find(|(moot, _)| *moot == key) {
        Kind::Moot(why)
    } else if SECURITY.contains(&key) || has_prefix(SECURITY_PREFIXES) {
        Kind::Security
    } else if KNOWN.contains(&key) || has_prefix(KNOWN_PREFIXES) {
        Kind::Known
    } else if key.starts_with(PROPERTY_PREFIX) {
        Kind::Prefixed
    } else {
        Kind::Unknown
    }
}

/// What stands before the keys of a file when they are properties of ZooKeeper's machine.
pub(super) const PROPERTY_PREFIX: &str = "zookeeper.";

/// Whether ZooKeeper takes `key` from a file alone, because its parser knows it
/// (`QuorumPeerConfig.parseProperties`): as a property it is nothing.
pub(super) fn is_for_files(key: &str) -> bool {
    FOR_FILES.contains(&key) || FOR_FILES_PREFIXES.iter().any(|prefix| key.starts_with(prefix))
}

/// Whether one of these is taken as a property all the same, with the prefix or without it:
/// nobody should believe that servers are authenticated who are not.
pub(super) fn is_for_flags_too(key: &str) -> bool {
    key.starts_with("quorum.auth.") || key == "quorum.cnxn.threads.size"
}

/// Whether `key` is taken as a property without ZooKeeper's prefix.
pub(super) fn is_bare(key: &str) -> bool {
    BARE.contains(&key) || key.starts_with("znode.container.") || is_for_flags_too(key)
}

const BARE: &[&str] = &[
    "follower.nodelay",
    "fsync.warningthresholdms",
    "java.security.auth.login.config",
    "jute.maxbuffer",
    "jute.maxbuffer.extrasize",
    "leader.nodelay",
    "readonlymode.enabled",
];

const FOR_FILES: &[&str] = &[
    "autopurge.purgeInterval",
    "autopurge.snapRetainCount",
    "clientPort",
    "clientPortAddress",
    "clientPortListenBacklog",
    "connectToLearnerMasterLimit",
    "dataDir",
    "dataLogDir",
    "dynamicConfigFile",
    "electionAlg",
    "initLimit",
    "localSessionsEnabled",
    "localSessionsUpgradingEnabled",
    "maxClientCnxns",
    "maxSessionTimeout",
    "minSessionTimeout",
    "observerMasterPort",
    "oraclePath",
    "peerType",
    "portUnification",
    "quorum.cnxn.threads.size",
    "quorumListenOnAllIPs",
    "reconfigEnabled",
    "secureClientPort",
    "secureClientPortAddress",
    "sslQuorum",
    "sslQuorumReloadCertFiles",
    "standaloneEnabled",
    "syncEnabled",
    "syncLimit",
    "tickTime",
    "version",
];

const FOR_FILES_PREFIXES: &[&str] =
    &["group.", "jvm.pause.", "metricsProvider.", "quorum.auth.", "server.", "weight."];

pub(super) const HONOURED_PREFIXES: &[&str] =
    &["authProvider.", "group.", "server.", "superUser.", "weight."];

/// Keys that ZooKeeper does not have.
const OWN: &[&str] = &[
    "zokor.auditFile",
    "zokor.diskReserveMb",
    "zokor.firstStart",
    "zokor.ioThreads",
    "zokor.logWrites",
    "zokor.retainMb",
    "zokor.scrubBytesPerSecond",
    "zokor.scrubIntervalSeconds",
    "zokor.snapshotRateMb",
];

/// Beside those with a prefix, and the keys of [`limits`](super::limits) and
/// [`peers`](super::peers).
pub(super) const HONOURED: &[&str] = &[
    "4lw.commands.whitelist",
    "DigestAuthenticationProvider.digestAlg",
    "DigestAuthenticationProvider.enabled",
    "DigestAuthenticationProvider.superDigest",
    "SASLAuthenticationProvider.superPassword",
    "admin.commandURL",
    "admin.enableServer",
    "admin.idleTimeout",
    "admin.rateLimiterIntervalInMS",
    "admin.restore.enabled",
    "admin.serverAddress",
    "admin.serverPort",
    "admin.snapshot.enabled",
    "allowSaslFailedClients",
    "audit.enable",
    "audit.impl.class",
    "autopurge.snapRetainCount",
    "clientPort",
    "clientPortAddress",
    "clientPortListenBacklog",
    "dataDir",
    "dataLogDir",
    "datadir.autocreate",
    "db.autocreate",
    "digest.enabled",
    "dynamicConfigFile",
    "electionAlg",
    "emulate353TTLNodes",
    "enableEagerACLCheck",
    "enforce.auth.enabled",
    "enforce.auth.schemes",
    "enforceQuota",
    "ensembleAuthName",
    "extendedTypesEnabled",
    "fips-mode",
    "globalOutstandingLimit",
    "initLimit",
    "java.security.auth.login.config",
    "letAnySaslUserDoX",
    "localSessionsEnabled",
    "localSessionsUpgradingEnabled",
    "maxClientCnxns",
    "maxCnxns",
    "maxSessionTimeout",
    "metricsProvider.className",
    "metricsProvider.exportJvmInfo",
    "metricsProvider.httpHost",
    "metricsProvider.httpPort",
    "minSessionTimeout",
    "peerType",
    "quorumListenOnAllIPs",
    "readonlymode.enabled",
    "reconfigEnabled",
    "sasl.serverconfig",
    "serializeLastProcessedZxid.enabled",
    "sessionRequireClientSASLAuth",
    "skipACL",
    "snapCount",
    "snapSizeLimitInKb",
    "standaloneEnabled",
    "superUser",
    "syncLimit",
    "tickTime",
    "znode.container.checkIntervalMs",
    "znode.container.maxNeverUsedIntervalMs",
    "znode.container.maxPerMinute",
];

const MOOT: &[(&str, &str)] = &[
    ("admin.httpVersion", "operators are served by HTTP/1.1 alone"),
    ("metricsProvider.maxQueueSize", "numbers are summed up at once"),
    ("metricsProvider.numWorkerThreads", "numbers are summed up at once"),
    ("metricsProvider.workerShutdownTimeoutMs", "numbers are summed up at once"),
    (
        "quorum.cnxn.threads.size",
        "connections between servers are made without threads of their own",
    ),
    ("jute.maxbuffer.extrasize", "what was admitted is read back without any limit"),
    (
        "request_throttle_stall_time",
        "a request that waits is let in as soon as there is room, without a clock",
    ),
];

const SECURITY: &[&str] = &[
    "admin.forceHttps",
    "admin.needClientAuth",
    "admin.portUnification",
    "client.certReload",
    "client.portUnification",
    "metricsProvider.httpsPort",
    "portUnification",
    "requireClientAuthScheme",
    "secureClientPort",
    "secureClientPortAddress",
    "security.auth_to_local",
    "sslQuorum",
    "sslQuorumReloadCertFiles",
];

const SECURITY_PREFIXES: &[&str] = &[
    "DigestAuthenticationProvider.",
    "X509AuthenticationProvider.",
    "enforce.auth.",
    "kerberos.",
    "metricsProvider.ssl.",
    "quorum.auth.",
    "sasl.",
    "ssl.",
];

const KNOWN: &[&str] = &[
    "autopurge.purgeInterval",
    "bitHashCacheSize",
    "clientTcpKeepAlive",
    "closeSessionTxn.enabled",
    "cnxTimeout",
    "commitLogCount",
    "connectToLearnerMasterLimit",
    "electionPortBindRetry",
    "flushDelay",
    "follower.nodelay",
    "follower.skipLearnerRequestToNextProcessor",
    "forceSync",
    "forward_learner_requests_to_commit_processor_disabled",
    "fsync.warningthresholdms",
    "leaderConnectDelayDuringRetryMs",
    "leaderServes",
    "learner.asyncSending",
    "learner.closeSocketAsync",
    "maxBatchSize",
    "maxGetChildrenResponseCacheSize",
    "maxInProcessingDeadWatchers",
    "maxResponseCacheSize",
    "maxWriteQueuePollTime",
    "oraclePath",
    "preAllocSize",
    "quorumCnxnTimeoutMs",
    "serverCnxnFactory",
    "snapshotSizeFactor",
    "syncEnabled",
    "tcpKeepAlive",
    "txnLogSizeLimitInKb",
    "version",
    "watchManagerName",
    "watcherCleanIntervalInSeconds",
    "watcherCleanThreadsNum",
    "watcherCleanThreshold",
];

const KNOWN_PREFIXES: &[&str] = &[
    "commitProcessor.",
    "fastleader.",
    "jvm.pause.",
    "leader.",
    "messageTracker.",
    "metricsProvider.",
    "multiAddress.",
    "netty.",
    "nio.",
    "observer.",
    "observerMaster.",
    "pathStats.",
    "snapshot.",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_its_kind() {
        let table = [
            ("tickTime", Kind::Honoured),
            ("ticktime", Kind::Unknown),
            ("server.1", Kind::Honoured),
            ("servers", Kind::Unknown),
            ("4lw.commands.whitelist", Kind::Honoured),
            ("secureClientPort", Kind::Security),
            ("ssl.keyStore.location", Kind::Security),
            ("ssl.quorum.trustStore.password", Kind::Security),
            ("sslQuorum", Kind::Security),
            ("authProvider.1", Kind::Honoured),
            ("authProvider.sasl", Kind::Honoured),
            ("superUser", Kind::Honoured),
            ("superUser.2", Kind::Honoured),
            ("superUsers", Kind::Unknown),
            ("enforce.auth.enabled", Kind::Honoured),
            ("enforce.auth.schemes", Kind::Honoured),
            ("sessionRequireClientSASLAuth", Kind::Honoured),
            ("DigestAuthenticationProvider.superDigest", Kind::Honoured),
            ("X509AuthenticationProvider.superUser", Kind::Security),
            ("requireClientAuthScheme", Kind::Security),
            ("kerberos.removeHostFromPrincipal", Kind::Security),
            ("zookeeper.superUser", Kind::Prefixed),
            ("quorum.auth.enableSasl", Kind::Honoured),
            ("quorum.auth.learner.loginContext", Kind::Honoured),
            ("quorum.auth.kerberos.servicePrincipal", Kind::Security),
            ("quorum.auth.enableSasll", Kind::Security),
            (
                "quorum.cnxn.threads.size",
                Kind::Moot("connections between servers are made without threads of their own"),
            ),
            ("admin.enableServer", Kind::Honoured),
            ("admin.forceHttps", Kind::Security),
            ("metricsProvider.other", Kind::Known),
            ("metricsProvider.httpPort", Kind::Honoured),
            ("leader.maxConcurrentSnapSyncs", Kind::Honoured),
            ("leader.ackLoggingFrequency", Kind::Known),
            ("leaderServes", Kind::Known),
            ("jute.maxbuffer", Kind::Honoured),
            ("connection_throttle_tokens", Kind::Honoured),
            ("connection_throttle_token", Kind::Unknown),
            ("request_throttle", Kind::Honoured),
            ("group.1", Kind::Honoured),
            ("weight.1", Kind::Honoured),
            ("quorum.something", Kind::Unknown),
            ("", Kind::Unknown),
        ];
        for (key, kind) in table {
            assert_eq!(kind_of(key), kind, "{key}");
        }
    }

    #[test]
    fn what_a_flag_may_be_is_told_apart() {
        for key in
            ["tickTime", "server.1", "quorum.auth.enableSasl", "dataDir", "standaloneEnabled"]
        {
            assert!(is_for_files(key), "{key}");
        }
        for key in ["snapCount", "jute.maxbuffer", "4lw.commands.whitelist", "superUser.1"] {
            assert!(!is_for_files(key), "{key}");
        }
        for key in [
            "jute.maxbuffer",
            "znode.container.checkIntervalMs",
            "leader.nodelay",
            "quorum.auth.enableSasl",
        ] {
            assert!(is_bare(key), "{key}");
        }
        for key in ["snapCount", "superUser", "java.io.tmpdir", ""] {
            assert!(!is_bare(key), "{key}");
        }
    }

    #[test]
    fn no_key_stands_in_two_tables() {
        for key in honoured() {
            assert!(MOOT.iter().all(|(moot, _)| moot != key), "{key}");
            assert!(!SECURITY.contains(key) && !KNOWN.contains(key), "{key}");
        }
        for key in SECURITY {
            assert!(!KNOWN.contains(key), "{key}");
        }
    }
}
