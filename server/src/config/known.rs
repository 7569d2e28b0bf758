//! Which keys ZooKeeper knows, and what becomes of each here.
//!
//! Invariant: every key of a file falls into exactly one [`Kind`], so that no key is dropped in
//! silence. Source: `zookeeper: QuorumPeerConfig.parseProperties` and its system properties.

/// What becomes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It has the effect that it has in ZooKeeper.
    Honoured,
    /// It would make the service more secure and is without effect.
    Security,
    /// ZooKeeper knows it; here it is without effect.
    Known,
    /// ZooKeeper does not know it either.
    Unknown,
}

/// Sorts `key`, which is spelled as in the file: ZooKeeper minds the case.
pub(super) fn kind_of(key: &str) -> Kind {
    let has_prefix = |prefixes: &[&str]| prefixes.iter().any(|prefix| key.starts_with(prefix));
    if HONOURED.contains(&key) || key.starts_with("server.") {
        Kind::Honoured
    } else if SECURITY.contains(&key) || has_prefix(SECURITY_PREFIXES) {
        Kind::Security
    } else if KNOWN.contains(&key) || has_prefix(KNOWN_PREFIXES) {
        Kind::Known
    } else {
        Kind::Unknown
    }
}

/// Beside `server.N`.
pub(super) const HONOURED: &[&str] = &[
    "4lw.commands.whitelist",
    "autopurge.snapRetainCount",
    "clientPort",
    "clientPortAddress",
    "clientPortListenBacklog",
    "dataDir",
    "dataLogDir",
    "dynamicConfigFile",
    "electionAlg",
    "extendedTypesEnabled",
    "globalOutstandingLimit",
    "initLimit",
    "localSessionsEnabled",
    "localSessionsUpgradingEnabled",
    "maxClientCnxns",
    "maxCnxns",
    "maxSessionTimeout",
    "minSessionTimeout",
    "peerType",
    "quorumListenOnAllIPs",
    "readonlymode.enabled",
    "snapCount",
    "snapSizeLimitInKb",
    "standaloneEnabled",
    "syncLimit",
    "tickTime",
];

const SECURITY: &[&str] = &[
    "allowSaslFailedClients",
    "audit.enable",
    "audit.impl.class",
    "client.certReload",
    "client.portUnification",
    "ensembleAuthName",
    "fips-mode",
    "letAnySaslUserDoX",
    "portUnification",
    "requireClientAuthScheme",
    "secureClientPort",
    "secureClientPortAddress",
    "security.auth_to_local",
    "sessionRequireClientSASLAuth",
    "sslQuorum",
    "sslQuorumReloadCertFiles",
    "superUser",
];

const SECURITY_PREFIXES: &[&str] = &[
    "DigestAuthenticationProvider.",
    "X509AuthenticationProvider.",
    "authProvider.",
    "enforce.auth.",
    "kerberos.",
    "quorum.auth.",
    "sasl.",
    "ssl.",
    "superUser.",
    "zookeeper.superUser",
];

const KNOWN: &[&str] = &[
    "autopurge.purgeInterval",
    "bitHashCacheSize",
    "clientTcpKeepAlive",
    "closeSessionTxn.enabled",
    "cnxTimeout",
    "commitLogCount",
    "connectToLearnerMasterLimit",
    "datadir.autocreate",
    "db.autocreate",
    "digest.enabled",
    "electionPortBindRetry",
    "emulate353TTLNodes",
    "enableEagerACLCheck",
    "enforceQuota",
    "flushDelay",
    "follower.skipLearnerRequestToNextProcessor",
    "forceSync",
    "forward_learner_requests_to_commit_processor_disabled",
    "fsync.warningthresholdms",
    "jute.maxbuffer",
    "jute.maxbuffer.extrasize",
    "largeRequestMaxBytes",
    "largeRequestThreshold",
    "leaderConnectDelayDuringRetryMs",
    "leaderServes",
    "learner.asyncSending",
    "learner.closeSocketAsync",
    "maxBatchSize",
    "maxGetChildrenResponseCacheSize",
    "maxInProcessingDeadWatchers",
    "maxResponseCacheSize",
    "maxWriteQueuePollTime",
    "observerMasterPort",
    "oraclePath",
    "preAllocSize",
    "quorum.cnxn.threads.size",
    "quorumCnxnTimeoutMs",
    "reconfigEnabled",
    "request_stale_connection_check",
    "request_stale_latency_check",
    "request_throttler.shutdownTimeout",
    "serializeLastProcessedZxid.enabled",
    "serverCnxnFactory",
    "skipACL",
    "snapshotSizeFactor",
    "syncEnabled",
    "tcpKeepAlive",
    "throttled_op_wait_time",
    "txnLogSizeLimitInKb",
    "version",
    "watchManagerName",
    "watcherCleanIntervalInSeconds",
    "watcherCleanThreadsNum",
    "watcherCleanThreshold",
];

const KNOWN_PREFIXES: &[&str] = &[
    "admin.",
    "commitProcessor.",
    "connection_throttle_",
    "fastleader.",
    "group.",
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
    "request_throttle_",
    "snapshot.",
    "weight.",
    "znode.container.",
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
            ("authProvider.1", Kind::Security),
            ("authProvider.sasl", Kind::Security),
            ("enforce.auth.enabled", Kind::Security),
            ("enforce.auth.schemes", Kind::Security),
            ("sessionRequireClientSASLAuth", Kind::Security),
            ("quorum.auth.enableSasl", Kind::Security),
            ("quorum.cnxn.threads.size", Kind::Known),
            ("admin.enableServer", Kind::Known),
            ("metricsProvider.httpPort", Kind::Known),
            ("leader.maxConcurrentSnapSyncs", Kind::Known),
            ("leaderServes", Kind::Known),
            ("jute.maxbuffer", Kind::Known),
            ("group.1", Kind::Known),
            ("quorum.something", Kind::Unknown),
            ("", Kind::Unknown),
        ];
        for (key, kind) in table {
            assert_eq!(kind_of(key), kind, "{key}");
        }
    }

    #[test]
    fn no_key_stands_in_two_tables() {
        for key in HONOURED {
            assert!(!SECURITY.contains(key) && !KNOWN.contains(key), "{key}");
        }
        for key in SECURITY {
            assert!(!KNOWN.contains(key), "{key}");
        }
    }
}
