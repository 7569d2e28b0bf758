//! All watches, part by part, for whoever wants to see them and may not keep the server waiting.
//!
//! Invariant: what is watched from the first part to the last is shown, whatever comes and goes
//! meanwhile; it may be shown twice. What one part costs is bounded by what is asked for.

use super::Watches;
use crate::id::ConnId;

impl Watches {
    /// The first connection behind `after` that watches anything.
    pub fn next_connection(&self, after: Option<ConnId>) -> Option<ConnId> {
        self.conns.next(after)
    }

    /// The paths on which a connection has a data watch of any kind, among the `most` that stand
    /// before `end` in its list, and where the part before them ends; 0 if there is none. Begin
    /// with `usize::MAX`.
    ///
    /// A list is walked towards its beginning, since the last of it takes the place of one that
    /// goes.
    pub fn part_of_connection(&self, conn: ConnId, end: usize, most: usize) -> (Vec<&str>, usize) {
        let Some(slot) = self.conns.find(conn) else { return (Vec::new(), 0) };
        let places = self.conns.places(slot);
        let end = end.min(places.len());
        let begin = end.saturating_sub(most);
        let watched =
            places[begin..end].iter().filter(|&&place| self.is_in_data_table(place, conn));
        (watched.map(|&place| self.paths.text(place)).collect(), begin)
    }

    /// Paths with a data watch of any kind and their connections, ascending: some of those with the
    /// number `from` or a larger one, which have about `most` watches; and the number where the
    /// next part begins, `None` if there is none. Begin with 0.
    pub fn part_by_path(&self, from: u32, most: usize) -> (Vec<(&str, Vec<ConnId>)>, Option<u32>) {
        let (mut part, mut n_seen) = (Vec::new(), 0);
        for place in self.paths.from(from) {
            if n_seen >= most {
                return (part, Some(place));
            }
            let conns: Vec<ConnId> = self.in_data_table(place).collect();
            n_seen += conns.len().max(1);
            if !conns.is_empty() {
                part.push((self.paths.text(place), conns));
            }
        }
        (part, None)
    }

    fn is_in_data_table(&self, place: u32, conn: ConnId) -> bool {
        let index = self.seek(place, conn).expect("the lists are mirrors");
        self.watchers(place)[index].modes().is_in_data_table()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::watch::WatchKind;

    fn all_of(watches: &Watches, conn: ConnId, most: usize) -> Vec<String> {
        let (mut all, mut end) = (Vec::new(), usize::MAX);
        while end > 0 {
            let (part, before) = watches.part_of_connection(conn, end, most);
            assert!(part.len() <= most);
            all.extend(part.into_iter().map(str::to_owned));
            end = before;
        }
        all
    }

    #[test]
    fn parts_are_the_whole() {
        let mut watches = Watches::new();
        for n in 0..100 {
            watches.set(ConnId(7), &format!("/{n}"), WatchKind::Data);
            watches.set(ConnId(9), &format!("/{}", n / 10), WatchKind::Persistent);
        }
        watches.set(ConnId(8), "/child", WatchKind::Child);
        let mut conns = Vec::new();
        while let Some(conn) = watches.next_connection(conns.last().copied()) {
            conns.push(conn);
        }
        assert_eq!(conns, [ConnId(7), ConnId(8), ConnId(9)]);
        for most in [1, 7, 100, 1_000] {
            let all: BTreeSet<String> = all_of(&watches, ConnId(7), most).into_iter().collect();
            assert_eq!(all.len(), 100);
            assert_eq!(all_of(&watches, ConnId(8), most), [""; 0], "not in the data table");
            let (mut n_watches, mut from) = (0, Some(0));
            while let Some(place) = from {
                let (part, next) = watches.part_by_path(place, most);
                n_watches += part.iter().map(|(_, conns)| conns.len()).sum::<usize>();
                from = next;
            }
            assert_eq!(n_watches, 110);
        }
    }

    #[test]
    fn what_stays_is_shown_while_others_go() {
        let mut watches = Watches::new();
        let path = |n: usize| format!("/{n}");
        (0..100).for_each(|n| watches.set(ConnId(1), &path(n), WatchKind::Data));
        let (mut shown, mut end, mut gone) = (BTreeSet::new(), usize::MAX, 0);
        while end > 0 {
            let (part, before) = watches.part_of_connection(ConnId(1), end, 10);
            shown.extend(part.into_iter().map(str::to_owned));
            end = before;
            for _ in 0..4 {
                watches.remove(ConnId(1), &path(gone), crate::proto::WatcherType::Any);
                gone += 2;
            }
        }
        for n in (0..100).filter(|n| n % 2 == 1 || *n >= gone) {
            assert!(shown.contains(&path(n)), "{n}");
        }
    }

    #[test]
    fn who_watches_nothing_has_no_parts() {
        let watches = Watches::new();
        assert_eq!(watches.next_connection(None), None);
        assert_eq!(watches.part_of_connection(ConnId(1), usize::MAX, 9), (Vec::new(), 0));
        assert_eq!(watches.part_by_path(0, 9), (Vec::new(), None));
        assert_eq!(watches.part_by_path(u32::MAX, 9), (Vec::new(), None));
    }
}
