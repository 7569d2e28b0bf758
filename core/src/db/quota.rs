//! Quotas: what a subtree may hold, and what is counted of it.
//!
//! The limits of `/a/b` stand in the text of `/zookeeper/quota/a/b/zookeeper_limits`, its usage in
//! that of `zookeeper_stats` beside it. Clients make both, and servers rewrite the latter in place:
//! no version, zxid or watch tells of it. Of several quotas above a znode the deepest alone counts
//! (ZooKeeper: `DataTree.getMaxPrefixWithQuota`, `ZooKeeperServer.checkQuota`, `StatsTrack`).
//!
//! Invariant: a quota is nothing but its two znodes. So it is in every image and in every digest,
//! goes back with a multi that fails, and is the same on a server that restarts or gets a snapshot.
//! Whatever clients store there is read as some quota or as none, and never as an error.

use std::ops::AddAssign;

use super::work::Work;
use crate::proto::{ErrorCode, Text};
use crate::tree::{Spot, Tree, Znode};

/// One quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The path that it is about.
    pub path: Text,
    /// What may be there.
    pub limits: Limits,
    /// What is there; `None` if nobody asked for it to be counted, and then nothing is enforced.
    pub usage: Option<Usage>,
}

/// What may be below a path, itself included; `None` is without limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Znodes; beyond it is only counted that it was exceeded.
    pub soft_znodes: Option<i64>,
    /// Bytes of data, likewise.
    pub soft_bytes: Option<i64>,
    /// Znodes; the soft limit is not looked at.
    pub hard_znodes: Option<i64>,
    /// Bytes of data, likewise.
    pub hard_bytes: Option<i64>,
}

/// What is below a path, itself included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Znodes.
    pub n_znodes: i64,
    /// Bytes of data.
    pub n_bytes: i64,
}

/// What became of writes that a quota is about, where quotas are enforced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaEvents {
    /// Let pass beyond a soft limit.
    pub exceeded: u64,
    /// Refused at a hard limit.
    pub refused: u64,
}

impl AddAssign for QuotaEvents {
    fn add_assign(&mut self, more: QuotaEvents) {
        self.exceeded += more.exceeded;
        self.refused += more.refused;
    }
}

/// By how much a write changes what is there.
pub(super) use Usage as Growth;

/// Whether a write at `path` may go beyond what is there.
///
/// # Errors
/// `QuotaExceeded` if a hard limit is in the way and the leader's rules enforce it.
pub(super) fn admits(work: &mut Work<'_>, path: &str, growth: Growth) -> Result<(), ErrorCode> {
    if !work.rules.enforce_quota {
        return Ok(());
    }
    let Some(prefix) = quota_of(work.tree(), path) else { return Ok(()) };
    let limits = limits(work.tree(), prefix);
    let Some(usage) = usage(work, prefix) else { return Ok(()) };
    let of_znodes = (usage.n_znodes, growth.n_znodes, limits.soft_znodes, limits.hard_znodes);
    let of_bytes = (usage.n_bytes, growth.n_bytes, limits.soft_bytes, limits.hard_bytes);
    for (before, growth, soft, hard) in [of_znodes, of_bytes] {
        let Some(limit) = hard.or(soft) else { continue };
        // Less can be too much, too: what is over the limit must come down to it at once.
        if growth == 0 || before.saturating_add(growth) <= limit {
            continue;
        }
        if hard.is_some() {
            work.quota_events.refused += 1;
            return Err(ErrorCode::QuotaExceeded);
        }
        work.quota_events.exceeded += 1;
    }
    Ok(())
}

/// Counts a znode that was just made with so many bytes of data. A new `zookeeper_stats` begins
/// with what is there, whatever its client wrote into it.
pub(super) fn created(work: &mut Work<'_>, path: &str, spot: Spot, n_bytes: i64) {
    let of = path.strip_suffix(STATS).and_then(|folder| folder.strip_prefix(QUOTA));
    if let Some(prefix) = of
        && may_have_quota(prefix)
        && let Some(usage) = count(work, prefix)
    {
        work.set_data(spot, Some(text(usage).as_bytes()), |_| ());
    }
    changed(work, path, Growth { n_znodes: 1, n_bytes });
}

/// Counts a change that was just made at `path`.
pub(super) fn changed(work: &mut Work<'_>, path: &str, growth: Growth) {
    if growth == Growth::default() {
        return;
    }
    let Some(prefix) = quota_of(work.tree(), path) else { return };
    let stats = format!("{QUOTA}{prefix}{STATS}");
    let Ok(spot) = work.find(&stats) else { return };
    let usage = match read_usage(work.at(spot)) {
        Some(before) => Some(Usage {
            n_znodes: before.n_znodes.saturating_add(growth.n_znodes),
            n_bytes: before.n_bytes.saturating_add(growth.n_bytes),
        }),
        // Some client's own words: what is there is counted anew.
        None => count(work, prefix),
    };
    let usage = usage.unwrap_or_default();
    work.set_data(spot, Some(text(usage).as_bytes()), |_| ());
}

/// Every quota, ascending by path.
pub(super) fn all(tree: &Tree) -> Vec<Quota> {
    let Some(root) = tree.get(QUOTA) else { return Vec::new() };
    let quota = |znode: &Znode| {
        let prefix = znode.path().strip_suffix(LIMITS)?.strip_prefix(QUOTA)?;
        let usage = tree.get(&format!("{QUOTA}{prefix}{STATS}")).and_then(read_usage);
        let path = Text::from(prefix);
        may_have_quota(prefix).then(|| Quota { path, limits: limits(tree, prefix), usage })
    };
    let mut quotas: Vec<Quota> = tree.subtree(root).filter_map(quota).collect();
    quotas.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    quotas
}

/// Bytes of a znode's data.
pub(super) fn data_bytes(data: Option<&[u8]>) -> i64 {
    data.map_or(0, |data| data.len() as i64)
}

/// The longest part of `path` that has limits. The folders below `/zookeeper/quota` lead there, so
/// it costs no more than there are folders on the way.
fn quota_of<'p>(tree: &Tree, path: &'p str) -> Option<&'p str> {
    if tree.get(QUOTA)?.n_children() == 0 || !is_counted(path) {
        return None;
    }
    let mut folder = String::from(QUOTA);
    let mut found = None;
    let slashes = path.bytes().enumerate().skip(1).filter(|(_, byte)| *byte == b'/');
    for end in slashes.map(|(at, _)| at).chain([path.len()]) {
        folder.truncate(QUOTA.len());
        folder.push_str(&path[..end]);
        if !tree.contains(&folder) {
            break;
        }
        folder.push_str(LIMITS);
        if tree.contains(&folder) && may_have_quota(&path[..end]) {
            found = Some(&path[..end]);
        }
    }
    found
}

/// Neither the root nor `/zookeeper` has a quota, nor what quotas consist of.
fn may_have_quota(prefix: &str) -> bool {
    !prefix.is_empty() && prefix != "/zookeeper" && is_counted(prefix)
}

fn is_counted(path: &str) -> bool {
    path != "/"
        && path.strip_prefix(QUOTA).is_none_or(|rest| !rest.is_empty() && !rest.starts_with('/'))
}

fn limits(tree: &Tree, prefix: &str) -> Limits {
    let Some(znode) = tree.get(&format!("{QUOTA}{prefix}{LIMITS}")) else {
        return Limits::default();
    };
    let limit = |key: &str| number(znode, key).filter(|&limit| limit >= 0);
    Limits {
        soft_znodes: limit("count"),
        soft_bytes: limit("bytes"),
        hard_znodes: limit("countHardLimit"),
        hard_bytes: limit("byteHardLimit"),
    }
}

/// What is below `prefix` by its `zookeeper_stats`; `None` if there is no such znode.
fn usage(work: &mut Work<'_>, prefix: &str) -> Option<Usage> {
    let znode = work.tree().get(&format!("{QUOTA}{prefix}{STATS}"))?;
    read_usage(znode).or_else(|| Some(count(work, prefix).unwrap_or_default()))
}

/// `None` if it is not what a server writes.
fn read_usage(znode: &Znode) -> Option<Usage> {
    Some(Usage { n_znodes: number(znode, "count")?, n_bytes: number(znode, "bytes")? })
}

/// The value of `key` in pairs that are parted by commas or semicolons. A second `=` and what
/// follows it belongs to no value: ZooKeeper puts one there to mislead its own older parsers.
fn number(znode: &Znode, key: &str) -> Option<i64> {
    let data = znode.data().filter(|data| data.len() <= LONGEST_TEXT)?;
    let text = std::str::from_utf8(data).ok()?;
    let mut found = None;
    for pair in text.split([',', ';']) {
        let mut parts = pair.split('=');
        if parts.next() == Some(key) {
            found = parts.next().and_then(|value| value.parse().ok());
        }
    }
    found
}

/// What is below `prefix`, itself included. `None` if this txn has walked far enough already: a
/// multi may ask for the same large subtree tens of thousands of times.
fn count(work: &mut Work<'_>, prefix: &str) -> Option<Usage> {
    if work.walked > MAX_WALKED {
        return None;
    }
    let mut usage = Usage::default();
    if let Some(znode) = work.tree().get(prefix) {
        for znode in work.tree().subtree(znode) {
            usage.n_znodes += 1;
            usage.n_bytes += data_bytes(znode.data());
        }
    }
    work.walked += usage.n_znodes as usize;
    Some(usage)
}

fn text(usage: Usage) -> String {
    format!("count={},bytes={}", usage.n_znodes, usage.n_bytes)
}

/// The folder of all quotas.
const QUOTA: &str = "/zookeeper/quota";
/// The name of the znode with the limits, below the folder of its path.
const LIMITS: &str = "/zookeeper_limits";
/// The name of the znode with the usage, likewise.
const STATS: &str = "/zookeeper_stats";
/// Far beyond what any client writes: a longer text is no quota, and costs nothing to read.
const LONGEST_TEXT: usize = 1_024;
/// Once so many znodes were counted for one txn, no other subtree is.
const MAX_WALKED: usize = 100_000;
