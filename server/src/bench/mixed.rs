//! The usual load: every connection keeps some operations of a mix under way.
//!
//! Invariant: an operation that was begun ends as done or as failed, once.

use std::collections::VecDeque;

use bytes::Bytes;
use zokor_net::wire::jute::Reader;
use zokor_net::wire::opcode;

use super::link::name_of;
use super::links::{Links, Load, Loss, Reply};
use super::meter::{Begin, Meter};
use super::mix::{Draws, Kind};
use super::operations::{Made, Places};
use super::options::BenchArguments;
use super::schedule::{Deal, Pace};

/// A mix of operations over all connections.
#[derive(Debug)]
pub(super) struct Mixed<'a> {
    arguments: &'a BenchArguments,
    places: Places,
    draws: Draws,
    /// `None`: each answer brings the next operation.
    deal: Option<Deal>,
    /// Due times are counted from here.
    epoch_ns: u64,
    slots: Vec<Slot>,
    n_open: u64,
    /// Phases and counts.
    pub(super) meter: Meter,
}

/// What a connection has under way.
#[derive(Debug, Default)]
struct Slot {
    flights: VecDeque<Flight>,
    /// Due, and not sent since the connection has as much under way as it may.
    waiting: VecDeque<Waiting>,
    made: Made,
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    xid: i32,
    kind: Kind,
    begun_ns: u64,
    is_counted: bool,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    due_ns: u64,
    is_counted: bool,
}

impl<'a> Mixed<'a> {
    /// Nothing under way.
    pub(super) fn new(arguments: &'a BenchArguments, places: Places, meter: Meter) -> Self {
        let n = arguments.connections as usize;
        Mixed {
            arguments,
            places,
            draws: Draws::new(arguments.seed),
            deal: arguments.rate.map(|rate| Deal::new(Pace::new(rate), n)),
            epoch_ns: 0,
            slots: (0..n).map(|_| Slot::default()).collect(),
            n_open: 0,
            meter,
        }
    }

    /// Sends what this connection may send now.
    fn pump(&mut self, links: &mut Links, link: usize, now_ns: u64) {
        if !links.is_up(link) {
            return;
        }
        let limit = self.arguments.outstanding as usize;
        while self.slots[link].flights.len() < limit {
            let (begun_ns, is_counted) = if self.deal.is_some() {
                match self.slots[link].waiting.pop_front() {
                    Some(Waiting { due_ns, is_counted }) => (due_ns, is_counted),
                    None => return,
                }
            } else {
                match self.meter.begin(now_ns) {
                    Begin::No => return,
                    begin => {
                        self.n_open += 1;
                        (now_ns, begin == Begin::Counted)
                    }
                }
            };
            let kind = self.arguments.mix.pick(self.draws.next());
            let slot = &mut self.slots[link];
            let (kind, request) = self.places.request(kind, link, &mut slot.made, &mut self.draws);
            let xid = links.ask(link, &request);
            slot.flights.push_back(Flight { xid, kind, begun_ns, is_counted });
        }
    }

    /// Hands out what is due.
    fn deal_out(&mut self, links: &mut Links, now_ns: u64) {
        let Some(mut deal) = self.deal.take() else { return };
        let mut dealt = Vec::new();
        while let Some((link, due_ns)) = deal.next(now_ns - self.epoch_ns) {
            let due_ns = due_ns + self.epoch_ns;
            let begin = self.meter.begin(due_ns);
            if begin == Begin::No {
                break;
            }
            self.n_open += 1;
            let is_counted = begin == Begin::Counted;
            self.slots[link].waiting.push_back(Waiting { due_ns, is_counted });
            dealt.push(link);
        }
        self.deal = Some(deal);
        for link in dealt {
            self.pump(links, link, now_ns);
        }
    }

    /// When the next operation is due, on the clock of the run.
    fn next_due_ns(&self, now_ns: u64) -> u64 {
        match &self.deal {
            Some(deal) => deal.next_due_ns() + self.epoch_ns,
            None => now_ns,
        }
    }

    fn fail(&mut self, flight: Flight, why: &str) {
        self.n_open -= 1;
        self.meter.tally.failed(flight.kind, why);
    }

    /// The time is up: all that is under way or waits has failed.
    fn give_up(&mut self) {
        for link in 0..self.slots.len() {
            for flight in std::mem::take(&mut self.slots[link].flights) {
                self.fail(flight, "no answer");
            }
            for _ in std::mem::take(&mut self.slots[link].waiting) {
                self.n_open -= 1;
                let kind = self.arguments.mix.pick(self.draws.next());
                self.meter.tally.failed(kind, "due and could not be sent");
            }
        }
    }
}

impl Load for Mixed<'_> {
    fn up(&mut self, links: &mut Links, link: usize, now_ns: u64) {
        self.pump(links, link, now_ns);
    }

    fn reply(&mut self, links: &mut Links, link: usize, reply: Reply, now_ns: u64) {
        let Some(flight) = self.slots[link].flights.pop_front() else {
            self.meter.tally.failed(Kind::Get, "an answer that nobody asked for");
            return;
        };
        let error = match flight.kind {
            Kind::Multi if reply.error == 0 => error_in_multi(reply.body),
            _ => reply.error,
        };
        if reply.xid != flight.xid {
            self.fail(flight, "the answer is to another request");
        } else if error != 0 {
            self.fail(flight, &name_of(error));
        } else {
            self.n_open -= 1;
            if flight.is_counted {
                self.meter.tally.done(flight.kind, flight.begun_ns, now_ns);
            }
        }
        self.pump(links, link, now_ns);
    }

    fn event(&mut self, _links: &mut Links, _link: usize, _now_ns: u64) {
        self.meter.tally.failed(Kind::Watch, "a notification that nobody asked for");
    }

    fn lost(&mut self, _links: &mut Links, link: usize, loss: Loss<'_>, _now_ns: u64) {
        for flight in std::mem::take(&mut self.slots[link].flights) {
            self.fail(flight, loss.why);
        }
        self.slots[link].made.forget();
    }

    fn turn(&mut self, links: &mut Links, now_ns: u64) -> Option<u64> {
        if !self.meter.has_started() {
            if !links.all_up() {
                return self.meter.awaits_start(links.stuck(now_ns)).then_some(u64::MAX);
            }
            self.meter.start(now_ns);
            self.epoch_ns = now_ns;
            self.meter.turn(now_ns);
            for link in 0..links.len() {
                self.pump(links, link, now_ns);
            }
        }
        self.meter.turn(now_ns);
        self.deal_out(links, now_ns);
        if self.meter.gives_up(now_ns) {
            self.give_up();
        }
        let next_due_ns = self.next_due_ns(now_ns);
        if self.n_open == 0 && self.meter.is_over(next_due_ns) {
            return None;
        }
        let next_due_ns = if self.deal.is_some() && !self.meter.is_over(next_due_ns) {
            next_due_ns
        } else {
            u64::MAX
        };
        Some(self.meter.wake_ns().min(next_due_ns))
    }
}

/// The error of the first result of a multi, 0 if it succeeded: all fail together.
fn error_in_multi(body: Bytes) -> i32 {
    let limit = body.len();
    let mut reader = Reader::new(body, limit);
    let mut head = || Some((reader.int("type").ok()?, reader.bool("").ok()?, reader.int("").ok()?));
    match head() {
        None => MARSHALLING_ERROR,
        Some((opcode::ERROR, false, 0)) => FAILED_LATER,
        Some((opcode::ERROR, false, error)) => error,
        Some(_) => 0,
    }
}

/// A later operation of the multi failed.
const FAILED_LATER: i32 = -2;
const MARSHALLING_ERROR: i32 = -5;
