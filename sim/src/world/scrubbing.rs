//! Servers that read what is at rest, and what becomes of what has rotted there.
//!
//! Invariant: when all was read twice since something rotted, and nothing is said to be damaged any
//! more, then nothing is: whoever looks at the folder from outside finds no fault with it.

use zokor_core::Input;
use zokor_net::storage::{Scrubbed, inspect};

use super::disk_faults::Written;
use super::event::Event;
use super::queue::Micros;
use super::stepped::World;
use crate::check::{Verdict, must};
use crate::trace::{Kind, Lane};

/// What is checked here.
const CHECK: &str = "what is at rest is put right";
/// How often a server reads a part.
const PERIOD: Micros = 70_000;
/// How much, about: two or three files.
const PART_BYTES: u64 = 96 << 10;
/// Rounds that have seen all that had rotted before: the one under way may have passed it.
const ROUNDS: u64 = 2;

impl World {
    /// A server that has just started begins to read what is at rest.
    pub(super) fn begin_to_scrub(&mut self, server: u64) {
        let state = self.server(server);
        let life = state.life;
        if state.sectors.as_ref().is_some_and(|sectors| sectors.scrubs()) {
            self.queue.push(self.time + PERIOD, Event::Scrub { server, life });
        }
    }

    /// It reads a part.
    pub(super) fn scrub(&mut self, server: u64, life: u64) -> Verdict {
        let time = self.time;
        let state = self.server(server);
        if state.life != life || state.replica.is_none() {
            return Ok(());
        }
        let now = state.clock.now(time).instant;
        let Some(sectors) = &mut state.sectors else { return Ok(()) };
        sectors.tick(time);
        let (scrubbed, mended) = sectors.scrub(now, PART_BYTES);
        let Scrubbed { damage, repairs, wanted, counts, .. } = scrubbed;
        self.queue.push(time + PERIOD, Event::Scrub { server, life });
        for (name, told) in [("scrub: damage found", damage), ("scrub: damage repaired", repairs)] {
            for what in told {
                self.probes.hit(name);
                self.trace.note(time, Lane::Server(server), Kind::Note, || what);
            }
        }
        if matches!(self.settle(server, mended), Written::Failed) {
            return Ok(());
        }
        self.is_put_right(server, counts.left)?;
        wanted.map_or(Ok(()), |above| self.input(server, Input::SnapshotWanted { above }))
    }

    /// If enough was read since something rotted, and nothing is `left` to put right, nothing is
    /// wrong.
    fn is_put_right(&mut self, server: u64, left: u64) -> Verdict {
        let state = self.server(server);
        let (id, is_repairing) = (state.id, state.is_repairing);
        let Some(sectors) = &mut state.sectors else { return Ok(()) };
        let Some(since) = sectors.rot.filter(|_| !is_repairing && left == 0) else { return Ok(()) };
        if sectors.rounds < since + ROUNDS {
            return Ok(());
        }
        sectors.rot = None;
        if sectors.is_damaged {
            return Ok(());
        }
        let found = inspect(sectors.disk(), None).map(|found| found.damage);
        sectors.disk().take_met();
        let wrong: Vec<String> = match found {
            Ok(damage) => damage.iter().map(ToString::to_string).collect(),
            Err(error) => vec![error.to_string()],
        };
        if !wrong.is_empty() && !std::mem::replace(&mut sectors.is_doubted, true) {
            // It may have rotted in a file that counted for nothing, and is a segment now.
            sectors.rot = Some(sectors.rounds);
            return Ok(());
        }
        sectors.is_doubted = false;
        must(CHECK, wrong.is_empty(), || format!("server {id} says that all is well: {wrong:?}"))?;
        self.probes.hit("scrub: what rotted at rest is put right");
        self.atlas.repaired(server);
        Ok(())
    }
}
