//! What people hear of a repair: once when it begins, then at intervals, and when it is over.
//!
//! Invariant: who reads the log knows which entries are lost and for whom this server waits.

use std::time::Duration;

use zokor_core::raft::RepairStatus;
use zokor_core::time::Instant;

/// How often a repair that goes on is told.
const INTERVAL: Duration = Duration::from_secs(10);

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct RepairTold {
    at: Option<Instant>,
}

impl RepairTold {
    /// Tells how the repair stands, if it is time to.
    pub(super) fn tell(&mut self, now: Instant, repair: Option<RepairStatus>) {
        match repair {
            Some(repair) if self.at.is_none_or(|at| at + INTERVAL <= now) => {
                self.at = Some(now);
                tracing::warn!("{}", sentence(&repair));
            }
            None if self.at.take().is_some() => {
                tracing::info!("the log is whole again; this server takes part as before");
            }
            Some(_) | None => {}
        }
    }
}

/// The repair in words.
fn sentence(repair: &RepairStatus) -> String {
    let range = |(first, last): &(_, _)| format!("{first} to {last}");
    let ranges: Vec<String> = repair.lost.iter().map(range).collect();
    let is_else = repair.is_end_lost || repair.is_vote_lost;
    let lost = match (repair.n_lost, ranges.len()) {
        (0, _) if is_else => "no entry that it knows of".to_owned(),
        (0, _) => "what may have come between its entries".to_owned(),
        (n, 0) => format!("{n} entries"),
        (n, _) => format!("{n} entries (at index {})", ranges.join(", ")),
    };
    let end = match (repair.is_end_lost, repair.is_vote_lost) {
        (true, true) => ", what came after the last known one, and its votes",
        (true, false) => ", and what came after the last known one",
        (false, true) => ", and its votes",
        (false, false) => "",
    };
    let waits: Vec<String> = repair.waits_for.iter().map(ToString::to_string).collect();
    let waits = match (waits.is_empty(), repair.is_nowhere) {
        (false, _) => format!("waiting for an answer of server {}", waits.join(", ")),
        (true, true) => {
            "no other server has them, nor is there a leader whose state could replace them".into()
        }
        (true, false) => "the other servers have answered".to_owned(),
    };
    format!(
        "this server's disk has lost {lost}{end}; it takes no part in the ensemble until the \
         others have given that back; {waits}"
    )
}

#[cfg(test)]
mod tests {
    use zokor_core::id::ServerId;
    use zokor_core::raft::Index;

    use super::*;

    #[test]
    fn a_repair_says_which_entries_are_lost_and_for_whom_it_waits() {
        let lost = vec![(Index(5), Index(7)), (Index(9), Index(9))];
        let mut repair = RepairStatus { lost, n_lost: 4, ..RepairStatus::default() };
        repair.waits_for = vec![ServerId(2), ServerId(3)];
        assert_eq!(
            sentence(&repair),
            "this server's disk has lost 4 entries (at index 5 to 7, 9 to 9); it takes no part in \
             the ensemble until the others have given that back; waiting for an answer of server \
             2, 3"
        );
        repair = RepairStatus { is_end_lost: true, is_nowhere: true, ..RepairStatus::default() };
        let told = sentence(&repair);
        assert!(
            told.contains("after the last known one") && told.contains("no other server"),
            "{told}"
        );
    }

    #[test]
    fn a_repair_is_told_at_once_then_at_intervals_and_at_its_end() {
        let mut told = RepairTold::default();
        let at = |s: u64| Instant::from_micros(s * 1_000_000);
        told.tell(at(1), Some(RepairStatus::default()));
        assert_eq!(told.at, Some(at(1)));
        told.tell(at(5), Some(RepairStatus::default()));
        assert_eq!(told.at, Some(at(1)));
        told.tell(at(11), Some(RepairStatus::default()));
        assert_eq!(told.at, Some(at(11)));
        told.tell(at(12), None);
        assert_eq!(told.at, None);
    }
}
