//! How long bytes take from one host to another.
//!
//! Invariant: a delay depends on the weather, the dice and what the link carries already; bytes of
//! one connection never overtake each other (that is the pipe's part).

use std::time::Duration;

use super::Time;
use super::dice::Dice;

/// What a link is like, in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    /// The least latency.
    pub least: Duration,
    /// The largest, unless the tail is heavy. Drawn evenly between them.
    pub most: Duration,
    /// One packet in a hundred takes up to fifty times as long, but not for ever: it would be sent
    /// again.
    pub heavy_tail: bool,
    /// How many packets in a million have to be sent again.
    pub loss_ppm: u64,
    /// What passes in a second; `None` for any amount.
    pub bytes_per_second: Option<u64>,
}

impl Default for Weather {
    fn default() -> Self {
        Weather {
            least: Duration::from_micros(500),
            most: Duration::from_millis(2),
            heavy_tail: false,
            loss_ppm: 0,
            bytes_per_second: None,
        }
    }
}

impl Weather {
    /// When `n_bytes` sent now have crossed a link that is busy until `busy`, which they move.
    pub(super) fn arrival(
        &self,
        now: Time,
        n_bytes: usize,
        busy: &mut Time,
        dice: &mut Dice,
    ) -> Time {
        let mut from = now;
        if let Some(rate) = self.bytes_per_second {
            let micros = (n_bytes as u64 + HEADER_BYTES) * 1_000_000 / rate.max(1);
            from = (*busy).max(now) + Duration::from_micros(micros);
            *busy = from;
        }
        let spread = self.most.saturating_sub(self.least).as_micros() as u64;
        let mut delay = self.least + Duration::from_micros(dice.below(spread + 1));
        if self.heavy_tail && dice.below(100) == 0 {
            delay = (delay * (2 + dice.below(49) as u32)).min(self.most.max(LONGEST_TAIL));
        }
        let mut again = LEAST_RETRY;
        while dice.ppm(self.loss_ppm) && again < LONGEST_RETRY {
            delay += again;
            again *= 2;
        }
        from + delay
    }
}

/// Of a packet, beside the bytes that it carries.
const HEADER_BYTES: u64 = 40;
/// What a heavy tail alone may add up to.
const LONGEST_TAIL: Duration = Duration::from_secs(2);
/// How long a sender waits before it sends a lost packet again; it doubles (RFC 6298; Linux).
const LEAST_RETRY: Duration = Duration::from_millis(200);
/// The longest such pause that is waited for.
pub(super) const LONGEST_RETRY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(weather: Weather, n: usize) -> Vec<Duration> {
        let (mut dice, mut busy) = (Dice::new(&[7]), Duration::ZERO);
        (0..n).map(|_| weather.arrival(Duration::ZERO, 1000, &mut busy, &mut dice)).collect()
    }

    #[test]
    fn latency_lies_between_its_bounds() {
        let weather = Weather::default();
        let all = arrivals(weather, 1000);
        assert!(all.iter().all(|at| (weather.least..=weather.most).contains(at)));
        assert!(all.iter().min() < all.iter().max());
    }

    #[test]
    fn a_heavy_tail_is_rare_and_long() {
        let weather = Weather { heavy_tail: true, ..Weather::default() };
        let late = arrivals(weather, 10_000).into_iter().filter(|at| *at > weather.most);
        let late: Vec<Duration> = late.collect();
        assert!((20..200).contains(&late.len()), "{}", late.len());
        assert!(late.iter().max() > Some(&(weather.most * 10)));
    }

    #[test]
    fn what_is_lost_comes_late() {
        let weather = Weather { loss_ppm: 500_000, ..Weather::default() };
        let late = arrivals(weather, 100).into_iter().filter(|at| *at >= LEAST_RETRY).count();
        assert!((30..70).contains(&late), "{late}");
    }

    #[test]
    fn a_slow_link_takes_its_time_for_each_byte() {
        let weather = Weather { bytes_per_second: Some(10_400), ..Weather::default() };
        let all = arrivals(weather, 10);
        // A packet of 1,040 bytes takes a tenth of a second, and they go one after the other.
        assert!(all[9] >= Duration::from_secs(1) && all[9] < Duration::from_millis(1_100));
    }
}
