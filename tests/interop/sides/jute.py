"""ZooKeeper's operations and records, as bytes."""

import re
import struct

CREATE, DELETE, EXISTS, GET_DATA, SET_DATA, GET_ACL, SET_ACL, GET_CHILDREN, SYNC = range(1, 10)
PING, GET_CHILDREN2, CHECK, MULTI, CREATE2, RECONFIG, CHECK_WATCHES, REMOVE_WATCHES = range(11, 19)
CREATE_CONTAINER, CREATE_TTL, MULTI_READ = 19, 21, 22
AUTH, SET_WATCHES, SASL, GET_EPHEMERALS, COUNT_DESCENDANTS, SET_WATCHES2 = range(100, 106)
ADD_WATCH, WHO_AM_I, CLOSE_SESSION = 106, 107, -11
# Not operations of the protocol: what is done to a connection.
OPEN, ATTACH, STEAL, WRONG_PASSWORD = "open", "attach", "attach a second time", "wrong password"
EXPIRE, RAW, LOGIN = "expire", "raw", "login"
CONNECTS = {OPEN, ATTACH, STEAL, WRONG_PASSWORD}
# Of a frame, without its length (`jute.maxbuffer`).
LONGEST_FRAME = 0xFFFFF

NAMES = {number: name.lower() for name, number in globals().items() if isinstance(number, int)}
CREATES = {CREATE, CREATE2, CREATE_CONTAINER, CREATE_TTL}
WRITES = {*CREATES, DELETE, SET_DATA, SET_ACL, MULTI, CLOSE_SESSION}


def integer(value):
    return struct.pack(">i", value)


def long(value):
    return struct.pack(">q", value)


def boolean(value):
    return b"\1" if value else b"\0"


def buffer(value):
    """Bytes, or a text, or a null."""
    if value is None:
        return integer(-1)
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogatepass")
    return integer(len(value)) + value


def vector(items, item):
    if items is None:
        return integer(-1)
    return integer(len(items)) + b"".join(map(item, items))


def acl_entry(entry):
    permissions, scheme, identity = entry
    return integer(permissions) + buffer(scheme) + buffer(identity)


def acl_list(entries):
    return vector(entries, acl_entry)


class Reader:
    """Reads a reply; numbers that a server chose are named by `names`, a `Subject`."""

    def __init__(self, payload, names):
        self.payload, self.at, self.names = payload, 0, names

    def take(self, n):
        assert 0 <= n <= len(self.payload) - self.at, "a reply is cut"
        self.at += n
        return self.payload[self.at - n : self.at]

    def integer(self):
        return struct.unpack(">i", self.take(4))[0]

    def long(self):
        return struct.unpack(">q", self.take(8))[0]

    def buffer(self):
        n = self.integer()
        return None if n == -1 else self.take(n)

    def text(self):
        value = self.buffer()
        if value is None:
            return None
        try:
            # Java writes what is beyond U+FFFF as two surrogates.
            text = value.decode("utf-8", "surrogatepass")
            text = text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeError:
            text = value.decode("utf-8", "replace")
        # How many of them stand for malformed bytes is each decoder's own affair.
        return re.sub("\ufffd+", "\ufffd", text)

    def vector(self, item):
        n = self.integer()
        return None if n == -1 else [item() for _ in range(n)]

    def texts(self):
        return sorted(self.vector(self.text) or [])

    def rest(self):
        return self.take(len(self.payload) - self.at)

    def stat(self):
        czxid, mzxid, ctime, mtime = (self.long() for _ in range(4))
        version, cversion, aversion = (self.integer() for _ in range(3))
        owner, length, n_children, pzxid = self.long(), self.integer(), self.integer(), self.long()
        zxid = self.names.zxid
        return {
            "czxid": zxid(czxid),
            "mzxid": zxid(mzxid),
            "pzxid": zxid(pzxid),
            "ctime": ctime > 0,
            "mtime": mtime > 0,
            "later": mtime >= ctime,
            "version": version,
            "cversion": cversion,
            "aversion": aversion,
            "owner": self.names.session(owner),
            "length": length,
            "children": n_children,
        }

    def acl(self):
        entries = self.vector(lambda: (self.integer(), self.text(), self.text()))
        # One `auth` entry becomes one for each identity, in no particular order.
        runs = []
        for entry in entries or []:
            if runs and runs[-1][0][0] == entry[0] and runs[-1][0][1] == entry[1] == "digest":
                runs[-1].append(entry)
            else:
                runs.append([entry])
        return [entry for run in runs for entry in sorted(run)]

    def results(self):
        results = []
        while True:
            kind, done, code = self.integer(), self.take(1) != b"\0", self.integer()
            if done:
                return [*results, ("end", kind, code)]
            read = {
                -1: self.integer,
                CREATE: self.text,
                CREATE2: lambda: (self.text(), self.stat()),
                SET_DATA: self.stat,
                GET_CHILDREN: self.texts,
                GET_DATA: lambda: (self.buffer(), self.stat()),
            }.get(kind, lambda: None)
            results.append((kind, code, read()))

    def body(self, op):
        read = {
            CREATE: self.text,
            CREATE2: lambda: (self.text(), self.stat()),
            CREATE_CONTAINER: lambda: (self.text(), self.stat()),
            CREATE_TTL: lambda: (self.text(), self.stat()),
            EXISTS: self.stat,
            GET_DATA: lambda: (self.buffer(), self.stat()),
            SET_DATA: self.stat,
            SET_ACL: self.stat,
            GET_ACL: lambda: (self.acl(), self.stat()),
            GET_CHILDREN: self.texts,
            GET_CHILDREN2: lambda: (self.texts(), self.stat()),
            SYNC: self.text,
            MULTI: self.results,
            MULTI_READ: self.results,
            GET_EPHEMERALS: self.texts,
            COUNT_DESCENDANTS: self.integer,
            ADD_WATCH: self.integer,
            WHO_AM_I: lambda: sorted(self.vector(lambda: (self.text(), self.text()))),
        }.get(op, lambda: None)
        return read()
