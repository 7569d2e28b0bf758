//! Scenarios as bytes, for fuzzers: whatever the bytes are, they are a scenario.
//!
//! Invariant: the bytes are the draws by which a seed becomes a scenario, so that each of them is
//! one decision, and what they make is nothing that a seed could not make. What belongs together
//! stands together, with a mark between: a byte more or less changes the rest of its part alone.

use crate::plan::Plan;
use crate::rng::{Concern, Stream};
use crate::scenario::Scenario;
use crate::world::queue::Micros;

/// Between two parts. The first is the seed, then the plan, what goes wrong, what each client does,
/// and what comes after; a part that is missing is an empty one.
const MARK: [u8; 4] = *b"----";

/// Faults of such a scenario last no longer, so that there are many in a second.
const LONGEST: Micros = 6_000_000;

/// The scenario that `bytes` say.
pub fn scenario(bytes: &[u8]) -> Scenario {
    let mut parts = Parts(bytes);
    let seed = Stream::of_bytes(parts.next()).bits();
    let plan = Plan::draw(seed, &mut Stream::of_bytes(parts.next()));
    let scenario = Scenario::draw(short(plan), |_, draw| {
        draw(&mut Stream::of_bytes(parts.next()));
    });
    let checked = scenario.check();
    assert!(checked.is_ok(), "what is drawn makes sense: {checked:?}");
    scenario
}

/// The bytes that say the scenario of `seed`, but that it is short.
pub fn of_seed(seed: u64) -> Vec<u8> {
    let mut bytes = seed.to_le_bytes().to_vec();
    let mut stream = Stream::new(seed, Concern::Plan).noted();
    let plan = short(Plan::draw(seed, &mut stream));
    let mut add = |stream: Stream| {
        // A part that ends as a mark begins would move the mark; nobody draws one byte more.
        if bytes.last() == Some(&MARK[0]) {
            bytes.push(0);
        }
        bytes.extend_from_slice(&MARK);
        bytes.extend_from_slice(&stream.into_drawn());
    };
    add(stream);
    Scenario::draw(plan, |concern, draw| {
        let mut stream = Stream::new(seed, concern).noted();
        draw(&mut stream);
        add(stream);
    });
    bytes
}

fn short(plan: Plan) -> Plan {
    Plan { fault_time: plan.fault_time.min(LONGEST), ..plan }
}

/// What is left of the bytes.
struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    fn next(&mut self) -> &'a [u8] {
        let end = self.0.windows(MARK.len()).position(|bytes| bytes == MARK);
        let (part, rest) = match end {
            Some(end) => (&self.0[..end], &self.0[end + MARK.len()..]),
            None => (self.0, &[] as &[u8]),
        };
        self.0 = rest;
        part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_a_seed_say_its_scenario() {
        for seed in 0..50 {
            let expected = Scenario::of_plan(short(Plan::new(seed)));
            assert_eq!(scenario(&of_seed(seed)), expected);
        }
    }

    #[test]
    fn any_bytes_are_a_scenario_that_can_be_read_again() {
        let mut stream = Stream::new(1, Concern::Plan);
        for n in 0..200 {
            let mut bytes = of_seed(n);
            for _ in 0..stream.below(20) {
                let at = stream.below(bytes.len() as u64) as usize;
                bytes[at] = stream.bits() as u8;
            }
            bytes.truncate(stream.below(bytes.len() as u64 * 2) as usize);
            let scenario = scenario(&bytes);
            assert_eq!(Scenario::read(&scenario.text()), Ok(scenario));
        }
    }

    #[test]
    fn a_step_less_leaves_the_other_clients_as_they_are() {
        let seed = (0..).find(|&seed| Plan::new(seed).clients.count > 2).unwrap();
        let (bytes, whole) = (of_seed(seed), scenario(&of_seed(seed)));
        let is_mark = |at: &usize| bytes[*at..].starts_with(&MARK);
        let last = (0..bytes.len()).filter(is_mark).nth_back(1).unwrap();
        let mut fewer = bytes.clone();
        drop(fewer.drain(last + 10..last + 13));
        let fewer = scenario(&fewer);
        let count = whole.clients.len();
        assert_ne!(fewer.clients[count - 1], whole.clients[count - 1]);
        assert_eq!(fewer.clients[..count - 1], whole.clients[..count - 1]);
        assert_eq!(fewer.faults, whole.faults);
    }
}
