//! T5. What is permitted is what the model permits, and everything is done as who was proven
//! (ZooKeeper: `ZooKeeperServer.checkACL`, `PrepRequestProcessor.fixupACL`).

use std::fmt::Debug;

use zokor_core::db::Author;
use zokor_core::proto::{AuthPacket, ErrorCode, Identities, OpResult, Response};

use crate::check::{Verdict, must};
use crate::model::acl;

/// What was `asked` is answered with `found`, by the model with `expected`.
///
/// # Errors
/// If the one permits what the other does not, or stores what the other refuses.
pub fn decided(
    asked: &dyn Debug,
    found: &Result<Response, ErrorCode>,
    expected: &Result<Response, ErrorCode>,
) -> Verdict {
    must("permissions as in the model (T5)", refusals(found) == refusals(expected), || {
        format!("{asked:?} is answered {found:?}, should be {expected:?}")
    })
}

/// An entry of the log bears the identities of `author`; the connection that asked for it had
/// proven `proven`.
///
/// # Errors
/// If they differ.
pub fn same_identities(author: &Author, proven: &Identities) -> Verdict {
    must("writes are done as who was proven (T5)", author.identities == *proven, || {
        format!("{author:?} had proven {proven:?}")
    })
}

/// Credentials were answered with `found`; the connection had proven `known` before.
///
/// # Errors
/// If the model takes what was refused, or refuses what was taken.
pub fn authenticated(
    known: &Identities,
    packet: &AuthPacket,
    found: &Result<Response, ErrorCode>,
) -> Verdict {
    let expected = acl::joined(known, packet).map(|_| Response::Empty);
    must("credentials are judged as by the model (T5)", *found == expected, || {
        format!("{packet:?} is answered {found:?}, should be {expected:?}")
    })
}

/// Where an answer says that something is not permitted, or not a list of permissions.
fn refusals(result: &Result<Response, ErrorCode>) -> Vec<(usize, ErrorCode)> {
    let of_permissions = |code: &ErrorCode| {
        matches!(code, ErrorCode::NoAuth | ErrorCode::InvalidAcl | ErrorCode::AuthFailed)
    };
    match result {
        Err(code) => Some(*code).filter(of_permissions).map(|code| (0, code)).into_iter().collect(),
        Ok(Response::Multi(results)) => {
            let parts = results.iter().enumerate().filter_map(|(n, result)| match result {
                OpResult::Error(Some(code)) if of_permissions(code) => Some((n, *code)),
                _ => None,
            });
            parts.collect()
        }
        Ok(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use zokor_core::proto::Id;

    use super::*;
    use crate::check::write::invoked::tests::author;

    #[test]
    fn another_decision_is_found() {
        let judge = |found, expected| decided(&"", &found, &expected);
        let refused = || Err(ErrorCode::NoAuth);
        assert!(judge(refused(), refused()).is_ok());
        assert!(judge(Err(ErrorCode::NoNode), Ok(Response::Empty)).is_ok());
        assert!(judge(refused(), Ok(Response::Empty)).is_err());
        assert!(judge(Ok(Response::Empty), refused()).is_err());
        assert!(judge(Err(ErrorCode::InvalidAcl), refused()).is_err());
        let parts = |code| Ok(Response::Multi(vec![OpResult::Error(code)]));
        assert!(judge(parts(Some(ErrorCode::NoAuth)), parts(None)).is_err());
    }

    #[test]
    fn a_write_done_as_someone_else_is_found() {
        let nobody = Identities::from([]);
        assert!(same_identities(&author(5, 1, 1), &nobody).is_ok());
        let bob = Identities::from([Id::new("digest", "bob:h")]);
        assert!(same_identities(&author(5, 1, 1), &bob).is_err());
    }

    #[test]
    fn credentials_wrongly_taken_or_refused_are_found() {
        let nobody = Identities::from([]);
        let packet = |scheme: &str| AuthPacket {
            scheme: scheme.into(),
            auth: Some(Bytes::from_static(b"bob:secret")),
        };
        let judge = |scheme, found| authenticated(&nobody, &packet(scheme), &found);
        assert!(judge("digest", Ok(Response::Empty)).is_ok());
        assert!(judge("digest", Err(ErrorCode::AuthFailed)).is_err());
        assert!(judge("magic", Err(ErrorCode::AuthFailed)).is_ok());
        assert!(judge("magic", Ok(Response::Empty)).is_err());
    }
}
