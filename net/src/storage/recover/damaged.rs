//! Opens a folder whose log or newest snapshot is damaged, of a server that others can help.
//!
//! Invariant: what is left of the log stays as it is until a whole one has taken its place.

use zokor_core::raft::{Damage, Index, Persist, SnapshotMeta};
use zokor_core::replica::Recovered;

use super::{Folders, check, remove_leftovers, reset};
use crate::storage::disk::Disk;
use crate::storage::error::Error;
use crate::storage::salvage::{Salvaged, salvage};
use crate::storage::snapshot::name_of;
use crate::storage::snapshots::Found;
use crate::storage::wal::Wal;
use crate::storage::watermark::FoundMark;
use crate::storage::{Opened, Report};

/// Goes on with what is left. `error` says what is wrong.
pub(super) fn open<D: Disk>(
    folders: Folders<'_, D>,
    found: Found,
    newest: SnapshotMeta,
    mark: FoundMark<D>,
    error: Error,
) -> Result<Opened<D>, Error> {
    let Folders { shared, data, log, options, .. } = folders.clone();
    let base = newest.last;
    let Some(mut left) = salvage(&log, shared.id, base.index, mark.watermark.mark())? else {
        return Err(error);
    };
    // A snapshot that is damaged said more than the log does, and nothing says what.
    let lost_snapshot = found.damaged.first().map_or(Index::ZERO, |(index, _)| *index);
    left.is_end_lost |= lost_snapshot > left.last.index;
    let (entries, damage) = left.damage(base);
    let Salvaged { hard_state, tail, outdated, last, .. } = left;

    // All is judged: from here on the disk is changed.
    remove_leftovers(&data, &log)?;
    outdated.iter().try_for_each(|name| super::remove(&log, name))?;
    let segment_count = tail.segments.len();
    let mut wal = Wal::resume(shared.clone(), log, options.segment_bytes, tail, mark.watermark);
    if damage.is_none() {
        let hard_state = Some(hard_state);
        wal.persist(&[Persist { hard_state, append: entries.clone(), ..reset(newest) }])?;
    }
    let is_whole = damage.is_none();
    let why = error.facts();
    let report = Report {
        snapshot: base.index,
        first: base.index.next(),
        last: last.index,
        segment_count,
        damaged_snapshots: found.damaged.iter().map(|(index, _)| name_of(*index)).collect(),
        damaged_watermarks: mark.damaged,
        is_distrusted: found.is_distrusted,
        replaced: is_whole.then(|| why.clone()),
        damage: damage.as_ref().map(|damage| format!("{why}; {}", told(damage))),
        ..Report::default()
    };
    let (snapshots, scrub) = folders.rest(&found);
    let is_distrusted = found.is_distrusted;
    let snapshot = found.newest;
    let recovered = Recovered { hard_state, snapshot, entries, damage, is_distrusted };
    check(&recovered);
    Ok(Opened { wal, snapshots, scrub, recovered, report })
}

/// The damage in words.
fn told(damage: &Damage<zokor_core::db::Txn>) -> String {
    let end = match (damage.is_end_lost, damage.is_vote_lost) {
        (true, _) => "what came after that, and its votes, is not known",
        (false, true) => "its votes are not known",
        (false, false) => "its votes are known",
    };
    let (n_behind, last) = (damage.behind.len(), damage.last.index);
    format!("{n_behind} entries behind the damage are whole, the last known one is {last}, {end}")
}
