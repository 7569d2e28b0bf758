//! A slab whose content can be frozen cheaply: slots in pages, pages shared until they are written to.
//!
//! Invariant: a clone shares every page with its origin, and neither ever sees what the other writes
//! afterwards, since a write to a shared page copies that page first.

use std::sync::Arc;

/// Values of one type, each at a number that stays its own until it is removed.
#[derive(Clone, Debug)]
pub(crate) struct Pages<T> {
    pages: Vec<Arc<Page<T>>>,
    /// Empty slots of `pages`; the last is taken first.
    free: Vec<u32>,
    len: usize,
}

type Page<T> = [Option<T>; SLOTS];

/// Slots of one page: the price of the first write to it after a freeze.
const SLOTS: usize = 64;

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Pages { pages: Vec::new(), free: Vec::new(), len: 0 }
    }
}

impl<T> Pages<T> {
    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The value at `slot`, if there is one.
    pub(crate) fn get(&self, slot: u32) -> Option<&T> {
        let (page, at) = split(slot);
        self.pages.get(page)?[at].as_ref()
    }

    /// Every value with its slot, ascending by slot.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let slots = self.pages.iter().flat_map(|page| page.iter());
        slots.enumerate().filter_map(|(slot, value)| Some((to_slot(slot), value.as_ref()?)))
    }
}

impl<T: Clone> Pages<T> {
    /// The value at `slot`, to be changed; its page is copied if it is shared.
    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        let (page, at) = split(slot);
        Arc::make_mut(self.pages.get_mut(page)?)[at].as_mut()
    }

    /// Puts `value` into an empty slot and says into which.
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        if self.free.is_empty() {
            let first = to_slot(self.pages.len() * SLOTS);
            let end = first.checked_add(SLOTS as u32).expect("memory ends before 2^32 slots do");
            self.pages.push(Arc::new(std::array::from_fn(|_| None)));
            self.free.extend((first..end).rev());
        }
        let slot = self.free.pop().expect("a page was added if there was no empty slot");
        let (page, at) = split(slot);
        let place = &mut Arc::make_mut(&mut self.pages[page])[at];
        assert!(place.is_none(), "slot {slot} is in the free list and taken");
        *place = Some(value);
        self.len += 1;
        slot
    }

    /// Takes the value at `slot` away; `None` if there is none.
    pub(crate) fn remove(&mut self, slot: u32) -> Option<T> {
        let (page, at) = split(slot);
        let value = Arc::make_mut(self.pages.get_mut(page)?)[at].take()?;
        self.free.push(slot);
        self.len -= 1;
        Some(value)
    }
}

fn split(slot: u32) -> (usize, usize) {
    (slot as usize / SLOTS, slot as usize % SLOTS)
}

fn to_slot(position: usize) -> u32 {
    u32::try_from(position).expect("memory ends before 2^32 slots do")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_keeps_what_its_origin_overwrites() {
        let mut pages = Pages::default();
        let slots: Vec<u32> = (0..200).map(|n| pages.insert(n)).collect();
        let frozen = pages.clone();
        *pages.get_mut(slots[3]).unwrap() = 1_000;
        assert_eq!(pages.remove(slots[100]), Some(100));
        assert_eq!(pages.insert(2_000), slots[100]);
        assert_eq!(frozen.get(slots[3]), Some(&3));
        assert_eq!(frozen.get(slots[100]), Some(&100));
        assert_eq!((pages.len(), frozen.len()), (200, 200));
        let shared = frozen.pages.iter().zip(&pages.pages).filter(|(a, b)| Arc::ptr_eq(a, b));
        assert_eq!(shared.count(), frozen.pages.len() - 2, "only written pages were copied");
    }

    #[test]
    fn an_empty_slot_yields_nothing() {
        let mut pages = Pages::default();
        let slot = pages.insert("a");
        assert_eq!(pages.remove(slot), Some("a"));
        assert_eq!(pages.remove(slot), None);
        assert_eq!(pages.get(slot), None);
        assert_eq!(pages.get(1_000_000), None);
        assert_eq!(pages.iter().count(), 0);
    }
}
