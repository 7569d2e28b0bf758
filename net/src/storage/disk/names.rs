//! The names of a folder that lives in memory: what is seen, and what a power cut would leave.
//!
//! Invariant: after a sync the two agree; before it they differ by the changes since, each of which
//! may or may not have happened.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Result};

/// Names, and the numbers of the files that they lead to.
#[derive(Clone, Debug, Default)]
pub struct Names {
    seen: BTreeMap<String, u64>,
    durable: BTreeMap<String, u64>,
    /// Changes since the folder was synced, in order.
    moves: Vec<Move>,
    last_file: u64,
}

/// A change of a name.
#[derive(Clone, Debug)]
pub enum Move {
    /// A file gets it.
    Bind {
        /// The name.
        name: String,
        /// The file.
        file: u64,
    },
    /// It goes.
    Unbind {
        /// The name.
        name: String,
        /// The file that has it.
        file: u64,
    },
    /// A file gets another one.
    Rename {
        /// The name before.
        from: String,
        /// The name after, from whichever file has it.
        to: String,
        /// The file.
        file: u64,
    },
}

impl Names {
    /// A number for a new file.
    pub fn new_file(&mut self) -> u64 {
        self.last_file += 1;
        self.last_file
    }

    /// All names, ascending.
    pub fn list(&self) -> Vec<String> {
        self.seen.keys().cloned().collect()
    }

    /// All names and their files, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.seen.iter().map(|(name, &file)| (name.as_str(), file))
    }

    /// The file of this name.
    ///
    /// # Errors
    /// If there is none.
    pub fn find(&self, name: &str) -> Result<u64> {
        self.seen.get(name).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }

    /// A change that a power cut may undo.
    pub fn change(&mut self, change: Move) {
        change.apply(&mut self.seen);
        self.moves.push(change);
    }

    /// Gives `file` a name for good, whoever had it.
    pub fn put(&mut self, name: &str, file: u64) {
        self.seen.insert(name.to_owned(), file);
        self.durable.insert(name.to_owned(), file);
    }

    /// Makes all changes durable.
    pub fn sync(&mut self) {
        self.durable = self.seen.clone();
        self.moves.clear();
    }

    /// Whether a file has another name than it has for good.
    pub fn has_unsynced_rename(&self) -> bool {
        self.moves.iter().any(|change| matches!(change, Move::Rename { .. }))
    }

    /// Cuts the power: a prefix of the changes since the last sync has happened, or any of them.
    /// `below` draws a number below another.
    pub fn cut_power(&mut self, mut below: impl FnMut(u64) -> u64) {
        self.seen = self.durable.clone();
        let in_order = below(2) == 0;
        let kept_moves = below(self.moves.len() as u64 + 1);
        for (i, change) in (0..).zip(std::mem::take(&mut self.moves)) {
            let kept = if in_order { i < kept_moves } else { below(2) == 0 };
            if kept {
                change.apply(&mut self.seen);
            }
        }
        self.durable = self.seen.clone();
    }

    /// The files that some name leads to, now or after a power cut.
    pub fn files(&self) -> BTreeSet<u64> {
        self.seen.values().chain(self.durable.values()).copied().collect()
    }
}

impl Move {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Move::Bind { name, file } => {
                names.insert(name.clone(), *file);
            }
            Move::Unbind { name, file } => {
                if names.get(name) == Some(file) {
                    names.remove(name);
                }
            }
            Move::Rename { from, to, file } => {
                if names.get(from) == Some(file) {
                    names.remove(from);
                }
                names.insert(to.clone(), *file);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_cut_leaves_what_was_synced_and_a_part_of_the_rest() {
        let mut names = Names::default();
        let (one, two) = (names.new_file(), names.new_file());
        names.change(Move::Bind { name: "a".into(), file: one });
        names.sync();
        names.change(Move::Rename { from: "a".into(), to: "b".into(), file: one });
        names.change(Move::Bind { name: "c".into(), file: two });
        assert!(names.has_unsynced_rename() && names.find("a").is_err());
        let mut none = names.clone();
        none.cut_power(|_| 0);
        assert_eq!(none.list(), ["a"]);
        let mut all = names.clone();
        all.cut_power(|n| if n == 3 { 2 } else { 0 });
        assert_eq!(all.list(), ["b", "c"]);
        assert_eq!(names.files(), BTreeSet::from([one, two]));
    }
}
