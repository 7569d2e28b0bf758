//! The children of one znode, in order of their names.
//!
//! Invariant: chunks are never empty and never longer than `CHUNK`, and names ascend over all of
//! them. A list holds slots only; names are read off the znodes. A change to a list that is shared
//! with a frozen image copies one chunk, and the list of chunks once.

use std::sync::Arc;

/// Slots of znodes, ascending by the znodes' names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Children {
    chunks: Vec<Arc<Vec<u32>>>,
    len: usize,
}

/// A chunk is split when it would grow beyond this.
const CHUNK: usize = 128;

impl Children {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// All slots, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.chunks.iter().flat_map(|chunk| chunk.iter().copied())
    }

    /// The slot after `position` slots were taken, and the position after it. For walks that cannot
    /// hold an iterator.
    pub(super) fn at(&self, (chunk, within): (usize, usize)) -> Option<(u32, (usize, usize))> {
        let slots = self.chunks.get(chunk)?;
        let next = if within + 1 < slots.len() { (chunk, within + 1) } else { (chunk + 1, 0) };
        Some((slots[within], next))
    }

    /// The slot with the last name.
    pub(super) fn last(&self) -> Option<u32> {
        self.chunks.last().map(|chunk| chunk[chunk.len() - 1])
    }

    /// Adds `slot`, whose name comes after all others.
    pub(super) fn push(&mut self, slot: u32) {
        self.len += 1;
        match self.chunks.last_mut() {
            Some(last) if last.len() < CHUNK => Arc::make_mut(last).push(slot),
            _ => self.chunks.push(Arc::new(vec![slot])),
        }
    }

    /// Adds `slot`, whose name is `name`.
    ///
    /// # Panics
    /// If a child has that name: the tree looks before it inserts.
    pub(super) fn insert<'a>(&mut self, slot: u32, name: &[u8], name_at: impl Fn(u32) -> &'a [u8]) {
        // Numbered names come in this order, and to find a place among many costs.
        if self.last().is_none_or(|last| name_at(last) < name) {
            self.push(slot);
            return;
        }
        self.len += 1;
        let Err((chunk, within)) = self.find(name, name_at) else {
            panic!("two children of one name");
        };
        let slots = &mut self.chunks[chunk];
        if slots.len() < CHUNK {
            Arc::make_mut(slots).insert(within, slot);
        } else {
            let slots = Arc::make_mut(slots);
            let mut upper = slots.split_off(CHUNK / 2);
            match within.checked_sub(CHUNK / 2) {
                Some(within) => upper.insert(within, slot),
                None => slots.insert(within, slot),
            }
            self.chunks.insert(chunk + 1, Arc::new(upper));
        }
    }

    /// Takes the child of this name away.
    ///
    /// # Panics
    /// If there is none.
    pub(super) fn remove<'a>(&mut self, name: &[u8], name_at: impl Fn(u32) -> &'a [u8]) -> u32 {
        let (chunk, within) = self.find(name, name_at).expect("every znode is its parent's child");
        let slots = Arc::make_mut(&mut self.chunks[chunk]);
        let slot = slots.remove(within);
        self.len -= 1;
        let len = slots.len();
        if len == 0 {
            self.chunks.remove(chunk);
        } else if len < CHUNK / 4
            && self.chunks.get(chunk + 1).is_some_and(|next| len + next.len() <= CHUNK / 2)
        {
            let next = self.chunks.remove(chunk + 1);
            Arc::make_mut(&mut self.chunks[chunk]).extend_from_slice(&next);
        }
        slot
    }

    /// Where `name` is, or where it would have to be inserted.
    fn find<'a>(
        &self,
        name: &[u8],
        name_at: impl Fn(u32) -> &'a [u8],
    ) -> Result<(usize, usize), (usize, usize)> {
        let first_not_below =
            self.chunks.partition_point(|chunk| name_at(chunk[chunk.len() - 1]) < name);
        // Beyond the last name: the end of the last chunk.
        let chunk = first_not_below.min(self.chunks.len().saturating_sub(1));
        let Some(slots) = self.chunks.get(chunk) else { return Err((0, 0)) };
        match slots.binary_search_by(|&slot| name_at(slot).cmp(name)) {
            Ok(within) => Ok((chunk, within)),
            Err(within) => Err((chunk, within)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Inserts and removes by a fixed scramble, against a sorted list.
    #[test]
    fn names_stay_in_order_whatever_comes_and_goes() {
        let names: Vec<String> = (0..2_000).map(|n| format!("{:05}", n * 7_919 % 10_007)).collect();
        let name_at = |slot: u32| names[slot as usize].as_bytes();
        let mut children = Children::default();
        let mut model = std::collections::BTreeMap::new();
        for (slot, name) in names.iter().enumerate() {
            children.insert(slot as u32, name.as_bytes(), name_at);
            model.insert(name.as_str(), slot as u32);
            if slot % 3 == 0 {
                let gone = &names[slot / 2];
                if model.remove(gone.as_str()).is_some() {
                    assert_eq!(children.remove(gone.as_bytes(), name_at), (slot / 2) as u32);
                }
            }
        }
        assert!(children.iter().eq(model.values().copied()));
        assert_eq!(children.len(), model.len());
        for name in model.keys() {
            children.remove(name.as_bytes(), name_at);
        }
        assert_eq!((children.len(), children.chunks.len()), (0, 0));
    }

    #[test]
    fn ascending_names_leave_full_chunks() {
        let names: Vec<String> = (0..1_000).map(|n| format!("{n:05}")).collect();
        let mut children = Children::default();
        for slot in 0..1_000 {
            let name_at = |slot: u32| names[slot as usize].as_bytes();
            children.insert(slot, name_at(slot), name_at);
        }
        assert_eq!(children.chunks.len(), 1_000_usize.div_ceil(CHUNK));
    }
}
