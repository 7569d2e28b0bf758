//! Who leads, and what to tell when that changes.

use zokor_core::replica::{Mode, Stats};

use crate::config::HostPort;

/// The index of the server that leads: of those that think so, the one with the latest term.
pub(super) fn leader_of(stats: &[Stats]) -> Option<usize> {
    let leads =
        |stats: &Stats| stats.serving && matches!(stats.mode, Mode::Leader | Mode::Standalone);
    let leaders = stats.iter().enumerate().filter(|(_, stats)| leads(stats));
    leaders.max_by_key(|(_, stats)| stats.term).map(|(index, _)| index)
}

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct Seen(Option<usize>);

impl Seen {
    /// The line to print, if there is news.
    pub(super) fn look(&mut self, leader: Option<usize>, clients: &[HostPort]) -> Option<String> {
        if leader == self.0 {
            return None;
        }
        let former = std::mem::replace(&mut self.0, leader);
        Some(match (leader, former) {
            (Some(leader), None) => format!("server {} leads ({})", leader + 1, clients[leader]),
            (Some(leader), Some(former)) => format!(
                "server {} leads ({}) in place of server {}",
                leader + 1,
                clients[leader],
                former + 1
            ),
            (None, _) => "no server leads at the moment".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use zokor_core::raft::Term;

    use super::*;

    fn stats(mode: Mode, serving: bool, term: u64) -> Stats {
        Stats { mode, serving, term: Term(term), ..Stats::default() }
    }

    #[test]
    fn the_leader_of_the_latest_term_leads() {
        assert_eq!(leader_of(&[]), None);
        assert_eq!(leader_of(&[stats(Mode::Looking, false, 1)]), None);
        assert_eq!(leader_of(&[stats(Mode::Standalone, true, 1)]), Some(0));
        assert_eq!(leader_of(&[stats(Mode::Leader, false, 1)]), None);
        let two = [
            stats(Mode::Leader, true, 3),
            stats(Mode::Leader, true, 4),
            stats(Mode::Follower, true, 4),
        ];
        assert_eq!(leader_of(&two), Some(1));
    }

    #[test]
    fn only_news_are_told() {
        let clients: Vec<_> =
            (1..=2).map(|port| HostPort { host: "127.0.0.1".into(), port }).collect();
        let mut seen = Seen::default();
        assert_eq!(seen.look(None, &clients), None);
        assert_eq!(seen.look(Some(1), &clients).unwrap(), "server 2 leads (127.0.0.1:2)");
        assert_eq!(seen.look(Some(1), &clients), None);
        let changed = seen.look(Some(0), &clients).unwrap();
        assert_eq!(changed, "server 1 leads (127.0.0.1:1) in place of server 2");
        assert_eq!(seen.look(None, &clients).unwrap(), "no server leads at the moment");
    }
}
