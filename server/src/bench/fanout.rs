//! One change, many watchers: how long until each has heard, and until the last has.
//!
//! Invariant: the next change is made when every session watches again, so that each change is
//! heard of exactly once by each. They set their watches again when the last has heard: what that
//! costs does not delay the news.

use super::link::name_of;
use super::links::{Links, Load, Loss, Reply};
use super::meter::{Begin, Meter};
use super::mix::Kind;
use super::operations::Places;
use super::schedule::{Deal, Pace};

/// Connection 0 changes a znode, all others watch it.
#[derive(Debug)]
pub(super) struct Fanout {
    places: Places,
    deal: Option<Deal>,
    epoch_ns: u64,
    watchers: Vec<Watcher>,
    n_armed: usize,
    change: Option<Change>,
    /// Phases and counts.
    pub(super) meter: Meter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watcher {
    /// Not connected, or nothing asked yet.
    Away,
    /// The watch is asked for.
    Arming,
    /// The watch is set.
    Armed,
    /// It has fired.
    Told,
}

/// The change under way.
#[derive(Clone, Copy, Debug)]
struct Change {
    begun_ns: u64,
    is_counted: bool,
    is_answered: bool,
    /// Who has not heard of it.
    n_deaf: usize,
}

impl Fanout {
    /// Nobody watches yet. `rate`: changes a second.
    pub(super) fn new(places: Places, n_watchers: u32, rate: Option<f64>, meter: Meter) -> Self {
        Fanout {
            places,
            deal: rate.map(|rate| Deal::new(Pace::new(rate), 1)),
            epoch_ns: 0,
            watchers: vec![Watcher::Away; n_watchers as usize + 1],
            n_armed: 0,
            change: None,
            meter,
        }
    }

    fn all_armed(&self) -> bool {
        self.n_armed + 1 == self.watchers.len()
    }

    fn set(&mut self, link: usize, state: Watcher) {
        self.n_armed -= usize::from(self.watchers[link] == Watcher::Armed);
        self.n_armed += usize::from(state == Watcher::Armed);
        self.watchers[link] = state;
    }

    fn arm(&mut self, links: &mut Links, link: usize) {
        self.set(link, Watcher::Arming);
        links.ask(link, &self.places.watch());
    }

    /// All who were told watch again, if nobody is still to be told.
    fn arm_all(&mut self, links: &mut Links) {
        if self.change.is_some_and(|change| change.n_deaf > 0) {
            return;
        }
        for link in 0..self.watchers.len() {
            if self.watchers[link] == Watcher::Told {
                self.arm(links, link);
            }
        }
    }

    /// Makes the next change if everybody watches and it is due.
    fn change(&mut self, links: &mut Links, now_ns: u64) {
        if self.change.is_some() || !self.all_armed() || !links.is_up(WRITER) {
            return;
        }
        let begun_ns = match &mut self.deal {
            None => now_ns,
            Some(deal) => match deal.next(now_ns - self.epoch_ns) {
                Some((_, due_ns)) => due_ns + self.epoch_ns,
                None => return,
            },
        };
        let begin = self.meter.begin(begun_ns);
        if begin == Begin::No {
            return;
        }
        links.ask(WRITER, &self.places.set(self.places.watched()));
        self.change = Some(Change {
            begun_ns,
            is_counted: begin == Begin::Counted,
            is_answered: false,
            n_deaf: self.n_armed,
        });
    }

    /// One more has heard of the change, or never will.
    fn heard(&mut self, links: &mut Links, now_ns: u64, kind: Option<Kind>) {
        let Some(change) = &mut self.change else { return };
        change.n_deaf = change.n_deaf.saturating_sub(1);
        let (begun_ns, is_last) = (change.begun_ns, change.n_deaf == 0);
        if change.is_counted {
            if let Some(kind) = kind {
                self.meter.tally.done(kind, begun_ns, now_ns);
            }
            if is_last {
                self.meter.tally.done(Kind::Last, begun_ns, now_ns);
            }
        }
        self.finish_change();
        if is_last {
            self.arm_all(links);
        }
    }

    fn finish_change(&mut self) {
        if self.change.is_some_and(|change| change.is_answered && change.n_deaf == 0) {
            self.change = None;
        }
    }

    fn answered(&mut self, reply: &Reply, now_ns: u64) {
        let Some(change) = &mut self.change else { return };
        change.is_answered = true;
        if reply.error != 0 {
            // Nobody will hear of it.
            change.n_deaf = 0;
            self.meter.tally.failed(Kind::Set, &name_of(reply.error));
        } else if change.is_counted {
            self.meter.tally.done(Kind::Set, change.begun_ns, now_ns);
        }
        self.finish_change();
    }
}

impl Load for Fanout {
    fn up(&mut self, links: &mut Links, link: usize, _now_ns: u64) {
        if link != WRITER {
            self.arm(links, link);
        }
    }

    fn reply(&mut self, links: &mut Links, link: usize, reply: Reply, now_ns: u64) {
        if link == WRITER {
            self.answered(&reply, now_ns);
            self.arm_all(links);
        } else if reply.error == 0 {
            self.set(link, Watcher::Armed);
        } else {
            self.meter.tally.failed(Kind::Watch, &name_of(reply.error));
            self.arm(links, link);
        }
        self.change(links, now_ns);
    }

    fn event(&mut self, links: &mut Links, link: usize, now_ns: u64) {
        if self.watchers[link] != Watcher::Armed {
            self.meter.tally.failed(Kind::Watch, "a notification that nobody asked for");
            return;
        }
        if self.change.is_none() {
            // Of a change whose answer was lost with the connection.
            self.arm(links, link);
            return;
        }
        self.set(link, Watcher::Told);
        self.heard(links, now_ns, Some(Kind::Watch));
    }

    fn lost(&mut self, links: &mut Links, link: usize, loss: Loss<'_>, now_ns: u64) {
        if !loss.was_up {
            return;
        }
        if link == WRITER {
            if self.change.take().is_some() {
                self.meter.tally.failed(Kind::Set, loss.why);
            }
            // Whether it was made nobody knows; who was told of it watches for the next one.
            self.arm_all(links);
            return;
        }
        self.meter.tally.failed(Kind::Watch, loss.why);
        let was_armed = self.watchers[link] == Watcher::Armed;
        self.set(link, Watcher::Away);
        if was_armed {
            self.heard(links, now_ns, None);
        }
    }

    fn turn(&mut self, links: &mut Links, now_ns: u64) -> Option<u64> {
        if !self.meter.has_started() && links.all_up() && self.all_armed() {
            self.meter.start(now_ns);
            self.epoch_ns = now_ns;
            self.meter.turn(now_ns);
        }
        if !self.meter.has_started() {
            return self.meter.awaits_start(links.stuck(now_ns)).then_some(u64::MAX);
        }
        self.meter.turn(now_ns);
        self.change(links, now_ns);
        if self.meter.gives_up(now_ns)
            && let Some(change) = self.change.take()
        {
            for _ in 0..change.n_deaf {
                self.meter.tally.failed(Kind::Watch, "no notification");
            }
            if !change.is_answered {
                self.meter.tally.failed(Kind::Set, "no answer");
            }
        }
        let due_ns = match &self.deal {
            Some(deal) => deal.next_due_ns() + self.epoch_ns,
            None => now_ns,
        };
        if self.change.is_none() && self.meter.is_over(due_ns) {
            return None;
        }
        let idle = self.change.is_none() && self.all_armed() && self.deal.is_some();
        Some(if idle { self.meter.wake_ns().min(due_ns) } else { self.meter.wake_ns() })
    }
}

/// The connection that makes the changes.
const WRITER: usize = 0;
