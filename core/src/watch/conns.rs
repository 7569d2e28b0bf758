//! Which paths a connection watches: the mirror of who watches a path.
//!
//! Invariant: a connection has a slot exactly as long as it watches a path, and its list names each
//! path once.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::push;
use super::watchers::MAX_SLOTS;
use crate::id::ConnId;

/// Connections with watches, by small numbers.
#[derive(Debug, Default)]
pub(super) struct Conns {
    by_id: BTreeMap<ConnId, u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot {
    id: ConnId,
    /// Numbers of paths, in no order.
    places: Vec<u32>,
}

impl Conns {
    /// The slot of a connection, if it watches anything.
    pub(super) fn find(&self, conn: ConnId) -> Option<u32> {
        self.by_id.get(&conn).copied()
    }

    /// The slot of a connection that is to watch something.
    pub(super) fn intern(&mut self, conn: ConnId) -> u32 {
        if let Some(slot) = self.find(conn) {
            return slot;
        }
        let fresh = Slot { id: conn, places: Vec::new() };
        let slot = if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = fresh;
            slot
        } else {
            self.slots.push(fresh);
            let slot = u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX);
            assert!(slot < MAX_SLOTS, "file descriptors end before 2^28 connections do");
            slot
        };
        self.by_id.insert(conn, slot);
        slot
    }

    /// Whose slot it is.
    pub(super) fn id(&self, slot: u32) -> ConnId {
        self.slots[slot as usize].id
    }

    /// The paths of a slot, in no order of meaning.
    pub(super) fn places(&self, slot: u32) -> &[u32] {
        &self.slots[slot as usize].places
    }

    /// Connections ascending, with their slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ConnId, u32)> {
        self.by_id.iter().map(|(&conn, &slot)| (conn, slot))
    }

    /// The first connection behind `after`.
    pub(super) fn next(&self, after: Option<ConnId>) -> Option<ConnId> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_id.range((from, Bound::Unbounded)).next().map(|(&conn, _)| conn)
    }

    /// Notes a path; returns where it stands in the list.
    pub(super) fn link(&mut self, slot: u32, place: u32) -> u32 {
        let places = &mut self.slots[slot as usize].places;
        push(places, place);
        u32::try_from(places.len() - 1).expect("there are at most 2^32 paths")
    }

    /// Takes a path out of the list. The path that comes back stands at `position` now.
    pub(super) fn unlink(&mut self, slot: u32, position: u32) -> Option<u32> {
        let Slot { id, places } = &mut self.slots[slot as usize];
        places.swap_remove(position as usize);
        if places.is_empty() {
            self.by_id.remove(id);
            *places = Vec::new();
            self.free.push(slot);
            return None;
        }
        if places.capacity() > 64 && places.len() < places.capacity() / 4 {
            places.shrink_to(places.capacity() / 2);
        }
        places.get(position as usize).copied()
    }

    /// Forgets a connection; returns its slot and its paths.
    pub(super) fn remove(&mut self, conn: ConnId) -> Option<(u32, Vec<u32>)> {
        let slot = self.by_id.remove(&conn)?;
        Some((slot, std::mem::take(&mut self.slots[slot as usize].places)))
    }

    /// Nothing names the slot any more.
    pub(super) fn release(&mut self, slot: u32) {
        self.free.push(slot);
    }
}
