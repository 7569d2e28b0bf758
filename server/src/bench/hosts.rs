//! Where the servers are: what was named on the command line, as addresses.
//!
//! Invariant: what can be no address is refused in words before anything is sent.

use std::net::{Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// One address for each of `hosts`. A name with several has the first at which a server listens.
pub(super) fn addresses(hosts: &[String]) -> Result<Vec<SocketAddr>, String> {
    hosts.iter().map(|host| address(host)).collect()
}

fn address(host: &str) -> Result<SocketAddr, String> {
    let found = with_port(host)?.to_socket_addrs();
    let found = found.map_err(|error| format!("{host} cannot be looked up: {error}"))?;
    let found: Vec<SocketAddr> = found.collect();
    first_that_listens(&found).ok_or_else(|| format!("{host} has no address"))
}

/// A host without a port has that of ZooKeeper.
fn with_port(host: &str) -> Result<String, String> {
    if host.contains('/') {
        return Err(format!("{host} has a path: --root says below which znode all happens"));
    }
    if host.parse::<Ipv6Addr>().is_ok() {
        return Ok(format!("[{host}]:{DEFAULT_PORT}"));
    }
    match host.rsplit_once(':') {
        _ if host.ends_with(']') => Ok(format!("{host}:{DEFAULT_PORT}")),
        Some(("", _)) => Err(format!("{host:?} names no host")),
        Some((_, port)) if port.parse::<u16>().is_ok_and(|port| port > 0) => Ok(host.to_owned()),
        Some((_, port)) => Err(format!("{host}: {port:?} is no port from 1 to 65535")),
        None if host.is_empty() => Err("--hosts has an empty name".to_owned()),
        None => Ok(format!("{host}:{DEFAULT_PORT}")),
    }
}

/// `localhost` is often two addresses, and servers listen on one.
fn first_that_listens(found: &[SocketAddr]) -> Option<SocketAddr> {
    let listens = |address: &SocketAddr| TcpStream::connect_timeout(address, PATIENCE).is_ok();
    match found {
        [only] => Some(*only),
        _ => found.iter().copied().find(listens).or(found.first().copied()),
    }
}

const DEFAULT_PORT: u16 = 2181;
const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[test]
    fn a_host_without_a_port_has_that_of_zookeeper() {
        for (host, full) in [
            ("a", "a:2181"),
            ("a:1", "a:1"),
            ("127.0.0.1", "127.0.0.1:2181"),
            ("::1", "[::1]:2181"),
            ("[::1]", "[::1]:2181"),
            ("[::1]:7", "[::1]:7"),
        ] {
            assert_eq!(with_port(host).as_deref(), Ok(full), "{host}");
        }
    }

    #[test]
    fn what_can_be_no_address_is_refused_in_words() {
        for (host, words) in [
            ("", "empty name"),
            (":2181", "names no host"),
            ("a:99999", "\"99999\" is no port"),
            ("a:0", "\"0\" is no port"),
            ("a:x", "\"x\" is no port"),
            ("a:2181/app", "--root"),
        ] {
            let error = with_port(host).expect_err(host);
            assert!(error.contains(words), "{host:?}: {error}");
        }
    }

    #[test]
    fn of_several_addresses_the_one_that_listens_is_taken() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
        let gone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
        let (here, silent) =
            (listener.local_addr().expect("address"), gone.local_addr().expect("address"));
        drop(gone);
        assert_eq!(first_that_listens(&[silent, here]), Some(here));
        assert_eq!(first_that_listens(&[silent]), Some(silent));
        assert_eq!(first_that_listens(&[]), None);
    }
}
