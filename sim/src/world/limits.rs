//! What each server of the whole world lets its clients do.
//!
//! Invariant: a function of the seed and the server. No limit here changes an answer: each delays,
//! refuses a connection, or ends one, which a client must bear at any time. (What waits for too
//! long and is answered by `ThrottledOp` is not drawn: that is another answer than the model's.)

use std::time::Duration;

use zokor_net::runtime::{ConnectThrottle, Limits, RequestThrottle, Share};

use crate::plan::Plan;
use crate::rng::{Concern, Stream};

/// The limits of `server`; the first of them are drawn from `stream`, which other things follow.
pub(super) fn draw(plan: &Plan, server: u64, stream: &mut Stream) -> Limits {
    let limits = room(stream);
    match plan.throttles {
        true => throttled(&mut Stream::new(plan.seed, Concern::Limits(server)), limits),
        false => limits,
    }
}

/// Half of the servers have limits so low that their clients meet them.
fn room(stream: &mut Stream) -> Limits {
    let roomy = Limits::default();
    if stream.coin() {
        return roomy;
    }
    Limits {
        global_outstanding: stream.log_between(1, 64) as usize,
        connection_outstanding: stream.log_between(1, 8) as usize,
        unsent_bytes: stream.log_between(16, 4096) as usize,
        ..roomy
    }
}

/// Half of the servers throttle what comes, each in some ways.
fn throttled(s: &mut Stream, roomy: Limits) -> Limits {
    if s.coin() {
        return roomy;
    }
    let mut limits = roomy;
    if s.coin() {
        // Between what ordinary clients send and what those send that write much.
        limits.max_frame_bytes = s.log_between(100_000, 0xf_ffff) as usize;
    }
    if s.coin() {
        let threshold = s.log_between(1_000, 50_000) as usize;
        limits.large_request_threshold = Some(threshold);
        limits.large_request_max_bytes = threshold * s.between(2, 8) as usize;
    }
    if s.coin() {
        limits.connect_throttle = ConnectThrottle {
            tokens: s.between(1, 5) as u32,
            fill_time: Duration::from_millis(s.log_between(1, 200)),
            freeze_time: s.coin().then(|| Duration::from_millis(s.log_between(1, 500))),
            seed: s.below(1 << 32),
            // A storm may bring the share that is turned away to all. By default it takes hours
            // until it is none again, and everything is to be read at the end.
            drop_decrease: Share(Share::WHOLE.0 / 5),
            ..ConnectThrottle::default()
        };
    }
    if s.coin() {
        limits.request_throttle = RequestThrottle {
            max_requests: s.log_between(1, 32) as usize,
            drop_stale: s.coin(),
            stale_latency_check: s.coin(),
            stale_connection_check: s.coin(),
            op_wait_time: None,
        };
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_of_many_seeds_throttle_in_all_ways_and_some_in_none() {
        let (mut met, mut plain) = ([0; 4], 0);
        for seed in 0..200 {
            let plan = Plan { throttles: true, ..Plan::new(seed) };
            let limits = draw(&plan, 1, &mut Stream::new(seed, Concern::Extra));
            let ways = [
                limits.max_frame_bytes < 0xf_ffff,
                limits.large_request_threshold.is_some(),
                limits.connect_throttle.tokens > 0,
                limits.request_throttle.max_requests > 0,
            ];
            assert_eq!(limits.request_throttle.op_wait_time, None);
            ways.iter().zip(&mut met).for_each(|(is_so, n)| *n += usize::from(*is_so));
            plain += usize::from(!ways.contains(&true));
        }
        assert!(met.iter().all(|n| *n > 20) && plain > 50, "{met:?} {plain}");
        let stream = || Stream::new(1, Concern::Extra);
        let untold = draw(&Plan::new(1), 1, &mut stream());
        assert_eq!(untold.connect_throttle.tokens, 0, "only where the plan says so");
    }
}
