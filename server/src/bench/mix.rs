//! What is asked, and how often: kinds of work and their weights.
//!
//! Invariant: which kind comes next depends on the seed and the weights alone.

use std::fmt;
use std::str::FromStr;

/// A kind of work. The report has a row for each that was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `getData` of one of the nodes.
    Get,
    /// `exists` of one of the nodes.
    Exists,
    /// `setData` of one of the nodes, whatever its version.
    Set,
    /// Creates a znode that stays.
    Create,
    /// Deletes the oldest znode that `create` made on the same connection.
    Delete,
    /// Creates an ephemeral znode and deletes it with the next operation; each counts as one.
    Ephemeral,
    /// Creates a sequential znode below a parent that all connections share.
    Sequential,
    /// A `multi` of several `setData`.
    Multi,
    /// `getChildren` of a znode with many children.
    Children,
    /// `sync`.
    Sync,
    /// One change that many sessions hear of: a notification and setting the watch again are one
    /// operation.
    Watch,
    /// Of the same changes: when the last session had heard of it.
    Last,
    /// Opens a session and closes it, which is one operation.
    Session,
}

impl Kind {
    /// Every kind, in the order of the report.
    pub const ALL: [Kind; 13] = [
        Kind::Get,
        Kind::Exists,
        Kind::Set,
        Kind::Create,
        Kind::Delete,
        Kind::Ephemeral,
        Kind::Sequential,
        Kind::Multi,
        Kind::Children,
        Kind::Sync,
        Kind::Watch,
        Kind::Last,
        Kind::Session,
    ];

    /// The word for it, on the command line and in the report.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Get => "get",
            Kind::Exists => "exists",
            Kind::Set => "set",
            Kind::Create => "create",
            Kind::Delete => "delete",
            Kind::Ephemeral => "ephemeral",
            Kind::Sequential => "sequential",
            Kind::Multi => "multi",
            Kind::Children => "children",
            Kind::Sync => "sync",
            Kind::Watch => "watch",
            Kind::Last => "last",
            Kind::Session => "session",
        }
    }

    /// Whether it goes through the log of the servers.
    pub fn is_write(self) -> bool {
        !matches!(
            self,
            Kind::Get | Kind::Exists | Kind::Children | Kind::Sync | Kind::Watch | Kind::Last
        )
    }

    /// Whether it counts as work done: `last` tells of the operations of `watch` once more, and
    /// the `set` beside them is what they wait for.
    pub fn is_counted_with(self, mix: &Mix) -> bool {
        match self {
            Kind::Last => false,
            Kind::Set => !mix.has(Kind::Watch),
            _ => true,
        }
    }

    /// Whether it needs all connections for itself.
    fn stands_alone(self) -> bool {
        matches!(self, Kind::Watch | Kind::Session)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Kinds of work with their weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mix {
    /// In the order of the command line; no weight is zero, no kind comes twice.
    parts: Vec<(Kind, u32)>,
    total: u64,
}

impl Mix {
    /// Whether it has work of this kind.
    pub fn has(&self, kind: Kind) -> bool {
        self.parts.iter().any(|&(part, _)| part == kind)
    }

    /// The kind at `draw`, any number.
    pub fn pick(&self, draw: u64) -> Kind {
        if let [(kind, _)] = self.parts[..] {
            return kind;
        }
        let mut rest = draw % self.total;
        for &(kind, weight) in &self.parts {
            match rest.checked_sub(u64::from(weight)) {
                Some(less) => rest = less,
                None => return kind,
            }
        }
        unreachable!("the weights sum up to the total");
    }
}

impl FromStr for Mix {
    type Err = String;

    /// `get=90,set=10`; a kind without a number weighs 1.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts: Vec<(Kind, u32)> = Vec::new();
        for part in text.split(',') {
            let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
            let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == name);
            let Some(kind) = kind.filter(|&kind| kind != Kind::Last) else {
                let known: Vec<&str> = offered().map(Kind::as_str).collect();
                return Err(format!("{name:?} is none of {}", known.join(", ")));
            };
            let weight = weight.parse().ok().filter(|weight| (1..=MAX_WEIGHT).contains(weight));
            let weight = weight.ok_or_else(|| {
                format!("the weight of {name} must be a whole number from 1 to {MAX_WEIGHT}")
            })?;
            if parts.iter().any(|&(other, _)| other == kind) {
                return Err(format!("{name} comes twice"));
            }
            parts.push((kind, weight));
        }
        if let Some((alone, _)) = parts.iter().find(|(kind, _)| kind.stands_alone())
            && parts.len() > 1
        {
            return Err(format!("{alone} cannot be mixed with anything: run it by itself"));
        }
        let total = parts.iter().map(|&(_, weight)| u64::from(weight)).sum();
        Ok(Mix { parts, total })
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [(kind, _)] = self.parts[..] {
            return write!(f, "{kind}");
        }
        let parts: Vec<_> = self.parts.iter().map(|(kind, n)| format!("{kind}={n}")).collect();
        f.write_str(&parts.join(","))
    }
}

/// The kinds that can be asked for.
pub(super) fn offered() -> impl Iterator<Item = Kind> {
    Kind::ALL.into_iter().filter(|&kind| kind != Kind::Last)
}

/// Numbers that look random: SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
/// generators", 2014).
#[derive(Clone, Debug)]
pub(super) struct Draws {
    state: u64,
}

impl Draws {
    /// The sequence of this seed.
    pub(super) fn new(seed: u64) -> Self {
        Draws { state: seed }
    }

    /// The next number.
    pub(super) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

const MAX_WEIGHT: u32 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn mix(text: &str) -> Mix {
        text.parse().expect("a mix")
    }

    #[test]
    fn a_mix_is_kinds_with_weights() {
        assert_eq!(mix("get").parts, [(Kind::Get, 1)]);
        assert_eq!(mix("get=90,set=10").parts, [(Kind::Get, 90), (Kind::Set, 10)]);
        assert_eq!(mix("get=90,set=10").to_string(), "get=90,set=10");
        assert_eq!(mix("multi=7").to_string(), "multi");
        for kind in offered() {
            assert!(mix(kind.as_str()).has(kind));
        }
    }

    #[test]
    fn a_bad_mix_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "none of"),
            ("got", "none of get, exists,"),
            ("last", "none of"),
            ("get=0", "from 1 to"),
            ("get=x", "from 1 to"),
            ("get=-1", "from 1 to"),
            ("get=1000001", "from 1 to"),
            ("get,get", "twice"),
            ("watch,get", "by itself"),
            ("set,session", "by itself"),
        ] {
            let error = text.parse::<Mix>().expect_err(text);
            assert!(error.contains(reason), "{text:?}: {error}");
        }
    }

    #[test]
    fn each_kind_comes_exactly_as_often_as_it_weighs() {
        let mix = mix("get=5,set=2,sync=3");
        let drawn: Vec<Kind> = (0..20).map(|draw| mix.pick(draw)).collect();
        for (kind, n) in [(Kind::Get, 10), (Kind::Set, 4), (Kind::Sync, 6)] {
            assert_eq!(drawn.iter().filter(|&&other| other == kind).count(), n, "{kind}");
        }
        assert_eq!(mix.pick(u64::MAX), mix.pick(u64::MAX % 10));
    }

    #[test]
    fn draws_are_those_of_the_seed_and_spread_over_the_mix() {
        let mix = mix("get=90,set=10");
        let (mut a, mut b) = (Draws::new(7), Draws::new(7));
        let mut n_sets = 0;
        for _ in 0..10_000 {
            let kind = mix.pick(a.next());
            assert_eq!(kind, mix.pick(b.next()));
            n_sets += usize::from(kind == Kind::Set);
        }
        // Always the same number for this seed; 1,000 is what chance gives on average.
        assert!((900..1_100).contains(&n_sets), "{n_sets}");
        assert!((0..1_000).all(|_| a.below(3) < 3));
    }
}
