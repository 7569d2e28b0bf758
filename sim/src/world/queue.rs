//! What is to happen, in order of time.
//!
//! Invariant: two events of the same time happen in the order in which they were put in.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Simulated time in microseconds since the start of the run.
pub type Micros = u64;

/// Events by time, then by the order in which they were scheduled.
#[derive(Debug)]
pub struct Queue<E> {
    heap: BinaryHeap<Reverse<Slot<E>>>,
    next_sequence: u64,
}

impl<E> Queue<E> {
    /// Nothing to happen.
    pub fn new() -> Self {
        Queue { heap: BinaryHeap::new(), next_sequence: 0 }
    }

    /// Lets `event` happen at `time`.
    pub fn push(&mut self, time: Micros, event: E) {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.heap.push(Reverse(Slot { time, sequence, event }));
    }

    /// When something happens next.
    pub fn next_time(&self) -> Option<Micros> {
        self.heap.peek().map(|Reverse(slot)| slot.time)
    }

    /// What happens next, and when.
    pub fn pop(&mut self) -> Option<(Micros, E)> {
        self.heap.pop().map(|Reverse(slot)| (slot.time, slot.event))
    }
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Queue::new()
    }
}

#[derive(Debug)]
struct Slot<E> {
    time: Micros,
    sequence: u64,
    event: E,
}

impl<E> PartialEq for Slot<E> {
    fn eq(&self, other: &Self) -> bool {
        (self.time, self.sequence) == (other.time, other.sequence)
    }
}

impl<E> Eq for Slot<E> {}

impl<E> PartialOrd for Slot<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Slot<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.time, self.sequence).cmp(&(other.time, other.sequence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_in_order() {
        let mut queue = Queue::new();
        queue.push(5, 'c');
        queue.push(1, 'a');
        queue.push(5, 'd');
        queue.push(2, 'b');
        assert_eq!(queue.next_time(), Some(1));
        let mut order = String::new();
        while let Some((_, event)) = queue.pop() {
            order.push(event);
        }
        assert_eq!(order, "abcd");
    }
}
