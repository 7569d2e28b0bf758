//! R6. In read-only mode, what would change something or needs the others is refused with its code,
//! and all else is answered as ever (ZooKeeper: `ReadOnlyRequestProcessor`).

use zokor_core::proto::{ErrorCode, Request, Response, Write};

use crate::check::{Verdict, must};

/// `request` was answered with `result` by a server in read-only mode. Returns whether that is all
/// that is to be judged of it.
///
/// # Errors
/// If it was done, or refused, though it is of the other kind.
pub fn answered(request: &Request, result: &Result<Response, ErrorCode>) -> (bool, Verdict) {
    const CHECK: &str = "read-only servers only read (R6)";
    let expected = match request {
        Request::Write(Write::CloseSession) => Ok(Response::Empty),
        Request::Write(_) | Request::Sync(_) => Err(ErrorCode::NotReadOnly),
        _ => {
            let right = *result != Err(ErrorCode::NotReadOnly);
            return (false, must(CHECK, right, || format!("{request:?} is answered {result:?}")));
        }
    };
    let verdict = must(CHECK, *result == expected, || {
        format!("{request:?} is answered {result:?}, should be {expected:?}")
    });
    (true, verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_or_refused_though_it_should_not_is_found() {
        let refused = || Err(ErrorCode::NotReadOnly);
        let delete = Request::Write(Write::Delete { path: "/a".into(), version: -1 });
        for request in [delete, Request::Sync("/".into())] {
            assert_eq!(answered(&request, &refused()), (true, Ok(())));
            assert!(answered(&request, &Ok(Response::Empty)).1.is_err());
            assert!(answered(&request, &Err(ErrorCode::NoNode)).1.is_err());
        }
        let close = Request::Write(Write::CloseSession);
        assert_eq!(answered(&close, &Ok(Response::Empty)), (true, Ok(())));
        assert!(answered(&close, &refused()).1.is_err());
        assert_eq!(answered(&Request::Ping, &Ok(Response::Empty)), (false, Ok(())));
        assert!(answered(&Request::Ping, &refused()).1.is_err());
    }
}
