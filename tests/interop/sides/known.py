"""Differences between ZooKeeper 3.8.0 and zokor that are meant to be.

Each function turns zokor's answer (`mine`) into the one that ZooKeeper 3.8.0, in Debian's package,
has to give, or leaves it alone; `other` is what it gave. The text begins with the release since
which ZooKeeper answers as zokor does, or with why it never does.
"""

from sides.jute import (
    CHECK_WATCHES, COUNT_DESCENDANTS, CREATE, CREATE2, CREATES, EXISTS, MULTI, MULTI_READ,
    REMOVE_WATCHES, SYNC, integer,
)  # fmt: skip
from sides.operations import VAULT


def events_bear_zxids(operation, mine, other):
    """3.9.0: the header of an event has the zxid of what caused it; -1 before."""
    events = [(*event[:4], -1, event[5]) for event in mine["events"]]
    return {**mine, "events": events}


def exists_needs_read(operation, mine, other):
    """3.8.4: exists on a znode that may not be read is refused, and sets no watch."""
    in_vault = isinstance(operation.path, str) and operation.path.startswith(VAULT)
    if operation.op == EXISTS and in_vault and mine["code"] == -102:
        operation.refused.add(operation.path)
        return {**mine, **{key: other[key] for key in ("code", "body")}}
    return mine


def refused_exists_sets_no_watch(operation, mine, other):
    """3.8.4: what such an exists would have watched gives no event, should it become readable."""
    events, left = [], list(mine["events"])
    for event in other["events"]:
        if left and left[0] == event:
            events.append(left.pop(0))
        elif event[1] in operation.refused:
            events.append(event)
        else:
            return mine
    return mine if left else {**mine, "events": events}


def refused_exists_leaves_no_watch(operation, mine, other):
    """3.8.4: and it is not found either."""
    looks = operation.op in (CHECK_WATCHES, REMOVE_WATCHES) and operation.path in operation.refused
    if looks and (mine["code"], other["code"]) == (-121, 0):
        return {**mine, "code": 0}
    return mine


def watcher_types_4_and_5(operation, mine, other):
    """3.9.0: the types Persistent and PersistentRecursive."""
    if operation.op in (CHECK_WATCHES, REMOVE_WATCHES) and operation.kind in (4, 5):
        return {**mine, "code": -5}
    return mine


def check_watches_is_exact(operation, mine, other):
    """3.9.0: a check tells kinds apart, and looks at the connection's own watches only. A check
    that finds something is compared all the same, and so is every removal."""
    if operation.op != CHECK_WATCHES or operation.kind not in (1, 2, 3) or mine["code"] != -121:
        return mine
    # Nor could it look at what does not begin with a slash.
    has_slash = isinstance(operation.path, str) and operation.path.startswith("/")
    return {**mine, "code": 0 if has_slash else other["code"]}


def create2_in_multi(operation, mine, other):
    """3.8.2: a create2 in a multi answers with the stat; with the path only before."""
    if operation.op != MULTI or mine["code"] != 0 or other["code"] != 0:
        return mine
    body = [
        (CREATE, result[1], result[2][0])
        if (op, result[0], theirs[0]) == (CREATE2, CREATE2, CREATE)
        else result
        for op, result, theirs in zip([*operation.sub_ops, None], mine["body"], other["body"])
    ]
    return {**mine, "body": body}


def multi_is_decoded_strictly(operation, mine, other):
    """3.8.2: a create with bad flags or without an ACL spoils the whole multi; before it failed."""
    if operation.op == MULTI and operation.kind == "misfit" and mine["code"] == -5:
        if other["code"] == 0 and all(result[0] == -1 for result in other["body"][:-1]):
            return {**mine, **{key: other[key] for key in ("code", "body")}}
    return mine


def null_path_is_malformed(operation, mine, other):
    """Never: ZooKeeper looks at a create's flags before it stumbles over a path that is null, and
    it looks for a watch there to remove."""
    if mine["code"] != -5:
        return mine
    if operation.op in CREATES and operation.path is None and other["code"] in (-6, -8):
        return {**mine, "code": other["code"]}
    if operation.op == REMOVE_WATCHES and operation.path is None and other["code"] == -121:
        return {**mine, "code": -121}
    return mine


def no_body_behind_an_error(operation, mine, other):
    """Never: ZooKeeper sends what it has of a multi, if only its end, behind some of its errors."""
    if operation.op in (MULTI, MULTI_READ) and (mine["code"], mine["rest"]) == (-5, ""):
        if other["rest"].endswith((integer(-1) + b"\1" + integer(-1)).hex()):
            return {**mine, "rest": other["rest"]}
    return mine


def sync_of_null(operation, mine, other):
    """Never: ZooKeeper takes sync without a path."""
    if operation.op == SYNC and operation.path is None and mine["code"] == -5:
        return {**mine, "code": 0}
    return mine


def root_is_not_below_itself(operation, mine, other):
    """Never: ZooKeeper counts the root among its descendants if it is called by the empty path."""
    if operation.op == COUNT_DESCENDANTS and operation.path == "" and mine["code"] == 0:
        return {**mine, "body": mine["body"] + 1}
    return mine


def null_id_in_acl(operation, mine, other):
    """Never: ZooKeeper stumbles over a null id in an ACL, which spoils a whole multi as well."""
    invalid = mine["code"] == -114
    if operation.op == MULTI and mine["code"] == 0:
        invalid = any(result[:2] == (-1, -114) for result in mine["body"])
    if invalid and other["code"] == -5 and "None)" in operation.title:
        return {**mine, "code": -5, "body": None}
    return mine


def flags_and_operation_agree(operation, mine, other):
    """Never: ZooKeeper takes create with the flags of a container, and the other way round."""
    if operation.kind == "odd" and mine["code"] == -8:
        return {**mine, "code": -101}
    return mine


KNOWN = [
    events_bear_zxids,
    exists_needs_read,
    refused_exists_sets_no_watch,
    refused_exists_leaves_no_watch,
    watcher_types_4_and_5,
    check_watches_is_exact,
    create2_in_multi,
    multi_is_decoded_strictly,
    null_path_is_malformed,
    no_body_behind_an_error,
    sync_of_null,
    root_is_not_below_itself,
    null_id_in_acl,
    flags_and_operation_agree,
]


def reconcile(operation, mine, other, counts):
    """zokor's answer with the known differences taken out."""
    for known in KNOWN:
        if mine == other:
            break
        changed = known(operation, mine, other)
        if changed != mine:
            counts[known.__name__] += 1
            mine = changed
    return mine
