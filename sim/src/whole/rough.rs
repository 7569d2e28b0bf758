//! What becomes of connections and links in a storm.
//!
//! Invariant: it is drawn from a stream of its own, and meets connections as they stand at the
//! moment, the oldest first.

use std::time::Duration;

use tokio::net::{Break, Facts, Net, Weather};

use crate::plan::NetworkPlan;
use crate::rng::{Concern, Stream};
use crate::world::madsim::{PEER_PORT, server_ip};

/// Draws what happens to connections.
pub(super) struct Rough(Stream);

impl Rough {
    pub(super) fn new(seed: u64) -> Self {
        let mut stream = Stream::new(seed, Concern::Network);
        // The first numbers say what sockets are like.
        let _ = stream.seed();
        Rough(stream)
    }

    /// Something happens to each connection between two servers.
    pub(super) fn break_between(&mut self, net: &Net, (one, other): (u64, u64)) {
        let hosts = [server_ip(one), server_ip(other)];
        for connection in net.connections() {
            let [near, far] = connection.ends;
            if far.port() == PEER_PORT && hosts.contains(&near.ip()) && hosts.contains(&far.ip()) {
                self.strike(net, &connection);
            }
        }
    }

    /// Something happens to one of all connections, or to several.
    pub(super) fn break_some(&mut self, net: &Net) -> String {
        let mut all = net.connections();
        let mut notes = Vec::new();
        for _ in 0..self.0.log_between(1, 8) {
            if all.is_empty() {
                break;
            }
            let one = all.swap_remove(self.0.below(all.len() as u64) as usize);
            notes.push(self.strike(net, &one));
        }
        format!("connections break: {}", notes.join(", "))
    }

    fn strike(&mut self, net: &Net, connection: &Facts) -> String {
        let s = &mut self.0;
        let number = connection.number;
        let what = match s.below(8) {
            0..3 => {
                let how = Break { hears: [true, true], keeps: s.coin() };
                net.break_off(number, how);
                format!("{how:?}")
            }
            3 => {
                let near = s.coin();
                let how = Break { hears: [near, !near], keeps: s.coin() };
                net.break_off(number, how);
                format!("{how:?}")
            }
            4 => {
                net.swallow(number);
                "swallowed".to_owned()
            }
            _ => {
                let (side, n_bytes) = (s.below(2) as usize, s.log_between(1, 2_000) as usize);
                net.cut_after(number, side, n_bytes);
                format!("after {n_bytes} bytes of end {side}")
            }
        };
        format!("{} to {} {what}", connection.ends[0], connection.ends[1])
    }

    /// One of the links on which there are connections becomes slow, in one direction or both.
    pub(super) fn slow_link(&mut self, net: &Net) -> String {
        let all = net.connections();
        if all.is_empty() {
            return "no link to make slow".to_owned();
        }
        let s = &mut self.0;
        let [near, far] = s.pick(&all).ends.map(|end| end.ip());
        let weather = Weather {
            least: Duration::from_micros(s.log_between(1_000, 400_000)),
            most: Duration::from_micros(s.log_between(500_000, 1_000_000)),
            heavy_tail: s.coin(),
            loss_ppm: 0,
            bytes_per_second: s.coin().then(|| s.log_between(2_000, 1_000_000)),
        };
        net.set_link(near, far, Some(weather));
        if s.coin() {
            net.set_link(far, near, Some(weather));
        }
        net.see("slow link");
        format!("slow from {near} to {far}: {weather:?}")
    }
}

/// The weather of a plan while nothing special happens.
pub(super) fn fair(network: &NetworkPlan) -> Weather {
    let least = Duration::from_micros(network.latency_min);
    Weather {
        least,
        most: least + Duration::from_micros(network.latency_spread),
        heavy_tail: network.heavy_tail,
        // A lost packet costs its connection a fifth of a second.
        loss_ppm: network.loss_ppm / 5,
        bytes_per_second: None,
    }
}

/// Bad weather everywhere.
pub(super) fn storm(s: &mut Stream) -> Weather {
    Weather {
        least: Duration::from_millis(1),
        most: Duration::from_micros(s.log_between(5_000, 400_000)),
        heavy_tail: s.coin(),
        loss_ppm: s.log_between(5_000, 100_000),
        bytes_per_second: None,
    }
}
