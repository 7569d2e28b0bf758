//! The commands of the admin server: their names, and what each needs.
//!
//! Invariant: every command stands here once, in the order of its first name.
//! Source: `zookeeper: server/admin/Commands`.

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Configuration,
    ConnectionStatReset,
    Connections,
    Dirs,
    Dump,
    Environment,
    GetTraceMask,
    Hash,
    InitialConfiguration,
    IsReadOnly,
    LastSnapshot,
    Leader,
    Monitor,
    ObserverStatReset,
    Observers,
    Restore,
    Ruok,
    ServerStats,
    SetTraceMask,
    ShedConnections,
    Snapshot,
    StatReset,
    Stats,
    SystemProperties,
    VotingView,
    WatchSummary,
    Watches,
    WatchesByPath,
    ZabState,
}

use Command::*;

impl Command {
    pub(super) const ALL: [Command; 29] = [
        Configuration,
        ConnectionStatReset,
        Connections,
        Dirs,
        Dump,
        Environment,
        GetTraceMask,
        Hash,
        InitialConfiguration,
        IsReadOnly,
        LastSnapshot,
        Leader,
        Monitor,
        ObserverStatReset,
        Observers,
        Restore,
        Ruok,
        ServerStats,
        SetTraceMask,
        ShedConnections,
        Snapshot,
        StatReset,
        Stats,
        SystemProperties,
        VotingView,
        WatchSummary,
        Watches,
        WatchesByPath,
        ZabState,
    ];

    /// Its names; the first is the one that an answer bears.
    pub(super) fn names(self) -> &'static [&'static str] {
        match self {
            Configuration => &["configuration", "conf", "config"],
            ConnectionStatReset => &["connection_stat_reset", "crst"],
            Connections => &["connections", "cons"],
            Dirs => &["dirs"],
            Dump => &["dump"],
            Environment => &["environment", "env", "envi"],
            GetTraceMask => &["get_trace_mask", "gtmk"],
            Hash => &["hash"],
            InitialConfiguration => &["initial_configuration", "icfg"],
            IsReadOnly => &["is_read_only", "isro"],
            LastSnapshot => &["last_snapshot", "lsnp"],
            Leader => &["leader", "lead"],
            Monitor => &["monitor", "mntr"],
            ObserverStatReset => &["observer_connection_stat_reset", "orst"],
            Observers => &["observers", "obsr"],
            Restore => &["restore", "rest"],
            Ruok => &["ruok"],
            ServerStats => &["server_stats", "srvr"],
            SetTraceMask => &["set_trace_mask", "stmk"],
            ShedConnections => &["shed_connections", "shed"],
            Snapshot => &["snapshot", "snap"],
            StatReset => &["stat_reset", "srst"],
            Stats => &["stats", "stat"],
            SystemProperties => &["system_properties", "sysp"],
            VotingView => &["voting_view"],
            WatchSummary => &["watch_summary", "wchs"],
            Watches => &["watches", "wchc"],
            WatchesByPath => &["watches_by_path", "wchp"],
            ZabState => &["zabstate"],
        }
    }

    /// The name that an answer bears.
    pub(super) fn name(self) -> &'static str {
        self.names()[0]
    }

    /// The command of this name, its first or another.
    pub(super) fn of(name: &str) -> Option<Self> {
        Command::ALL.into_iter().find(|command| command.names().contains(&name))
    }

    /// Whether only a server that serves answers it.
    pub(super) fn needs_service(self) -> bool {
        let always = [Environment, GetTraceMask, SetTraceMask, Monitor, SystemProperties, ZabState];
        !always.contains(&self)
    }

    /// Whether who asks has to show that he may do everything with the root.
    pub(super) fn needs_permission(self) -> bool {
        matches!(self, Restore | ShedConnections | Snapshot)
    }

    /// Whether it is asked by POST; all others by GET.
    pub(super) fn is_posted(self) -> bool {
        matches!(self, Restore | ShedConnections)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_command_has_names_of_its_own_and_they_are_sorted() {
        let names = Command::ALL.iter().flat_map(|command| command.names());
        let names: Vec<&str> = names.copied().collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        assert!(Command::ALL.is_sorted_by_key(|command| command.name()));
        for command in Command::ALL {
            assert!(command.names().iter().all(|name| Command::of(name) == Some(command)));
        }
        assert_eq!(Command::of("nope"), None);
    }
}
