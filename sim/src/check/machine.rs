//! C11. State machine safety: after the same zxid every server has the same state, before and after
//! a restart, and so has every snapshot (Raft, figure 3).

use std::collections::BTreeMap;

use zokor_core::id::ServerId;
use zokor_core::proto::Zxid;

use super::{Verdict, must};

/// The digest after each zxid, as first told.
#[derive(Debug, Default)]
pub struct Machines(BTreeMap<Zxid, (u64, ServerId)>);

impl Machines {
    /// `server` has applied everything up to `zxid` and tells this digest.
    ///
    /// # Errors
    /// If another server, or this one in a former life, told another.
    pub fn seen(&mut self, server: ServerId, zxid: Zxid, digest: u64) -> Verdict {
        let (first, who) = *self.0.entry(zxid).or_insert((digest, server));
        must("state machine safety (C11)", first == digest, || {
            format!("at {zxid} server {server} has digest {digest:x}, server {who} had {first:x}")
        })
    }

    /// The digest after `zxid`, if anyone has told it.
    pub fn known(&self, zxid: Zxid) -> Option<u64> {
        self.0.get(&zxid).map(|(digest, _)| *digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_states_are_right_and_others_found() {
        let mut machines = Machines::default();
        assert!(machines.seen(ServerId(1), Zxid(1), 7).is_ok());
        assert!(machines.seen(ServerId(2), Zxid(1), 7).is_ok());
        assert!(machines.seen(ServerId(2), Zxid(2), 8).is_ok());
        assert!(machines.seen(ServerId(1), Zxid(2), 9).is_err());
    }
}
