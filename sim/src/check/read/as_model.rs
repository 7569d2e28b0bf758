//! R1. A reply to a read with zxid z equals the model at z: data, stat, children, ACL, or error
//! (ZooKeeper: `FinalRequestProcessor`).

use zokor_core::id::SessionId;
use zokor_core::proto::{ErrorCode, Id, OpResult, Read, Response, Zxid};

use super::committed;
use crate::check::tree::{permission, stat};
use crate::check::{Verdict, must};
use crate::model::Model;

/// A read of `who` was answered with `result` at `zxid`.
///
/// # Errors
/// If the model says otherwise.
pub fn answered(
    who: (SessionId, &[Id]),
    read: &Read,
    (zxid, result): (Zxid, &Result<Response, ErrorCode>),
    model: &Model,
) -> Verdict {
    committed::anywhere(who.0, zxid, model)?;
    let step = model.at(zxid).expect("just seen");
    let Some(expected) = step.state.read(who, read) else {
        return Ok(());
    };
    permission::decided(read, result, &expected)?;
    stat::as_the_model(read, result, &expected)?;
    stat::consistent(result, zxid)?;
    let (found, expected) = (sorted(result.clone()), sorted(expected));
    must("reads equal the model (R1)", found == expected, || {
        format!("{read:?} at {zxid}: {found:?}, should be {expected:?}")
    })
}

/// Names and identities come in any order.
fn sorted(result: Result<Response, ErrorCode>) -> Result<Response, ErrorCode> {
    result.map(|mut response| {
        match &mut response {
            Response::Names(names) | Response::NamesStat(names, _) => *names = names.sorted(),
            Response::Identities(ids) => ids.sort(),
            Response::Multi(results) => {
                for result in results {
                    if let OpResult::Names(names) = result {
                        *names = names.sorted();
                    }
                }
            }
            _ => {}
        }
        response
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(read: &Read, result: Result<Response, ErrorCode>) -> Verdict {
        answered((SessionId(1), &[]), read, (Zxid(0), &result), &Model::new())
    }

    #[test]
    fn a_wrong_answer_is_found() {
        let children =
            |path: &str| Read::GetChildren { path: path.into(), watch: false, with_stat: false };
        let names = |names: &[&str]| Ok(Response::Names(names.iter().collect()));
        assert!(judge(&children("/"), names(&["zookeeper"])).is_ok());
        assert!(judge(&children("/zookeeper"), names(&["quota", "config"])).is_ok());
        assert!(judge(&children("/"), names(&["other"])).is_err());
        assert!(judge(&children("/"), Err(ErrorCode::NoNode)).is_err());
        assert!(judge(&children("/x"), names(&[])).is_err());
    }

    #[test]
    fn answers_to_all_kinds_of_reads_are_judged() {
        let count = Read::CountDescendants { path: "/".into() };
        assert!(judge(&count, Ok(Response::Count(3))).is_ok());
        assert!(judge(&count, Ok(Response::Count(4))).is_err());
        let own = Read::GetEphemerals { prefix: "".into() };
        assert!(judge(&own, Ok(Response::Names([""; 0].into()))).is_ok());
        assert!(judge(&own, Ok(Response::Names(["/e"].into()))).is_err());
        assert!(judge(&Read::WhoAmI, Ok(Response::Identities(Vec::new()))).is_ok());
        let someone = Response::Identities(vec![Id::new("ip", "::1")]);
        assert!(judge(&Read::WhoAmI, Ok(someone)).is_err());
    }

    #[test]
    fn a_zxid_that_nobody_knows_is_found() {
        let answer = Ok(Response::Count(3));
        let count = Read::CountDescendants { path: "/".into() };
        let who = (SessionId(1), &[][..]);
        assert!(answered(who, &count, (Zxid(7), &answer), &Model::new()).is_err());
    }
}
