//! What people hear of a repair, or of a first start: once when it begins, then at intervals, and
//! when it is over.
//!
//! Invariant: who reads the log knows which entries are lost and for whom this server waits.

use std::collections::BTreeMap;
use std::time::Duration;

use zokor_core::id::ServerId;
use zokor_core::raft::{FirstStart, Index, RepairStatus};
use zokor_core::time::Instant;

/// How often a repair that goes on is told.
const INTERVAL: Duration = Duration::from_secs(10);

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct RepairTold {
    at: Option<Instant>,
    /// What was told: for whom a first start waits. Another answer is told at once.
    first_start: Option<FirstStart>,
    /// Who has lost what it had acknowledged.
    forgetful: Option<(ServerId, Index)>,
    /// Where the others are.
    addresses: BTreeMap<ServerId, String>,
}

impl RepairTold {
    /// The other servers are at these addresses.
    pub(super) fn new(addresses: BTreeMap<ServerId, String>) -> Self {
        RepairTold { addresses, ..RepairTold::default() }
    }

    /// Tells how the repair stands, if it is time to.
    pub(super) fn tell(&mut self, now: Instant, repair: Option<RepairStatus>) {
        match repair {
            Some(repair) if self.is_due(now, &repair) => {
                self.at = Some(now);
                tracing::warn!("{}", self.sentence(&repair));
                self.first_start = repair.first_start;
            }
            None if self.at.take().is_some() => match self.first_start.take() {
                Some(_) => tracing::info!("this server has begun and takes part"),
                None => tracing::info!("the log is whole again; this server takes part as before"),
            },
            Some(_) | None => {}
        }
    }

    /// Tells, once, who has lost what it had acknowledged.
    pub(super) fn tell_forgetful(&mut self, forgetful: Option<(ServerId, Index)>) {
        if forgetful == self.forgetful {
            return;
        }
        self.forgetful = forgetful;
        if let Some((server, last)) = forgetful {
            let server = self.named(&[server]);
            tracing::warn!(
                "{server} has lost entries that it had acknowledged as durable, up to {last}: its \
                 disk does not keep what it is given; it gets them again from this leader, in a \
                 new term; replace that disk before it happens on a second server"
            );
        }
    }

    /// Whether the last that was told was of a first start: what is new of that is told at once.
    pub(super) fn is_first_start(&self) -> bool {
        self.first_start.is_some()
    }

    fn is_due(&self, now: Instant, repair: &RepairStatus) -> bool {
        // That one has begun to hold something makes a first start another matter.
        let holds = |it: &Option<FirstStart>| it.as_ref().is_some_and(|it| !it.holders.is_empty());
        let is_news = holds(&repair.first_start) && !holds(&self.first_start);
        is_news || self.at.is_none_or(|at| at + INTERVAL <= now)
    }

    fn sentence(&self, repair: &RepairStatus) -> String {
        match &repair.first_start {
            Some(first_start) => self.first_start(first_start),
            None => sentence(repair),
        }
    }

    /// The servers with their addresses.
    fn named(&self, servers: &[ServerId]) -> String {
        let named: Vec<String> = servers
            .iter()
            .map(|server| match self.addresses.get(server) {
                Some(address) => format!("server {server} ({address})"),
                None => format!("server {server}"),
            })
            .collect();
        named.join(", ")
    }

    /// A first start, or what may be one, in words.
    fn first_start(&self, first_start: &FirstStart) -> String {
        let waits = self.named(&first_start.waits_for);
        if first_start.holders.is_empty() {
            let waits = if waits.is_empty() { "the others to agree".to_owned() } else { waits };
            return format!(
                "this is the first start: waiting for {waits}; nothing was ever written in this \
                 server's folder, which is new, or was lost: it votes only when all voters have \
                 said the same of theirs, or when the others have given it what they have; to \
                 start without a voter that will not come, set zokor.firstStart=quorum on those \
                 that do"
            );
        }
        let holders = self.named(&first_start.holders);
        let waits = match waits.is_empty() {
            false => format!("waiting for {waits} as well"),
            true => "waiting for a leader".to_owned(),
        };
        format!(
            "nothing was ever written in this server's folder, and there is something at \
             {holders}: it is taken for a server that is added, or has lost its disk, and has no \
             vote until a leader that was elected without it has given it everything; {waits}"
        )
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
    fn a_first_start_says_for_whom_it_waits_and_where_that_is() {
        let addresses = [(ServerId(3), "three.example:2888".to_owned())].into();
        let mut told = RepairTold::new(addresses);
        let waits_for = vec![ServerId(2), ServerId(3)];
        let first = FirstStart { waits_for, holders: vec![] };
        let mut repair = RepairStatus { first_start: Some(first), ..RepairStatus::default() };
        let said = told.sentence(&repair);
        let begin = "this is the first start: waiting for server 2, server 3 (three.example:2888);";
        assert!(said.starts_with(begin) && said.contains("zokor.firstStart=quorum"), "{said}");
        let at = |s: u64| Instant::from_micros(s * 1_000_000);
        told.tell(at(1), Some(repair.clone()));
        told.tell(at(2), Some(repair.clone()));
        assert_eq!(told.at, Some(at(1)));
        let (waits_for, holders) = (vec![ServerId(2)], vec![ServerId(3)]);
        repair.first_start = Some(FirstStart { waits_for, holders });
        let said = told.sentence(&repair);
        let end = "waiting for server 2 as well";
        assert!(said.contains("at server 3 (three.example:2888)") && said.ends_with(end), "{said}");
        told.tell(at(3), Some(repair.clone()));
        assert_eq!(told.at, Some(at(3)), "that is told at once");
        told.tell(at(4), Some(repair));
        assert_eq!(told.at, Some(at(3)));
        told.tell(at(5), None);
        assert_eq!((told.at, told.first_start), (None, None));
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
