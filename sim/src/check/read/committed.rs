//! R5. No server serves a zxid that is not committed, or that it does not know to be (ZooKeeper,
//! ATC 2010, §2.3: what was seen is not rolled back; Raft §5.3).

use zokor_core::id::{ServerId, SessionId};
use zokor_core::proto::Zxid;
use zokor_core::raft::Index;

use crate::check::{Verdict, must};
use crate::model::Model;

/// `session` is shown `zxid`.
///
/// # Errors
/// If nobody has committed it.
pub fn anywhere(session: SessionId, zxid: Zxid, model: &Model) -> Verdict {
    must("only committed zxids (R5)", model.index_of(zxid).is_some(), || {
        format!("session {session} is shown {zxid}, which is not committed")
    })
}

/// `server` shows `zxid`; its own commit index is `commit`.
///
/// # Errors
/// If the zxid is of a later entry.
pub fn here(server: ServerId, zxid: Zxid, commit: Index, model: &Model) -> Verdict {
    let index = model.index_of(zxid).unwrap_or(usize::MAX) as u64;
    must("only committed zxids (R5)", index <= commit.0, || {
        format!("server {server} shows {zxid} of index {index}, beyond its commit index {commit}")
    })
}

#[cfg(test)]
mod tests {
    use zokor_core::raft::{Entry, EntryId, Payload, Term};

    use super::*;

    #[test]
    fn what_is_not_committed_is_found() {
        let mut model = Model::new();
        let id = EntryId { term: Term(1), index: Index(1) };
        model.append(&Entry { id, payload: Payload::Blank });
        let zxid = Zxid(1 << 32);
        assert!(anywhere(SessionId(1), zxid, &model).is_ok());
        assert!(anywhere(SessionId(1), Zxid(9), &model).is_err());
        assert!(here(ServerId(1), zxid, Index(1), &model).is_ok());
        assert!(here(ServerId(1), zxid, Index(0), &model).is_err());
        assert!(here(ServerId(1), Zxid(9), Index(1), &model).is_err());
    }
}
