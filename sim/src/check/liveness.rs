//! When faults end everything heals within a bound (simulated liveness: TigerBeetle's VOPR, "core
//! mode"; Raft §5.4.3 and §9.3 for the timing that it needs).

use zokor_core::id::{ServerId, SessionId};
use zokor_core::raft::Index;

use super::{Verdict, must};

/// What the ensemble looks like at one moment.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// Who says that it leads.
    pub leaders: Vec<ServerId>,
    /// How far each server is, and its digest.
    pub applied: Vec<(ServerId, Index, u64)>,
    /// Clients that have not done their fresh writes and their sync.
    pub unsettled: Vec<u64>,
    /// Sessions whose clients are gone.
    pub left_over: Vec<SessionId>,
}

impl Health {
    /// Whether all is well.
    ///
    /// # Errors
    /// What is not.
    pub fn is_well(&self) -> Verdict {
        let check = "liveness";
        must(check, self.leaders.len() == 1, || format!("leaders are {:?}", self.leaders))?;
        must(check, self.unsettled.is_empty(), || {
            format!("clients {:?} make no progress", self.unsettled)
        })?;
        must(check, self.left_over.is_empty(), || {
            format!("sessions {:?} of dead clients are still there", self.left_over)
        })?;
        let equal = self.applied.windows(2).all(|pair| {
            let ((_, index, digest), (_, other_index, other)) = (pair[0], pair[1]);
            index == other_index && digest == other
        });
        must(check, equal, || format!("servers differ: {:?}", self.applied))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well() -> Health {
        let applied = vec![
            (ServerId(1), Index(3), 7),
            (ServerId(2), Index(3), 7),
            (ServerId(3), Index(3), 7),
        ];
        Health { leaders: vec![ServerId(1)], applied, ..Health::default() }
    }

    #[test]
    fn a_quiet_ensemble_is_well() {
        assert!(well().is_well().is_ok());
    }

    #[test]
    fn each_ailment_is_found() {
        let mut lagging = well();
        lagging.applied[2].1 = Index(2);
        let sick = [
            Health { leaders: Vec::new(), ..well() },
            Health { unsettled: vec![1], ..well() },
            Health { left_over: vec![SessionId(1)], ..well() },
            lagging,
        ];
        for health in sick {
            assert!(health.is_well().is_err(), "{health:?}");
        }
    }
}
