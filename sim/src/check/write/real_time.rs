//! W4. If a write was answered before another was asked for, its zxid is the smaller one
//! (linearizability keeps real time: Herlihy and Wing 1990).

use zokor_core::proto::{Write, Zxid};

use crate::check::{Verdict, must};

/// `write` has `zxid`; when it was asked for, `answered` was the largest one told to anyone.
///
/// # Errors
/// If it is not above that.
pub fn after(write: &Write, zxid: Zxid, answered: Zxid) -> Verdict {
    must("writes keep real time (W4)", zxid > answered, || {
        format!("{write:?} has {zxid}, but {answered} was answered before it began")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_before_what_was_answered_before_it_is_found() {
        let write = Write::CloseSession;
        assert!(after(&write, Zxid(6), Zxid(5)).is_ok());
        assert!(after(&write, Zxid(5), Zxid(5)).is_err());
        assert!(after(&write, Zxid(4), Zxid(5)).is_err());
    }
}
