//! Keeps strangers from filling the log: a few lines a source and a period, then silence.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use zokor_core::time::Instant;

/// Who was complained about lately, and how often. What counts as one source is up to the owner.
#[derive(Debug)]
pub struct Complaints<K = IpAddr> {
    sources: BTreeMap<K, Period>,
    /// Lines a source and period.
    lines: u32,
    period: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Period {
    began: Instant,
    lines: u32,
}

impl Default for Complaints {
    /// For strangers, each known by an address.
    fn default() -> Self {
        Complaints::new(LINES, PERIOD)
    }
}

impl<K: Ord> Complaints<K> {
    /// At most so many lines a source and period.
    pub fn new(lines: u32, period: Duration) -> Self {
        Complaints { sources: BTreeMap::new(), lines, period }
    }

    /// Whether a line about `source` may be written now, and how many about it were held back in
    /// the period before.
    pub fn admit(&mut self, now: Instant, source: K) -> Option<u32> {
        if self.sources.len() >= MAX_SOURCES && !self.sources.contains_key(&source) {
            self.sources.retain(|_, period| now.since(period.began) < self.period);
            if self.sources.len() >= MAX_SOURCES {
                return None;
            }
        }
        let fresh = Period { began: now, lines: 0 };
        let period = self.sources.entry(source).or_insert(fresh);
        let mut held_back = 0;
        if now.since(period.began) >= self.period {
            held_back = period.lines.saturating_sub(self.lines);
            *period = fresh;
        }
        period.lines = period.lines.saturating_add(1);
        (period.lines <= self.lines).then_some(held_back)
    }
}

const LINES: u32 = 5;
const PERIOD: Duration = Duration::from_secs(10);
/// Sources remembered; beyond it there is silence about new ones.
const MAX_SOURCES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_source_is_silenced_and_its_silence_counted() {
        let mut complaints = Complaints::default();
        let source = IpAddr::from([10, 0, 0, 1]);
        for _ in 0..LINES {
            assert_eq!(complaints.admit(at(1), source), Some(0));
        }
        for _ in 0..7 {
            assert_eq!(complaints.admit(at(2), source), None);
        }
        assert_eq!(complaints.admit(at(2), IpAddr::from([10, 0, 0, 2])), Some(0));
        assert_eq!(complaints.admit(at(11), source), Some(7));
        assert_eq!(complaints.admit(at(11), source), Some(0));
    }

    #[test]
    fn a_server_that_tries_again_and_again_is_told_of_once_in_a_while() {
        let mut complaints = Complaints::new(1, Duration::from_secs(60));
        let (source, other) = ((2, "its password is not right"), (2, "it shows nothing"));
        assert_eq!(complaints.admit(at(1), source), Some(0));
        assert_eq!(complaints.admit(at(1), other), Some(0), "something else is wrong");
        for second in 2..61 {
            assert_eq!(complaints.admit(at(second), source), None);
        }
        assert_eq!(complaints.admit(at(61), source), Some(59));
    }

    #[test]
    fn memory_is_bounded_however_many_sources_there_are() {
        let mut complaints = Complaints::default();
        for n in 0..10_000u32 {
            complaints.admit(at(1), IpAddr::from(n.to_be_bytes()));
        }
        assert_eq!(complaints.sources.len(), MAX_SOURCES);
        assert_eq!(complaints.admit(at(20), IpAddr::from([200, 0, 0, 1])), Some(0));
        assert_eq!(complaints.sources.len(), 1);
    }
}
