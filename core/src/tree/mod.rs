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
use xxhash_rust::xxh3::xxh3_64;

pub use acl::permits;
pub use scheme::{ANY_SASL, shown};
pub use tally::is_due;
pub use znode::{Kind, StoredStat, Znode, next_version};

use crate::cell::{Cell, SharedData};
use crate::id::SessionId;
use crate::pages::Pages;
use crate::proto::{Acl, AclList, name_of, parent_of};
use crate::time::WallTime;
use acl::AclLists;
use children::Children;
use tally::Tally;

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

/// The values of a znode that a change may replace, to put them back.
#[derive(Clone, Debug)]
pub struct Content {
    /// Its data.
    pub data: Option<SharedData>,
    /// Its ACL.
    pub acl: AclList,
    /// Its numbers.
    pub stat: StoredStat,
}

impl Content {
    /// For a znode that is to have all this.
    pub fn as_new(&self) -> NewZnode<'_> {
        NewZnode { data: self.data.as_deref(), acl: &self.acl, stat: &self.stat }
    }
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
            tree.acls.adopt(znode.shared_acl());
            tree.tally.arrive(znode);
            let place = Place { hash: hash(znode.path_bytes()), slot };
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
        self.znodes.get(self.find(path)?)
    }

    /// Whether there is a znode at `path`.
    pub fn contains(&self, path: &str) -> bool {
        self.find(path).is_some()
    }

    /// Adds a znode, and changes its parent's numbers by `update`; says what these were.
    ///
    /// # Panics
    /// If it is there, or its parent is not: callers have looked. If the parent's owner is changed.
    pub fn insert(
        &mut self,
        path: &str,
        new: NewZnode<'_>,
        update: impl FnOnce(&mut StoredStat),
    ) -> StoredStat {
        let slot = self.place(path, new);
        if path == "/" {
            return StoredStat::default();
        }
        let prefix = path.len() - name_of(path).len();
        let add = |children: &mut Children, name: &str, znodes: &Pages<Znode>| {
            children.insert(slot, name.as_bytes(), |slot| name_at(znodes, slot, prefix));
        };
        self.change_parent(path, add, update).1
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
        let slot = self.place(path, new);
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
        parent.into_iter().chain(self.find(path)).collect()
    }

    /// Puts a znode into its slot, and whatever knows of all znodes; but for its parent's list.
    fn place(&mut self, path: &str, new: NewZnode<'_>) -> u32 {
        let acl = self.acls.acquire(new.acl);
        let cell = Cell::new(&mut self.scratch, path, new.data);
        let znode = Znode::new(cell, acl, new.stat);
        self.tally.arrive(&znode);
        let hash = hash(path.as_bytes());
        let is_it = is_at(&self.znodes, hash, path);
        let entry = self.index.entry(spread(&Place { hash, slot: 0 }), is_it, spread);
        let Entry::Vacant(place) = entry else { panic!("{path:?} is there already") };
        let slot = self.znodes.insert(znode);
        place.insert(Place { hash, slot });
        slot
    }

    /// Takes a znode away, and changes its parent's numbers by `update`; says what these were.
    ///
    /// # Panics
    /// If it is not there, has children, or is the root. If the parent's owner is changed.
    pub fn remove(
        &mut self,
        path: &str,
        update: impl FnOnce(&mut StoredStat),
    ) -> (Content, StoredStat) {
        assert!(path != "/", "the root is never removed");
        let hash = hash(path.as_bytes());
        let is_it = is_at(&self.znodes, hash, path);
        let place = self.index.find_entry(spread(&Place { hash, slot: 0 }), is_it);
        let (Place { slot, .. }, _) = place.expect("callers look before they remove").remove();
        let prefix = path.len() - name_of(path).len();
        let take = |children: &mut Children, name: &str, znodes: &Pages<Znode>| {
            children.remove(name.as_bytes(), |slot| name_at(znodes, slot, prefix))
        };
        let (removed, before) = self.change_parent(path, take, update);
        assert_eq!(removed, slot, "index and children disagree on {path:?}");
        let znode = self.znodes.remove(slot).expect("the index names slots in use");
        assert!(znode.n_children() == 0, "{path:?} has children");
        self.tally.leave(&znode);
        self.acls.release(znode.acl());
        let acl = AclList::clone(znode.acl());
        (Content { data: znode.shared_data(), acl, stat: znode.stat() }, before)
    }

    /// Changes a znode's numbers, and says what they were.
    ///
    /// # Panics
    /// If it is not there, or its owner is changed.
    pub fn update_stat(&mut self, path: &str, update: impl FnOnce(&mut StoredStat)) -> StoredStat {
        self.change(path, |znode| updated(znode, update))
    }

    /// Sets a znode's data, and changes its numbers; says what both were.
    ///
    /// # Panics
    /// As [`update_stat`](Self::update_stat).
    pub fn set_data(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        update: impl FnOnce(&mut StoredStat),
    ) -> (Option<SharedData>, StoredStat) {
        let cell = Cell::new(&mut self.scratch, path, data);
        self.change(path, |znode| {
            let before = znode.shared_data();
            znode.set_cell(cell);
            (before, updated(znode, update))
        })
    }

    /// Sets a znode's ACL.
    ///
    /// # Panics
    /// If it is not there.
    pub fn set_acl(&mut self, path: &str, acl: &[Acl]) {
        let acl = self.acls.acquire(acl);
        let before = self.change(path, |znode| znode.set_acl(acl));
        self.acls.release(&before);
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

    fn find(&self, path: &str) -> Option<u32> {
        let path = if path.is_empty() { "/" } else { path };
        let hash = hash(path.as_bytes());
        let is_it = is_at(&self.znodes, hash, path);
        self.index.find(spread(&Place { hash, slot: 0 }), is_it).map(|place| place.slot)
    }

    /// Changes one znode in place; the tally follows.
    fn change<R>(&mut self, path: &str, change: impl FnOnce(&mut Znode) -> R) -> R {
        let slot = self.find(path).expect("callers look before they change");
        let znode = self.znodes.get_mut(slot).expect("the index names slots in use");
        self.tally.take(znode);
        let result = change(znode);
        self.tally.put(znode);
        result
    }

    /// Changes the list of children in which `path` belongs, `change` being given the name in it,
    /// and the numbers of the parent; says what these were.
    fn change_parent<R>(
        &mut self,
        path: &str,
        change: impl FnOnce(&mut Children, &str, &Pages<Znode>) -> R,
        update: impl FnOnce(&mut StoredStat),
    ) -> (R, StoredStat) {
        let parent = parent_of(path).and_then(|parent| self.find(parent));
        let parent = parent.expect("callers have looked for the parent");
        let znode = self.znodes.get_mut(parent).expect("the index names slots in use");
        self.tally.take(znode);
        let mut children = znode.take_children();
        let result = change(Arc::make_mut(&mut children), name_of(path), &self.znodes);
        let znode = self.znodes.get_mut(parent).expect("the index names slots in use");
        znode.set_children(children);
        let before = updated(znode, update);
        self.tally.put(znode);
        (result, before)
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
fn is_at(znodes: &Pages<Znode>, hash: u32, path: &str) -> impl Fn(&Place) -> bool {
    move |place| {
        let is_it = |znode: &Znode| znode.path_bytes() == path.as_bytes();
        place.hash == hash && znodes.get(place.slot).is_some_and(is_it)
    }
}

fn hash(path: &[u8]) -> u32 {
    (xxh3_64(path) >> 32) as u32
}

/// The table looks at the uppermost and the lowest bits; both must depend on the hash.
fn spread(place: &Place) -> u64 {
    u64::from(place.hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
