//! Reads: each equals the state at its zxid, zxids never go back in a session, and `sync` is a
//! barrier (ZooKeeper, ATC 2010, §2.3; R1-R5).

use zokor_core::id::SessionId;
use zokor_core::proto::{ErrorCode, Read, Response, Zxid};

use super::{Verdict, must};
use crate::model::Model;

/// What one connection has shown.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// The largest zxid so far; at first what the client had seen before.
    last: Zxid,
}

impl View {
    /// The view of a client that has seen `last`.
    pub fn new(last: Zxid) -> Self {
        View { last }
    }

    /// A reply shows `zxid`.
    ///
    /// # Errors
    /// If that is earlier than what was shown before, or is not committed.
    pub fn shown(&mut self, session: SessionId, zxid: Zxid, model: &Model) -> Verdict {
        must("no session goes back (R2)", zxid >= self.last, || {
            format!("session {session} is shown {zxid} after {}", self.last)
        })?;
        must("only committed zxids (R5)", model.index_of(zxid).is_some(), || {
            format!("session {session} is shown {zxid}, which is not committed")
        })?;
        self.last = zxid;
        Ok(())
    }
}

/// A read was answered with `result` at `zxid`.
///
/// # Errors
/// If the model says otherwise.
pub fn answered(
    read: &Read,
    zxid: Zxid,
    result: &Result<Response, ErrorCode>,
    model: &Model,
) -> Verdict {
    let Some(step) = model.at(zxid) else {
        return must("only committed zxids (R5)", false, || format!("{zxid} is not committed"));
    };
    let Some(expected) = step.state.read(read) else {
        return Ok(());
    };
    let found = sorted(result.clone());
    must("reads equal the model (R1)", found == expected, || {
        format!("{read:?} at {zxid}: {found:?}, should be {expected:?}")
    })
}

/// `sync` was answered at `zxid`; when it was called, `before` had been answered to someone.
///
/// # Errors
/// If it does not show that.
pub fn synced(zxid: Zxid, before: Zxid) -> Verdict {
    must("sync is a barrier (R4)", zxid >= before, || {
        format!("a sync shows {zxid}, but {before} was answered before it")
    })
}

fn sorted(result: Result<Response, ErrorCode>) -> Result<Response, ErrorCode> {
    result.map(|response| match response {
        Response::Names(mut names) => {
            names.sort();
            Response::Names(names)
        }
        Response::NamesStat(mut names, stat) => {
            names.sort();
            Response::NamesStat(names, stat)
        }
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn going_back_is_found() {
        let model = Model::new();
        assert!(View::new(Zxid(0)).shown(SessionId(1), Zxid(0), &model).is_ok());
        assert!(View::new(Zxid(5)).shown(SessionId(1), Zxid(0), &model).is_err());
        assert!(View::new(Zxid(0)).shown(SessionId(1), Zxid(9), &model).is_err());
    }

    #[test]
    fn a_wrong_answer_is_found() {
        let model = Model::new();
        let read = Read::GetChildren { path: "/".into(), watch: false, with_stat: false };
        let names = |name: &str| Ok(Response::Names(vec![name.into()]));
        assert!(answered(&read, Zxid(0), &names("zookeeper"), &model).is_ok());
        assert!(answered(&read, Zxid(0), &names("other"), &model).is_err());
    }

    #[test]
    fn a_sync_that_shows_too_little_is_found() {
        assert!(synced(Zxid(5), Zxid(5)).is_ok());
        assert!(synced(Zxid(4), Zxid(5)).is_err());
    }
}
