//! How fast clients may connect: a bucket of tokens, and a share of them that chance turns away.
//!
//! Invariants: chance comes from the seed alone, so that the same seed, requests and times give the
//! same refusals; shares are whole billionths. Rules: ZooKeeper's `connection_throttle_*`
//! (`BlueThrottle`; the share follows "BLUE: A New Class of Active Queue Management Algorithms").

use std::fmt;
use std::time::Duration;

use zokor_core::time::Instant;

/// ZooKeeper's `connection_throttle_*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectThrottle {
    /// Tokens that a full bucket holds; 0 switches all of this off. Default 0.
    pub tokens: u32,
    /// After more than this long tokens come in. At least 1 ms. Default 1 ms.
    pub fill_time: Duration,
    /// How many tokens a `fill_time` brings. Default 1.
    pub fill_count: u32,
    /// How long the share turned away by chance stays as it is; `None` if chance has no say.
    /// Default `None`.
    pub freeze_time: Option<Duration>,
    /// By how much the share grows while the bucket is empty. Default 0.02.
    pub drop_increase: Share,
    /// By how much it shrinks while the bucket is full, or nearly so. Default 0.002.
    pub drop_decrease: Share,
    /// The part of the bucket that may be missing when the share shrinks. Default 0.
    pub decrease_ratio: Share,
    /// How many tokens a connection takes; `None` if one each. Default `None`.
    pub weights: Option<Weights>,
    /// What chance begins with.
    pub seed: u64,
}

impl Default for ConnectThrottle {
    fn default() -> Self {
        ConnectThrottle {
            tokens: 0,
            fill_time: Duration::from_millis(1),
            fill_count: 1,
            freeze_time: None,
            drop_increase: Share(20_000_000),
            drop_decrease: Share(2_000_000),
            decrease_ratio: Share(0),
            weights: None,
            seed: 0,
        }
    }
}

/// A part of the whole, in billionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(pub u32);

impl fmt::Display for Share {
    /// As Java prints a `double`, without its exponents.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:09}", self.0 % Share::WHOLE.0);
        let fraction = text.trim_end_matches('0');
        let fraction = if fraction.is_empty() { "0" } else { fraction };
        write!(f, "{}.{fraction}", self.0 / Share::WHOLE.0)
    }
}

impl Share {
    /// All of it.
    pub const WHOLE: Share = Share(1_000_000_000);

    /// This part of `n`, to the nearest whole number.
    fn of(self, n: u64) -> u64 {
        (n * u64::from(self.0) + u64::from(Share::WHOLE.0) / 2) / u64::from(Share::WHOLE.0)
    }
}

/// Tokens that a connection takes, by what it asks for. Those of the configuration count sessions
/// of the ensemble: the bucket holds, and gets, `global` times as many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    /// A new session of the ensemble. Default 3.
    pub global: u32,
    /// A new session of this server alone. Default 1.
    pub local: u32,
    /// A session that goes on. Default 2.
    pub renew: u32,
    /// Whether new sessions begin as sessions of this server alone.
    pub is_new_local: bool,
}

/// The bucket at one moment.
#[derive(Debug)]
pub(super) struct Bucket {
    config: ConnectThrottle,
    most: u64,
    fill_count: u64,
    tokens: u64,
    filled: Instant,
    /// The share that chance turns away, and since when it is that large.
    drop: Share,
    frozen: Instant,
    chance: u64,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(config: ConnectThrottle, now: Instant) -> Self {
        let unit = config.weights.map_or(1, |weights| u64::from(weights.global));
        let most = u64::from(config.tokens) * unit;
        let fill_count = u64::from(config.fill_count) * unit;
        let chance = config.seed;
        let drop = Share::default();
        Bucket { config, most, fill_count, tokens: most, filled: now, drop, frozen: now, chance }
    }

    /// Whether a connection may be, which begins a session or goes on with one.
    pub(super) fn admits(&mut self, now: Instant, is_new: bool) -> bool {
        if self.most == 0 {
            return true;
        }
        self.fill(now);
        if let Some(freeze_time) = self.config.freeze_time
            && self.is_unlucky(now, freeze_time)
        {
            return false;
        }
        let need = match self.config.weights {
            None => 1,
            Some(weights) if !is_new => weights.renew,
            Some(weights) if weights.is_new_local => weights.local,
            Some(weights) => weights.global,
        };
        let Some(left) = self.tokens.checked_sub(need.into()) else { return false };
        self.tokens = left;
        true
    }

    /// Tokens that are missing.
    pub(super) fn deficit(&self) -> u64 {
        self.most - self.tokens
    }

    /// The share that chance turns away.
    pub(super) fn drop_probability(&self) -> Share {
        self.drop
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.since(self.filled);
        if passed <= self.config.fill_time {
            return;
        }
        let count = u128::from(self.fill_count) * passed.as_micros()
            / self.config.fill_time.as_micros().max(1);
        let tokens = u128::from(self.tokens).saturating_add(count).min(self.most.into());
        self.tokens = u64::try_from(tokens).expect("the bucket holds no more than fits");
        self.filled = now;
    }

    /// Adapts the share, and draws.
    fn is_unlucky(&mut self, now: Instant, freeze_time: Duration) -> bool {
        if now.since(self.frozen) > freeze_time {
            if self.tokens == 0 {
                let more = self.drop.0.saturating_add(self.config.drop_increase.0);
                self.drop = Share(more).min(Share::WHOLE);
            } else if self.deficit() <= self.config.decrease_ratio.of(self.most) {
                self.drop = Share(self.drop.0.saturating_sub(self.config.drop_decrease.0));
            }
            self.frozen = now;
        }
        self.draw() % u64::from(Share::WHOLE.0) < u64::from(self.drop.0)
    }

    /// The next number of the seed (Steele, Lea, Flood: "Fast splittable pseudorandom number
    /// generators", 2014).
    fn draw(&mut self) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.chance;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(1_000_000 + ms * 1_000)
    }

    fn bucket(config: ConnectThrottle) -> Bucket {
        Bucket::new(config, at(0))
    }

    /// How many of `n` new sessions are let in at once.
    fn n_admitted(bucket: &mut Bucket, now: Instant, n: usize) -> usize {
        (0..n).filter(|_| bucket.admits(now, true)).count()
    }

    #[test]
    fn a_share_is_printed_as_a_decimal_fraction() {
        for (share, text) in [
            (0, "0.0"),
            (20_000_000, "0.02"),
            (5, "0.000000005"),
            (999_999_999, "0.999999999"),
            (1_000_000_000, "1.0"),
        ] {
            assert_eq!(Share(share).to_string(), text);
        }
    }

    #[test]
    fn without_tokens_everybody_is_let_in() {
        let mut bucket = bucket(ConnectThrottle::default());
        assert_eq!(n_admitted(&mut bucket, at(0), 10_000), 10_000);
        assert_eq!(bucket.deficit(), 0);
    }

    #[test]
    fn a_burst_takes_what_there_is_and_time_brings_it_back() {
        let fill_time = Duration::from_millis(100);
        let config = ConnectThrottle { tokens: 20, fill_time, ..ConnectThrottle::default() };
        let mut bucket = bucket(config);
        assert_eq!(n_admitted(&mut bucket, at(0), 50), 20);
        assert_eq!(bucket.deficit(), 20);
        assert_eq!(n_admitted(&mut bucket, at(100), 1), 0, "nothing before more than a fill time");
        assert_eq!(n_admitted(&mut bucket, at(500), 50), 5);
        assert_eq!(n_admitted(&mut bucket, at(1_000_000_000), 50), 20, "it never overflows");
    }

    #[test]
    fn a_fill_brings_as_many_as_it_is_told() {
        let fill_time = Duration::from_millis(10);
        let config =
            ConnectThrottle { tokens: 100, fill_time, fill_count: 7, ..Default::default() };
        let mut bucket = bucket(config);
        assert_eq!(n_admitted(&mut bucket, at(0), 200), 100);
        assert_eq!(n_admitted(&mut bucket, at(20), 200), 14);
    }

    #[test]
    fn weights_say_what_each_kind_of_session_costs() {
        let weights = Weights { global: 3, local: 1, renew: 2, is_new_local: false };
        let config = |weights| ConnectThrottle { tokens: 2, weights, ..Default::default() };
        let mut global = bucket(config(Some(weights)));
        assert_eq!(n_admitted(&mut global, at(0), 9), 2, "tokens count sessions of the ensemble");
        let local = Weights { is_new_local: true, ..weights };
        assert_eq!(n_admitted(&mut bucket(config(Some(local))), at(0), 9), 6);
        let mut renewing = bucket(config(Some(weights)));
        assert_eq!((0..9).filter(|_| renewing.admits(at(0), false)).count(), 3);
        let mut mixed = bucket(config(Some(weights)));
        assert!(mixed.admits(at(0), true) && mixed.admits(at(0), false));
        assert!(!mixed.admits(at(0), false), "one token is left");
    }

    #[test]
    fn the_share_of_chance_grows_while_the_bucket_is_empty_and_shrinks_when_it_is_full() {
        let config = ConnectThrottle {
            tokens: 1,
            fill_time: Duration::from_secs(1_000_000),
            freeze_time: Some(Duration::from_millis(10)),
            drop_increase: Share(500_000_000),
            drop_decrease: Share(250_000_000),
            ..ConnectThrottle::default()
        };
        let mut bucket = bucket(config);
        assert!(bucket.admits(at(0), true));
        for (ms, share) in [(5, 0), (11, 500_000_000), (15, 500_000_000), (22, 1_000_000_000)] {
            assert!(!bucket.admits(at(ms), true), "there is no token");
            assert_eq!(bucket.drop_probability(), Share(share), "after {ms} ms");
        }
        // Everybody is turned away now, whatever there is.
        let full = 2_000_000_000;
        assert!(!(0..100).any(|_| bucket.admits(at(33), true)));
        for (n, share) in [(0, 750_000_000), (1, 500_000_000), (2, 250_000_000), (3, 0)] {
            bucket.tokens = 1;
            bucket.admits(at(full + 20 * n), true);
            assert_eq!(bucket.drop_probability(), Share(share));
        }
    }

    #[test]
    fn chance_turns_away_its_share_and_the_same_ones_for_the_same_seed() {
        let lucky = |seed| {
            let tokens = 1_000_000;
            let mut bucket = bucket(ConnectThrottle {
                tokens,
                freeze_time: Some(Duration::from_secs(1 << 30)),
                seed,
                ..ConnectThrottle::default()
            });
            bucket.drop = Share(300_000_000);
            (0..10_000).map(|_| bucket.admits(at(0), true)).collect::<Vec<_>>()
        };
        let n = lucky(7).iter().filter(|&&lucky| lucky).count();
        assert!((6_800..7_200).contains(&n), "{n} of 10,000");
        assert_eq!(lucky(7), lucky(7));
        assert_ne!(lucky(7), lucky(8));
    }
}
