//! The one or two networks that servers speak to each other in.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::net::Sockets;

use super::{Ensemble, PEER_PORT, server_ip};
use crate::plan::Plan;
use crate::rng::{Concern, Stream};

/// The address of a server in the second network, if there is one.
fn second_ip(server: u64) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 9, server as u8))
}

/// Where a server takes the others' connections.
pub(super) fn peer_addresses(server: u64, has_second: bool) -> Vec<SocketAddr> {
    let second = has_second.then(|| second_ip(server));
    let all = [server_ip(server)].into_iter().chain(second);
    all.map(|ip| SocketAddr::new(ip, PEER_PORT)).collect()
}

impl Ensemble {
    /// Puts all servers, none of which runs yet, into a second network as well.
    pub fn add_second_network(&mut self) {
        self.has_second = true;
        for (seat, server) in self.seats.iter().zip(1..) {
            self.network.add_second_address(seat.node.id(), second_ip(server));
        }
    }

    /// Holds back all that servers say to each other in one of two networks, or lets it go.
    pub fn clog_network(&mut self, is_second: bool, clogged: bool) {
        let ip = |server| if is_second { second_ip(server) } else { server_ip(server) };
        for from in 1..=self.size() {
            for to in (1..=self.size()).filter(|&to| to != from) {
                self.network.clog(ip(from), ip(to), clogged);
            }
        }
    }
}

/// Half of the networks move bytes as they please, and in half buffers are small.
pub(super) fn sockets(plan: &Plan) -> Sockets {
    let mut stream = Stream::new(plan.seed, Concern::Network);
    let short = stream.coin();
    let small = stream.coin().then(|| stream.log_between(2_000, 128_000) as usize);
    Sockets { short, buffer: small.unwrap_or(Sockets::default().buffer) }
}
