//! The lines of the audit log.
//!
//! Invariant: fields are parted by tabs, and no value holds one, nor an end of a line.

use std::fmt::Write;

use zokor_core::id::SessionId;
use zokor_core::proto::{
    Acl, Create, CreateMode, ErrorCode, Id, OpResult, Permissions, Response, Write as Wish,
};
use zokor_core::replica::Deed;
use zokor_core::time::WallTime;
use zokor_core::tree::shown;

use crate::admin::log_date;
use crate::log::OneLine;

/// One line in the making.
pub(super) struct Line {
    text: String,
    is_first: bool,
}

impl Line {
    /// Begins as the log of ZooKeeper does.
    pub(super) fn new(now: WallTime) -> Self {
        let text = format!("{} INFO audit.Slf4jAuditLogger: ", log_date(now));
        Line { text, is_first: true }
    }

    /// One field.
    pub(super) fn put(&mut self, key: &str, value: &str) -> &mut Self {
        if !std::mem::replace(&mut self.is_first, false) {
            self.text.push('\t');
        }
        self.text.push_str(key);
        self.text.push('=');
        OneLine(&mut self.text).write_str(value).expect("a string takes all text");
        self
    }

    pub(super) fn end(mut self) -> String {
        self.text.push('\n');
        self.text
    }
}

/// All lines that tell of a deed.
pub(super) fn of_deed(now: WallTime, user: &str, deed: &Deed) -> String {
    match deed {
        Deed::Write { session, identities, write, result } => {
            let who = Who { now, session: *session, identities };
            who.wrote(write, result)
        }
        Deed::Reconfig { session, identities, is_done } => {
            let who = Who { now, session: *session, identities };
            let path = is_done.then_some("/zookeeper/config");
            who.line("reconfig", path, None, *is_done)
        }
        Deed::Ended { session, deleted } => {
            let line = |path: &zokor_core::proto::Text| {
                let mut line = Line::new(now);
                line.put("session", &session.to_string()).put("user", user);
                line.put("operation", "ephemeralZNodeDeletionOnSessionCloseOrExpire");
                line.put("znode", path).put("result", "success");
                line.end()
            };
            deleted.iter().map(line).collect()
        }
    }
}

/// A client at the moment of its request.
struct Who<'a> {
    now: WallTime,
    session: SessionId,
    identities: &'a [Id],
}

impl Who<'_> {
    fn wrote(&self, write: &Wish, result: &Result<Response, ErrorCode>) -> String {
        match write {
            Wish::Create(create) => {
                let path = match result {
                    Ok(Response::Path(path) | Response::PathStat(path, _)) => path,
                    _ => &create.path,
                };
                self.line("create", Some(path), Some(("znode_type", mode(create))), result.is_ok())
            }
            Wish::Delete { path, .. } => self.line("delete", Some(path), None, result.is_ok()),
            Wish::SetData { path, .. } => self.line("setData", Some(path), None, result.is_ok()),
            Wish::SetAcl { path, acl, .. } => {
                let acl = acl_text(acl);
                self.line("setAcl", Some(path), Some(("acl", &acl)), result.is_ok())
            }
            Wish::Multi(parts) => self.multi(parts, result),
            Wish::Check { .. } | Wish::CloseSession => String::new(),
        }
    }

    /// Each part of one that succeeded; of one that failed, that it did.
    fn multi(&self, parts: &[Wish], result: &Result<Response, ErrorCode>) -> String {
        let Ok(Response::Multi(results)) = result else {
            return self.line("multiOperation", None, None, false);
        };
        if results.iter().any(|result| matches!(result, OpResult::Error(_))) {
            return self.line("multiOperation", None, None, false);
        }
        let line = |(part, result): (&Wish, &OpResult)| match (part, result) {
            (Wish::Create(create), OpResult::Create(path) | OpResult::Create2(path, _)) => {
                self.line("create", Some(path), Some(("znode_type", mode(create))), true)
            }
            (Wish::Delete { path, .. }, _) => self.line("delete", Some(path), None, true),
            (Wish::SetData { path, .. }, _) => self.line("setData", Some(path), None, true),
            _ => String::new(),
        };
        parts.iter().zip(results).map(line).collect()
    }

    fn line(
        &self,
        operation: &str,
        path: Option<&str>,
        more: Option<(&str, &str)>,
        is_done: bool,
    ) -> String {
        let mut line = Line::new(self.now);
        line.put("session", &self.session.to_string());
        let users: Vec<Id> = self.identities.iter().filter_map(shown).collect();
        let users: Vec<&str> =
            users.iter().map(|user| &*user.id).filter(|user| !user.trim().is_empty()).collect();
        if !users.is_empty() {
            line.put("user", &users.join(","));
        }
        if let Some(address) = self.identities.iter().find(|id| id.scheme == "ip") {
            line.put("ip", &address.id);
        }
        line.put("operation", operation);
        if let Some(path) = path {
            line.put("znode", path);
        }
        if let Some((key, value)) = more {
            line.put(key, value);
        }
        line.put("result", if is_done { "success" } else { "failure" });
        line.end()
    }
}

/// Java's word for what is to be made, in small letters.
fn mode(create: &Create) -> &'static str {
    match CreateMode::from_flags(create.flags) {
        Some(CreateMode::Persistent { sequential: false }) => "persistent",
        Some(CreateMode::Persistent { sequential: true }) => "persistent_sequential",
        Some(CreateMode::Ephemeral { sequential: false }) => "ephemeral",
        Some(CreateMode::Ephemeral { sequential: true }) => "ephemeral_sequential",
        Some(CreateMode::Container) => "container",
        Some(CreateMode::Ttl { sequential: false }) => "persistent_with_ttl",
        Some(CreateMode::Ttl { sequential: true }) => "persistent_sequential_with_ttl",
        None => "unknown",
    }
}

/// One behind the other, as ZooKeeper has it; but a hash of a password is nobody's business.
fn acl_text(acl: &[Acl]) -> String {
    let mut text = String::new();
    for entry in zokor_core::tree::acl::mask(acl) {
        let Permissions(bits) = entry.permissions;
        text.push_str(&format!("{}:{}:", entry.id.scheme, entry.id.id));
        for (bit, letter) in [(4, 'c'), (8, 'd'), (1, 'r'), (2, 'w'), (16, 'a')] {
            if bits & bit != 0 {
                text.push(letter);
            }
        }
    }
    text
}

/// Who runs this process, by name if the system has one for him.
pub(super) fn process_user() -> String {
    use std::os::unix::fs::MetadataExt;
    let uid = std::fs::metadata("/proc/self").map(|facts| facts.uid()).ok();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = uid.and_then(|uid| user_of(&users, uid));
    let by_number = || uid.map(|uid| uid.to_string());
    named.or_else(|| std::env::var("USER").ok()).or_else(by_number).unwrap_or_default()
}

fn user_of(users: &str, uid: u32) -> Option<String> {
    let mut lines = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let line = lines.find(|line| line.get(2).is_some_and(|found| *found == uid.to_string()))?;
    Some(line[0].to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use zokor_core::proto::{CreateKind, Identities, Stat};

    use super::*;

    const START: &str = "2026-11-23 15:42:06,118 INFO audit.Slf4jAuditLogger: ";

    fn identities() -> Identities {
        let ids = [("ip", "10.0.0.7"), ("digest", "bob:hash"), ("super", ""), ("key", "")];
        ids.iter().map(|(scheme, id)| Id::new(scheme, id)).collect()
    }

    fn create(path: &str, flags: i32) -> Wish {
        let (data, acl, kind) = (None, [].into(), CreateKind::Create);
        Wish::Create(Create { path: path.into(), data, acl, flags, ttl_ms: -1, kind })
    }

    /// The lines of a write, without what they begin with.
    fn told(write: Wish, result: Result<Response, ErrorCode>) -> Vec<String> {
        let session = SessionId(0x1_0000_178f);
        let (identities, write) = (identities(), Box::new(write));
        let deed = Deed::Write { session, identities, write, result };
        let who = "session=0x10000178f\tuser=10.0.0.7,bob\tip=10.0.0.7\t";
        let lines = of_deed(WallTime(1_795_448_526_118), "root", &deed);
        let lines = lines.lines().map(|line| line.strip_prefix(START).expect(line));
        lines.map(|line| line.strip_prefix(who).expect(line).to_owned()).collect()
    }

    #[test]
    fn every_write_is_told_in_zookeepers_words() {
        let made = || Ok(Response::Path("/s-0000000003".into()));
        let acl = [("digest", "bob:hash", 31), ("world", "anyone", 1)];
        let acl = acl.iter().map(|(scheme, id, bits)| Acl {
            permissions: Permissions(*bits),
            id: Id::new(scheme, id),
        });
        let set_acl = Wish::SetAcl { path: "/a".into(), acl: acl.collect(), version: -1 };
        let delete = || Wish::Delete { path: "/a".into(), version: -1 };
        let set = || Wish::SetData { path: "/a".into(), data: None, version: -1 };
        let no = || Err(ErrorCode::NoNode);
        let stat = || Ok(Response::Stat(Stat::default()));
        let table: [(Wish, Result<Response, ErrorCode>, &str); 7] = [
            (
                create("/s-", 2),
                made(),
                "create\tznode=/s-0000000003\tznode_type=persistent_sequential\tresult=success",
            ),
            (create("/s-", 1), no(), "create\tznode=/s-\tznode_type=ephemeral\tresult=failure"),
            (delete(), Ok(Response::Empty), "delete\tznode=/a\tresult=success"),
            (delete(), no(), "delete\tznode=/a\tresult=failure"),
            (set(), stat(), "setData\tznode=/a\tresult=success"),
            (
                set_acl,
                stat(),
                "setAcl\tznode=/a\tacl=digest:bob:x:cdrwaworld:anyone:r\tresult=success",
            ),
            (Wish::multi(vec![set()]), no(), "multiOperation\tresult=failure"),
        ];
        for (write, result, expected) in table {
            assert_eq!(told(write, result), [format!("operation={expected}")]);
        }
    }

    #[test]
    fn a_multi_is_told_part_by_part_or_as_failed() {
        let parts = || {
            let check = Wish::Check { path: "/".into(), version: -1 };
            let delete = Wish::Delete { path: "/d".into(), version: -1 };
            Wish::multi(vec![create("/a", 0), check, delete])
        };
        let done = vec![OpResult::Create("/a".into()), OpResult::Check, OpResult::Delete];
        assert_eq!(
            told(parts(), Ok(Response::Multi(done))),
            [
                "operation=create\tznode=/a\tznode_type=persistent\tresult=success",
                "operation=delete\tznode=/d\tresult=success",
            ]
        );
        let failed = vec![OpResult::Error(None), OpResult::Error(Some(ErrorCode::NoNode))];
        let failed = told(parts(), Ok(Response::Multi(failed)));
        assert_eq!(failed, ["operation=multiOperation\tresult=failure"]);
    }

    #[test]
    fn what_goes_with_a_session_is_told_in_the_name_of_the_server() {
        let deleted = vec!["/e".into(), "/f".into()];
        let deed = Deed::Ended { session: SessionId(7), deleted };
        let line = |path| {
            format!(
                "{START}session=0x7\tuser=root\toperation=ephemeralZNodeDeletionOnSessionClose\
                 OrExpire\tznode={path}\tresult=success\n"
            )
        };
        let lines = of_deed(WallTime(1_795_448_526_118), "root", &deed);
        assert_eq!(lines, format!("{}{}", line("/e"), line("/f")));
    }

    #[test]
    fn another_membership_is_told() {
        let identities: Identities = Arc::new([]);
        let line = |is_done| {
            let identities = identities.clone();
            let deed = Deed::Reconfig { session: SessionId(7), identities, is_done };
            of_deed(WallTime(1_795_448_526_118), "root", &deed)
        };
        let begin = format!("{START}session=0x7\toperation=reconfig\t");
        assert_eq!(line(true), format!("{begin}znode=/zookeeper/config\tresult=success\n"));
        assert_eq!(line(false), format!("{begin}result=failure\n"));
    }

    #[test]
    fn no_path_can_forge_a_field_or_a_line() {
        let path = "/a\tresult=success\n2026-11-23 INFO\r\u{2028}\u{202e}\u{0}";
        let lines = told(create(path, 0), Err(ErrorCode::BadArguments));
        let escaped = "/a\\tresult=success\\n2026-11-23 INFO\\r\\u{2028}\\u{202e}\\u{0}";
        let expected =
            format!("operation=create\tznode={escaped}\tznode_type=persistent\tresult=failure");
        assert_eq!(lines, [expected]);
    }

    #[test]
    fn a_user_is_found_by_his_number() {
        let users = "root:x:0:0:root:/root:/bin/sh\nzokor:x:990:990::/:/bin/false\n";
        assert_eq!(user_of(users, 990).as_deref(), Some("zokor"));
        assert_eq!(user_of(users, 99), None);
    }
}
