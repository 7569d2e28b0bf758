//! The data folder of `zokor dev`: one folder per server, and a file that says whose it is.
//!
//! Invariant: nothing is written before the folder is known to be ours or vacant.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use zokor_core::id::ServerId;

use super::LOOPBACK;
use crate::folder::{Claim, is_vacant};

/// The folder, claimed.
#[derive(Debug)]
pub(super) struct DevFolder {
    mark: PathBuf,
    n_servers: u16,
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
        let ports = match fs::read_to_string(&mark) {
            Ok(text) => {
                let (made_for, ports) = parse(&text).ok_or_else(|| {
                    format!("{} is damaged; name another --data-dir", mark.display())
                })?;
                if made_for != n_servers {
                    return Err(format!(
                        "the folder {shown} was made with --servers {made_for}; start it with \
                         that, or name another --data-dir"
                    ));
                }
                ports
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(format!("cannot read {}: {error}", mark.display())),
        };
        Ok(DevFolder { mark, n_servers, ports, _claim: claim })
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
        let text = format!("servers={}\nports={}\n", self.n_servers, ports.join(","));
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

/// The number of servers and the ports in the text of a mark.
fn parse(text: &str) -> Option<(u16, Vec<u16>)> {
    let (servers, rest) = text.split_once('\n')?;
    let servers = servers.strip_prefix("servers=")?.parse().ok()?;
    let ports = rest.trim_end().strip_prefix("ports=")?;
    let ports = ports.split(',').map(|port| port.parse().ok()).collect::<Option<_>>()?;
    Some((servers, ports))
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
        let ports = {
            let mut folder = DevFolder::open(&path, 3).unwrap();
            let ports = folder.peer_ports().unwrap();
            let error = DevFolder::open(&path, 3).unwrap_err();
            assert!(error.contains("in use by another zokor"), "{error}");
            ports
        };
        assert_eq!(ports.len(), 3);
        let mut all: Vec<_> = ports.iter().flat_map(|&(a, b)| [a, b]).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 6);
        let mark = fs::read_to_string(path.join(MARK)).unwrap();
        let (n_servers, remembered) = parse(&mark).unwrap();
        assert_eq!(n_servers, 3);
        assert_eq!(remembered.chunks(2).map(|p| (p[0], p[1])).collect::<Vec<_>>(), ports);
    }

    #[test]
    fn a_port_that_was_taken_since_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let taken = TcpListener::bind((LOOPBACK, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        fs::write(dir.path().join(MARK), format!("servers=1\nports={port},1\n")).unwrap();
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
        for text in ["", "servers=3", "servers=x\nports=1,2\n", "servers=1\nports=1,x\n"] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(MARK), text).unwrap();
            let error = DevFolder::open(dir.path(), 3).unwrap_err();
            assert!(error.contains("is damaged"), "{text:?}: {error}");
        }
    }
}
