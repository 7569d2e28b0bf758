//! The reads. The order of the checks is ZooKeeper's (`FinalRequestProcessor`): paths are not
//! validated, so that a bad one is just a znode that is not there.
//!
//! Invariant: a read changes nothing, not even a watch.

use crate::id::SessionId;
use crate::proto::{
    ErrorCode, Identities, Names, NamesBuilder, OpResult, Permissions, Read, Response, Stat,
};
use crate::tree::acl::mask;
use crate::tree::{Tree, Znode, shown};

/// Who reads.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    /// The session.
    pub session: SessionId,
    /// The identities of its connection.
    pub identities: &'a Identities,
    /// ZooKeeper's `skipACL`: the reader is asked for no permission.
    pub skip_acl: bool,
}

impl Reader<'_> {
    fn may(&self, znode: &Znode, wanted: Permissions) -> bool {
        self.skip_acl || znode.permits(wanted, self.identities)
    }

    fn require(&self, znode: &Znode, wanted: Permissions) -> Result<(), ErrorCode> {
        if self.may(znode, wanted) { Ok(()) } else { Err(ErrorCode::NoAuth) }
    }
}

pub(super) fn query(tree: &Tree, reader: &Reader<'_>, read: &Read) -> Result<Response, ErrorCode> {
    match read {
        Read::Exists { path, .. } => exists(tree, reader, path).map(Response::Stat),
        Read::GetData { path, .. } => {
            let znode = readable(tree, reader, path)?;
            Ok(Response::Data(znode.shared_data(), znode.to_stat()))
        }
        Read::GetAcl { path } => get_acl(tree, reader, path),
        Read::GetChildren { path, with_stat, .. } => {
            let znode = readable(tree, reader, path)?;
            let names = names(tree, znode);
            Ok(match with_stat {
                true => Response::NamesStat(names, znode.to_stat()),
                false => Response::Names(names),
            })
        }
        Read::GetEphemerals { prefix } => Ok(Response::Names(ephemerals(tree, reader, prefix))),
        Read::CountDescendants { path } => {
            let n = tree.n_descendants(readable(tree, reader, path)?);
            Ok(Response::Count(i32::try_from(n).unwrap_or(i32::MAX)))
        }
        Read::Multi(reads) => multi(tree, reader, reads).map(Response::Multi),
        Read::WhoAmI => {
            Ok(Response::Identities(reader.identities.iter().filter_map(shown).collect()))
        }
        // Watches are known to the server of the connection only.
        Read::AddWatch { .. } | Read::CheckWatches { .. } | Read::RemoveWatches { .. } => {
            Err(ErrorCode::MarshallingError)
        }
    }
}

fn exists(tree: &Tree, reader: &Reader<'_>, path: &str) -> Result<Stat, ErrorCode> {
    if path.contains('\0') {
        return Err(ErrorCode::BadArguments);
    }
    Ok(readable(tree, reader, path)?.to_stat())
}

fn get_acl(tree: &Tree, reader: &Reader<'_>, path: &str) -> Result<Response, ErrorCode> {
    let znode = tree.get(path).ok_or(ErrorCode::NoNode)?;
    let either = Permissions(Permissions::READ.0 | Permissions::ADMIN.0);
    reader.require(znode, either)?;
    let acl = if reader.may(znode, Permissions::ADMIN) {
        znode.acl().to_vec()
    } else {
        mask(znode.acl())
    };
    Ok(Response::Acl(acl, znode.to_stat()))
}

/// A blank prefix, or the root, stands for everything; so does the root between blanks, which are
/// those that Java's `trim` takes away.
// zookeeper: FinalRequestProcessor, GetEphemerals
fn ephemerals(tree: &Tree, reader: &Reader<'_>, prefix: &str) -> Names {
    let trimmed = prefix.trim_matches(|c| c <= ' ');
    let prefix = if matches!(trimmed, "" | "/") { "" } else { prefix };
    tree.ephemerals(reader.session, prefix).map(|path| &**path).collect()
}

/// Each read succeeds or fails by itself.
///
/// # Errors
/// `MarshallingError` if it holds what no multiRead may hold; decoders refuse that before. The same
/// if the answer grows too large: a request of a megabyte can name the same megabyte of data, or
/// the same long list of children, tens of thousands of times.
fn multi(tree: &Tree, reader: &Reader<'_>, reads: &[Read]) -> Result<Vec<OpResult>, ErrorCode> {
    let one = |read: &Read| match read {
        Read::GetData { path, .. } => Ok(match readable(tree, reader, path) {
            Ok(znode) => OpResult::Data(znode.shared_data(), znode.to_stat()),
            Err(code) => OpResult::Error(Some(code)),
        }),
        Read::GetChildren { path, .. } => Ok(match readable(tree, reader, path) {
            Ok(znode) => OpResult::Names(names(tree, znode)),
            Err(code) => OpResult::Error(Some(code)),
        }),
        Read::Exists { .. }
        | Read::GetAcl { .. }
        | Read::GetEphemerals { .. }
        | Read::CountDescendants { .. }
        | Read::Multi(_)
        | Read::AddWatch { .. }
        | Read::CheckWatches { .. }
        | Read::RemoveWatches { .. }
        | Read::WhoAmI => Err(ErrorCode::MarshallingError),
    };
    let mut room = MAX_MULTI_BYTES;
    let mut results = Vec::with_capacity(reads.len());
    for read in reads {
        let result = one(read)?;
        room = room.checked_sub(weight(&result)).ok_or(ErrorCode::MarshallingError)?;
        results.push(result);
    }
    Ok(results)
}

/// About how many bytes a part of a multiRead's answer takes, in memory or in a frame, whichever is
/// more.
fn weight(result: &OpResult) -> usize {
    size_of::<OpResult>()
        + match result {
            OpResult::Data(data, _) => data.as_ref().map_or(0, |data| data.len()),
            OpResult::Names(names) => names.encoded().len(),
            OpResult::Create(_)
            | OpResult::Create2(..)
            | OpResult::Delete
            | OpResult::SetData(_)
            | OpResult::Check
            | OpResult::Error(_) => 0,
        }
}

fn readable<'a>(tree: &'a Tree, reader: &Reader<'_>, path: &str) -> Result<&'a Znode, ErrorCode> {
    let znode = tree.get(path).ok_or(ErrorCode::NoNode)?;
    reader.require(znode, Permissions::READ)?;
    Ok(znode)
}

fn names(tree: &Tree, znode: &Znode) -> Names {
    let mut names = NamesBuilder::default();
    names.reserve(znode.n_children());
    tree.names(znode).for_each(|name| names.push_bytes(name));
    names.finish()
}

/// What the parts of one multiRead's answer may weigh together: far above what a client takes
/// (`jute.maxbuffer`, 1 MiB unless it is raised), far below what a server can spare.
const MAX_MULTI_BYTES: usize = 64 << 20;
