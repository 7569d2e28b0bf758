//! R4. After `sync` returns, what is read shows every write that was acknowledged to anyone before
//! the `sync` was called (ZooKeeper, ATC 2010, §4.4). With R2, this is a matter of its own zxid.

use zokor_core::proto::{ErrorCode, Response, Text, Zxid};

use crate::check::{Verdict, must};

/// `sync` of `path` was answered at `zxid`; when it was called, `before` had been answered to
/// someone.
///
/// # Errors
/// If it does not show that, or does not echo its path.
pub fn returned(
    path: &Text,
    (zxid, result): (Zxid, &Result<Response, ErrorCode>),
    before: Zxid,
) -> Verdict {
    must("sync is a barrier (R4)", zxid >= before, || {
        format!("a sync shows {zxid}, but {before} was answered before it")
    })?;
    let echoed = matches!(result, Ok(Response::Sync(echo)) if echo == path);
    must("sync echoes its path (R4)", echoed, || format!("sync of {path:?}: {result:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_that_shows_too_little_or_another_path_is_found() {
        let judge = |zxid, result| returned(&"/a".into(), (Zxid(zxid), &result), Zxid(5));
        assert!(judge(5, Ok(Response::Sync("/a".into()))).is_ok());
        assert!(judge(4, Ok(Response::Sync("/a".into()))).is_err());
        assert!(judge(5, Ok(Response::Sync("/b".into()))).is_err());
        assert!(judge(5, Err(ErrorCode::NoNode)).is_err());
    }
}
