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

use bytes::Bytes;
use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

pub use acl::permits;
pub use scheme::{ANY_SASL, shown};
pub use tally::is_due;
pub use znode::{Kind, StoredStat, Znode, next_version};

use crate::id::SessionId;
use crate::pages::Pages;
use crate::proto::{Acl, AclList, name_of, parent_of};
use crate::time::WallTime;
use acl::AclLists;
use tally::Tally;

/// All znodes. A clone shares them until either changes; index and tally are copied.
#[derive(Clone, Debug)]
pub struct Tree {
    znodes: Pages<Znode>,
    /// Finds a znode by the hash of its path. Never iterated.
    index: HashTable<Place>,
    acls: AclLists,
    tally: Tally,
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
    pub data: Option<Bytes>,
    /// Its ACL.
    pub acl: AclList,
    /// Its numbers.
    pub stat: StoredStat,
}

impl Tree {
    /// A tree without even a root; only a snapshot is read into it.
    pub(crate) fn empty() -> Self {
        Tree {
            znodes: Pages::default(),
            index: HashTable::new(),
            acls: AclLists::default(),
            tally: Tally::default(),
        }
    }

    /// The tree of a frozen image: index and tally are made anew.
    pub(crate) fn thaw(znodes: Pages<Znode>) -> Self {
        let mut tree = Tree::empty();
        tree.index.reserve(znodes.len(), spread);
        for (slot, znode) in znodes.iter() {
            tree.acls.adopt(&znode.acl);
            tree.tally.arrive(znode);
            let place = Place { hash: hash(&znode.path), slot };
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

    /// Adds a znode, without a change to its parent's numbers.
    ///
    /// # Panics
    /// If it is there, or its parent is not: callers have looked.
    pub fn insert(&mut self, path: &str, content: Content) {
        assert!(!self.contains(path), "{path:?} is there already");
        let slot = self.place(path, content);
        if path != "/" {
            let prefix = path.len() - name_of(path).len();
            self.with_children(path, |children, name, znodes| {
                children.insert(slot, name, |slot| name_at(znodes, slot, prefix));
            });
        }
    }

    /// Adds a znode that comes after all that are there in the order of [`walk`](Self::walk), as
    /// [`insert`](Self::insert) would but without having to look for anything. `trail` is its own
    /// between calls: the way to the last one added. The content is given back if the path, or what
    /// is there, is not like that.
    pub(crate) fn append(
        &mut self,
        trail: &mut Vec<u32>,
        path: &str,
        content: Content,
    ) -> Result<(), Content> {
        let name = name_of(path);
        let prefix = path.len() - name.len();
        let is_parent = |parent: &Znode| match &*parent.path {
            "/" => prefix == 1,
            parent => parent.len() + 1 == prefix && path.starts_with(parent),
        };
        while trail.pop_if(|slot| !self.znodes.get(*slot).is_some_and(is_parent)).is_some() {}
        let Some(parent) = trail.last().and_then(|slot| self.znodes.get(*slot)) else {
            return Err(content);
        };
        let last = parent.children.as_ref().and_then(|children| children.last());
        let follows = last.is_none_or(|last| name_at(&self.znodes, last, prefix) < name);
        if name.is_empty() || !follows || matches!(parent.kind(), Kind::Ephemeral(_)) {
            return Err(content);
        }
        let slot = self.place(path, content);
        let parent = trail.last().and_then(|slot| self.znodes.get_mut(*slot));
        let parent = parent.expect("it was there above");
        self.tally.take_due(parent);
        Arc::make_mut(parent.children.get_or_insert_default()).push(slot);
        self.tally.put_due(parent);
        trail.push(slot);
        Ok(())
    }

    /// The trail behind `path`, for [`append`](Self::append).
    pub(crate) fn trail_behind(&self, path: &str) -> Vec<u32> {
        let parent = parent_of(path).and_then(|parent| self.find(parent));
        parent.into_iter().chain(self.find(path)).collect()
    }

    /// Puts a znode into its slot, and whatever knows of all znodes; but for its parent's list.
    fn place(&mut self, path: &str, content: Content) -> u32 {
        let acl = self.acls.acquire(&content.acl);
        let body = Znode::hash_body(path, content.data.as_ref(), &acl);
        let Content { data, stat, .. } = content;
        let znode = Znode { path: path.into(), data, acl, stat, body, children: None };
        self.tally.arrive(&znode);
        let slot = self.znodes.insert(znode);
        let place = Place { hash: hash(path), slot };
        self.index.insert_unique(spread(&place), place, spread);
        slot
    }

    /// Takes a znode away, without a change to its parent's numbers.
    ///
    /// # Panics
    /// If it is not there, has children, or is the root.
    pub fn remove(&mut self, path: &str) -> Content {
        assert!(path != "/", "the root is never removed");
        let slot = self.find(path).expect("callers look before they remove");
        let prefix = path.len() - name_of(path).len();
        let removed = self.with_children(path, |children, name, znodes| {
            children.remove(name, |slot| name_at(znodes, slot, prefix))
        });
        assert_eq!(removed, slot, "index and children disagree on {path:?}");
        let wanted = hash(path);
        let place = self
            .index
            .find_entry(spread(&Place { hash: wanted, slot }), |place| place.slot == slot);
        place.expect("it was found above").remove();
        let znode = self.znodes.remove(slot).expect("the index names slots in use");
        assert!(znode.children.is_none(), "{path:?} has children");
        self.tally.leave(&znode);
        self.acls.release(&znode.acl);
        Content { data: znode.data, acl: znode.acl, stat: znode.stat }
    }

    /// Changes a znode's numbers, and says what they were.
    ///
    /// # Panics
    /// If it is not there, or its owner is changed.
    pub fn update_stat(&mut self, path: &str, update: impl FnOnce(&mut StoredStat)) -> StoredStat {
        self.change(path, |znode| {
            let before = znode.stat;
            update(&mut znode.stat);
            assert_eq!(before.ephemeral_owner, znode.stat.ephemeral_owner, "kinds never change");
            before
        })
    }

    /// Sets a znode's data, and says what it was.
    ///
    /// # Panics
    /// If it is not there.
    pub fn set_data(&mut self, path: &str, data: Option<Bytes>) -> Option<Bytes> {
        self.change(path, |znode| {
            let before = std::mem::replace(&mut znode.data, data);
            znode.body = Znode::hash_body(&znode.path, znode.data.as_ref(), &znode.acl);
            before
        })
    }

    /// Sets a znode's ACL.
    ///
    /// # Panics
    /// If it is not there.
    pub fn set_acl(&mut self, path: &str, acl: &[Acl]) {
        let acl = self.acls.acquire(acl);
        let before = self.change(path, |znode| {
            let before = std::mem::replace(&mut znode.acl, acl);
            znode.body = Znode::hash_body(&znode.path, znode.data.as_ref(), &znode.acl);
            before
        });
        self.acls.release(&before);
    }

    /// Every znode: the root first, parents before children, children by name.
    pub(crate) fn walk(&self) -> impl Iterator<Item = &Znode> {
        Walk::new(&self.znodes)
    }

    /// The names of a znode's children, ascending.
    pub fn names<'a>(&'a self, znode: &'a Znode) -> impl Iterator<Item = &'a str> {
        let prefix = if &*znode.path == "/" { 1 } else { znode.path.len() + 1 };
        let slots = znode.children.iter().flat_map(|children| children.iter());
        slots.map(move |slot| name_at(&self.znodes, slot, prefix))
    }

    /// How many znodes are below `znode`, at all depths.
    pub fn n_descendants(&self, znode: &Znode) -> usize {
        if &*znode.path == "/" {
            return self.len() - 1;
        }
        let mut n = 0;
        let mut below = vec![znode];
        while let Some(znode) = below.pop() {
            n += znode.n_children();
            let slots = znode.children.iter().flat_map(|children| children.iter());
            let children = slots.map(|slot| self.znodes.get(slot).expect("children are in use"));
            below.extend(children.filter(|child| child.children.is_some()));
        }
        n
    }

    /// `znode` and all that is below it, in no order that matters.
    pub fn subtree<'a>(&'a self, znode: &'a Znode) -> impl Iterator<Item = &'a Znode> {
        let mut left = vec![znode];
        std::iter::from_fn(move || {
            let znode = left.pop()?;
            let slots = znode.children.iter().flat_map(|children| children.iter());
            left.extend(slots.map(|slot| self.znodes.get(slot).expect("children are in use")));
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
        let wanted = hash(path);
        let place = Place { hash: wanted, slot: 0 };
        let is_it = |place: &Place| {
            place.hash == wanted
                && self.znodes.get(place.slot).is_some_and(|znode| &*znode.path == path)
        };
        self.index.find(spread(&place), is_it).map(|place| place.slot)
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

    /// Changes the list of children in which `path` belongs; `change` is given the name in it.
    fn with_children<R>(
        &mut self,
        path: &str,
        change: impl FnOnce(&mut children::Children, &str, &Pages<Znode>) -> R,
    ) -> R {
        let parent = parent_of(path).and_then(|parent| self.find(parent));
        let parent = parent.expect("callers have looked for the parent");
        let znode = self.znodes.get_mut(parent).expect("the index names slots in use");
        self.tally.take_due(znode);
        let mut children = znode.children.take().unwrap_or_default();
        let list = Arc::make_mut(&mut children);
        let result = change(list, name_of(path), &self.znodes);
        let children = (list.len() > 0).then_some(children);
        let znode = self.znodes.get_mut(parent).expect("the index names slots in use");
        znode.children = children;
        self.tally.put_due(znode);
        result
    }
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
        let root = znodes.iter().map(|(_, znode)| znode).find(|znode| &*znode.path == "/");
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
            let children = znode.children.as_ref();
            if let Some((slot, next)) = children.and_then(|children| children.at(*position)) {
                *position = next;
                let child = self.znodes.get(slot).expect("children are in use");
                if child.children.is_some() {
                    self.trail.push((child, (0, 0)));
                }
                return Some(child);
            }
            self.trail.pop();
        }
        None
    }
}

/// The name of the znode at `slot`: what follows the `prefix` bytes that it shares with all
/// children of its parent.
fn name_at(znodes: &Pages<Znode>, slot: u32, prefix: usize) -> &str {
    &znodes.get(slot).expect("children are in use").path[prefix..]
}

fn hash(path: &str) -> u32 {
    (xxh3_64(path.as_bytes()) >> 32) as u32
}

/// The table looks at the uppermost and the lowest bits; both must depend on the hash.
fn spread(place: &Place) -> u64 {
    u64::from(place.hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
