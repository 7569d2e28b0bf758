//! C9. A zxid is read off the log: it only grows with the index, and is the same everywhere, as in
//! every reply (ZooKeeper internals: zxid; design: `Zxid::open_epoch`).

use zokor_core::id::ServerId;
use zokor_core::proto::Zxid;
use zokor_core::raft::Index;

use super::{Verdict, must};
use crate::model::Model;

/// `server` says that the entry at `index` has `zxid`.
///
/// # Errors
/// If it is another by the committed log.
pub fn told(server: ServerId, index: Index, zxid: Zxid, model: &Model) -> Verdict {
    let index = index.0 as usize;
    let known = (index <= model.last()).then(|| model.step(index).zxid);
    must("zxids follow the log (C9)", known == Some(zxid), || {
        format!("server {server} says {zxid} for index {index}, by the log it is {known:?}")
    })
}

/// The last entry that the model took has a larger zxid than the one before.
///
/// # Errors
/// If it has not.
pub fn grows(model: &Model) -> Verdict {
    let last = model.last();
    let (before, now) = (model.step(last.saturating_sub(1)).zxid, model.step(last).zxid);
    must("zxids grow (C9)", last == 0 || before < now, || {
        format!("index {last} has {now}, the one before {before}")
    })
}

#[cfg(test)]
mod tests {
    use zokor_core::raft::{Entry, EntryId, Payload, Term};

    use super::*;

    #[test]
    fn the_zxid_of_the_log_is_right_and_others_are_found() {
        let mut model = Model::new();
        let id = EntryId { term: Term(2), index: Index(1) };
        model.append(&Entry { id, payload: Payload::Blank });
        assert!(grows(&model).is_ok());
        assert!(told(ServerId(1), Index(1), Zxid(2 << 32), &model).is_ok());
        assert!(told(ServerId(1), Index(1), Zxid(1 << 32), &model).is_err());
        assert!(told(ServerId(1), Index(2), Zxid(2 << 32), &model).is_err());
    }
}
