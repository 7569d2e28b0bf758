"""A client for one connection at a time, and a walk over all that it can see."""

import random
import threading

from sides.jute import (
    AUTH, CLOSE_SESSION, CREATE, CREATE2, CREATE_CONTAINER, CREATE_TTL, DELETE, GET_ACL,
    GET_CHILDREN, GET_DATA, MULTI, SET_ACL, SET_DATA, Reader, acl_list, boolean, buffer, integer,
    long,
)  # fmt: skip
from sides.subject import Connection

OPEN_ACL = [(31, "world", "anyone")]
CREDENTIALS = "ada:secret"
# Of the credentials above, as `DigestAuthenticationProvider.generateDigest` has it.
DIGEST = "ada:VTFFY3p38X0IKhZgzUit6nGpbgY="
ACLS = [OPEN_ACL, [(31, "digest", DIGEST)], [(1, "ip", "10.0.0.0/8"), *OPEN_ACL]]
EPHEMERAL, SEQUENTIAL, CONTAINER, TTL = 1, 2, 4, 5
NO_NODE, NODE_EXISTS = -101, -110


class Lost(Exception):
    """The connection has ended."""


class Failed(Exception):
    """The server refuses."""

    def __init__(self, code):
        super().__init__(code)
        self.code = code


class Client:
    """A session; it may be resumed at another server."""

    def __init__(self, address, timeout=60_000):
        self.timeout, self.session, self.password = timeout, 0, bytes(16)
        self.connect(address)

    def connect(self, address):
        """Opens the session, or resumes it."""
        self.connection = Connection(address)
        request = integer(0) + long(0) + integer(self.timeout) + long(self.session)
        self.send(request + buffer(self.password))
        payload = self.receive()
        reader = Reader(payload, None)
        reader.integer()
        granted, session, password = reader.integer(), reader.long(), reader.buffer()
        assert granted > 0 and session != 0, "the server refuses the session"
        assert self.session in (0, session), "it is another session"
        self.session, self.password, self.xid = session, password, 0
        self.call(AUTH, integer(0) + buffer("digest") + buffer(CREDENTIALS))

    def send(self, payload):
        try:
            self.connection.send(payload)
        except OSError as error:
            raise Lost from error

    def receive(self):
        try:
            payload = self.connection.receive()
        except OSError as error:
            raise Lost from error
        if payload is None:
            raise Lost
        return payload

    def call(self, op, body=b""):
        """The body of the answer."""
        self.xid += 1
        self.send(integer(-4 if op == AUTH else self.xid) + integer(op) + body)
        reader = Reader(self.receive(), None)
        reader.integer()
        reader.long()
        code = reader.integer()
        if code != 0:
            raise Failed(code)
        return reader

    def create(self, path, data=b"", acl=OPEN_ACL, flags=0, op=CREATE, ttl=None):
        body = buffer(path) + buffer(data) + acl_list(acl) + integer(flags)
        return self.call(op, body + (b"" if ttl is None else long(ttl))).text()

    def delete(self, path):
        self.call(DELETE, buffer(path) + integer(-1))

    def set(self, path, data):
        self.call(SET_DATA, buffer(path) + buffer(data) + integer(-1))

    def set_acl(self, path, acl):
        self.call(SET_ACL, buffer(path) + acl_list(acl) + integer(-1))

    def multi(self, parts):
        body = b"".join(integer(op) + boolean(False) + integer(-1) + part for op, part in parts)
        return self.call(MULTI, body + integer(-1) + boolean(True) + integer(-1)).rest()

    def children(self, path):
        return self.call(GET_CHILDREN, buffer(path) + boolean(False)).texts()

    def node(self, path):
        """Data, every number of its stat, and the ACL."""
        reader = self.call(GET_DATA, buffer(path) + boolean(False))
        data, stat = reader.buffer(), reader.rest()
        reader = self.call(GET_ACL, buffer(path))
        acl = reader.vector(lambda: (reader.integer(), reader.buffer(), reader.buffer()))
        return data, stat, acl

    def walk(self, path="/"):
        """Every path below, with its znode."""
        found, left = {}, [path]
        while left:
            path = left.pop()
            names = self.children(path)
            found[path] = (*self.node(path), names)
            left.extend(f"{path.rstrip('/')}/{name}" for name in names)
        return found

    def end(self):
        self.call(CLOSE_SESSION)
        self.connection.close()


class Load(threading.Thread):
    """Writes of every kind, over and over, until the server is gone."""

    def __init__(self, address, number, seed):
        super().__init__(daemon=True)
        self.address, self.number, self.random = address, number, random.Random(seed)
        self.root, self.n_done, self.failure = f"/load/{number}", 0, None
        self.client = Client(address)

    def run(self):
        try:
            while True:
                try:
                    self.write()
                    self.n_done += 1
                except Failed as error:
                    assert error.code > -115 and error.code < -100, error.code
        except Lost:
            pass
        except BaseException as error:
            self.failure = error

    def name(self):
        return f"{self.root}/n{self.random.randrange(60)}"

    def write(self):
        client, draw = self.client, self.random
        data = draw.randbytes(draw.randrange(200))
        path, other = self.name(), self.name()
        kind = draw.randrange(13)
        if kind < 3:
            client.create(path, data)
        elif kind < 5:
            client.delete(path)
        elif kind < 7:
            client.set(path, data)
        elif kind == 7:
            client.set_acl(path, draw.choice(ACLS))
        elif kind == 8:
            # The second of two may fail, and then nothing is done.
            made = buffer(path) + buffer(data) + acl_list(OPEN_ACL) + integer(draw.choice([0, 1]))
            gone = buffer(other) + integer(-1)
            client.multi([(draw.choice([CREATE, CREATE2]), made), (DELETE, gone)])
        elif kind == 9:
            flags = SEQUENTIAL | draw.choice([0, EPHEMERAL])
            name = client.create(f"{self.root}/s-", data, flags=flags)
            if draw.random() < 0.7:
                client.delete(name)
        elif kind == 10:
            client.create(path, data, flags=EPHEMERAL)
        elif kind == 11:
            client.create(f"{path}-c", b"", flags=CONTAINER, op=CREATE_CONTAINER)
            client.create(f"{path}-c/x", data, [(31, "digest", DIGEST)], op=CREATE2)
        else:
            ttl = 10_000_000 + draw.randrange(99)
            client.create(f"{path}-t", data, flags=TTL, op=CREATE_TTL, ttl=ttl)
            # A session that comes and goes, and leaves its ephemeral to be taken away.
            brief = Client(self.address)
            brief.create(f"{self.root}/brief-", flags=EPHEMERAL | SEQUENTIAL)
            brief.end()
