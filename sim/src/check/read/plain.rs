//! R1 for what reads nothing: pings and `setWatches` are answered with a header alone, and what is
//! not understood with its code (ZooKeeper: `FinalRequestProcessor`).

use zokor_core::proto::{ErrorCode, Request, Response};

use crate::check::{Verdict, must};

/// `request` was answered with `result`.
///
/// # Errors
/// If it is one of these, and the answer another.
pub fn answered(request: &Request, result: &Result<Response, ErrorCode>) -> Verdict {
    let expected = match request {
        Request::Ping | Request::SetWatches(_) => Ok(Response::Empty),
        Request::Unknown(_) => Err(ErrorCode::Unimplemented),
        Request::Throttled => Err(ErrorCode::ThrottledOp),
        Request::Malformed => Err(ErrorCode::MarshallingError),
        // Nobody can log in at simulated servers.
        Request::Sasl(_) => Ok(Response::Sasl(None)),
        // No world has it enabled.
        Request::Reconfig(_) => Err(ErrorCode::ReconfigDisabled),
        Request::Write(_) | Request::Read(_) | Request::Sync(_) | Request::Auth(_) => {
            return Ok(());
        }
    };
    must("plain requests are answered plainly (R1)", *result == expected, || {
        format!("{request:?} is answered {result:?}, should be {expected:?}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_answer_is_found() {
        assert!(answered(&Request::Ping, &Ok(Response::Empty)).is_ok());
        assert!(answered(&Request::Ping, &Err(ErrorCode::NoNode)).is_err());
        assert!(answered(&Request::Unknown(7), &Ok(Response::Empty)).is_err());
        assert!(answered(&Request::Malformed, &Err(ErrorCode::MarshallingError)).is_ok());
    }
}
