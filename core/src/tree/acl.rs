//! Permissions: who may do what, and what a list must be like to be stored.
//!
//! Invariant: what [`fix_up`] lets pass names only schemes that `scheme` knows;
//! but a check never relies on it. Rules: `ZooKeeperServer.checkACL`,
//! `PrepRequestProcessor.fixupACL`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::scheme;
use crate::proto::{Acl, AclList, ErrorCode, Id, Permissions, Text, open_acl};

/// Whether `identities` may do any of `wanted` under `acl`.
pub fn permits(acl: &[Acl], wanted: Permissions, identities: &[Id]) -> bool {
    if acl.is_empty() {
        return true;
    }
    let granted = acl.iter().filter(|entry| entry.permissions.allows_any(wanted));
    let mut granted = granted.map(|entry| &entry.id);
    granted.any(|id| is_anyone(id) || identities.iter().any(|own| scheme::matches(own, id)))
        || identities.iter().any(scheme::is_above_all)
}

/// [`permits`], as the answer to a request.
///
/// # Errors
/// `NoAuth` if it is not permitted.
pub fn require(acl: &[Acl], wanted: Permissions, identities: &[Id]) -> Result<(), ErrorCode> {
    if permits(acl, wanted, identities) { Ok(()) } else { Err(ErrorCode::NoAuth) }
}

/// The list to be stored for what a client sent: duplicates gone, `auth` replaced by the identities
/// of the connection.
///
/// # Errors
/// `InvalidAcl` if nothing is left, an entry is not valid, or too much would be put for `auth`.
pub fn fix_up(acl: &AclList, identities: &[Id]) -> Result<AclList, ErrorCode> {
    if is_open(acl) {
        return Ok(Arc::clone(acl));
    }
    let mut seen = BTreeSet::new();
    let mut fixed = Vec::with_capacity(acl.len());
    let mut expanded_bytes = 0;
    for entry in acl.iter().filter(|entry| seen.insert(*entry)) {
        if is_anyone(&entry.id) {
            fixed.push(entry.clone());
        } else if entry.id.scheme == "auth" {
            let before = fixed.len();
            for own in identities.iter().filter(|own| scheme::is_authenticated(own)) {
                expanded_bytes += ENTRY_BYTES + own.scheme.len() + own.id.len();
                if expanded_bytes > MAX_EXPANDED_BYTES {
                    return Err(ErrorCode::InvalidAcl);
                }
                fixed.push(Acl { permissions: entry.permissions, id: own.clone() });
            }
            if fixed.len() == before {
                return Err(ErrorCode::InvalidAcl);
            }
        } else if scheme::is_valid(&entry.id) {
            fixed.push(entry.clone());
        } else {
            return Err(ErrorCode::InvalidAcl);
        }
    }
    if fixed.is_empty() { Err(ErrorCode::InvalidAcl) } else { Ok(fixed.into()) }
}

/// What all entries put for `auth` may take up on the wire. A request is limited by its frame, but
/// many entries times many identities are not: without this, one request could fill the memory of
/// every server.
const MAX_EXPANDED_BYTES: usize = 1 << 20;

/// An entry on the wire besides its texts: permissions and two lengths.
const ENTRY_BYTES: usize = 12;

/// The list as it is shown to those who may not administer it: without the hashes of passwords.
pub fn mask(acl: &[Acl]) -> Vec<Acl> {
    let mask = |entry: &Acl| match entry.id.id.split_once(':') {
        Some((user, _)) if entry.id.scheme == "digest" => Acl {
            permissions: entry.permissions,
            id: Id { scheme: entry.id.scheme.clone(), id: Text::from(format!("{user}:x")) },
        },
        _ => entry.clone(),
    };
    acl.iter().map(mask).collect()
}

fn is_anyone(id: &Id) -> bool {
    id.scheme == "world" && id.id == "anyone"
}

/// Whether it is [`open_acl`], as nearly every list is.
fn is_open(acl: &[Acl]) -> bool {
    matches!(acl, [only] if only.permissions == Permissions::ALL && is_anyone(&only.id))
}

/// The hash of a list. Short ones, which nearly all are, need no allocation.
fn hash(acl: &[Acl]) -> u64 {
    let text_len = |text: &str| 8 + text.len();
    let entry_len = |entry: &Acl| 4 + text_len(&entry.id.scheme) + text_len(&entry.id.id);
    let n_bytes: usize = acl.iter().map(entry_len).sum();
    let (mut short, mut long) = ([0; 128], Vec::new());
    let bytes = match short.get_mut(..n_bytes) {
        Some(short) => short,
        None => {
            long.resize(n_bytes, 0);
            &mut long[..]
        }
    };
    let mut rest = &mut *bytes;
    for entry in acl.iter() {
        put(&mut rest, &entry.permissions.0.to_le_bytes());
        for text in [&entry.id.scheme, &entry.id.id] {
            put(&mut rest, &(text.len() as u64).to_le_bytes());
            put(&mut rest, text.as_bytes());
        }
    }
    assert!(rest.is_empty(), "the length was summed up from the same entries");
    xxh3_64(bytes)
}

/// Writes `part` at the beginning of `rest`, and leaves what is after it.
fn put(rest: &mut &mut [u8], part: &[u8]) {
    let (place, after) = std::mem::take(rest).split_at_mut(part.len());
    place.copy_from_slice(part);
    *rest = after;
}

/// A list as all znodes share it that have it, with what would be found in it again and again.
#[derive(Debug)]
pub(super) struct SharedAcl {
    pub(super) list: AclList,
    /// Its part in the digest of a znode.
    pub(super) hash: u64,
    /// What everybody may do.
    of_anyone: Permissions,
}

impl SharedAcl {
    fn new(list: AclList) -> Self {
        let granted = list.iter().filter(|entry| is_anyone(&entry.id));
        let granted = granted.fold(0, |all, entry| all | entry.permissions.0);
        let of_anyone = Permissions(if list.is_empty() { -1 } else { granted });
        SharedAcl { hash: hash(&list), of_anyone, list }
    }

    /// [`permits`], which for nearly all lists says one look at what everybody may do.
    pub(super) fn permits(&self, wanted: Permissions, identities: &[Id]) -> bool {
        self.of_anyone.allows_any(wanted) || permits(&self.list, wanted, identities)
    }
}

/// Every list in use, once. The open list is shared and never counted.
#[derive(Clone, Debug)]
pub(super) struct AclLists {
    /// With [`open_acl`] in it.
    open: Arc<SharedAcl>,
    /// With the number of znodes that have it.
    uses: BTreeMap<AclList, (Arc<SharedAcl>, u64)>,
}

impl Default for AclLists {
    fn default() -> Self {
        AclLists { open: Arc::new(SharedAcl::new(open_acl())), uses: BTreeMap::new() }
    }
}

impl AclLists {
    /// The shared list equal to `acl`, for one more znode.
    pub(super) fn acquire(&mut self, acl: &[Acl]) -> Arc<SharedAcl> {
        if is_open(acl) {
            return Arc::clone(&self.open);
        }
        if let Some((list, uses)) = self.uses.get_mut(acl) {
            *uses += 1;
            return Arc::clone(list);
        }
        // Texts of a request keep its whole frame in memory: a list that stays has its own.
        let own = |text: &Text| Text::from(&**text);
        let own = |entry: &Acl| Acl {
            permissions: entry.permissions,
            id: Id { scheme: own(&entry.id.scheme), id: own(&entry.id.id) },
        };
        let list: AclList = acl.iter().map(own).collect();
        let shared = Arc::new(SharedAcl::new(Arc::clone(&list)));
        self.uses.insert(list, (Arc::clone(&shared), 1));
        shared
    }

    /// Takes over a list that a frozen znode has; all that have the same share it already.
    pub(super) fn adopt(&mut self, acl: &Arc<SharedAcl>) {
        if Arc::ptr_eq(acl, &self.open) {
            return;
        }
        if is_open(&acl.list) {
            self.open = Arc::clone(acl);
        } else {
            let known = self.uses.entry(AclList::clone(&acl.list));
            known.or_insert_with(|| (Arc::clone(acl), 0)).1 += 1;
        }
    }

    /// One znode less has `acl`.
    pub(super) fn release(&mut self, acl: &[Acl]) {
        if is_open(acl) {
            return;
        }
        let (_, uses) = self.uses.get_mut(acl).expect("a znode's list was acquired");
        *uses -= 1;
        if *uses == 0 {
            self.uses.remove(acl);
        }
    }

    /// How many lists are in use besides the open one.
    pub(super) fn len(&self) -> usize {
        self.uses.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(bits: i32, scheme: &str, id: &str) -> Acl {
        Acl { permissions: Permissions(bits), id: Id::new(scheme, id) }
    }

    #[test]
    fn an_entry_grants_its_bits_to_whom_it_names() {
        let bob = Id::new("digest", "bob:h");
        let local = Id::new("ip", "10.0.0.7");
        let own = [local.clone(), bob.clone()];
        let table = [
            (vec![], 1, true),
            (vec![entry(31, "world", "anyone")], 16, true),
            (vec![entry(1, "world", "anyone")], 2, false),
            (vec![entry(1, "world", "anyone")], 1 | 16, true),
            (vec![entry(31, "world", "someone")], 1, false),
            (vec![entry(2, "digest", "bob:h")], 2, true),
            (vec![entry(2, "digest", "bob:other")], 2, false),
            (vec![entry(4, "ip", "10.0.0.0/8")], 4, true),
            (vec![entry(4, "ip", "11.0.0.0/8")], 4, false),
            (vec![entry(31, "digest", "10.0.0.7")], 1, false),
            (vec![entry(0, "world", "anyone"), entry(1, "digest", "bob:h")], 1, true),
            (vec![entry(31, "nonsense", "bob:h")], 1, false),
        ];
        for (acl, wanted, expected) in table {
            assert_eq!(permits(&acl, Permissions(wanted), &own), expected, "{acl:?} {wanted}");
            let shared = SharedAcl::new(acl.clone().into());
            assert_eq!(shared.permits(Permissions(wanted), &own), expected, "{acl:?} {wanted}");
        }
    }

    #[test]
    fn super_passes_every_check() {
        let acl = [entry(1, "digest", "bob:h")];
        for id in [Id::new("super", ""), Id::new("super", "CN=a")] {
            assert!(permits(&acl, Permissions::ADMIN, &[id]));
        }
        assert!(!permits(&acl, Permissions::ADMIN, &[Id::new("ip", "10.0.0.7")]));
    }

    #[test]
    fn a_list_is_fixed_up_or_refused() {
        let open = entry(31, "world", "anyone");
        let bob = Id::new("digest", "bob:h");
        let eve = Id::new("digest", "eve:h");
        let own = [Id::new("ip", "10.0.0.7"), bob.clone(), Id::new("super", ""), eve.clone()];
        let of = |bits, id: &Id| Acl { permissions: Permissions(bits), id: id.clone() };
        let good = [
            (vec![open.clone()], vec![open.clone()]),
            (vec![open.clone(), of(1, &bob), open.clone()], vec![open.clone(), of(1, &bob)]),
            (vec![entry(7, "auth", "ignored")], vec![of(7, &bob), of(7, &eve)]),
            (vec![entry(0, "world", "anyone")], vec![entry(0, "world", "anyone")]),
            (vec![entry(-1, "ip", "::1/64")], vec![entry(-1, "ip", "::1/64")]),
        ];
        for (acl, fixed) in good {
            assert_eq!(fix_up(&acl.clone().into(), &own), Ok(fixed.into()), "{acl:?}");
        }
        let bad = [
            vec![],
            vec![entry(31, "world", "")],
            vec![entry(31, "super", "")],
            vec![entry(31, "digest", "bob")],
            vec![entry(31, "ip", "nonsense")],
            vec![open.clone(), entry(31, "nonsense", "bob")],
            vec![entry(31, "", "")],
        ];
        for acl in bad {
            assert_eq!(fix_up(&acl.clone().into(), &own), Err(ErrorCode::InvalidAcl), "{acl:?}");
        }
        let auth = [entry(31, "auth", "")];
        assert_eq!(fix_up(&auth.clone().into(), &own[..1]), Err(ErrorCode::InvalidAcl));
        let hidden = [Id::new(scheme::ANY_SASL, "x")];
        assert_eq!(fix_up(&auth.clone().into(), &hidden), Err(ErrorCode::InvalidAcl));
        for proven in ["sasl", "x509", "key"] {
            let own = [Id::new("ip", "10.0.0.7"), Id::new(proven, "x")];
            assert_eq!(
                fix_up(&auth.clone().into(), &own),
                Ok([of(31, &own[1])].into()),
                "{proven}"
            );
        }
    }

    #[test]
    fn many_entries_times_many_identities_are_refused() {
        let own: Vec<Id> = (0..1_000).map(|n| Id::new("digest", &format!("{n:04}:h"))).collect();
        // 12 + 6 + 6 bytes each.
        let auth: Vec<Acl> = (0..44).map(|bits| entry(bits, "auth", "")).collect();
        assert_eq!(fix_up(&auth[..43].into(), &own).map(|list| list.len()), Ok(43_000));
        assert_eq!(fix_up(&auth.clone().into(), &own), Err(ErrorCode::InvalidAcl));
    }

    /// The hash is part of what snapshots promise: it stays what it was, by either way.
    #[test]
    fn the_hash_of_an_acl_is_that_of_its_bytes() {
        for n in [0, 1, 2, 3, 50] {
            let entry = |n: i32| entry(n, "digest", &"x".repeat(n as usize));
            let acl: AclList = (0..n).map(entry).collect();
            let mut bytes = Vec::new();
            for entry in acl.iter() {
                bytes.extend_from_slice(&entry.permissions.0.to_le_bytes());
                for text in [&entry.id.scheme, &entry.id.id] {
                    bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
                    bytes.extend_from_slice(text.as_bytes());
                }
            }
            assert_eq!(hash(&acl), xxh3_64(&bytes), "{n}");
        }
    }

    #[test]
    fn a_mask_hides_hashes_only() {
        let acl = [entry(1, "digest", "bob:hash:more"), entry(1, "ip", "::1")];
        assert_eq!(mask(&acl), [entry(1, "digest", "bob:x"), entry(1, "ip", "::1")]);
    }

    #[test]
    fn equal_lists_are_one_until_the_last_user_goes() {
        let mut lists = AclLists::default();
        let acl = [entry(1, "ip", "::1")];
        let first = lists.acquire(&acl);
        let second = lists.acquire(&acl);
        assert_eq!(*first.list, acl);
        assert!(Arc::ptr_eq(&first, &second));
        assert!(!Arc::ptr_eq(&first, &lists.acquire(&[acl[0].clone(), acl[0].clone()])));
        assert_eq!(lists.len(), 2);
        lists.release(&first.list);
        assert_eq!(lists.len(), 2);
        lists.release(&second.list);
        assert_eq!(lists.len(), 1);
        let open = lists.acquire(&[entry(31, "world", "anyone")]);
        lists.release(&open.list);
        assert_eq!(lists.len(), 1);
    }
}
