//! Groups and weights as bytes: in entries, in actions, and behind the head of a snapshot between
//! servers. `ENTRY.md` beside this file describes them.
//!
//! Invariant: groups have one encoding: ascending by number, the servers of each ascending by id,
//! no group empty, no server twice, no weight beyond ZooKeeper's.

use bytes::BytesMut;
use zokor_core::groups::{Groups, MAX_WEIGHT};
use zokor_core::id::ServerId;
use zokor_core::raft::Membership;

use super::WireError;
use super::compact::{Reader, put_count, put_varint};

/// Appends groups; none are a count of 0.
pub(super) fn put_groups(out: &mut BytesMut, groups: &Groups) {
    put_count(out, groups.iter().len());
    for (number, members) in groups.iter() {
        put_varint(out, number);
        put_count(out, members.len());
        for (server, weight) in members {
            put_varint(out, server.0);
            put_varint(out, *weight);
        }
    }
}

/// Groups, or none.
pub(super) fn take_groups(reader: &mut Reader) -> Result<Groups, WireError> {
    const MIN_SIZE: usize = 4;
    const MEMBER_SIZE: usize = 2;
    let misplaced = |what| Err(WireError::Misplaced { what });
    let mut groups = Groups::none();
    let mut last_group = None;
    for _ in 0..reader.count("groups", MIN_SIZE)? {
        let number = reader.varint("group")?;
        if number > MAX_WEIGHT || last_group.is_some_and(|last| number <= last) {
            return misplaced("group");
        }
        last_group = Some(number);
        let n_members = reader.count("servers of a group", MEMBER_SIZE)?;
        let mut last_member = None;
        for _ in 0..n_members {
            let server = ServerId(reader.varint("server")?);
            let weight = reader.varint("weight")?;
            let ascends = last_member.is_none_or(|last| server > last);
            last_member = Some(server);
            if !ascends || !groups.put(number, server, weight) {
                return misplaced("server of a group");
            }
        }
        if n_members == 0 {
            return misplaced("group");
        }
    }
    Ok(groups)
}

/// Whether a membership decides by groups, in either of its sets.
pub(super) fn has_groups(membership: &Membership) -> bool {
    !membership.groups.is_empty() || !membership.outgoing_groups.is_empty()
}

/// Appends the groups of a membership that has some.
pub(super) fn put_groups_of(out: &mut BytesMut, membership: &Membership) {
    put_groups(out, &membership.groups);
    put_groups(out, &membership.outgoing_groups);
}

/// The groups of a membership that has some.
pub(super) fn take_groups_of(
    reader: &mut Reader,
    membership: Membership,
) -> Result<Membership, WireError> {
    let (groups, outgoing_groups) = (take_groups(reader)?, take_groups(reader)?);
    let membership = Membership { groups, outgoing_groups, ..membership };
    match has_groups(&membership) {
        true => Ok(membership),
        false => Err(WireError::Misplaced { what: "groups" }),
    }
}
