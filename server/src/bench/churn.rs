//! Sessions that come and go: every connection opens one, closes it, and begins again.
//!
//! Invariant: one attempt at a time on each connection; it ends as done or as failed.

use std::collections::VecDeque;

use super::link::name_of;
use super::links::{Links, Load, Loss, Reply};
use super::meter::{Begin, Meter};
use super::mix::Kind;
use super::schedule::{Deal, Pace};

/// Sessions over all connections.
#[derive(Debug)]
pub(super) struct Churn {
    deal: Option<Deal>,
    epoch_ns: u64,
    slots: Vec<Slot>,
    /// Connections on which nothing was begun after the last attempt failed, and when to begin.
    idle: Vec<(usize, u64)>,
    n_open: u64,
    /// Phases and counts.
    pub(super) meter: Meter,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    attempt: Option<Attempt>,
    waiting: VecDeque<Attempt>,
}

#[derive(Clone, Copy, Debug)]
struct Attempt {
    begun_ns: u64,
    is_counted: bool,
}

impl Churn {
    /// No session yet. `rate`: sessions a second.
    pub(super) fn new(n: u32, rate: Option<f64>, meter: Meter) -> Self {
        Churn {
            deal: rate.map(|rate| Deal::new(Pace::new(rate), n as usize)),
            epoch_ns: 0,
            slots: vec![Slot::default(); n as usize],
            idle: (0..n as usize).map(|link| (link, 0)).collect(),
            n_open: 0,
            meter,
        }
    }

    /// Opens the next session on a connection that rests.
    fn open(&mut self, links: &mut Links, link: usize, now_ns: u64) {
        if !links.is_resting(link) {
            return;
        }
        let next = if self.deal.is_some() {
            self.slots[link].waiting.pop_front()
        } else {
            match self.meter.begin(now_ns) {
                Begin::No => None,
                begin => {
                    self.n_open += 1;
                    Some(Attempt { begun_ns: now_ns, is_counted: begin == Begin::Counted })
                }
            }
        };
        if let Some(attempt) = next {
            self.slots[link].attempt = Some(attempt);
            links.connect(self, link, now_ns);
        }
    }

    fn deal_out(&mut self, links: &mut Links, now_ns: u64) {
        let Some(mut deal) = self.deal.take() else { return };
        let mut dealt = Vec::new();
        while let Some((link, due_ns)) = deal.next(now_ns - self.epoch_ns) {
            let begun_ns = due_ns + self.epoch_ns;
            let begin = self.meter.begin(begun_ns);
            if begin == Begin::No {
                break;
            }
            self.n_open += 1;
            let is_counted = begin == Begin::Counted;
            self.slots[link].waiting.push_back(Attempt { begun_ns, is_counted });
            dealt.push(link);
        }
        self.deal = Some(deal);
        for link in dealt {
            self.open(links, link, now_ns);
        }
    }

    fn fail(&mut self, link: usize, why: &str) {
        if self.slots[link].attempt.take().is_some() {
            self.n_open -= 1;
            self.meter.tally.failed(Kind::Session, why);
        }
    }

    fn give_up(&mut self) {
        for link in 0..self.slots.len() {
            self.fail(link, "no answer");
            for _ in std::mem::take(&mut self.slots[link].waiting) {
                self.n_open -= 1;
                self.meter.tally.failed(Kind::Session, "due and could not be opened");
            }
        }
    }
}

impl Load for Churn {
    fn up(&mut self, links: &mut Links, link: usize, _now_ns: u64) {
        links.ask_to_close(link);
    }

    fn reply(&mut self, links: &mut Links, link: usize, reply: Reply, now_ns: u64) {
        if reply.error != 0 {
            self.fail(link, &name_of(reply.error));
        } else if let Some(attempt) = self.slots[link].attempt.take() {
            self.n_open -= 1;
            if attempt.is_counted {
                self.meter.tally.done(Kind::Session, attempt.begun_ns, now_ns);
            }
        }
        links.closed(link);
    }

    fn event(&mut self, _links: &mut Links, _link: usize, _now_ns: u64) {
        self.meter.tally.failed(Kind::Session, "a notification that nobody asked for");
    }

    fn lost(&mut self, links: &mut Links, link: usize, loss: Loss<'_>, now_ns: u64) {
        self.fail(link, loss.why);
        links.rest(link);
        // Not at once: a server that refuses would be asked in a ring.
        self.idle.push((link, now_ns + RETRY_NS));
    }

    fn rested(&mut self, links: &mut Links, link: usize, now_ns: u64) {
        self.open(links, link, now_ns);
    }

    fn turn(&mut self, links: &mut Links, now_ns: u64) -> Option<u64> {
        if !self.meter.has_started() {
            self.meter.start(now_ns);
            self.epoch_ns = now_ns;
            for link in 0..links.len() {
                links.rest(link);
            }
        }
        self.meter.turn(now_ns);
        self.deal_out(links, now_ns);
        if self.meter.gives_up(now_ns) {
            self.give_up();
        }
        for (link, at_ns) in std::mem::take(&mut self.idle) {
            if at_ns <= now_ns {
                self.open(links, link, now_ns);
            } else {
                self.idle.push((link, at_ns));
            }
        }
        let idle_ns = self.idle.iter().map(|&(_, at_ns)| at_ns).min().unwrap_or(u64::MAX);
        let due_ns = match &self.deal {
            Some(deal) => deal.next_due_ns() + self.epoch_ns,
            None => now_ns,
        };
        let is_over = self.meter.is_over(due_ns);
        if self.n_open == 0 && is_over {
            return None;
        }
        let due_ns = if self.deal.is_some() && !is_over { due_ns } else { u64::MAX };
        Some(self.meter.wake_ns().min(due_ns).min(idle_ns))
    }
}

const RETRY_NS: u64 = 20_000_000;
