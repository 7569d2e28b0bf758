//! The paths that are watched, each once, by small numbers.
//!
//! Invariant: a path is in the index exactly as long as it has a number, and its number stays.

use hashbrown::HashTable;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::push;
use super::texts::{At, Texts};
use super::watchers::Who;

/// Numbered paths and who watches them.
#[derive(Debug, Default)]
pub(super) struct Paths {
    records: Vec<Record>,
    /// The first of the unused records, each of which names the next.
    free: Option<u32>,
    n_free: usize,
    /// By the hash of the path, in parts, so that none takes long to grow. Never iterated.
    index: Vec<HashTable<u32>>,
    texts: Texts,
}

/// A path: 16 bytes, beside its text. An unused record stands nowhere.
#[derive(Debug)]
pub(super) struct Record {
    at: At,
    pub(super) who: Who,
}

impl Paths {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.records.len() - self.n_free
    }

    /// The number of a path.
    pub(super) fn find(&self, path: &str) -> Option<u32> {
        self.find_hashed(xxh3_64(path.as_bytes()), path)
    }

    /// The number of each ancestor that is watched, from the root down. Costs what the length of
    /// the path costs, however many ancestors that are.
    pub(super) fn ancestors(&self, path: &str, mut found: impl FnMut(u32)) {
        if path == "/" {
            return;
        }
        let mut hasher = Xxh3::new();
        let mut n_hashed = 0;
        for (end, _) in path.match_indices('/') {
            // The name of the root is the one that ends with the slash.
            let end = end.max(1);
            hasher.update(&path.as_bytes()[n_hashed..end]);
            n_hashed = end;
            if let Some(place) = self.find_hashed(hasher.digest(), &path[..end]) {
                found(place);
            }
        }
    }

    /// The number of a path; if it is new, it is to get a watcher at once.
    pub(super) fn intern(&mut self, path: &str) -> u32 {
        let hash = xxh3_64(path.as_bytes());
        if let Some(place) = self.find_hashed(hash, path) {
            return place;
        }
        let record = Record { at: self.texts.put(path.as_bytes()), who: Who::NOBODY };
        let place = if let Some(place) = self.free {
            let unused = std::mem::replace(&mut self.records[place as usize], record);
            let next = unused.at.if_nowhere().expect("an unused record stands nowhere");
            self.free = (next != u32::MAX).then_some(next);
            self.n_free -= 1;
            place
        } else {
            push(&mut self.records, record);
            u32::try_from(self.records.len() - 1).expect("memory ends before 2^32 paths do")
        };
        if self.index.is_empty() {
            self.index.resize_with(PARTS, HashTable::new);
        }
        let (records, texts) = (&self.records, &self.texts);
        let rehash = |&place: &u32| xxh3_64(texts.get(records[place as usize].at));
        self.index[part(hash)].insert_unique(hash, place, rehash);
        place
    }

    /// Forgets a path that nobody watches any more.
    pub(super) fn release(&mut self, place: u32) {
        let record = &mut self.records[place as usize];
        assert!(matches!(record.who, Who::NOBODY), "someone watches the path");
        let at = record.at;
        let hash = xxh3_64(self.texts.get(at));
        let entry = self.index[part(hash)].find_entry(hash, |&other| other == place);
        entry.expect("a watched path is in the index").remove();
        record.at = At::nowhere(self.free.unwrap_or(u32::MAX));
        self.free = Some(place);
        self.n_free += 1;
        if self.len() == 0 && self.records.len() > KEPT {
            *self = Paths::default();
        } else if let Some(mut chunk) = self.texts.remove(at) {
            while let Some((from, text)) = chunk.next() {
                let hash = xxh3_64(text);
                let is_it = |&place: &u32| self.records[place as usize].at == from;
                if let Some(&place) = self.index[part(hash)].find(hash, is_it) {
                    self.records[place as usize].at = self.texts.put(text);
                }
            }
            self.texts.emptied(chunk);
        }
    }

    /// The path of this number.
    pub(super) fn text(&self, place: u32) -> &str {
        let text = self.texts.get(self.records[place as usize].at);
        std::str::from_utf8(text).expect("it was a string")
    }

    /// Who watches the path of this number.
    pub(super) fn who(&self, place: u32) -> &Who {
        &self.records[place as usize].who
    }

    /// The same, to change it.
    pub(super) fn who_mut(&mut self, place: u32) -> &mut Who {
        &mut self.records[place as usize].who
    }

    /// Every number, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        self.from(0)
    }

    /// Every number from `first` on, ascending.
    pub(super) fn from(&self, first: u32) -> impl Iterator<Item = u32> {
        let records = self.records.get(first as usize..).unwrap_or_default();
        let is_used =
            |(record, place): (&Record, u32)| record.at.if_nowhere().is_none().then_some(place);
        records.iter().zip(first..).filter_map(is_used)
    }

    fn find_hashed(&self, hash: u64, path: &str) -> Option<u32> {
        let is_it =
            |&place: &u32| self.texts.get(self.records[place as usize].at) == path.as_bytes();
        self.index.get(part(hash))?.find(hash, is_it).copied()
    }
}

/// Which part of the index. The table in it goes by the lowest and the highest bits.
fn part(hash: u64) -> usize {
    (hash >> 32) as usize % PARTS
}

/// Parts of the index.
const PARTS: usize = 64;
/// So many records are kept when the last path goes.
const KEPT: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::parent_of;

    #[test]
    fn a_record_is_small() {
        assert_eq!(size_of::<Record>(), 16);
    }

    #[test]
    fn ancestors_come_from_the_root_down_and_nothing_else_does() {
        let mut paths = Paths::default();
        let deep = "/a/bb/ccc/dddd".repeat(60);
        let mut chain = vec!["/"];
        chain.extend(deep.match_indices('/').skip(1).map(|(end, _)| &deep[..end]));
        assert_eq!(chain.len(), 240);
        let numbers: Vec<u32> = chain.iter().map(|path| paths.intern(path)).collect();
        for path in ["", "/a/b", "/a/bb/", &deep, "a"] {
            paths.intern(path);
        }
        let mut found = Vec::new();
        paths.ancestors(&deep, |place| found.push(place));
        assert_eq!(found, numbers);
        found.clear();
        paths.ancestors("/", |place| found.push(place));
        assert_eq!(found, []);
        paths.ancestors("/x", |place| found.push(place));
        assert_eq!(found, [numbers[0]]);
        assert_eq!(parent_of(chain[5]), Some(chain[4]), "the chain is one of parents");
    }

    #[test]
    fn paths_keep_their_numbers_while_others_come_and_go() {
        let mut paths = Paths::default();
        let name = |n: u32| format!("/services/of-a-kind/{n:06}");
        let numbers: Vec<u32> = (0..20_000).map(|n| paths.intern(&name(n))).collect();
        for n in (0..20_000).filter(|n| n % 10 != 0) {
            paths.release(numbers[n as usize]);
        }
        assert_eq!(paths.len(), 2_000);
        for n in 0..20_000 {
            let kept = (n % 10 == 0).then_some(numbers[n as usize]);
            assert_eq!(paths.find(&name(n)), kept);
            assert!(kept.is_none_or(|kept| paths.text(kept) == name(n)));
        }
        for n in 20_000..38_000 {
            assert!(paths.intern(&name(n)) < 20_000, "unused numbers are taken first");
        }
        assert_eq!((paths.len(), paths.records.len()), (20_000, 20_000));
        assert_eq!(paths.iter().count(), 20_000);
        let all: Vec<u32> = paths.iter().collect();
        all.into_iter().for_each(|place| paths.release(place));
        assert_eq!((paths.len(), paths.records.capacity()), (0, 0), "memory is given back");
    }
}
