//! multi: all operations or none.
//!
//! Invariant: a multi that fails leaves nothing behind but its answer. Each operation sees what
//! those before it did.

use super::create;
use super::delete::delete;
use super::update::{check, set_data};
use super::work::Work;
use crate::proto::{ErrorCode, OpResult, Write};

/// Does what all of `writes` say. A failure is an answer of errors: none for the operations before
/// the one that failed, its own, and `RuntimeInconsistency` for those after it.
///
/// # Errors
/// `MarshallingError` if it holds what no multi may hold; decoders refuse that before.
pub(super) fn multi(work: &mut Work<'_>, writes: &[Write]) -> Result<Vec<OpResult>, ErrorCode> {
    let is_foreign = |write: &Write| {
        matches!(write, Write::SetAcl { .. } | Write::Multi(_) | Write::CloseSession)
    };
    if writes.iter().any(is_foreign) {
        return Err(ErrorCode::MarshallingError);
    }
    work.keep_journal(writes.len());
    let mut results = Vec::with_capacity(writes.len());
    for write in writes {
        match one(work, write) {
            Ok(result) => results.push(result),
            Err(code) => {
                if !mutated!(MultiHalfDone) {
                    work.roll_back();
                }
                let failed = results.len();
                results.fill(OpResult::Error(None));
                results.push(OpResult::Error(Some(code)));
                let skipped = OpResult::Error(Some(ErrorCode::RuntimeInconsistency));
                results.resize(writes.len(), skipped);
                assert_eq!(results[failed], OpResult::Error(Some(code)));
                break;
            }
        }
    }
    Ok(results)
}

fn one(work: &mut Work<'_>, write: &Write) -> Result<OpResult, ErrorCode> {
    match write {
        Write::Create(create) => {
            let (path, stat) = create::create(work, create)?;
            Ok(create::op_result(create.kind, path, stat))
        }
        Write::Delete { path, version } => delete(work, path, *version).map(|()| OpResult::Delete),
        Write::SetData { path, data, version } => {
            set_data(work, path, data.as_deref(), *version).map(OpResult::SetData)
        }
        Write::Check { path, version } => check(work, path, *version).map(|()| OpResult::Check),
        Write::SetAcl { .. } | Write::Multi(_) | Write::CloseSession => {
            Err(ErrorCode::MarshallingError)
        }
    }
}
