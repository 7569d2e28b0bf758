//! A snapshot in ZooKeeper's own form, for the way back.

use std::collections::HashMap;
use std::io::{self, Write};

use adler2::Adler32;
use bytes::{BufMut, BytesMut};
use zokor_core::db::{Image, SessionRecord};
use zokor_core::proto::{Acl, AclList, Id, Permissions};
use zokor_core::session::is_lane;
use zokor_core::tree::StoredStat;
use zokor_net::wire::jute;

use super::checksum::{DIGEST_VERSION, node_digest};
use super::snapshot::OPEN_ACL;

/// The sessions of clients in `image`: those that other servers' files know of as well.
pub fn sessions_of(image: &Image) -> impl Iterator<Item = SessionRecord> + '_ {
    image.sessions().filter(|session| !is_lane(session.id))
}

/// Writes `image` as a snapshot that ZooKeeper 3.4 and later can load. The digest behind the first
/// seal is what 3.6 and later check it by, and the zxid behind the second what 3.9 restores by;
/// earlier ones do not look there.
///
/// # Errors
/// If `out` does not take it.
pub fn write_snapshot(image: &Image, out: impl Write) -> io::Result<()> {
    let mut output = Output { out, sum: Adler32::new(), buffer: BytesMut::new() };
    output.buffer.put_slice(b"ZKSN");
    output.buffer.put_i32(2);
    output.buffer.put_i64(-1);
    output.put(|writer| writer.length(sessions_of(image).count()));
    for session in sessions_of(image) {
        output.put(|writer| {
            writer.long(session.id.0);
            writer.int(session.timeout_ms);
        });
    }
    output.flush()?;
    let acls = number_acls(image);
    let mut sorted: Vec<(&AclList, i64)> = acls.iter().map(|(acl, id)| (acl, *id)).collect();
    sorted.sort_by_key(|(_, id)| *id);
    sorted.retain(|(_, id)| *id != OPEN_ACL);
    output.put(|writer| writer.length(sorted.len()));
    for (acl, id) in sorted {
        output.put(|writer| {
            writer.long(id);
            writer.acl(acl);
        });
    }
    let mut digest = 0u64;
    for node in image.nodes() {
        digest = digest.wrapping_add(node_digest(&node.path, node.data.as_deref(), &node.stat));
        let path = if &*node.path == "/" { "" } else { &*node.path };
        output.put(|writer| {
            writer.text(path);
            writer.buffer(node.data.as_deref());
            writer.long(acls[&node.acl]);
        });
        output.stat(&node.stat);
        output.flush()?;
    }
    output.put(|writer| writer.text("/"));
    output.seal()?;
    output.put(|writer| {
        writer.long(image.zxid().0);
        writer.int(DIGEST_VERSION);
        writer.long(digest as i64);
    });
    output.seal()?;
    output.put(|writer| writer.long(image.zxid().0));
    output.seal()?;
    output.out.flush()
}

/// Each ACL by its number in the table.
fn number_acls(image: &Image) -> HashMap<AclList, i64> {
    let anyone = Acl { permissions: Permissions::ALL, id: Id::new("world", "anyone") };
    let mut acls = HashMap::from([(AclList::from([anyone]), OPEN_ACL)]);
    let mut next = 1;
    for node in image.nodes() {
        acls.entry(node.acl).or_insert_with(|| {
            next += 1;
            next - 1
        });
    }
    acls
}

struct Output<W> {
    out: W,
    sum: Adler32,
    buffer: BytesMut,
}

impl<W: Write> Output<W> {
    fn put(&mut self, put: impl FnOnce(&mut jute::Writer<'_>)) {
        put(&mut jute::Writer::new(&mut self.buffer));
    }

    fn stat(&mut self, stat: &StoredStat) {
        self.put(|writer| {
            for long in [stat.czxid, stat.mzxid, stat.ctime, stat.mtime] {
                writer.long(long);
            }
            for int in [stat.version, stat.cversion, stat.aversion] {
                writer.int(int);
            }
            writer.long(stat.ephemeral_owner);
            writer.long(stat.pzxid);
        });
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sum.write_slice(&self.buffer);
        self.out.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    fn seal(&mut self) -> io::Result<()> {
        self.flush()?;
        let sum = self.sum.checksum();
        self.put(|writer| {
            writer.long(i64::from(sum));
            writer.text("/");
        });
        self.flush()
    }
}
