//! T2. A multi is all or nothing at one zxid: a failed one changes nothing and reports the first
//! error in its place (ZooKeeper: `PrepRequestProcessor`, `DataTree.processTxn` for multi; M48).

use zokor_core::proto::{ErrorCode, OpResult, Response, Write, Zxid};

use crate::check::{Verdict, must};
use crate::model::{Outcome, State, Step};

const CHECK: &str = "multis are all or nothing (T2)";

/// `write` is answered with `result`, whose parts must be of one cast.
///
/// # Errors
/// If some parts failed and others did not, or an error is not in its place.
pub fn shape(write: &Write, result: &Result<Response, ErrorCode>) -> Verdict {
    let (Write::Multi(writes), Ok(response)) = (write, result) else { return Ok(()) };
    let Response::Multi(results) = response else {
        return must(CHECK, false, || format!("{write:?} is answered {response:?}"));
    };
    let failed = first_error(results);
    let holds = results.len() == writes.len()
        && match failed {
            None => writes.iter().zip(results).all(|(write, result)| fits(write, result)),
            Some(failed) => results.iter().enumerate().all(|(n, result)| match result {
                OpResult::Error(None) => n < failed,
                OpResult::Error(Some(ErrorCode::RuntimeInconsistency)) => n > failed,
                OpResult::Error(Some(_)) => n == failed,
                _ => false,
            }),
        };
    must(CHECK, holds, || format!("{writes:?} is answered {results:?}"))
}

/// The entry of `step` is a multi, `before` what it found.
///
/// # Errors
/// If it failed and changed something, or did not fail and did not do all at its zxid.
pub fn took_effect(before: &State, step: &Step) -> Verdict {
    let Outcome::Answered { write, result, .. } = &step.outcome else { return Ok(()) };
    let (Write::Multi(_), Ok(Response::Multi(results))) = (&**write, result) else {
        return Ok(());
    };
    if first_error(results).is_some() {
        let unchanged = step.changes.is_empty() && step.state.nodes == before.nodes;
        return must(CHECK, unchanged, || {
            format!("{:?} failed at {} and did {:?}", write, step.zxid, step.changes)
        });
    }
    let wanted = results.iter().filter(|result| !matches!(result, OpResult::Check)).count();
    must(CHECK, step.changes.len() == wanted, || {
        format!("{:?} at {} did {:?} and no more", write, step.zxid, step.changes)
    })?;
    results.iter().try_for_each(|result| at_once(result, step.zxid))
}

/// All parts bear the zxid of the whole.
fn at_once(result: &OpResult, zxid: Zxid) -> Verdict {
    let found = match result {
        OpResult::Create2(_, stat) => Some(stat.czxid),
        OpResult::SetData(stat) => Some(stat.mzxid),
        _ => None,
    };
    must("the parts of a multi have one zxid (T2)", found.is_none_or(|n| n == zxid.0), || {
        format!("{result:?} is a part of {zxid}")
    })
}

fn first_error(results: &[OpResult]) -> Option<usize> {
    let is_error = |result: &OpResult| match result {
        OpResult::Error(Some(code)) => *code != ErrorCode::RuntimeInconsistency,
        _ => false,
    };
    let only_marks = results.iter().position(|result| matches!(result, OpResult::Error(_)));
    results.iter().position(is_error).or(only_marks)
}

fn fits(write: &Write, result: &OpResult) -> bool {
    match write {
        Write::Create(_) => matches!(result, OpResult::Create(_) | OpResult::Create2(..)),
        Write::Delete { .. } => *result == OpResult::Delete,
        Write::SetData { .. } => matches!(result, OpResult::SetData(_)),
        Write::Check { .. } => *result == OpResult::Check,
        Write::SetAcl { .. } | Write::Multi(_) | Write::CloseSession => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use zokor_core::proto::Stat;

    use super::*;
    use crate::check::write::invoked::tests::author;
    use crate::model::{Change, ChangeKind};

    fn deletes(n: usize) -> Write {
        Write::multi(vec![Write::Delete { path: "/a".into(), version: -1 }; n])
    }

    fn answered(results: &[OpResult]) -> Verdict {
        shape(&deletes(3), &Ok(Response::Multi(results.to_vec())))
    }

    #[test]
    fn all_done_or_one_error_in_place_is_right() {
        const AFTER: OpResult = OpResult::Error(Some(ErrorCode::RuntimeInconsistency));
        const ERROR: OpResult = OpResult::Error(Some(ErrorCode::NoNode));
        const BEFORE: OpResult = OpResult::Error(None);
        assert!(answered(&[OpResult::Delete, OpResult::Delete, OpResult::Delete]).is_ok());
        assert!(answered(&[BEFORE, ERROR, AFTER]).is_ok());
        assert!(answered(&[ERROR, AFTER, AFTER]).is_ok());
        for bad in [
            &[OpResult::Delete, ERROR, AFTER][..],
            &[BEFORE, ERROR, OpResult::Delete],
            &[BEFORE, ERROR, ERROR],
            &[AFTER, ERROR, AFTER],
            &[BEFORE, BEFORE, BEFORE],
            &[OpResult::Delete, OpResult::Delete],
            &[OpResult::Delete, OpResult::Delete, OpResult::Check],
        ] {
            assert!(answered(bad).is_err(), "{bad:?}");
        }
        assert!(shape(&deletes(1), &Ok(Response::Empty)).is_err());
    }

    fn step(results: Vec<OpResult>, n_changes: usize) -> Step {
        let state = State::fresh();
        let acl = state.nodes["/"].acl.clone();
        let (path, kind, parent_acl) = ("/a".to_owned(), ChangeKind::Deleted, acl.clone());
        let change = Change { path, kind, acl, parent_acl };
        let outcome = Outcome::Answered {
            author: Box::new(author(5, 1, 1)),
            write: Box::new(deletes(results.len())),
            result: Ok(Response::Multi(results)),
        };
        let changes = vec![change; n_changes];
        Step { zxid: Zxid(9), outcome, changes, state: Arc::new(state) }
    }

    #[test]
    fn a_failed_one_that_did_something_is_found() {
        let failed = || vec![OpResult::Error(Some(ErrorCode::NoNode))];
        let before = State::fresh();
        assert!(took_effect(&before, &step(failed(), 0)).is_ok());
        assert!(took_effect(&before, &step(failed(), 1)).is_err());
        let mut other = before.clone();
        other.nodes.remove("/zookeeper/quota");
        assert!(took_effect(&other, &step(failed(), 0)).is_err());
    }

    #[test]
    fn one_that_did_not_do_all_at_once_is_found() {
        let before = State::fresh();
        let two = || vec![OpResult::Delete, OpResult::Delete];
        assert!(took_effect(&before, &step(two(), 2)).is_ok());
        assert!(took_effect(&before, &step(two(), 1)).is_err());
        let set = |mzxid| vec![OpResult::SetData(Stat { mzxid, ..Stat::default() })];
        assert!(took_effect(&before, &step(set(9), 1)).is_ok());
        assert!(took_effect(&before, &step(set(8), 1)).is_err());
    }
}
