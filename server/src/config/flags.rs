//! Settings as flags of a Java machine, in the variables that ZooKeeper's scripts hand to it.
//!
//! Invariant: every word of the variables is a setting, or is named in one warning of its kind; no
//! warning shows a value, since it may be a password.
//!
//! `zkServer.sh` puts `SERVER_JVMFLAGS` before `JVMFLAGS` and leaves the splitting to the shell,
//! outside of quotes: words end at blanks, and a quote within is a character like any other. Of two
//! flags for one property the machine takes the last.

use std::env;

use super::known::{PROPERTY_PREFIX, is_bare, is_for_files, is_for_flags_too};

/// The settings in both variables.
#[derive(Clone, Default)]
pub struct Flags {
    /// In the order of their weight, the last of a key counts.
    pub(super) settings: Vec<Flag>,
    /// Every other property, by its name: a JAAS file may ask for it.
    pub(super) others: Vec<(String, String)>,
    /// One sentence for each kind of word without effect.
    pub(super) warnings: Vec<String>,
}

impl std::fmt::Debug for Flags {
    /// Never shows a value.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.settings).finish()
    }
}

/// One setting.
#[derive(Clone)]
pub(super) struct Flag {
    variable: &'static str,
    /// The key as it would be in a file.
    pub(super) key: String,
    pub(super) value: String,
    /// Whether ZooKeeper knows the property without its prefix.
    pub(super) is_bare: bool,
}

impl Flag {
    /// Where it stands, for an error.
    pub(super) fn place(&self) -> String {
        let prefix = if self.is_bare { "" } else { PROPERTY_PREFIX };
        format!("{}, flag -D{prefix}{}", self.variable, self.key)
    }
}

impl std::fmt::Debug for Flag {
    /// Never shows the value.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.place())
    }
}

impl Flags {
    /// What this process was given.
    pub fn from_environment() -> Self {
        let [server, all] = VARIABLES.map(|variable| env::var_os(variable).unwrap_or_default());
        Flags::parse(&server.to_string_lossy(), &all.to_string_lossy())
    }

    /// What `SERVER_JVMFLAGS` and `JVMFLAGS` say.
    pub fn parse(server: &str, all: &str) -> Self {
        let mut flags = Flags::default();
        let (mut for_java, mut for_files) = (Vec::new(), Vec::new());
        let (mut quoted, mut strays) = (Vec::new(), 0);
        for (variable, text) in VARIABLES.into_iter().zip([server, all]) {
            for word in text.split([' ', '\t', '\n']).filter(|word| !word.is_empty()) {
                let name = word.split('=').next().unwrap_or_default();
                let Some(property) = word.strip_prefix("-D") else {
                    if word.starts_with('-') {
                        for_java.push(name.to_owned());
                    } else {
                        strays += 1;
                    }
                    continue;
                };
                if word.contains(['"', '\'']) {
                    quoted.push(name.to_owned());
                }
                let (property, value) = property.split_once('=').unwrap_or((property, ""));
                let key = property.strip_prefix(PROPERTY_PREFIX);
                flags.others.push((property.to_owned(), value.to_owned()));
                match key {
                    Some(key) if is_for_files(key) && !is_for_flags_too(key) => {
                        for_files.push(name.to_owned())
                    }
                    None if !is_bare(property) => for_java.push(name.to_owned()),
                    _ => flags.settings.push(Flag {
                        variable,
                        key: key.unwrap_or(property).to_owned(),
                        value: value.to_owned(),
                        is_bare: key.is_none(),
                    }),
                }
            }
        }
        flags.warn(&for_java, "these flags are for a Java machine and have no effect in zokor");
        flags.warn(&for_files, "these settings count in the configuration file alone");
        flags.warn(&quoted, "quotes are part of these values, since no shell takes them away");
        if strays > 0 {
            let all = VARIABLES.join(" and ");
            flags.warnings.push(format!("words in {all} that are no flags: {strays}"));
        }
        flags
    }

    fn warn(&mut self, names: &[String], sentence: &str) {
        if !names.is_empty() {
            self.warnings.push(format!("{sentence}: {}", names.join(", ")));
        }
    }
}

const VARIABLES: [&str; 2] = ["SERVER_JVMFLAGS", "JVMFLAGS"];

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(flags: &Flags) -> Vec<String> {
        let told = |flag: &Flag| format!("{} is {}", flag.place(), flag.value);
        flags.settings.iter().map(told).collect()
    }

    #[test]
    fn flags_are_split_at_blanks_and_sorted() {
        let flags = Flags::parse(
            "-Dzookeeper.snapCount=5",
            " -Djute.maxbuffer=9\t-Dzookeeper.4lw.commands.whitelist=*\n-Dzookeeper.superUser=a=b \
             -Dzookeeper.skipACL",
        );
        let expected = [
            "SERVER_JVMFLAGS, flag -Dzookeeper.snapCount is 5",
            "JVMFLAGS, flag -Djute.maxbuffer is 9",
            "JVMFLAGS, flag -Dzookeeper.4lw.commands.whitelist is *",
            "JVMFLAGS, flag -Dzookeeper.superUser is a=b",
            "JVMFLAGS, flag -Dzookeeper.skipACL is ",
        ];
        assert_eq!(settings(&flags), expected);
        assert_eq!(flags.warnings, Vec::<String>::new());
        assert!(Flags::parse("", "").settings.is_empty());
    }

    #[test]
    fn what_is_no_setting_is_named_without_its_value() {
        let flags = Flags::parse(
            "-Xmx1g -Dcom.sun.management.jmxremote.password=hunter2 -XX:+UseG1GC",
            "-Dzookeeper.tickTime=5 -Dzookeeper.superUser=\"hunter2 hunter2\"",
        );
        assert_eq!(
            flags.warnings,
            [
                "these flags are for a Java machine and have no effect in zokor: -Xmx1g, \
                 -Dcom.sun.management.jmxremote.password, -XX:+UseG1GC",
                "these settings count in the configuration file alone: -Dzookeeper.tickTime",
                "quotes are part of these values, since no shell takes them away: \
                 -Dzookeeper.superUser",
                "words in SERVER_JVMFLAGS and JVMFLAGS that are no flags: 1",
            ]
        );
        assert_eq!(settings(&flags), ["JVMFLAGS, flag -Dzookeeper.superUser is \"hunter2"]);
        assert!(!format!("{flags:?}").contains("hunter2"));
    }
}
