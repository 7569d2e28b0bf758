//! W2. The reply to a write equals the model's result at its zxid: code, path, stat, and the result
//! of each part (ZooKeeper: `FinalRequestProcessor`).

use zokor_core::proto::{ErrorCode, Response, Write, Zxid};

use crate::check::{Verdict, must};

/// `write` at `zxid` is answered with `result`.
///
/// # Errors
/// If the model has `expected`, which is another.
pub fn as_the_model(
    write: &Write,
    zxid: Zxid,
    result: &Result<Response, ErrorCode>,
    expected: &Result<Response, ErrorCode>,
) -> Verdict {
    must("writes answer as the model (W2)", result == expected, || {
        format!("{write:?} at {zxid} is answered {result:?}, should be {expected:?}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_result_than_the_models_is_found() {
        let write = Write::Delete { path: "/a".into(), version: -1 };
        let judge = |result| as_the_model(&write, Zxid(1), &result, &Err(ErrorCode::NoNode));
        assert!(judge(Err(ErrorCode::NoNode)).is_ok());
        assert!(judge(Err(ErrorCode::NotEmpty)).is_err());
        assert!(judge(Ok(Response::Empty)).is_err());
    }
}
