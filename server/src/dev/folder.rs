//! The data folder of `zokor dev`: one folder per server, and a file that says whose it is.
//!
//! Invariant: nothing is written before the folder is known to be ours or vacant.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use zokor_core::id::ServerId;

use super::LOOPBACK;
use crate::folder::{Claim, is_vacant};
use crate::launch::random;

/// The folder, claimed.
#[derive(Debug)]
pub(super) struct DevFolder {
    mark: PathBuf,
    n_servers: u16,
    ensemble: u64,
    /// The ports for peers of the last start; none at the first.
    ports: Vec<u16>,
    _claim: Claim,
}

impl DevFolder {
    /// Takes `folder` for that many servers. An `Err` is one sentence that says what to do.
    pub(super) fn open(folder: &Path, n_servers: u16) -> Result<Self, String> {
        let mark = folder.join(MARK);
        let shown = folder.display();
        if !mark.exists() && !is_vacant(folder)? {
            return Err(format!(
                "the folder {shown} belongs to something else (it has no file {MARK}); name \
                 another --data-dir"
            ));
        }
        let claim = Claim::take(folder)?;
        let (ensemble, ports) = match fs::read_to_string(&mark) {
            Ok(text) => {
                let (made_for, ensemble, ports) = parse(&text).ok_or_else(|| {
                    format!("{} is damaged; name another --data-dir", mark.display())
                })?;
                if made_for != n_servers {
                    return Err(format!(
                        "the folder {shown} was made with --servers {made_for}; start it with \
                         that, or name another --data-dir"
                    ));
                }
                (ensemble, ports)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                (u64::from_le_bytes(random()?), Vec::new())
            }
            Err(error) => return Err(format!("cannot read {}: {error}", mark.display())),
        };
        Ok(DevFolder { mark, n_servers, ensemble, ports, _claim: claim })
    }

    /// Names the ensemble: drawn when the folder was new.
    pub(super) fn ensemble(&self) -> u64 {
        self.ensemble
    }

    /// Two free ports for each server: for peers, and ZooKeeper's election port, which is only part
    /// of the line. Those of the last start if they are free, so that `/zookeeper/config` stays.
    pub(super) fn peer_ports(&mut self) -> Result<Vec<(u16, u16)>, String> {
        let n_ports = usize::from(self.n_servers) * 2;
        // Held until all are chosen, so that no port is given out twice.
        let last = self.ports.iter().map(|&port| TcpListener::bind((LOOPBACK, port)));
        let mut held: Vec<TcpListener> = last.collect::<Result<_, _>>().unwrap_or_default();
        if held.len() != n_ports {
            let fresh = (0..n_ports).map(|_| TcpListener::bind((LOOPBACK, 0)));
            held = fresh.collect::<Result<_, _>>().map_err(no_port)?;
        }
        let ports = held.iter().map(|listener| listener.local_addr().map(|a| a.port()));
        self.ports = ports.collect::<Result<_, _>>().map_err(no_port)?;
        self.write()?;
        Ok(self.ports.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
    }

    /// Replaces the mark in one step.
    fn write(&self) -> Result<(), String> {
        let ports: Vec<_> = self.ports.iter().map(u16::to_string).collect();
        let (n_servers, ensemble, ports) = (self.n_servers, self.ensemble, ports.join(","));
        let text = format!("servers={n_servers}\nensemble={ensemble:016x}\nports={ports}\n");
        let new = self.mark.with_extension("new");
        fs::write(&new, text)
            .and_then(|()| fs::rename(&new, &self.mark))
            .map_err(|error| format!("cannot write {}: {error}", self.mark.display()))
    }
}

/// The folder of one server below the folder of all.
pub(super) fn of_server(folder: &Path, id: ServerId) -> PathBuf {
    folder.join(format!("server-{id}"))
}

/// The number of servers, the ensemble and the ports in the text of a mark.
fn parse(text: &str) -> Option<(u16, u64, Vec<u16>)> {
    let (servers, rest) = text.split_once('\n')?;
    let servers = servers.strip_prefix("servers=")?.parse().ok()?;
    let (ensemble, rest) = rest.split_once('\n')?;
    let ensemble = u64::from_str_radix(ensemble.strip_prefix("ensemble=")?, 16).ok()?;
    let ports = rest.trim_end().strip_prefix("ports=")?;
    let ports = ports.split(',').map(|port| port.parse().ok()).collect::<Option<_>>()?;
    Some((servers, ensemble, ports))
}

fn no_port(error: std::io::Error) -> String {
    format!("cannot find a free port on {LOOPBACK}: {error}")
}

/// The file that says that a folder is ours.
const MARK: &str = "zokor-dev";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_remembers_its_servers_and_its_ports() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let (ensemble, ports) = {
            let mut folder = DevFolder::open(&path, 3).unwrap();
            let ports = folder.peer_ports().unwrap();
            let error = DevFolder::open(&path, 3).unwrap_err();
            assert!(error.contains("in use by another zokor"), "{error}");
            (folder.ensemble(), ports)
        };
        assert_eq!(ports.len(), 3);
        let mut all: Vec<_> = ports.iter().flat_map(|&(a, b)| [a, b]).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 6);
        let mark = fs::read_to_string(path.join(MARK)).unwrap();
        let (n_servers, same, remembered) = parse(&mark).unwrap();
        assert_eq!((n_servers, same), (3, ensemble));
        assert_eq!(DevFolder::open(&path, 3).unwrap().ensemble(), ensemble);
        let other = DevFolder::open(&dir.path().join("other"), 3).unwrap();
        assert_ne!(other.ensemble(), ensemble);
        assert_eq!(remembered.chunks(2).map(|p| (p[0], p[1])).collect::<Vec<_>>(), ports);
    }

    #[test]
    fn a_port_that_was_taken_since_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let taken = TcpListener::bind((LOOPBACK, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        fs::write(dir.path().join(MARK), format!("servers=1\nensemble=00ff\nports={port},1\n"))
            .unwrap();
        let ports = DevFolder::open(dir.path(), 1).unwrap().peer_ports().unwrap();
        assert_ne!(ports[0].0, port);
    }

    #[test]
    fn another_number_of_servers_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        DevFolder::open(dir.path(), 3).unwrap().peer_ports().unwrap();
        let error = DevFolder::open(dir.path(), 5).unwrap_err();
        assert!(error.contains("was made with --servers 3; start it with that"), "{error}");
    }

    #[test]
    fn the_folder_of_something_else_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("letter.txt"), "dear").unwrap();
        let error = DevFolder::open(dir.path(), 3).unwrap_err();
        assert!(error.contains("belongs to something else"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_mark_is_one_clear_sentence() {
        let damaged = [
            "",
            "servers=3",
            "servers=1\nports=1,2\n",
            "servers=x\nensemble=1\nports=1,2\n",
            "servers=1\nensemble=g\nports=1,2\n",
            "servers=1\nensemble=1\nports=1,x\n",
        ];
        for text in damaged {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(MARK), text).unwrap();
            let error = DevFolder::open(dir.path(), 3).unwrap_err();
            assert!(error.contains("is damaged"), "{text:?}: {error}");
        }
    }
}
