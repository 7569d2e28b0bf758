//! What this server says about its version.
//!
//! Invariant: the text depends on the source alone, never on the machine or the hour of the build.

/// Zokor's own version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What `--version` prints after the name: own version first, then the line that monitoring for
/// ZooKeeper reads.
pub const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\nZookeeper version: ",
    "3.9.4-zokor-",
    env!("CARGO_PKG_VERSION"),
    ", built on 2026-01-01 00:00 UTC"
);

/// What `srvr`, `stat`, `mntr` and `envi` show.
///
/// Clients and monitoring read the first three numbers to learn which requests they may send, so
/// they name the release of ZooKeeper whose protocol is spoken. The date is part of the form and is
/// fixed.
pub const ZOOKEEPER_VERSION: &str =
    concat!("3.9.4-zokor-", env!("CARGO_PKG_VERSION"), ", built on 2026-01-01 00:00 UTC");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_line_begins_with_three_numbers_that_clients_parse() {
        // kazoo takes the longest run of digits and dots, others split at the first dash.
        let digits: String =
            ZOOKEEPER_VERSION.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        let numbers: Vec<u32> = digits.split('.').map(|n| n.parse().unwrap()).collect();
        assert_eq!(numbers, [3, 9, 4]);
        assert!(ZOOKEEPER_VERSION[digits.len()..].starts_with('-'));
        assert!(LONG_VERSION.ends_with(ZOOKEEPER_VERSION));
    }
}
