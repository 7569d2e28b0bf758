//! S5, S6. A leader ends only sessions that it has not heard of for their timeout, by its own clock
//! and in its own leadership; without faults a client that pings never expires (ZooKeeper:
//! `SessionTrackerImpl`, programmer's guide: sessions).

use std::time::Duration;

use zokor_core::id::{ServerId, SessionId};

use crate::check::{Verdict, must};

/// `server`, as leader, proposes to end `session`, of which it heard `ago`.
///
/// # Errors
/// If that is less than its timeout.
pub fn proposed(server: ServerId, session: SessionId, ago: Duration, timeout: Duration) -> Verdict {
    must("no early expiry (S5)", ago >= timeout, || {
        format!("server {server} expires {session} {ago:?} after it was heard of, of {timeout:?}")
    })
}

/// A session expires; `is_served`: its client is connected, pings, and nothing is wrong anywhere.
///
/// # Errors
/// If that is so.
pub fn happened(session: SessionId, is_served: bool) -> Verdict {
    must("no expiry without faults (S6)", !is_served, || {
        format!("session {session} expires although its client is connected and pings")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_early_expiry_is_found() {
        let second = Duration::from_secs(1);
        assert!(proposed(ServerId(1), SessionId(1), second, second).is_ok());
        assert!(proposed(ServerId(1), SessionId(1), second / 2, second).is_err());
    }

    #[test]
    fn an_expiry_of_a_served_client_is_found() {
        assert!(happened(SessionId(1), false).is_ok());
        assert!(happened(SessionId(1), true).is_err());
    }
}
