//! One snapshot file.
//!
//! Invariant: what is given away was sealed by the file's own checksums, every one of them.

use std::collections::{BTreeMap, HashMap};
use std::io::BufRead;
use std::sync::Arc;

use zokor_core::proto::{Acl, AclList, Id, Permissions};
use zokor_core::tree::StoredStat;

use super::input::Input;
use super::tree::{Node, Tree};
use super::{Wrong, checksum};

/// What a snapshot holds. It may be fuzzy: taken while changes went on, so that some of those after
/// the zxid in its name are in it already, and others not.
#[derive(Debug)]
pub struct SnapshotContents {
    /// All znodes.
    pub tree: Tree,
    /// Sessions and their timeouts in milliseconds.
    pub sessions: BTreeMap<i64, i32>,
    /// The digest that the server noted, if it did.
    pub digest: Option<SnapshotDigest>,
    /// The last transaction in it, if the server noted that.
    pub last_zxid: Option<i64>,
}

/// The digest of the tree after a zxid, which is that of the end of a fuzzy snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotDigest {
    /// After which transaction.
    pub zxid: i64,
    /// The sum over all znodes.
    pub value: u64,
}

/// Reads a snapshot to its very end.
///
/// # Errors
/// At the first byte that no ZooKeeper server would have written there.
pub fn read_snapshot<R: BufRead>(input: &mut Input<R>) -> Result<SnapshotContents, Wrong> {
    if input.array("the magic number")? != *b"ZKSN" {
        return Err(Wrong::new(0, "it does not begin like a snapshot"));
    }
    // Neither version nor database id is ever looked at by ZooKeeper, and none but these exist.
    input.array::<12>("the head")?;
    let mut sessions = BTreeMap::new();
    for _ in 0..input.count("the number of sessions")? {
        let id = input.long("a session")?;
        sessions.insert(id, input.int("a session's timeout")?);
    }
    let acls = read_acls(input)?;
    let mut tree = Tree::new();
    read_nodes(input, &acls, &mut tree)?;
    read_seal(input)?;
    let (digest, last_zxid) = read_rest(input)?;
    Ok(SnapshotContents { tree, sessions, digest, last_zxid })
}

fn read_acls<R: BufRead>(input: &mut Input<R>) -> Result<HashMap<i64, AclList>, Wrong> {
    let mut acls = HashMap::new();
    let anyone = Acl { permissions: Permissions::ALL, id: Id::new("world", "anyone") };
    acls.insert(OPEN_ACL, AclList::from([anyone]));
    for _ in 0..input.count("the number of ACLs")? {
        let number = input.long("the number of an ACL")?;
        acls.insert(number, input.acl()?);
    }
    Ok(acls)
}

fn read_nodes<R: BufRead>(
    input: &mut Input<R>,
    acls: &HashMap<i64, AclList>,
    tree: &mut Tree,
) -> Result<(), Wrong> {
    loop {
        let start = input.offset();
        let path = input.text("a path")?;
        let path = match &*path {
            "/" => break,
            "" => "/".into(),
            _ => path,
        };
        let data = input.buffer("a znode's data")?;
        let acl = input.long("a znode's ACL")?;
        let Some(acl) = acls.get(&acl).map(Arc::clone) else {
            return Err(Wrong::new(start, format!("the ACL {acl} of {path:?} is not there")));
        };
        let stat = read_stat(input)?;
        tree.load(&path, Node { data, acl, stat }).map_err(|what| Wrong::new(start, what))?;
    }
    if tree.is_empty() {
        return Err(Wrong::new(input.offset(), "there is no root znode"));
    }
    Ok(())
}

fn read_stat<R: BufRead>(input: &mut Input<R>) -> Result<StoredStat, Wrong> {
    Ok(StoredStat {
        czxid: input.long("czxid")?,
        mzxid: input.long("mzxid")?,
        ctime: input.long("ctime")?,
        mtime: input.long("mtime")?,
        version: input.int("version")?,
        cversion: input.int("cversion")?,
        aversion: input.int("aversion")?,
        ephemeral_owner: input.long("ephemeral owner")?,
        pzxid: input.long("pzxid")?,
    })
}

/// The checksum of all that came before it, and a slash.
fn read_seal<R: BufRead>(input: &mut Input<R>) -> Result<(), Wrong> {
    let (start, expected) = (input.offset(), i64::from(input.sum.checksum()));
    let found = input.long("the checksum")?;
    if found != expected || &*input.text("the seal")? != "/" {
        return Err(Wrong::new(start, "the checksum of what comes before it is wrong"));
    }
    Ok(())
}

/// What later releases put behind the first seal: a digest, the last zxid, or both, each sealed.
fn read_rest<R: BufRead>(
    input: &mut Input<R>,
) -> Result<(Option<SnapshotDigest>, Option<i64>), Wrong> {
    let (start, sum) = (input.offset(), input.sum);
    let rest = input.rest(LONGEST_REST)?;
    if rest.len() as u64 > LONGEST_REST {
        return Err(Wrong::new(start, "it goes on where it should end"));
    }
    let mut input = Input::go_on(&rest[..], start, sum);
    let (mut digest, mut last_zxid) = (None, None);
    if !rest.is_empty() && rest.len() != ZXID_PART {
        let zxid = input.long("the zxid of the digest")?;
        let version = input.int("the version of the digest")?;
        let value = if version < checksum::DIGEST_VERSION {
            input.text("the digest")?;
            None
        } else {
            Some(input.long("the digest")? as u64)
        };
        read_seal(&mut input)?;
        let is_known = version == checksum::DIGEST_VERSION && zxid != 0;
        digest = value.filter(|_| is_known).map(|value| SnapshotDigest { zxid, value });
    }
    if !input.is_at_end()? {
        // Of a file, what counts is the zxid in its name, as for ZooKeeper.
        last_zxid = Some(input.long("the last zxid")?);
        read_seal(&mut input)?;
    }
    if !input.is_at_end()? {
        return Err(Wrong::new(input.offset(), "it goes on where it should end"));
    }
    Ok((digest, last_zxid))
}

/// The ACL that is in no table: everything for everybody.
pub(super) const OPEN_ACL: i64 = -1;
/// Bytes of the last zxid and its seal.
const ZXID_PART: usize = 21;
/// Far more than both parts can have.
const LONGEST_REST: u64 = 1_024;
