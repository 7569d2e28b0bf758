//! Who is connected to the ports of operators.
//!
//! Invariant: there are never more than so many. Whoever waits with nothing to be answered gives
//! way to a newcomer, the longest there first; if there is nobody, whoever is slow with a request
//! or with its answer, but for those few whose work must not be lost half-way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// All guests of one server.
#[derive(Clone, Debug)]
pub(super) struct Guests {
    room: usize,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    present: BTreeMap<u64, Present>,
}

#[derive(Debug)]
struct Present {
    /// Requests of it that are being answered.
    n_busy: usize,
    /// Those of them whose answer is on its way.
    n_sending: usize,
    /// Those of them that must not be lost.
    n_kept: usize,
    _stays: oneshot::Sender<()>,
}

/// A connection's place among the guests; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Guest {
    number: u64,
    guests: Guests,
}

/// As long as this lives the guest does not have to go.
#[derive(Debug)]
pub(super) struct Busy {
    number: u64,
    guests: Guests,
    is_sending: bool,
    is_kept: bool,
}

impl Guests {
    /// Room for so many.
    pub(super) fn new(room: usize) -> Self {
        Guests { room, state: Arc::default() }
    }

    /// One more, and what resolves when it has to go; `None` if all others are to be kept.
    pub(super) fn enter(&self) -> Option<(Guest, oneshot::Receiver<()>)> {
        let mut state = self.lock();
        if state.present.len() >= self.room {
            let first = |is_it: fn(&Present) -> bool| {
                let mut present = state.present.iter();
                present.find(|(_, it)| is_it(it)).map(|(number, _)| *number)
            };
            let goes = first(|it| it.n_busy == 0).or_else(|| first(|it| it.n_kept == 0))?;
            state.present.remove(&goes);
        }
        state.last += 1;
        let number = state.last;
        let (stays, pushed_out) = oneshot::channel();
        state.present.insert(number, Present { n_busy: 0, n_sending: 0, n_kept: 0, _stays: stays });
        Some((Guest { number, guests: self.clone() }, pushed_out))
    }

    fn change(&self, number: u64, change: impl FnOnce(&mut Present)) {
        if let Some(present) = self.lock().present.get_mut(&number) {
            change(present);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest {
    /// A request of it is being answered.
    pub(super) fn busy(&self) -> Busy {
        self.guests.change(self.number, |it| it.n_busy += 1);
        Busy { number: self.number, guests: self.guests.clone(), is_sending: false, is_kept: false }
    }

    /// Whether an answer is on its way to it.
    pub(super) fn is_being_sent(&self) -> bool {
        self.guests.lock().present.get(&self.number).is_some_and(|it| it.n_sending > 0)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.guests.lock().present.remove(&self.number);
    }
}

impl Busy {
    /// What it is busy with must not be lost half-way.
    pub(super) fn keep(&mut self) {
        if !std::mem::replace(&mut self.is_kept, true) {
            self.guests.change(self.number, |it| it.n_kept += 1);
        }
    }

    /// What is to be said is known: from now on it is up to the guest.
    pub(super) fn sends(&mut self) {
        if !std::mem::replace(&mut self.is_sending, true) {
            self.guests.change(self.number, |it| it.n_sending += 1);
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let (was_sending, was_kept) = (usize::from(self.is_sending), usize::from(self.is_kept));
        self.guests.change(self.number, |it| {
            it.n_busy = it.n_busy.saturating_sub(1);
            it.n_kept = it.n_kept.saturating_sub(was_kept);
            it.n_sending = it.n_sending.saturating_sub(was_sending);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it has to go.
    fn has_to_go(out: &mut oneshot::Receiver<()>) -> bool {
        out.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    #[test]
    fn the_longest_idle_gives_way_before_the_busy_and_the_kept_stay() {
        let guests = Guests::new(2);
        let (first, mut first_out) = guests.enter().unwrap();
        let mut busy = first.busy();
        let (_second, mut second_out) = guests.enter().unwrap();
        let (third, mut third_out) = guests.enter().unwrap();
        assert!(!has_to_go(&mut first_out) && has_to_go(&mut second_out));
        let mut also_busy = third.busy();
        also_busy.sends();
        assert!(!first.is_being_sent() && third.is_being_sent());
        busy.keep();
        let (fourth, mut fourth_out) = guests.enter().unwrap();
        assert!(has_to_go(&mut third_out), "nobody is idle, and it is not to be kept");
        let mut kept = fourth.busy();
        kept.keep();
        assert!(guests.enter().is_none());
        drop(busy);
        let (fifth, _) = guests.enter().unwrap();
        assert!(has_to_go(&mut first_out) && !has_to_go(&mut fourth_out));
        drop(fifth);
        assert!(guests.enter().is_some());
    }
}
