//! How many of the process's descriptors clients may take.
//!
//! Invariant: never the last ones. Without a descriptor the log cannot begin its next file, and no
//! peer can be reached: whoever opens connections from enough addresses would end the server.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the process's limit of open files as far as the system lets it; says how many client
/// connections there is room for beside files, peers and look-ups of names.
pub fn room_for_clients() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(PLENTY, |maximum| maximum.min(PLENTY));
    if current.is_some_and(|current| current < wanted) {
        let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
        if let Err(error) = raised {
            tracing::debug!(%error, "the limit of open files stays as it is");
        }
    }
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(PLENTY);
    let room = room_within(limit);
    tracing::info!("{limit} files may be open, so {room} connections of clients at most");
    room
}

/// Where only few are allowed, clients take half of them.
fn room_within(limit: u64) -> usize {
    let room = limit - RESERVED.min(limit.div_ceil(2));
    usize::try_from(room).unwrap_or(usize::MAX)
}

/// For the log, snapshots, peers, those who have not said who they are (64), operators (64), and
/// look-ups.
const RESERVED: u64 = 256;
/// Nobody needs more.
const PLENTY: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_descriptors_for_the_server_itself() {
        for (limit, room) in [(1 << 20, (1 << 20) - 256), (1024, 768), (256, 128), (3, 1), (0, 0)] {
            assert_eq!(room_within(limit), room, "{limit}");
        }
    }

    #[test]
    fn the_limit_is_raised_and_not_all_of_it_is_for_clients() {
        let room = room_for_clients();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert!(room > 0);
        assert!(current.is_none_or(|current| (room as u64) < current));
        let wanted = maximum.map_or(PLENTY, |maximum| maximum.min(PLENTY));
        assert!(current.is_none_or(|current| current >= wanted));
    }
}
