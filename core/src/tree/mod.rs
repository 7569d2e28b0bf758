//! Znodes by path.
//!
//! Invariant: the tree is closed under parents, the root is there, and what the tally and the index
//! know follows from the znodes. Whatever a caller asks, the tree itself never reads a clock,
//! checks a permission or counts a version: that is the business of `db`'s verbs.

pub mod acl;
mod children;
mod names;
mod scheme;
mod tally;
mod znode;

use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

pub use acl::permits;
pub use scheme::{ANY_SASL, shown};
pub use tally::is_due;
pub use znode::{Kind, StoredStat, Znode, next_version};

use crate::cell::Cell;
use crate::id::SessionId;
use crate::pages::Pages;
use crate::proto::{Acl, name_of, parent_of};
use crate::time::WallTime;
use acl::AclLists;
use children::Children;
use tally::Tally;
use znode::hash_path;

/// All znodes. A clone shares them until either changes; index and tally are copied.
#[derive(Clone, Debug)]
pub struct Tree {
    znodes: Pages<Znode>,
    /// Finds a znode by the hash of its path. Never iterated.
    index: HashTable<Place>,
    acls: AclLists,
    tally: Tally,
    /// Where path and data are put together.
    scratch: Vec<u8>,
}

/// An entry of the index; the hash stands here so that growing the index touches no znode.
#[derive(Clone, Copy, Debug)]
struct Place {
    hash: u32,
    slot: u32,
}

impl Place {
    /// Of the hash of a path, half is kept.
    fn new(hash: u64, slot: u32) -> Self {
        Place { hash: (hash >> 32) as u32, slot }
    }
}

/// Where a znode is, for as long as it is there: what a search by path has found, so that nothing
/// is searched for twice.
#[derive(Clone, Copy, Debug)]
pub struct Spot {
    slot: u32,
    /// The hash of its path.
    hash: u64,
}

/// What a znode is made of, but for its path.
#[derive(Clone, Copy, Debug)]
pub struct NewZnode<'a> {
    /// Its data, which are copied; null and empty are different.
    pub data: Option<&'a [u8]>,
    /// Its ACL.
    pub acl: &'a [Acl],
    /// Its numbers.
    pub stat: &'a StoredStat,
}

impl Tree {
    /// A tree without even a root; only a snapshot is read into it.
    pub(crate) fn empty() -> Self {
        Tree {
            znodes: Pages::default(),
            index: HashTable::new(),
            acls: AclLists::default(),
            tally: Tally::default(),
            scratch: Vec::new(),
        }
    }

    /// The tree of a frozen image: index and tally are made anew.
    pub(crate) fn thaw(znodes: Pages<Znode>) -> Self {
        let mut tree = Tree::empty();
        tree.index.reserve(znodes.len(), spread);
        for (slot, znode) in znodes.iter() {
            let hash = hash_path(znode.path_bytes());
            tree.acls.adopt(znode.shared_acl());
            tree.tally.arrive(znode, hash);
            let place = Place::new(hash, slot);
            tree.index.insert_unique(spread(&place), place, spread);
        }
        tree.znodes = znodes;
        tree
    }

    /// All znodes as they are now; costs a pointer for each page.
    pub(crate) fn freeze(&self) -> Pages<Znode> {
        self.znodes.clone()
    }

    /// The znode at `path`; both `/` and the empty text are the root.
    pub fn get(&self, path: &str) -> Option<&Znode> {
        Some(self.at(self.find(path)?))
    }

    /// Where the znode at `path` is; both `/` and the empty text are the root.
    pub fn find(&self, path: &str) -> Option<Spot> {
        let path = if path.is_empty() { "/" } else { path };
        let hash = hash_path(path.as_bytes());
        let is_it = is_at(&self.znodes, hash, path);
        let place = self.index.find(spread(&Place::new(hash, 0)), is_it)?;
        Some(Spot { slot: place.slot, hash })
    }

    /// The znode that was found there.
    ///
    /// # Panics
    /// If it was removed since.
    pub fn at(&self, spot: Spot) -> &Znode {
        self.znodes.get(spot.slot).expect("what was found is still there")
    }

    /// Whether there is a znode at `path`.
    pub fn contains(&self, path: &str) -> bool {
        self.find(path).is_some()
    }

    /// Adds a znode, and changes the numbers of its parent by `update`.
    ///
    /// # Panics
    /// If it is there, or its parent is not: callers have looked. If the parent's owner is changed.
    pub fn insert(&mut self, path: &str, new: NewZnode<'_>, update: impl FnOnce(&mut StoredStat)) {
        if path == "/" {
            self.place(path, new);
            return;
        }
        let parent = parent_of(path).and_then(|parent| self.find(parent));
        let parent = parent.expect("callers have looked for the parent");
        self.insert_below(parent, path, new, update);
    }

    /// The same below a parent that was found; says where the znode is, and what the numbers of its
    /// parent were.
    ///
    /// # Panics
    /// The same.
    pub fn insert_below(
        &mut self,
        parent: Spot,
        path: &str,
        new: NewZnode<'_>,
        update: impl FnOnce(&mut StoredStat),
    ) -> (Spot, StoredStat) {
        let spot = self.place(path, new);
        let name = name_of(path);
        let prefix = path.len() - name.len();
        let add = |children: &mut Children, znodes: &Pages<Znode>| {
            children.insert(spot.slot, name.as_bytes(), |slot| name_at(znodes, slot, prefix));
        };
        (spot, self.change_parent(parent, add, update))
    }

    /// Adds a znode that comes after all that are there in the order of [`walk`](Self::walk), as
    /// [`insert`](Self::insert) would but without having to look for anything. `trail` is its own
    /// between calls: the way to the last one added. Says whether path, and what is there, are like
    /// that; if not, nothing is done.
    pub(crate) fn append(&mut self, trail: &mut Vec<u32>, path: &str, new: NewZnode<'_>) -> bool {
        let name = name_of(path);
        let prefix = path.len() - name.len();
        let is_parent = |parent: &Znode| match parent.path_bytes() {
            b"/" => prefix == 1,
            parent => parent.len() + 1 == prefix && path.as_bytes().starts_with(parent),
        };
        while trail.pop_if(|slot| !self.znodes.get(*slot).is_some_and(is_parent)).is_some() {}
        let Some(parent) = trail.last().and_then(|slot| self.znodes.get(*slot)) else {
            return false;
        };
        let last = parent.children().and_then(Children::last);
        let follows = last.is_none_or(|last| name_at(&self.znodes, last, prefix) < name.as_bytes());
        if name.is_empty() || !follows || matches!(parent.kind(), Kind::Ephemeral(_)) {
            return false;
        }
        let Spot { slot, .. } = self.place(path, new);
        let parent = trail.last().and_then(|slot| self.znodes.get_mut(*slot));
        let parent = parent.expect("it was found a few lines above");
        self.tally.take_due(parent);
        let mut children = parent.take_children();
        Arc::make_mut(&mut children).push(slot);
        parent.set_children(children);
        self.tally.put_due(parent);
        trail.push(slot);
        true
    }

    /// The trail behind `path`, for [`append`](Self::append).
    pub(crate) fn trail_behind(&self, path: &str) -> Vec<u32> {
        let parent = parent_of(path).and_then(|parent| self.find(parent));
        parent.into_iter().chain(self.find(path)).map(|spot| spot.slot).collect()
    }

    /// Puts a znode into its slot, and whatever knows of all znodes; but for its parent's list.
    fn place(&mut self, path: &str, new: NewZnode<'_>) -> Spot {
        let acl = self.acls.acquire(new.acl);
        let cell = Cell::new(&mut self.scratch, path, new.data);
        let znode = Znode::new(cell, acl, new.stat);
        let hash = hash_path(path.as_bytes());
        self.tally.arrive(&znode, hash);
        let is_it = is_at(&self.znodes, hash, path);
        let entry = self.index.entry(spread(&Place::new(hash, 0)), is_it, spread);
        let Entry::Vacant(place) = entry else { panic!("{path:?} is there already") };
        let slot = self.znodes.insert(znode);
        place.insert(Place::new(hash, slot));
        Spot { slot, hash }
    }

    /// Takes a znode away, and changes the numbers of its parent by `update`; says what these were.
    ///
    /// # Panics
    /// If it has children, or `parent` is not its parent. If the parent's owner is changed.
    pub fn remove(
        &mut self,
        spot: Spot,
        parent: Spot,
        update: impl FnOnce(&mut StoredStat),
    ) -> (Znode, StoredStat) {
        let Spot { slot, hash } = spot;
        let place = self.index.find_entry(spread(&Place::new(hash, 0)), |it| it.slot == slot);
        place.expect("what was found is still there").remove();
        let take = |children: &mut Children, znodes: &Pages<Znode>| {
            let path = child(znodes, slot).path();
            let name = name_of(path).as_bytes();
            let prefix = path.len() - name.len();
            let removed = children.remove(name, |slot| name_at(znodes, slot, prefix));
            assert_eq!(removed, slot, "index and children disagree on {path:?}");
        };
        let before = self.change_parent(parent, take, update);
        let znode = self.znodes.remove(slot).expect("the index names slots in use");
        assert!(znode.n_children() == 0, "{:?} has children", znode.path());
        self.tally.leave(&znode, hash);
        self.acls.release(znode.acl());
        (znode, before)
    }

    /// Changes a znode's numbers, and says what they were.
    ///
    /// # Panics
    /// If its owner is changed.
    pub fn update_stat(&mut self, spot: Spot, update: impl FnOnce(&mut StoredStat)) -> StoredStat {
        self.change(spot, |znode| updated(znode, update))
    }

    /// Sets a znode's data, and changes its numbers; says what both were.
    ///
    /// # Panics
    /// As [`update_stat`](Self::update_stat).
    pub(crate) fn set_data(
        &mut self,
        spot: Spot,
        data: Option<&[u8]>,
        update: impl FnOnce(&mut StoredStat),
    ) -> (Cell, StoredStat) {
        let znode = self.znodes.get(spot.slot).expect("what was found is still there");
        let cell = znode.cell().with_data(&mut self.scratch, data);
        self.set_cell(spot, cell, update)
    }

    /// The same with a cell that is there already, and has the znode's path.
    ///
    /// # Panics
    /// The same.
    pub(crate) fn set_cell(
        &mut self,
        spot: Spot,
        cell: Cell,
        update: impl FnOnce(&mut StoredStat),
    ) -> (Cell, StoredStat) {
        self.change(spot, |znode| (znode.set_cell(cell, spot.hash), updated(znode, update)))
    }

    /// Sets a znode's ACL.
    pub fn set_acl(&mut self, spot: Spot, acl: &[Acl]) {
        let acl = self.acls.acquire(acl);
        let before = self.change(spot, |znode| znode.set_acl(acl, spot.hash));
        self.acls.release(&before.list);
    }

    /// Every znode: the root first, parents before children, children by name.
    pub(crate) fn walk(&self) -> impl Iterator<Item = &Znode> {
        Walk::new(&self.znodes)
    }

    /// The names of a znode's children, ascending: texts, as bytes.
    pub(crate) fn names<'a>(&'a self, znode: &'a Znode) -> impl Iterator<Item = &'a [u8]> {
        let prefix = match znode.path_bytes() {
            b"/" => 1,
            path => path.len() + 1,
        };
        let slots = znode.children().into_iter().flat_map(Children::iter);
        slots.map(move |slot| name_at(&self.znodes, slot, prefix))
    }

    /// How many znodes are below `znode`, at all depths.
    pub fn n_descendants(&self, znode: &Znode) -> usize {
        if znode.path_bytes() == b"/" {
            return self.len() - 1;
        }
        let mut n = 0;
        let mut below = vec![znode];
        while let Some(znode) = below.pop() {
            n += znode.n_children();
            let slots = znode.children().into_iter().flat_map(Children::iter);
            let children = slots.map(|slot| child(&self.znodes, slot));
            below.extend(children.filter(|child| child.n_children() > 0));
        }
        n
    }

    /// `znode` and all that is below it, in no order that matters.
    pub fn subtree<'a>(&'a self, znode: &'a Znode) -> impl Iterator<Item = &'a Znode> {
        let mut left = vec![znode];
        std::iter::from_fn(move || {
            let znode = left.pop()?;
            let slots = znode.children().into_iter().flat_map(Children::iter);
            left.extend(slots.map(|slot| child(&self.znodes, slot)));
            Some(znode)
        })
    }

    /// How many znodes there are.
    pub fn len(&self) -> usize {
        self.znodes.len()
    }

    /// Whether there is no znode, not even a root.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The wrapping sum of all znodes' hashes.
    pub fn digest(&self) -> u64 {
        self.tally.digest
    }

    /// Bytes of data and paths, as ZooKeeper counts them.
    pub fn data_bytes(&self) -> u64 {
        self.tally.data_bytes
    }

    /// How many ephemeral znodes there are.
    pub fn n_ephemerals(&self) -> u64 {
        self.tally.n_ephemerals
    }

    /// How many distinct ACLs there are besides the open one.
    pub fn n_acls(&self) -> usize {
        self.acls.len()
    }

    /// The ephemeral znodes of a session whose paths begin with `prefix`, ascending.
    pub fn ephemerals<'a>(
        &'a self,
        owner: SessionId,
        prefix: &'a str,
    ) -> impl Iterator<Item = &'a Arc<str>> {
        self.tally.ephemerals(owner, prefix)
    }

    /// All ephemeral znodes by owner and path, ascending, behind `after`.
    pub fn ephemerals_after<'a>(
        &'a self,
        after: Option<(SessionId, &'a str)>,
    ) -> impl Iterator<Item = (SessionId, &'a Arc<str>)> {
        self.tally.ephemerals_after(after)
    }

    /// Every session that owns ephemeral znodes, ascending.
    pub fn owners(&self) -> impl Iterator<Item = SessionId> {
        self.tally.owners()
    }

    /// Containers and TTL znodes that may go at `now`, longest overdue first; then containers that
    /// never had a child and have stayed for longer than `unused_ms`, which is 0 for ever.
    pub fn due(&self, now: WallTime, unused_ms: i64) -> impl Iterator<Item = &Arc<str>> {
        self.tally.due(now, unused_ms)
    }

    /// Changes one znode in place; the tally follows.
    fn change<R>(&mut self, spot: Spot, change: impl FnOnce(&mut Znode) -> R) -> R {
        let znode = self.znodes.get_mut(spot.slot).expect("what was found is still there");
        self.tally.take(znode, spot.hash);
        let result = change(znode);
        self.tally.put(znode, spot.hash);
        result
    }

    /// Changes the list of children of `parent`, and its numbers; says what these were.
    fn change_parent(
        &mut self,
        parent: Spot,
        change: impl FnOnce(&mut Children, &Pages<Znode>),
        update: impl FnOnce(&mut StoredStat),
    ) -> StoredStat {
        let Spot { slot, hash } = parent;
        let znode = self.znodes.get_mut(slot).expect("what was found is still there");
        self.tally.take(znode, hash);
        let mut children = znode.take_children();
        change(Arc::make_mut(&mut children), &self.znodes);
        let znode = self.znodes.get_mut(slot).expect("it was there just now");
        znode.set_children(children);
        let before = updated(znode, update);
        self.tally.put(znode, hash);
        before
    }
}

/// Changes the numbers of `znode`, and says what they were.
fn updated(znode: &mut Znode, update: impl FnOnce(&mut StoredStat)) -> StoredStat {
    let before = znode.stat();
    let mut stat = before;
    update(&mut stat);
    assert_eq!(before.ephemeral_owner, stat.ephemeral_owner, "kinds never change");
    if stat != before {
        znode.set_stat(&stat);
    }
    before
}

/// Walks frozen znodes: the root first, parents before children, children by name.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    znodes: &'a Pages<Znode>,
    /// The znodes from the root to the last one given, each with where to go on among its children.
    /// On the heap, since a tree may be deep.
    trail: Vec<(&'a Znode, (usize, usize))>,
    root: Option<&'a Znode>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(znodes: &'a Pages<Znode>) -> Self {
        let root = znodes.iter().map(|(_, znode)| znode).find(|znode| znode.path_bytes() == b"/");
        Walk { znodes, trail: Vec::new(), root }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = &'a Znode;

    fn next(&mut self) -> Option<&'a Znode> {
        if let Some(root) = self.root.take() {
            self.trail.push((root, (0, 0)));
            return Some(root);
        }
        while let Some((znode, position)) = self.trail.last_mut() {
            let children = znode.children();
            if let Some((slot, next)) = children.and_then(|children| children.at(*position)) {
                *position = next;
                let child = child(self.znodes, slot);
                if child.n_children() > 0 {
                    self.trail.push((child, (0, 0)));
                }
                return Some(child);
            }
            self.trail.pop();
        }
        None
    }
}

/// The znode at `slot`, which stands in a list of children.
fn child(znodes: &Pages<Znode>, slot: u32) -> &Znode {
    znodes.get(slot).expect("children are in use")
}

/// The name of the znode at `slot`: what follows the `prefix` bytes that it shares with all
/// children of its parent.
fn name_at(znodes: &Pages<Znode>, slot: u32, prefix: usize) -> &[u8] {
    &child(znodes, slot).path_bytes()[prefix..]
}

/// Whether an entry of the index, of a path with this hash, is that of `path`.
fn is_at(znodes: &Pages<Znode>, hash: u64, path: &str) -> impl Fn(&Place) -> bool {
    let Place { hash, .. } = Place::new(hash, 0);
    move |place| {
        let is_it = |znode: &Znode| znode.path_bytes() == path.as_bytes();
        place.hash == hash && znodes.get(place.slot).is_some_and(is_it)
    }
}

/// The table looks at the uppermost and the lowest bits; both must depend on the hash.
fn spread(place: &Place) -> u64 {
    u64::from(place.hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
