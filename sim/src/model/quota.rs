//! Quotas in the model. Rules: ZooKeeper's `StatsTrack`, `DataTree.updateQuotaStat`,
//! `ZooKeeperServer.checkQuota`.
//!
//! Invariant: everything is looked up by its whole path, and whatever a client has written there is
//! some quota or none.

use bytes::Bytes;
use zokor_core::proto::ErrorCode;

use super::state::State;
use super::writes::Moment;

const FOLDER: &str = "/zookeeper/quota";

impl State {
    /// Whether `znodes` and `bytes` more at `path` are within its hard limits, if those count.
    pub(super) fn within_quota(
        &self,
        at: Moment<'_>,
        path: &str,
        more: (i64, i64),
    ) -> Result<(), ErrorCode> {
        let Some(subject) = self.subject(path).filter(|_| at.rules.enforce_quota) else {
            return Ok(());
        };
        let Some(used) = self.text(&subject, "zookeeper_stats") else { return Ok(()) };
        let (znodes, bytes) = self.used(&subject, &used);
        let limits = self.text(&subject, "zookeeper_limits").unwrap_or_default();
        let beyond = |key: &str, used: i64, more: i64| {
            let hard = pairs(&limits, key).filter(|limit| *limit >= 0);
            more != 0 && hard.is_some_and(|limit| used.saturating_add(more) > limit)
        };
        if beyond("countHardLimit", znodes, more.0) || beyond("byteHardLimit", bytes, more.1) {
            return Err(ErrorCode::QuotaExceeded);
        }
        Ok(())
    }

    /// A znode was made; if it is the usage of a quota, that is counted now.
    pub(super) fn count_new(&mut self, path: &str, bytes: i64) {
        let subject = path.strip_prefix(FOLDER).and_then(|it| it.strip_suffix("/zookeeper_stats"));
        if let Some(subject) = subject.filter(|subject| is_subject(subject)) {
            let counted = self.counted(subject);
            self.write_used(subject, counted);
        }
        self.count(path, (1, bytes));
    }

    /// So many znodes and bytes more are at `path`.
    pub(super) fn count(&mut self, path: &str, more: (i64, i64)) {
        if more == (0, 0) {
            return;
        }
        let Some(subject) = self.subject(path) else { return };
        let Some(text) = self.text(&subject, "zookeeper_stats") else { return };
        let used = match (pairs(&text, "count"), pairs(&text, "bytes")) {
            (Some(znodes), Some(bytes)) => {
                (znodes.saturating_add(more.0), bytes.saturating_add(more.1))
            }
            _ => self.counted(&subject),
        };
        self.write_used(&subject, used);
    }

    /// The deepest of `path` and what is above it that has limits.
    fn subject(&self, path: &str) -> Option<String> {
        if path == FOLDER || path.starts_with("/zookeeper/quota/") {
            return None;
        }
        let mut subject = path;
        while is_subject(subject) {
            if self.text(subject, "zookeeper_limits").is_some() {
                return Some(subject.to_owned());
            }
            subject = &subject[..subject.rfind('/')?];
        }
        None
    }

    fn text(&self, subject: &str, name: &str) -> Option<String> {
        let node = self.nodes.get(format!("{FOLDER}{subject}/{name}").as_str())?;
        let data = node.data.clone().unwrap_or_default();
        let text = String::from_utf8(data.to_vec()).ok().filter(|text| text.len() <= 1024);
        Some(text.unwrap_or_default())
    }

    fn used(&self, subject: &str, text: &str) -> (i64, i64) {
        match (pairs(text, "count"), pairs(text, "bytes")) {
            (Some(znodes), Some(bytes)) => (znodes, bytes),
            _ => self.counted(subject),
        }
    }

    fn counted(&self, subject: &str) -> (i64, i64) {
        let below = format!("{subject}/");
        let own = self.nodes.iter();
        let own = own.filter(|(path, _)| &***path == subject || path.starts_with(below.as_str()));
        own.fold((0, 0), |(znodes, bytes), (_, node)| {
            (znodes + 1, bytes + node.data.as_ref().map_or(0, |data| data.len() as i64))
        })
    }

    fn write_used(&mut self, subject: &str, (znodes, bytes): (i64, i64)) {
        let text = format!("count={znodes},bytes={bytes}");
        if let Some(node) = self.node_mut(&format!("{FOLDER}{subject}/zookeeper_stats")) {
            node.data = Some(Bytes::from(text));
        }
    }
}

/// Not the root, not ZooKeeper's own folder, and nothing of the quotas themselves.
fn is_subject(path: &str) -> bool {
    !matches!(path, "" | "/" | "/zookeeper" | FOLDER) && !path.starts_with("/zookeeper/quota/")
}

/// The last value of `key`: `key=value,key=value;key=value`, and what stands behind a second `=`
/// is nothing.
fn pairs(text: &str, key: &str) -> Option<i64> {
    let pair = text.split([',', ';']).rfind(|pair| pair.split('=').next() == Some(key))?;
    pair.split('=').nth(1)?.parse().ok()
}
