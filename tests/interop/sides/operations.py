"""What is asked: operations drawn from a seed."""

import collections
import random

from sides.jute import (
    ADD_WATCH, ATTACH, AUTH, CHECK, CHECK_WATCHES, CLOSE_SESSION, CONNECTS, COUNT_DESCENDANTS,
    CREATE, CREATE2, CREATE_CONTAINER, CREATE_TTL, CREATES, DELETE, EXISTS, EXPIRE, GET_ACL,
    GET_CHILDREN, GET_CHILDREN2, GET_DATA, GET_EPHEMERALS, LOGIN, LONGEST_FRAME, MULTI, MULTI_READ, NAMES,
    OPEN, PING, RAW, RECONFIG,
    REMOVE_WATCHES, SASL, SET_ACL, SET_DATA, SET_WATCHES, SET_WATCHES2, STEAL, SYNC, WHO_AM_I,
    WRONG_PASSWORD, acl_list, boolean, buffer, integer, long, vector,
)  # fmt: skip
from sides.subject import N_SESSIONS


class Operation:
    """One request of one session. `since`: the body begins with the zxid of that operation's reply.
    `closes`: the connection is to end after the reply."""

    def __init__(self, slot, op, body, title, since=None, closes=False, **facts):
        self.slot, self.op, self.body, self.title = slot, op, body, title
        self.since, self.closes = since, closes
        self.path = facts.pop("path", None)
        self.kind = facts.pop("kind", None)
        self.sub_ops = facts.pop("sub_ops", ())
        assert not facts, facts
        self.number, self.xid = None, None
        # Paths on which this connection's exists was refused by zokor alone.
        self.refused = None

    def __str__(self):
        name = NAMES.get(self.op, self.op)
        return f"session {self.slot}: {name} {self.title}"


OPEN_ACL = [(31, "world", "anyone")]
PATHS = "/a /a /b /c /a/a /a/a /a/b /a/a/a /a/a/b /b/a /b/b".split()
# Only below this one are there znodes that not everybody may read.
VAULT = "/vault"
VAULTED = "/vault/a /vault/b /vault/a/a /vault/a/b".split()
# Only below this one is the tree deep, and are names strange.
DEEP = "/deep"
NAMES_BELOW = [
    "d", "\u00e9", "e\u0301", "\u65e5\u672c", "...", " ", "a b", "x" * 200, "%2F", "\\", "\u200b",
]  # fmt: skip
UNUSUAL = ["/...", "/.a", "/a..b", "/ ", "/~", "/\u00a0", "/\ud7ff", "/\uf900", "/\uffef", "/a/é"]
CONFIG = "/zookeeper/config"
RESERVED = ["/", "/zookeeper", "/zookeeper/quota", CONFIG, "/zookeeper/mine"]
BAD_PATHS = [
    None, "", "a", "a/b", "/a/", "//", "//a", "/a//b", "/.", "/..", "/a/.", "/a/..", "/./a",
    "/a/../b", "/a/./b", "/\0", "/a\0", "/\x01", "/a/\x1f", "/\x7f", "/\x80", "/\x9f", "/\ud800",
    "/\ue000", "/\uf8ff", "/\ufff0", "/\uffff", "/\U0001f600", b"/\xff", b"/a/\xc3", "/b/", "/c/a/",
]  # fmt: skip
BAD_ACLS = [
    None,
    [],
    [(31, "world", "someone")],
    [(31, None, "anyone")],
    [(31, "world", None)],
    [(31, "", "")],
    [(31, "unheard", "of")],
    [(31, "super", "")],
    [(31, "digest", "a")],
    [(31, "digest", "a:")],
    [(31, "digest", "a:b:c")],
    [(31, "ip", "300.0.0.1")],
    [(31, "ip", "127.0.0.1/33")],
    [(31, "ip", "localhost")],
    [(31, "sasl", "a")],
    [(31, "x509", "CN=a")],
    [(31, "WORLD", "anyone")],
    [(31, "world", "")],
    [(31, "world ", "anyone")],
    [(31, "digest", "")],
    [(31, "digest", ":")],
    [(31, "ip", "")],
    [(31, "ip", "127.0.0.1/-1")],
    [(31, "ip", "127.0.0")],
    [*OPEN_ACL, (31, "auth", None)],
    [*OPEN_ACL, (31, "unheard", "of"), *OPEN_ACL],
    [*OPEN_ACL, (1, "digest", None)],
]
USERS = ["ann:secret", "bob:secret", "carl", "dora:a:b", ":x"]
# Whoever knows this may do everything, if the servers were told so (`--super`).
SUPER = "super:test"
SUPER_DIGEST = "super:D/InIHSb7yEEbrWz8b9l71RjZJU="
# Behind `--sasl`: whom the servers know, the last of them as a super user.
SASL_USERS = {"bob": "bobs secret", "eve": "eves", "root": "roots"}
QUOTA = "/zookeeper/quota"
QUOTAS = [f"{QUOTA}/{name}" for name in ("a", "a/zookeeper_limits", "a/zookeeper_stats", "b")]
QUOTAS += [f"{QUOTA}/{name}" for name in ("b/zookeeper_limits", "b/zookeeper_stats", "a/a")]
READ_ADMIN = 1 | 16


class Generator:
    """Draws operations. It depends on the answers only where both sides gave the same one."""

    def __init__(self, seed, n_servers, switches=()):
        self.switches = switches
        self.seed, self.random = seed, random.Random(seed)
        # An ensemble describes itself there, and one server does not.
        self.reserved = [path for path in RESERVED if n_servers == 1 or path != CONFIG]
        self.state = ["none"] * N_SESSIONS
        self.refused = [set() for _ in range(N_SESSIONS)]
        self.made = collections.deque(maxlen=12)
        self.numbers, self.since_ended = [0], set()
        # Of the multi that is being drawn: what 3.8.0 decodes otherwise.
        self.misfits = False
        self.queue = []
        self.deep = [DEEP]
        self.users = USERS + [SUPER] * ("super" in switches)
        # Connections on which somebody has logged in.
        self.logged_in = set()

    def next(self, number):
        """The operations that are sent before the first of them is answered: of one session."""
        while not self.queue:
            self.queue += self.draw()
        group = [self.queue.pop(0)]
        while self.queue and self.may_follow(group[-1], self.queue[0]):
            group.append(self.queue.pop(0))
        for number, operation in enumerate(group, number):
            operation.number, operation.refused = number, self.refused[operation.slot]
            operation.xid = self.random.choice([number, number, 1, 0, -3, 2**31 - 1])
        return group

    def may_follow(self, first, second):
        """Whether the second is sent without waiting. ZooKeeper answers `auth` and `sasl` out of
        their order, and what it does not know; and a write right behind a `setACL` is checked
        against the ACL before that, or not, as it happens."""
        odd = {*CONNECTS, EXPIRE, RAW, AUTH, SASL, LOGIN}
        either = first.op in odd or second.op in odd or first.closes or second.closes
        either = either or first.op == SET_ACL
        return first.slot == second.slot and not either and self.random.random() < 0.9

    def learn(self, operation, answer):
        """Takes from an answer what later operations need."""
        if "zxid" in answer and answer["zxid"] > 0:
            self.numbers.append(operation.number)
        results = []
        if answer["code"] == 0 and operation.op in CREATES:
            results = [(operation.op, 0, answer["body"])]
        elif answer["code"] == 0 and operation.op == MULTI:
            results = answer["body"]
        for op, _, body in [result for result in results if result[0] in CREATES]:
            path = body if op == CREATE else body[0]
            if path[-10:].isdigit():
                self.made.append(path)
            if path.startswith(DEEP) and path not in self.deep:
                self.deep.append(path)
        ended = operation.op in (ATTACH, STEAL) and answer.get("closed")
        if operation.op == CLOSE_SESSION or ended:
            self.state[operation.slot] = "none"
        elif operation.op == EXPIRE or answer.get("closed"):
            self.state[operation.slot] = "lost"
        elif operation.op in (OPEN, ATTACH, STEAL):
            self.state[operation.slot] = "live"
            operation.refused.clear()
        if operation.op == LOGIN and answer["code"] == 0:
            self.logged_in.add(operation.slot)
        elif operation.op in CONNECTS or self.state[operation.slot] != "live":
            self.logged_in.discard(operation.slot)

    def sessions_ended(self, operation):
        """Whether a session has ended since this one was last heard of."""
        if operation.op in (CLOSE_SESSION, EXPIRE):
            self.since_ended = set(range(N_SESSIONS))
        ended = operation.slot in self.since_ended
        self.since_ended.discard(operation.slot)
        return ended

    def draw(self):
        slot = self.random.randrange(N_SESSIONS)
        if self.state[slot] != "live":
            return [self.connect(slot)]
        drawn = self.draw_for(slot)
        # Some are sent without waiting for what was sent before.
        while drawn[-1].op in self.MAY_BE_CUT and self.random.random() < 0.3:
            drawn += self.draw_for(slot)
        return drawn

    def draw_for(self, slot):
        draws = self.random.choices(list(self.KINDS), self.KINDS.values())[0](self, slot)
        if not isinstance(draws, list):
            draws = [draws]
        last = draws[-1]
        if self.random.random() < 0.02 and last.op in self.MAY_BE_CUT and last.since is None:
            last.body = last.body[: self.random.randrange(len(last.body))]
            last.title, last.path, last.kind = f"cut: {last.body.hex()}", None, "cut"
        elif self.random.random() < 0.02 and last.op in self.MAY_BE_CUT:
            last.body += self.random.randbytes(3)
        return draws

    # What things are drawn from.

    def path(self):
        pick = self.random.random()
        if pick < 0.70:
            return self.random.choice(PATHS)
        if pick < 0.86:
            return self.random.choice([VAULT, *VAULTED, *VAULTED])
        if pick < 0.89:
            return self.random.choice(UNUSUAL)
        if pick < 0.92:
            return self.random.choice(self.reserved)
        if pick < 0.97 and self.made:
            return self.random.choice(self.made)
        return self.random.choice(BAD_PATHS)

    def watched(self, slot, kind):
        """A path. Each is watched by a session in one way only; see KNOWN."""
        while True:
            path = self.path()
            if way_of_watching(slot, path) == kind:
                return path

    def flag(self, slot, path):
        return way_of_watching(slot, path) == "standard" and self.random.random() < 0.6

    def version(self):
        return self.random.choice([-1] * 14 + [0, 0, 1, 1, 2, 3, -2, 2**31 - 1])

    def data(self):
        return self.random.choice([None, b"", b"x", b"\0\xff", b"some data", b"y" * 3000])

    def acl(self, path):
        pick = self.random.random()
        if pick < 0.08:
            bad = self.random.choice(BAD_ACLS)
            # Where there are users of SASL it is a good one, and closes the znode to all others.
            if bad == [(31, "sasl", "a")] and "sasl" in self.switches:
                bad = [(31, "sasl", "a/b/c@d")]
            return bad
        if pick < (0.3 if path in VAULTED else 0.6):
            return OPEN_ACL
        extra = [
            self.random.choice(
                [
                    (self.random.randrange(32), "world", "anyone"),
                    (self.random.randrange(32), "auth", self.random.choice(["", "x"])),
                    (self.random.randrange(32), "digest", "ann:secret"),
                    (31, "digest", "ann:" + "s2pBj1sWT2Bb5SkDhLeILTdXnsE="),
                    (self.random.randrange(32), "ip", "127.0.0.1"),
                    (self.random.randrange(32), "ip", "10.0.0.0/8"),
                    (self.random.randrange(32), "ip", "127.0.0.0/8"),
                    (31, "ip", "127.0.0.1/"),
                    (self.random.randrange(32), "digest", ":a"),
                    (self.random.choice([-1, 64, 0]), "world", "anyone"),
                    *[(self.random.randrange(32), "sasl", user) for user in self.sasl_users()],
                ]
            )
            for _ in range(self.random.choice([1, 1, 2, 3]))
        ]
        if path in VAULTED:
            return extra
        permissions = READ_ADMIN | self.random.randrange(32)
        if path in (*RESERVED, VAULT) or self.random.random() < 0.7:
            permissions = 31
        return [(permissions, "world", "anyone"), *extra]

    def sasl_users(self):
        return ["bob", "eve", "x/y@z"] if "sasl" in self.switches else []

    # Each kind of operation.

    def connect(self, slot):
        body = self.random.choice([30_000, 60_000, 10_000]), self.random.random() < 0.8
        if self.state[slot] == "none":
            return Operation(slot, OPEN, body, f"{body}")
        if self.random.random() < 0.2:
            return Operation(slot, WRONG_PASSWORD, body, f"{body}")
        return Operation(slot, ATTACH, body, f"{body}")

    def create_record(self, flags):
        path = self.path() if self.random.random() < 0.9 else self.random.choice([VAULT, *VAULTED])
        if flags in (2, 3) and self.random.random() < 0.8:
            path = self.random.choice(["/a/s-", "/b/", "/s", "/a/a/s-", "/vault/s", "//", "/a/./"])
        data, acl = self.data(), self.acl(path)
        body = buffer(path) + buffer(data) + acl_list(acl) + integer(flags)
        return path, body, f"{path!r} {data and data[:9]} {acl} flags {flags}"

    def create(self, slot):
        op = self.random.choice([CREATE, CREATE2])
        flags = self.random.choice([0] * 24 + [1] * 4 + [2, 2, 3, 3, 5, 6, 7, -1])
        path, body, title = self.create_record(flags)
        return Operation(slot, op, body, title, path=path)

    def create_container(self, slot):
        path, body, title = self.create_record(self.random.choice([4] * 8 + [0, 0, 5, 7]))
        return Operation(slot, CREATE_CONTAINER, body, title, path=path)

    def create_ttl(self, slot):
        flags = self.random.choice([5, 5, 6, 6, 0, 1, 2, 4, 7])
        path, body, title = self.create_record(flags)
        ttl = self.random.choice([1, 1000, 0, -1, 2**40 - 1, 2**40, 2**62, -(2**63)])
        if flags not in (5, 6):
            # ZooKeeper 3.8.0 dies of what has neither flags nor TTL.
            ttl = max(ttl, 0)
        return Operation(slot, CREATE_TTL, body + long(ttl), f"{title} ttl {ttl}", path=path)

    def create_oddly(self, slot):
        """Operation and flags disagree. Where nothing can be made of it, see KNOWN."""
        op, flags = self.random.choice(
            [(CREATE, 4), (CREATE2, 4), (CREATE_CONTAINER, 1), (CREATE_CONTAINER, 3)]
        )
        body = buffer("/missing/x") + buffer(b"") + acl_list(OPEN_ACL) + integer(flags)
        return Operation(slot, op, body, f"/missing/x flags {flags}", kind="odd")

    def delete(self, slot):
        path, version = self.path(), self.version()
        if self.made and self.random.random() < 0.4:
            path = self.random.choice(self.made)
        body = buffer(path) + integer(version)
        return Operation(slot, DELETE, body, f"{path!r} version {version}", path=path)

    def set_data(self, slot):
        path, data, version = self.path(), self.data(), self.version()
        title = f"{path!r} {data and data[:9]} version {version}"
        body = buffer(path) + buffer(data) + integer(version)
        return Operation(slot, SET_DATA, body, title, path=path)

    def set_acl(self, slot):
        path, version = self.path(), self.version()
        acl = self.acl(path)
        body = buffer(path) + acl_list(acl) + integer(version)
        return Operation(slot, SET_ACL, body, f"{path!r} {acl} version {version}", path=path)

    def read(self, slot):
        op, path = self.random.choice([EXISTS, GET_DATA, GET_CHILDREN, GET_CHILDREN2]), self.path()
        flag = self.flag(slot, path)
        body = buffer(path) + boolean(flag)
        return Operation(slot, op, body, f"{path!r} watch {flag}", path=path)

    def read_more(self, slot):
        op, path = self.random.choice([GET_ACL, COUNT_DESCENDANTS, SYNC]), self.path()
        return Operation(slot, op, buffer(path), f"{path!r}", path=path)

    def get_ephemerals(self, slot):
        prefix = self.random.choice(["/", "", " ", None, "/a", "/a/", "/vault", "x", self.path()])
        return Operation(slot, GET_EPHEMERALS, buffer(prefix), f"{prefix!r}")

    def sub_write(self):
        op = self.random.choice(
            [CREATE, CREATE2, DELETE, SET_DATA, CHECK] * 4 + [CREATE_CONTAINER, CREATE_TTL]
        )
        if op in CREATES:
            choices = [5, 6] if op == CREATE_TTL else [0, 0, 0, 0, 0, 0, 1, 2, 2, 3, 4]
            if self.random.random() < 0.03 and op != CREATE_TTL:
                choices = [5, 7, -1]
            flags = self.random.choice(choices)
            _, body, title = self.create_record(flags)
            self.misfits |= op != CREATE_TTL and (flags not in range(5) or " None flags" in title)
            return op, body + (long(1000) if op == CREATE_TTL else b""), title
        made = self.set_data(0) if op == SET_DATA else self.delete(0)
        return op, made.body, made.title

    def sub_read(self):
        op, path = self.random.choice([GET_DATA, GET_CHILDREN]), self.path()
        return op, buffer(path) + boolean(self.random.random() < 0.5), f"{path!r}"

    def multi(self, slot):
        op = self.random.choice([MULTI, MULTI, MULTI_READ])
        draw = self.sub_write if op == MULTI else self.sub_read
        self.misfits = False
        subs = [draw() for _ in range(self.random.choice([0, 1, 1, 2, 2, 2, 3, 3, 5]))]
        if self.random.random() < 0.03:
            # An operation that does not belong there.
            other = self.sub_read if op == MULTI else self.sub_write
            subs.insert(self.random.randrange(len(subs) + 1), other())
        if self.random.random() < 0.02:
            foreign = [SET_ACL, EXISTS, SYNC, PING, CLOSE_SESSION, 99, -1, MULTI]
            foreign = self.random.choice(foreign)
            subs.append((foreign, buffer("/a") + integer(0), "foreign"))
        body = b"".join(integer(sub) + b"\0" + integer(-1) + record for sub, record, _ in subs)
        title = "; ".join(f"{NAMES.get(sub, sub)} {title}" for sub, _, title in subs)
        end = integer(-1) + b"\1" + integer(-1)
        kind = "misfit" if self.misfits else None
        sub_ops = [sub for sub, _, _ in subs]
        return Operation(slot, op, body + end, f"[{title}]", sub_ops=sub_ops, kind=kind)

    def add_watch(self, slot):
        kind = self.random.choice(["persistent", "recursive"])
        path = self.watched(slot, kind)
        mode = 0 if kind == "persistent" else 1
        if self.random.random() < 0.05:
            mode = self.random.choice([2, -1])
        return Operation(slot, ADD_WATCH, buffer(path) + integer(mode), f"{path!r} mode {mode}")

    def look_at_watches(self, slot):
        op, path = self.random.choice([CHECK_WATCHES, REMOVE_WATCHES]), self.path()
        kinds = [1, 2, 3, 3, 4, 5, 0, 6, -1]
        if way_of_watching(slot, path) != "standard" and op == REMOVE_WATCHES:
            kinds = [3, 0, 6]
        kind = self.random.choice(kinds)
        body = buffer(path) + integer(kind)
        return Operation(slot, op, body, f"{path!r} type {kind}", path=path, kind=kind)

    def set_watches(self, slot):
        """Often after the connection was lost, as clients do it."""
        op = self.random.choice([SET_WATCHES, SET_WATCHES2])
        since = self.random.choice([*self.numbers[-30:], self.numbers[0]])
        kinds = ["standard"] * 3 + ["persistent", "recursive"] * (op == SET_WATCHES2)
        lists = [
            [self.watched(slot, kind) for _ in range(self.random.choice([0, 0, 1, 2]))]
            for kind in kinds
        ]
        lists = [[path for path in paths if path is not None] for paths in lists]
        body = b"".join(vector(paths, buffer) for paths in lists)
        drawn = [Operation(slot, op, body, f"{lists} since {since}", since=since)]
        if self.random.random() < 0.5:
            drawn.insert(0, self.drop(slot))
        return drawn

    def drop(self, slot):
        body = self.random.choice([30_000, 10_000]), self.random.random() < 0.8
        op = self.random.choice([ATTACH, STEAL])
        return Operation(slot, op, body, "after losing the connection" if op == ATTACH else "")

    def expire(self, slot):
        """The session's connection ends, and nobody comes back for it."""
        witnesses = [other for other in range(N_SESSIONS) if other != slot]
        witnesses = [other for other in witnesses if self.state[other] == "live"]
        if not witnesses:
            return self.simple(slot)
        path, witness = f"/gone-{len(self.numbers)}", self.random.choice(witnesses)
        body = buffer(path) + buffer(b"") + acl_list(OPEN_ACL) + integer(1)
        return [
            Operation(slot, ATTACH, (1000, True), "for a short time"),
            Operation(slot, CREATE, body, f"{path!r} flags 1", path=path),
            Operation(slot, EXPIRE, (witness, path), f"as session {witness} sees"),
        ]

    def deepen(self, slot):
        """Creates below what was made there before, and looks at it."""
        path = self.random.choice(self.deep[-20:])
        if self.random.random() < 0.25 and path != DEEP:
            op = self.random.choice([GET_CHILDREN2, COUNT_DESCENDANTS, GET_DATA, EXISTS, DELETE])
            body = buffer(path) + {COUNT_DESCENDANTS: b"", DELETE: integer(-1)}.get(op, b"\0")
            return Operation(slot, op, body, f"{path!r}", path=path)
        if self.deep != [DEEP] or self.random.random() < 0.5:
            path += f"/{self.random.choice(NAMES_BELOW)}"
        body = buffer(path) + buffer(self.data()) + acl_list(OPEN_ACL) + integer(0)
        return Operation(slot, CREATE, body, f"{path!r}", path=path)

    def large(self, slot):
        """As much as fits into a frame, and one byte more."""
        path, version = self.random.choice(PATHS), integer(-1)
        n_room = LONGEST_FRAME - 8 - len(buffer(path)) - 4 - len(version)
        more = self.random.choice([0, 0, 1])
        body = buffer(path) + buffer(b"z" * (n_room + more)) + version
        title = f"{path!r}, {more} more than the longest frame"
        if more:
            # No more than its head: what is in flight would be lost with the connection.
            return Operation(slot, RAW, integer(8 + len(body)) + body[:100], title, closes=True)
        read = Operation(slot, GET_DATA, buffer(path) + b"\0", f"{path!r}", path=path)
        undo = buffer(path) + buffer(b"") + version
        return [
            Operation(slot, SET_DATA, body, title, path=path),
            read,
            Operation(slot, SET_DATA, undo, f"{path!r}", path=path),
        ]

    def odd_length(self, slot):
        """A text whose length cannot be."""
        op = self.random.choice([EXISTS, DELETE, GET_ACL, SYNC, CREATE, GET_EPHEMERALS])
        lengths = [-2, -100, -(2**31), 2**31 - 1, 2 * LONGEST_FRAME + 3, LONGEST_FRAME]
        n = self.random.choice(lengths)
        body = integer(n) + b"/abcdefgh"
        return Operation(slot, op, body, f"with a text of {n} bytes", kind="cut")

    def quota(self, slot):
        """The znodes that tell of quotas, behind `--quotas`."""
        path = self.random.choice(QUOTAS)
        if "quotas" not in self.switches:
            return self.read(slot)
        op = self.random.choice([CREATE, CREATE, SET_DATA, GET_DATA, GET_DATA, DELETE])
        data = self.random.choice([b"count=3,bytes=100", b"count=-1,bytes=-1"])
        if path.endswith("_stats"):
            data = b"count=0,bytes=0"
        body = {
            CREATE: buffer(data) + acl_list(OPEN_ACL) + integer(0),
            SET_DATA: buffer(data) + integer(-1),
            GET_DATA: b"\0",
            DELETE: integer(-1),
        }[op]
        return Operation(slot, op, buffer(path) + body, f"{path!r} {data}", path=path)

    def auth(self, slot):
        pick = self.random.random()
        scheme, secret, closes = "digest", self.random.choice(self.users), False
        if pick < 0.1:
            scheme, secret, closes = self.random.choice(["unheard", "", None, "world"]), "x", True
        elif pick < 0.15:
            secret, closes = None, True
        elif pick < 0.25:
            scheme = "ip"
        body = integer(0) + buffer(scheme) + buffer(secret)
        return Operation(slot, AUTH, body, f"{scheme} {secret!r}", closes=closes)

    def login(self, slot):
        """The two steps of a login, once a connection, behind `--sasl`."""
        if "sasl" not in self.switches or slot in self.logged_in:
            return self.simple(slot)
        user = self.random.choice([*SASL_USERS, "bob", "nobody"])
        password, closes = SASL_USERS.get(user, "x"), user == "nobody"
        if self.random.random() < 0.2:
            password, closes = "wrong", True
        # Another login that is drawn before this one is done would be a second one.
        self.logged_in.add(slot)
        first = self.random.choice(["", "", "x", 'username="bob"'])
        title = f"{user} {password}, first {first!r}"
        return Operation(slot, LOGIN, (user, password, first), title, closes=closes)

    def simple(self, slot):
        return Operation(slot, self.random.choice([PING, WHO_AM_I]), b"", "")

    def unbuilt(self, slot):
        """What zokor does not have; with whole bodies, or ZooKeeper suffers."""
        if self.random.random() < 0.5:
            # Where there are users, it begins a login.
            if "sasl" in self.switches:
                return self.login(slot)
            return Operation(slot, SASL, buffer(b"x"), "token x")
        member = "server.7=127.0.0.1:1:2:participant;3"
        joining, leaving, members, version = self.random.choice(
            [
                (None, "7", None, -1),
                (member, None, None, -1),
                (member, "7", None, 0),
                (None, None, member, -1),
                ("nonsense", "x", None, 2**62),
                ("", "", "", -1),
            ]
        )
        body = buffer(joining) + buffer(leaving) + buffer(members) + long(version)
        return Operation(slot, RECONFIG, body, f"{joining} {leaving} {members} {version}")

    def unknown(self, slot):
        op = self.random.choice([0, 10, 23, 99, 108, -5, -12, 1000, 2**31 - 1])
        return Operation(slot, op, self.random.choice([b"", b"xxxx"]), "", closes=True)

    def raw(self, slot):
        """A frame that is no request: its header is cut, or its length is out of range."""
        frames = [b"", b"\0\0\0\1", b"\0\0\0\1\0\0\0"]
        frames = [buffer(frame) for frame in frames] + [integer(-1), integer(1 << 20)]
        body = self.random.choice(frames)
        return Operation(slot, RAW, body, body.hex(), closes=True)

    def close_session(self, slot):
        return Operation(slot, CLOSE_SESSION, b"", "", closes=True)

    KINDS = {
        create: 26, create_container: 2, create_ttl: 1.5, create_oddly: 0.3, delete: 9, deepen: 3,
        set_data: 12, set_acl: 5, large: 0.03, quota: 1, read: 24, read_more: 7,
        get_ephemerals: 1.5, multi: 12, add_watch: 3, look_at_watches: 4, set_watches: 3,
        drop: 0.7, expire: 0.06, auth: 2, login: 1, simple: 1.5, odd_length: 0.3, unbuilt: 0.2, unknown: 0.2,
        raw: 0.2, close_session: 0.7,
    }  # fmt: skip
    MAY_BE_CUT = {
        CREATE, DELETE, EXISTS, GET_DATA, SET_DATA, GET_ACL, SET_ACL, GET_CHILDREN, SYNC, MULTI,
        GET_CHILDREN2, CREATE2, CHECK_WATCHES, REMOVE_WATCHES, CREATE_CONTAINER, MULTI_READ,
        GET_EPHEMERALS, COUNT_DESCENDANTS, ADD_WATCH,
    }  # fmt: skip


def way_of_watching(slot, path):
    """How this session watches this path, if at all."""
    if path in (None, "/") or path in RESERVED:
        return "recursive" if path == "/" and slot == 0 else "standard"
    index = sum(path if isinstance(path, bytes) else path.encode("utf-8", "surrogatepass"))
    return ["standard", "standard", "persistent", "recursive"][(slot + index) % 4]
