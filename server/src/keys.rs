//! `zokor keys`: tells what becomes of each key of a `zoo.cfg`.
//!
//! Invariant: what is told is what the server does when it starts with that key.

use std::process::ExitCode;

use crate::cli::KeysArguments;
use crate::config::{kind_of, known_keys};

/// Prints a line for each of the keys asked for, or for each key that ZooKeeper knows: what becomes
/// of it, a tab, and the key. A `*` stands for any end of a key.
pub fn run(arguments: &KeysArguments) -> ExitCode {
    print!("{}", table(&arguments.keys));
    ExitCode::SUCCESS
}

fn table(keys: &[String]) -> String {
    let line = |key: &str| format!("{}\t{key}\n", kind_of(key));
    if keys.is_empty() {
        known_keys().map(|key| line(&key)).collect()
    } else {
        keys.iter().map(|key| line(key)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_listed_once_with_what_becomes_of_it() {
        let text = table(&[]);
        let mut keys: Vec<&str> = text.lines().map(|l| l.split_once('\t').unwrap().1).collect();
        assert!(text.contains("honoured\ttickTime\n"), "{text}");
        assert!(text.contains("honoured\tserver.*\n"), "{text}");
        assert!(text.contains("security\tssl.*\n"), "{text}");
        assert!(!text.contains("unknown"), "{text}");
        let n_keys = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), n_keys);
    }

    #[test]
    fn a_key_that_is_asked_for_is_told_of_whether_it_is_known_or_not() {
        let keys = ["ssl.protocol", "nonsense"].map(str::to_owned);
        assert_eq!(table(&keys), "security\tssl.protocol\nunknown\tnonsense\n");
    }
}
