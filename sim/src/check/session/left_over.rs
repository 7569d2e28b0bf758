//! S7. When all is healed, the sessions of dead clients, and so their ephemerals, are gone within
//! their timeout, one round of the leader's upkeep and one election (ZooKeeper: `ExpiryQueue`).

use std::collections::BTreeMap;

use zokor_core::id::{SessionId, Token};

use crate::check::{Verdict, must};
use crate::world::queue::Micros;

/// Sessions of dead clients that are still open, each with its attachment and since when.
#[derive(Debug, Default)]
pub struct LeftOver(BTreeMap<SessionId, (Token, Micros)>);

/// How long such a session may stay.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// Since when there is the leader that is there now, and nothing is wrong any more.
    pub well_since: Micros,
    /// What it may take besides the timeout: upkeep, and the commit of the end.
    pub upkeep: Micros,
    /// The slowest clock's share of the true rate, in thousandths.
    pub slowest_per_mille: u64,
}

impl LeftOver {
    /// At `now`, these sessions of dead clients are open: attachment and timeout of each.
    ///
    /// # Errors
    /// If one is there for too long.
    pub fn seen(&mut self, now: Micros, open: &[(SessionId, Token, i32)], bound: Bound) -> Verdict {
        self.0.retain(|known, _| open.iter().any(|(session, _, _)| session == known));
        for &(session, token, timeout_ms) in open {
            let known = self.0.entry(session).or_insert((token, now));
            if known.0 != token {
                *known = (token, now);
            }
            let since = known.1.max(bound.well_since);
            let timeout = timeout_ms.unsigned_abs() as u64 * 1_000 + bound.upkeep;
            let last = since + timeout * 1_000 / bound.slowest_per_mille;
            must("dead clients leave nothing (S7)", now <= last, || {
                format!(
                    "session {session} of a dead client, of {timeout_ms} ms, is open since \
                     {since} at {now}"
                )
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Bound = Bound { well_since: 0, upkeep: 100_000, slowest_per_mille: 1_000 };
    const DEAD: (SessionId, Token, i32) = (SessionId(1), Token(1), 1_000);

    #[test]
    fn a_session_that_goes_in_time_is_right_and_one_that_stays_is_found() {
        let mut left = LeftOver::default();
        assert!(left.seen(50, &[DEAD], BOUND).is_ok());
        assert!(left.seen(1_100_050, &[DEAD], BOUND).is_ok());
        assert!(left.seen(1_100_051, &[DEAD], BOUND).is_err());
        assert!(left.seen(1_100_051, &[], BOUND).is_ok());
    }

    #[test]
    fn an_election_and_a_late_attachment_give_a_new_timeout() {
        let mut left = LeftOver::default();
        left.seen(0, &[DEAD], BOUND).unwrap();
        let elected = Bound { well_since: 1_000_000, ..BOUND };
        assert!(left.seen(2_000_000, &[DEAD], elected).is_ok());
        assert!(left.seen(2_200_000, &[DEAD], elected).is_err());
        assert!(left.seen(2_200_000, &[(SessionId(1), Token(2), 1_000)], BOUND).is_ok());
    }
}
