//! T1. Sequence numbers under one parent are unique and grow with the zxid, whatever is deleted,
//! fails over or restarts in between (ZooKeeper: `PrepRequestProcessor.pRequest2TxnCreate`).

use std::collections::BTreeMap;

use zokor_core::proto::{OpResult, Request, Response, Write, Zxid};

use crate::check::{Verdict, must};
use crate::model::{Model, parent};

const CHECK: &str = "sequence numbers grow (T1)";

/// The numbers that clients were told, by parent and its czxid, and the last restore before, which
/// sets the counters back; then by zxid and place in a multi.
#[derive(Debug, Default)]
pub struct Numbers(BTreeMap<Counter, BTreeMap<(Zxid, usize), i64>>);

type Counter = (String, i64, Zxid);

impl Numbers {
    /// `request` was answered with `response` at `zxid`.
    ///
    /// # Errors
    /// If it names a znode whose number is not between those before and after it.
    pub fn replied(
        &mut self,
        request: &Request,
        (zxid, response): (Zxid, &Response),
        model: &Model,
    ) -> Verdict {
        match (request, response) {
            (Request::Write(Write::Multi(writes)), Response::Multi(results)) => {
                for (place, (write, result)) in writes.iter().zip(results).enumerate() {
                    if let OpResult::Create(path) | OpResult::Create2(path, _) = result {
                        self.created(write, path, (zxid, place), model)?;
                    }
                }
                Ok(())
            }
            (Request::Write(write), Response::Path(path) | Response::PathStat(path, _)) => {
                self.created(write, path, (zxid, 0), model)
            }
            _ => Ok(()),
        }
    }

    fn created(
        &mut self,
        write: &Write,
        path: &str,
        place: (Zxid, usize),
        model: &Model,
    ) -> Verdict {
        let Write::Create(create) = write else { return Ok(()) };
        if !matches!(create.flags, 2 | 3 | 6) {
            return must("names are as asked for (T1)", *path == *create.path, || {
                format!("{:?} is created as {path:?}", create.path)
            });
        }
        let digits = path.strip_prefix(&*create.path);
        let number = digits.filter(|digits| digits.len() >= 10).and_then(|d| d.parse().ok());
        must("sequential names end in a number (T1)", number.is_some(), || {
            format!("{:?} is created as {path:?}", create.path)
        })?;
        // A parent that the same multi made, and took away again, has left no trace.
        let above = parent(path);
        let state = model.at(place.0).map(|step| &step.state);
        let Some(state) = state else { return Ok(()) };
        let Some(made) = state.stat(above) else { return Ok(()) };
        self.number(
            (above.to_owned(), made.czxid, state.restores.done),
            place,
            number.expect("just seen"),
        )
    }

    fn number(&mut self, key: Counter, place: (Zxid, usize), number: i64) -> Verdict {
        let known = self.0.entry(key).or_default();
        let before = known.range(..place).next_back().map(|(_, &number)| number);
        let after = known.range(place..).next().map(|(_, &number)| number);
        let fits = before.is_none_or(|n| n < number) && after.is_none_or(|n| n > number);
        must(CHECK, fits, || {
            format!("{place:?} has number {number}, its neighbours {before:?} and {after:?}")
        })?;
        known.insert(place, number);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use zokor_core::proto::{Create, CreateKind};

    use super::*;

    fn sequential(path: &str, flags: i32) -> Write {
        Write::Create(Create {
            path: path.into(),
            data: None,
            acl: [].into(),
            flags,
            ttl_ms: -1,
            kind: CreateKind::Create,
        })
    }

    /// All under the root, which is there at zxid 0.
    fn numbered(numbers: &mut Numbers, path: &str) -> Verdict {
        let request = Request::Write(sequential("/s-", 2));
        numbers.replied(&request, (Zxid(0), &Response::Path(path.into())), &Model::new())
    }

    #[test]
    fn names_without_their_number_or_with_another_name_are_found() {
        assert!(numbered(&mut Numbers::default(), "/s-0000000004").is_ok());
        for bad in ["/s-", "/s-4", "/s-000000000x", "/t-0000000004"] {
            assert!(numbered(&mut Numbers::default(), bad).is_err(), "{bad}");
        }
        let plain = Request::Write(sequential("/a", 0));
        let judge = |path: &str| {
            let path = Response::Path(path.into());
            Numbers::default().replied(&plain, (Zxid(0), &path), &Model::new())
        };
        assert!(judge("/a").is_ok());
        assert!(judge("/b").is_err());
    }

    #[test]
    fn numbers_that_do_not_grow_with_the_zxid_are_found() {
        let key = || ("/".to_owned(), 0, Zxid(0));
        let mut numbers = Numbers::default();
        assert!(numbers.number(key(), (Zxid(5), 0), 3).is_ok());
        assert!(numbers.number(key(), (Zxid(9), 0), 7).is_ok());
        assert!(numbers.number(key(), (Zxid(7), 0), 4).is_ok());
        for (zxid, number) in [(6, 3), (6, 4), (8, 8), (10, 7), (4, 4), (10, 0)] {
            assert!(numbers.number(key(), (Zxid(zxid), 0), number).is_err(), "{zxid} {number}");
        }
        assert!(numbers.number(("/".to_owned(), 1, Zxid(0)), (Zxid(10), 0), 0).is_ok());
        // A restore sets the counter back.
        assert!(numbers.number(("/".to_owned(), 0, Zxid(10)), (Zxid(11), 0), 0).is_ok());
    }

    #[test]
    fn numbers_within_one_multi_grow_too() {
        let parts = vec![sequential("/s-", 2), sequential("/t-", 3)];
        let request = Request::Write(Write::multi(parts));
        let judge = |first: &str, second: &str| {
            let paths = [first, second].map(|path| OpResult::Create(path.into()));
            let answer = Response::Multi(paths.to_vec());
            Numbers::default().replied(&request, (Zxid(0), &answer), &Model::new())
        };
        assert!(judge("/s-0000000004", "/t-0000000005").is_ok());
        assert!(judge("/s-0000000004", "/t-0000000004").is_err());
    }
}
