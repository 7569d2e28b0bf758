//! The whole state as plain values: what a snapshot holds, and what a server starts from.
//!
//! Invariant: an image never changes, whatever the database does after it, and its digest can be
//! computed anew from what it gives away.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64;

use super::restore::{FrozenRestores, RestoreFacts, Restores, Staged};
use crate::id::{Sequence, SessionId, Token};
use crate::pages::Pages;
use crate::proto::{AclList, Text, Zxid, name_of, parent_of};
use crate::session::Sessions;
use crate::tree::{Kind, Tree, Walk, Znode};

pub use crate::session::{Session, Session as SessionRecord};
pub use crate::tree::{NewZnode, StoredStat};

/// One znode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageNode {
    /// Where.
    pub path: Text,
    /// Its data; null and empty are different.
    pub data: Option<Bytes>,
    /// Its ACL.
    pub acl: AclList,
    /// Its numbers.
    pub stat: StoredStat,
}

impl ImageNode {
    /// For a znode that is to have all this.
    pub fn as_new(&self) -> NewZnode<'_> {
        NewZnode { data: self.data.as_deref(), acl: &self.acl, stat: &self.stat }
    }
}

/// Why values do not make a state.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ImageError {
    /// A znode came before its parent, or twice.
    #[error("znode {path:?} has no parent before it, or came twice")]
    Misplaced {
        /// Which.
        path: Text,
    },
    /// A session came twice.
    #[error("session {0} came twice")]
    SessionTwice(SessionId),
    /// There is no root.
    #[error("there is no root znode")]
    NoRoot,
    /// Something of a restore, and none is known.
    #[error("it holds a part of a restore that was never begun")]
    NoRestore,
    /// The digest of what came is another.
    #[error("the digest is {found:016x} and should be {expected:016x}")]
    Digest {
        /// As computed.
        found: u64,
        /// As promised.
        expected: u64,
    },
}

/// The state after one zxid, frozen: shared with the database until either changes.
#[derive(Clone, Debug)]
pub struct Image(Arc<Frozen>);

#[derive(Clone, Debug)]
struct Frozen {
    zxid: Zxid,
    znodes: Pages<Znode>,
    sessions: Pages<Session>,
    last_ids: BTreeMap<u8, SessionId>,
    restores: FrozenRestores,
    digest: u64,
    /// The tree that the znodes were put together in, if they were: to copy it costs much less than
    /// to make index and tally anew.
    tree: Option<Tree>,
}

impl Image {
    pub(super) fn freeze(
        zxid: Zxid,
        tree: &Tree,
        sessions: &Sessions,
        restores: &Restores,
    ) -> Self {
        Image(Arc::new(Frozen {
            zxid,
            znodes: tree.freeze(),
            sessions: sessions.freeze(),
            last_ids: sessions.last_ids().clone(),
            restores: restores.freeze(),
            digest: digest(zxid, tree, sessions, restores),
            tree: None,
        }))
    }

    /// The same, of a tree that is nobody's yet.
    fn built(zxid: Zxid, parts: Parts, restores: &Restores) -> Self {
        let Parts { tree, sessions, .. } = parts;
        Image(Arc::new(Frozen {
            zxid,
            znodes: tree.freeze(),
            sessions: sessions.freeze(),
            last_ids: sessions.last_ids().clone(),
            restores: restores.freeze(),
            digest: digest(zxid, &tree, &sessions, restores),
            tree: Some(tree),
        }))
    }

    pub(super) fn thaw(self) -> (Tree, Sessions, Restores) {
        let Frozen { zxid, znodes, sessions, last_ids, restores, digest: expected, tree } =
            Arc::unwrap_or_clone(self.0);
        let tree = tree.unwrap_or_else(|| Tree::thaw(znodes));
        let sessions = Sessions::thaw(sessions, last_ids);
        let restores = Restores::thaw(&restores);
        let found = digest(zxid, &tree, &sessions, &restores);
        assert_eq!(found, expected, "an image has one digest");
        (tree, sessions, restores)
    }

    /// The zxid of the last entry in it.
    pub fn zxid(&self) -> Zxid {
        self.0.zxid
    }

    /// The digest of everything in it.
    pub fn digest(&self) -> u64 {
        self.0.digest
    }

    /// How many znodes `nodes` gives.
    pub fn node_count(&self) -> usize {
        self.0.znodes.len()
    }

    /// Every znode: the root first, parents before children, children by name.
    pub fn nodes(&self) -> impl Iterator<Item = ImageNode> + '_ {
        nodes(&self.0.znodes)
    }

    /// What is known of restores.
    pub fn restores(&self) -> RestoreFacts {
        self.0.restores.facts
    }

    /// The znodes that have come of a restore that is under way, in the order of
    /// [`nodes`](Self::nodes).
    pub fn staged_nodes(&self) -> impl Iterator<Item = ImageNode> + '_ {
        nodes(&self.0.restores.znodes)
    }

    /// The sessions that have come of it, ascending by id.
    pub fn staged_sessions(&self) -> impl Iterator<Item = SessionRecord> + '_ {
        let staged = self.0.restores.sessions.iter();
        let mut sessions: Vec<_> = staged.map(|(_, session)| session.clone()).collect();
        sessions.sort_unstable_by_key(|session| session.id);
        sessions.into_iter()
    }

    /// Every session, ascending by id.
    pub fn sessions(&self) -> impl Iterator<Item = SessionRecord> + '_ {
        let mut sessions: Vec<_> = self.0.sessions.iter().map(|(_, session)| session).collect();
        sessions.sort_unstable_by_key(|session| session.id);
        sessions.retain(|_| !mutated!(SessionsLeftOut));
        sessions.into_iter().map(|session| {
            let is_lost = mutated!(SequenceLeftOut);
            let sequence = if is_lost { Sequence(0) } else { session.sequence };
            Session { sequence, ..session.clone() }
        })
    }

    /// By the upper byte of session ids (the server that gave them): the largest ever opened.
    pub fn last_session_ids(&self) -> &BTreeMap<u8, SessionId> {
        &self.0.last_ids
    }
}

/// Znodes and sessions that are being put together.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) tree: Tree,
    pub(super) sessions: Sessions,
    /// Where the next znode belongs, if it is the next of a walk.
    pub(super) trail: Vec<u32>,
}

impl Default for Parts {
    fn default() -> Self {
        Parts { tree: Tree::empty(), sessions: Sessions::default(), trail: Vec::new() }
    }
}

impl Parts {
    /// Adds a znode; see [`ImageBuilder::node`].
    pub(super) fn put(&mut self, path: &str, new: NewZnode<'_>) -> Result<(), ImageError> {
        if self.tree.append(&mut self.trail, path, new) {
            return Ok(());
        }
        let has_place = if self.tree.is_empty() {
            path == "/"
        } else {
            // Of a path with one slash the parent is the empty text, and so it is never "/".
            let parent = parent_of(path).filter(|parent| *parent != "/");
            let parent = parent.and_then(|parent| self.tree.get(parent));
            let may_have_children = |parent: &Znode| !matches!(parent.kind(), Kind::Ephemeral(_));
            parent.is_some_and(may_have_children)
                && !name_of(path).is_empty()
                && !self.tree.contains(path)
        };
        if !has_place {
            return Err(ImageError::Misplaced { path: path.into() });
        }
        self.tree.insert(path, new, |_| ());
        self.trail = self.tree.trail_behind(path);
        Ok(())
    }

    /// Adds a session; see [`ImageBuilder::session`].
    pub(super) fn session(&mut self, session: SessionRecord) -> Result<(), ImageError> {
        if self.sessions.get(session.id).is_some() {
            return Err(ImageError::SessionTwice(session.id));
        }
        self.sessions.insert(session);
        Ok(())
    }

    /// The digest of both.
    pub(super) fn digest(&self) -> u64 {
        self.tree.digest().wrapping_add(self.sessions.digest())
    }
}

/// Builds an [`Image`] from what a snapshot holds.
#[derive(Debug, Default)]
pub struct ImageBuilder {
    parts: Parts,
    restores: Restores,
}

impl ImageBuilder {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a znode; the root (`/`) first, parents before children. Its data is copied, so that it
    /// keeps no larger buffer alive.
    ///
    /// # Errors
    /// If its parent is not there, or it came before.
    pub fn node(&mut self, node: ImageNode) -> Result<(), ImageError> {
        self.put(&node.path, node.as_new())
    }

    /// The same, of what need not be kept.
    ///
    /// # Errors
    /// As for [`node`](Self::node).
    pub fn put(&mut self, path: &str, new: NewZnode<'_>) -> Result<(), ImageError> {
        self.parts.put(path, new)
    }

    /// Adds a session.
    ///
    /// # Errors
    /// If it came before.
    pub fn session(&mut self, session: SessionRecord) -> Result<(), ImageError> {
        self.parts.session(session)
    }

    /// Notes the largest session id opened by the server whose ids begin with `prefix`.
    pub fn last_session_id(&mut self, prefix: u8, last: SessionId) {
        self.parts.sessions.note_last(prefix, last);
    }

    /// Notes what is known of restores, of which one may be under way.
    ///
    /// # Errors
    /// If none was ever begun.
    pub fn restores(&mut self, facts: RestoreFacts) -> Result<(), ImageError> {
        let RestoreFacts { begun, done, staged } = facts;
        if begun == Token(0) {
            return Err(ImageError::NoRestore);
        }
        let staged = staged.map(|(number, n_bytes)| {
            let parts = Parts::default();
            Staged { number, n_bytes, parts }
        });
        self.restores = Restores { begun, done, staged };
        Ok(())
    }

    /// Adds a znode of the restore that is under way, in the same order.
    ///
    /// # Errors
    /// As for [`node`](Self::node), or if there is no such restore.
    pub fn staged_node(&mut self, node: ImageNode) -> Result<(), ImageError> {
        self.put_staged(&node.path, node.as_new())
    }

    /// The same, of what need not be kept.
    ///
    /// # Errors
    /// As for [`staged_node`](Self::staged_node).
    pub fn put_staged(&mut self, path: &str, new: NewZnode<'_>) -> Result<(), ImageError> {
        self.staged()?.parts.put(path, new)
    }

    /// Adds a session of it.
    ///
    /// # Errors
    /// If it came before, or there is no such restore.
    pub fn staged_session(&mut self, session: SessionRecord) -> Result<(), ImageError> {
        self.staged()?.parts.session(session)
    }

    fn staged(&mut self) -> Result<&mut Staged, ImageError> {
        self.restores.staged.as_mut().ok_or(ImageError::NoRestore)
    }

    /// The image after `zxid`, of values that come from elsewhere and bring no digest along.
    ///
    /// # Errors
    /// If there is no root.
    pub fn build(self, zxid: Zxid) -> Result<Image, ImageError> {
        if self.parts.tree.is_empty() {
            return Err(ImageError::NoRoot);
        }
        Ok(Image::built(zxid, self.parts, &self.restores))
    }

    /// The image after `zxid`.
    ///
    /// # Errors
    /// If there is no root, or the digest is not `digest`.
    pub fn finish(self, zxid: Zxid, digest: u64) -> Result<Image, ImageError> {
        let image = self.build(zxid)?;
        if image.digest() == digest {
            Ok(image)
        } else {
            Err(ImageError::Digest { found: image.digest(), expected: digest })
        }
    }
}

/// The digest of everything after `zxid`. It is a sum, so that each change has its part in it.
pub(super) fn digest(zxid: Zxid, tree: &Tree, sessions: &Sessions, restores: &Restores) -> u64 {
    let parts = tree.digest().wrapping_add(sessions.digest()).wrapping_add(restores.digest());
    xxh3_64(&zxid.0.to_le_bytes()).wrapping_add(parts)
}

fn nodes(znodes: &Pages<Znode>) -> impl Iterator<Item = ImageNode> + '_ {
    Walk::new(znodes).map(|znode| {
        let stat = znode.stat();
        let counter = if mutated!(CountersLeftOut) { 0 } else { stat.cversion };
        ImageNode {
            path: Text::from(znode.path()),
            data: znode.shared_data().map(Bytes::from),
            acl: if mutated!(AclsLeftOut) { Arc::new([]) } else { Arc::clone(znode.acl()) },
            stat: StoredStat { cversion: counter, ..stat },
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::StoredStat;

    fn node(path: &str) -> ImageNode {
        ImageNode { path: path.into(), data: None, acl: Arc::new([]), stat: StoredStat::default() }
    }

    fn misplaced(path: &str) -> Result<(), ImageError> {
        Err(ImageError::Misplaced { path: path.into() })
    }

    #[test]
    fn a_builder_refuses_what_makes_no_tree() {
        let mut builder = ImageBuilder::new();
        assert_eq!(builder.node(node("/a")), misplaced("/a"));
        assert_eq!(builder.node(node("/")), Ok(()));
        assert_eq!(builder.node(node("/a")), Ok(()));
        let owned = StoredStat { ephemeral_owner: 5, ..StoredStat::default() };
        assert_eq!(builder.node(ImageNode { stat: owned, ..node("/e") }), Ok(()));
        for path in ["/", "", "/a", "a", "/a/", "/b/c", "/e/x", "//a", "//b"] {
            assert_eq!(builder.node(node(path)), misplaced(path), "{path:?}");
        }
    }

    /// Whatever the order, as long as parents come first, the same comes out; and each refusal is
    /// the same.
    #[test]
    fn a_builder_takes_znodes_in_any_order() {
        let walk = ["/", "/a", "/a/b", "/a/b/c", "/a/c", "/ab", "/b", "/b/a", "/c"];
        let orders: [&[usize]; 4] = [
            &[0, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0, 8, 6, 5, 1, 4, 2, 3, 7],
            &[0, 1, 5, 6, 8, 2, 4, 7, 3],
            &[0, 6, 7, 1, 2, 3, 4, 5, 8],
        ];
        let mut images = Vec::new();
        for order in orders {
            let mut builder = ImageBuilder::new();
            for &at in order {
                assert_eq!(builder.node(node(walk[at])), Ok(()), "{} in {order:?}", walk[at]);
                for again in ["/", walk[at], "/a/", "//a", "/none/x"] {
                    assert_eq!(builder.node(node(again)), misplaced(again), "{again} in {order:?}");
                }
            }
            let image = builder.build(Zxid(1)).expect("it has a root");
            let paths: Vec<Text> = image.nodes().map(|node| node.path).collect();
            assert_eq!(paths, walk.map(Text::from));
            images.push(image);
        }
        // The tree that it was built in, and one made anew of the znodes.
        let trees =
            images.iter().flat_map(|it| [it.clone().thaw().0, Tree::thaw(it.0.znodes.clone())]);
        for tree in trees {
            assert_eq!(tree.digest(), images[0].0.tree.as_ref().expect("it was built").digest());
            assert_eq!(tree.data_bytes(), 28, "as many letters, and the root twice");
            assert!(walk.iter().all(|path| tree.contains(path)));
            let names = |path| tree.names(tree.get(path).expect("there")).collect::<Vec<_>>();
            assert_eq!(names("/"), [&b"a"[..], b"ab", b"b", b"c"]);
            assert_eq!(names("/a"), [b"b", b"c"]);
        }
    }

    #[test]
    fn a_builder_wants_a_root_and_the_right_digest() {
        let finished = ImageBuilder::new().finish(Zxid(1), 0);
        assert_eq!(finished.map(|_| ()), Err(ImageError::NoRoot));
        let build = || {
            let mut builder = ImageBuilder::new();
            builder.node(node("/")).unwrap();
            builder
        };
        let Err(ImageError::Digest { found, expected: 0 }) = build().finish(Zxid(1), 0) else {
            panic!("a digest of 0 was believed");
        };
        assert!(build().finish(Zxid(1), found).is_ok());
        assert_eq!(build().build(Zxid(1)).map(|image| image.digest()), Ok(found));
        assert!(build().finish(Zxid(2), found).is_err());
    }
}
