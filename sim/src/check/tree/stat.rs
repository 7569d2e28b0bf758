//! T3. Versions, zxids, times and counts of a znode are those of the model, and agree with each
//! other (ZooKeeper, programmer's guide: stat structure; `DataNode.copyStat`).

use std::fmt::Debug;

use zokor_core::proto::{ErrorCode, OpResult, Response, Stat, Zxid};

use crate::check::{Verdict, must};

/// What was `asked` is answered with `found`, by the model with `expected`.
///
/// # Errors
/// If both show a znode's numbers, and one of them differs.
pub fn as_the_model(
    asked: &dyn Debug,
    found: &Result<Response, ErrorCode>,
    expected: &Result<Response, ErrorCode>,
) -> Verdict {
    let (Ok(found), Ok(expected)) = (found, expected) else { return Ok(()) };
    let (found, expected) = (stats(found), stats(expected));
    // If there are more of one than of the other, the answers differ in more than a number.
    for (found, expected) in found.into_iter().zip(expected) {
        let differs = fields(found).into_iter().zip(fields(expected)).find(|(a, b)| a != b);
        must("numbers as in the model (T3)", differs.is_none(), || {
            let (found, expected) = differs.expect("just seen");
            format!("{asked:?} shows {} {}, should be {}", found.0, found.1, expected.1)
        })?;
    }
    Ok(())
}

/// A reply with `zxid` shows `result`.
///
/// # Errors
/// If the numbers in it cannot be, whatever the model says.
pub fn consistent(result: &Result<Response, ErrorCode>, zxid: Zxid) -> Verdict {
    let Ok(response) = result else { return Ok(()) };
    for stat in stats(response) {
        let zxids = [stat.mzxid, stat.pzxid];
        let in_order = zxids.iter().all(|&later| stat.czxid <= later && later <= zxid.0)
            // The description of the ensemble is no write of anybody.
            || stat.version == -1;
        let counts = [stat.data_length, stat.num_children];
        let none_below_zero = counts.iter().all(|&count| count >= 0);
        let holds = in_order && none_below_zero;
        must("numbers agree (T3)", holds, || format!("a reply with {zxid} shows {stat:?}"))?;
    }
    let counted = match response {
        Response::Data(data, stat) => {
            data.as_ref().map_or(0, |data| data.len()) == stat.data_length as usize
        }
        Response::NamesStat(names, stat) => names.len() == stat.num_children as usize,
        _ => true,
    };
    must("numbers agree (T3)", counted, || format!("a reply with {zxid} shows {response:?}"))
}

fn stats<'a>(response: &'a Response) -> Vec<&'a Stat> {
    match response {
        Response::PathStat(_, stat)
        | Response::Stat(stat)
        | Response::Data(_, stat)
        | Response::Acl(_, stat)
        | Response::NamesStat(_, stat) => vec![stat],
        Response::Multi(results) => {
            let stat = |result: &'a OpResult| match result {
                OpResult::Create2(_, stat) | OpResult::SetData(stat) | OpResult::Data(_, stat) => {
                    Some(stat)
                }
                _ => None,
            };
            results.iter().filter_map(stat).collect()
        }
        Response::Empty
        | Response::Path(_)
        | Response::Names(_)
        | Response::Sync(_)
        | Response::Count(_)
        | Response::WatchAdded
        | Response::Identities(_)
        | Response::Sasl(_)
        | Response::SaslRefused(_) => Vec::new(),
    }
}

fn fields(stat: &Stat) -> [(&'static str, i64); 11] {
    [
        ("czxid", stat.czxid),
        ("mzxid", stat.mzxid),
        ("pzxid", stat.pzxid),
        ("ctime", stat.ctime),
        ("mtime", stat.mtime),
        ("version", stat.version.into()),
        ("cversion", stat.cversion.into()),
        ("aversion", stat.aversion.into()),
        ("ephemeralOwner", stat.ephemeral_owner),
        ("dataLength", stat.data_length.into()),
        ("numChildren", stat.num_children.into()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_that_differs_is_found() {
        let right = Stat::default();
        let wrong = [
            Stat { czxid: 1, ..right },
            Stat { mzxid: 1, ..right },
            Stat { pzxid: 1, ..right },
            Stat { ctime: 1, ..right },
            Stat { mtime: 1, ..right },
            Stat { version: 1, ..right },
            Stat { cversion: 1, ..right },
            Stat { aversion: 1, ..right },
            Stat { ephemeral_owner: 1, ..right },
            Stat { data_length: 1, ..right },
            Stat { num_children: 1, ..right },
        ];
        let shown = |stat| Ok(Response::Stat(stat));
        let judge = |found: Stat| as_the_model(&"", &shown(found), &shown(right));
        assert!(judge(right).is_ok());
        for stat in wrong {
            assert!(judge(stat).is_err(), "{stat:?}");
        }
    }

    #[test]
    fn numbers_that_cannot_be_are_found() {
        let right = Stat { czxid: 3, mzxid: 4, pzxid: 3, ..Stat::default() };
        let judge = |stat| consistent(&Ok(Response::Stat(stat)), Zxid(5));
        assert!(judge(right).is_ok());
        assert!(judge(Stat { mzxid: 2, ..right }).is_err());
        assert!(judge(Stat { pzxid: 6, ..right }).is_err());
        assert!(judge(Stat { num_children: -1, ..right }).is_err());
        let names = |n| Ok(Response::NamesStat((0..n).map(|_| "a").collect(), Stat::default()));
        assert!(consistent(&names(0), Zxid(5)).is_ok());
        assert!(consistent(&names(1), Zxid(5)).is_err());
        let data = Ok(Response::Data(Some("x".into()), Stat::default()));
        assert!(consistent(&data, Zxid(5)).is_err());
    }
}
