"""One side of the comparison: servers, and the connections to them."""

import socket
import struct
import time

from sides.jute import (
    CLOSE_SESSION, CONNECTS, EXISTS, EXPIRE, LOGIN, OPEN, RAW, SASL, STEAL, SYNC, WRITES,
    WRONG_PASSWORD, Reader, boolean, buffer, integer, long,
)  # fmt: skip
from sides.login import answer as answer_to

N_SESSIONS = 4
BOUND = 30


class Connection:
    """A connection's frames."""

    def __init__(self, address, bound=BOUND):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=bound)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def send(self, payload):
        self.socket.sendall(integer(len(payload)) + payload)

    def receive(self):
        """The next frame; None if the connection has ended."""
        try:
            head = self.file.read(4)
            if len(head) < 4:
                return None
            n = struct.unpack(">i", head)[0]
            payload = self.file.read(n)
            return payload if len(payload) == n else None
        except (ConnectionResetError, BrokenPipeError):
            return None

    def close(self):
        self.file.close()
        self.socket.close()


def wait_until_it_answers(address):
    """Opens a session and ends it. ZooKeeper may forget to answer the very first one if that comes
    while the server is still starting, though it says that it serves."""
    for _ in range(5):
        connection = Connection(address, bound=5)
        connection.send(integer(0) + long(0) + integer(1000) + long(0) + buffer(bytes(16)))
        try:
            if connection.receive() is not None:
                connection.send(integer(1) + integer(CLOSE_SESSION))
                assert connection.receive() is not None, "closeSession has no answer"
                return
        except TimeoutError:
            pass
        finally:
            connection.close()
    raise AssertionError(f"{address} answers no connect request")


class Subject:
    """Servers under comparison, and the connections of this round's sessions to them."""

    def __init__(self, hosts):
        self.hosts, self.turn = hosts, None
        self.slots = [None] * N_SESSIONS
        self.credentials = [None] * N_SESSIONS
        self.zxids, self.sessions, self.marks = {}, {}, {0: 0}
        self.n_connects, self.events, self.newest = 0, [], 0
        # The connection from which a session was taken by another one.
        self.left = None
        for address in hosts:
            wait_until_it_answers(address)

    def zxid(self, zxid):
        """The operation that made it. All that makes one has been answered before it is seen."""
        return self.zxids.get(zxid, "unknown") if zxid > 0 else zxid

    def session(self, session):
        # A negative owner is no session: it tells of a container, or of a TTL.
        return self.sessions.get(session, "unknown") if session > 0 else session

    def send(self, operation):
        """First half of an operation, so that both sides work at the same time."""
        try:
            self.ask(operation)
        except (BrokenPipeError, ConnectionResetError):
            # It ended by itself, which the second half tells.
            pass

    def ask(self, operation):
        slot = operation.slot
        if operation.op == EXPIRE:
            self.slots[slot].close()
            self.slots[slot] = None
            return
        if operation.op in CONNECTS:
            self.connect(operation)
            return
        if self.turn != slot and len(self.hosts) > 1:
            # The server of this session catches up with what the others have done.
            self.slots[slot].send(integer(0) + integer(SYNC) + buffer("/"))
            assert self.reply(slot) is not None, "the connection ended by itself"
        self.turn = slot
        if operation.op == RAW:
            self.slots[slot].socket.sendall(operation.body)
            return
        if operation.op == LOGIN:
            self.slots[slot].send(integer(operation.xid) + integer(SASL) + buffer(operation.body[2]))
            return
        body = operation.body
        if operation.since is not None:
            body = long(self.marks[operation.since]) + body
        self.slots[slot].send(integer(operation.xid) + integer(operation.op) + body)

    def connect(self, operation):
        slot = operation.slot
        if self.slots[slot] and operation.op == STEAL:
            self.left = self.slots[slot]
        elif self.slots[slot]:
            self.slots[slot].close()
        self.n_connects += 1
        self.slots[slot] = Connection(self.hosts[self.n_connects % len(self.hosts)])
        session, password = self.credentials[slot] if operation.op != OPEN else (0, bytes(16))
        if operation.op == WRONG_PASSWORD:
            password = bytes(byte ^ 0x55 for byte in password)
        timeout, has_read_only = operation.body
        connect = integer(0) + long(0) + integer(timeout) + long(session) + buffer(password)
        self.slots[slot].send(connect + (b"\0" if has_read_only else b""))
        # What is known here may be less than what the others have done.
        self.turn = None

    def receive(self, operation):
        """Second half: the answer, told so that the two sides' can be compared."""
        if operation.op in CONNECTS:
            return self.connected(operation)
        if operation.op == EXPIRE:
            return self.expired(operation)
        if self.slots[operation.slot] is None:
            return {"events": [], "code": "the connection has ended"}
        connection, closes = self.slots[operation.slot], operation.closes
        payload = self.reply(operation.slot)
        if operation.op == LOGIN:
            return self.logged_in(operation, payload)
        answer = {"events": self.events}
        self.events = []
        if payload is not None:
            reader = Reader(payload, self)
            xid, zxid, code = reader.integer(), reader.long(), reader.integer()
            self.marks[operation.number] = zxid
            if operation.op in WRITES and zxid > 0:
                self.zxids.setdefault(zxid, operation.number)
            answer.update(xid=xid, code=code, zxid=min(zxid, 1))
            answer["old"] = 0 < zxid < self.newest
            self.newest = max(self.newest, zxid)
            answer["body"] = reader.body(operation.op) if code == 0 else None
            answer["rest"] = reader.rest().hex()
            closes = closes and connection.receive() is None
        else:
            answer["code"], closes = "none", True
        answer["closed"] = closes
        if closes:
            connection.close()
            self.slots[operation.slot] = None
        return answer

    def logged_in(self, operation, payload):
        """Behind the challenge: answers it, and tells what came of that. Nothing of it may depend
        on the numbers that the server draws."""
        connection, (user, password, _) = self.slots[operation.slot], operation.body
        answer, proof = {"events": self.events, "code": "none"}, None
        self.events = []
        for token in (True, False):
            if payload is None:
                answer["closed"] = True
                break
            reader = Reader(payload, self)
            xid, zxid, answer["code"] = reader.integer(), reader.long(), reader.integer()
            said, rest = reader.buffer(), reader.rest().hex()
            answer["step"] = xid, zxid, said is None, rest
            if answer["code"] != 0 or said is None:
                break
            if token:
                text, proof = answer_to(said, user, password)
                connection.send(integer(operation.xid) + integer(SASL) + buffer(text))
                payload = self.reply(operation.slot)
            else:
                answer["proof"] = said.decode() == proof
        answer["events"] += self.events
        self.events = []
        if answer.setdefault("closed", answer["code"] != 0 and connection.receive() is None):
            connection.close()
            self.slots[operation.slot] = None
        return answer

    def reply(self, slot):
        """The next frame that is no event; those go to `self.events`."""
        while True:
            payload = self.slots[slot].receive()
            if payload is None or payload[:4] != integer(-1):
                return payload
            reader = Reader(payload[4:], self)
            zxid, code = reader.long(), reader.integer()
            kind, state, path = reader.integer(), reader.integer(), reader.text()
            event = kind, path, state, code, min(zxid, 1), reader.rest().hex()
            self.events.append(event)

    def connected(self, operation):
        connection = self.slots[operation.slot]
        payload = connection.receive()
        assert payload is not None, "a connect request has no answer"
        reader = Reader(payload, self)
        version, timeout, session = reader.integer(), reader.integer(), reader.long()
        password, rest = reader.buffer(), reader.rest()
        answer = {"events": [], "version": version, "timeout": timeout, "rest": rest.hex()}
        answer["zero"] = (session == 0, password == bytes(16), len(password))
        answer["code"] = 0
        if operation.op == WRONG_PASSWORD or session == 0:
            answer["closed"] = connection.receive() is None
            connection.close()
            self.slots[operation.slot] = None
        elif operation.op == OPEN:
            self.credentials[operation.slot] = session, password
            self.sessions[session] = f"session of {operation.number}"
        else:
            answer["same"] = (session, password) == self.credentials[operation.slot]
        if self.left:
            self.end_of_left()
        return answer

    def end_of_left(self):
        """Nothing but events comes on a connection whose session was taken, and then it ends."""
        while (payload := self.left.receive()) is not None:
            assert payload[:4] == integer(-1), "a reply to nothing"
        self.left.close()
        self.left = None

    def expired(self, operation):
        """Waits until the session's ephemeral is gone. Another session looks, and hears of it."""
        witness, path = operation.body
        end = time.monotonic() + BOUND
        code = 0
        while code == 0 and time.monotonic() < end:
            time.sleep(0.02)
            look = integer(1) + integer(EXISTS) + buffer(path) + boolean(False)
            self.slots[witness].send(look)
            payload = self.reply(witness)
            assert payload is not None, "the connection ended by itself"
            reader = Reader(payload[4:], self)
            zxid, code = reader.long(), reader.integer()
        # Nothing else was done meanwhile: the last that was done is the end of the session.
        self.zxids.setdefault(zxid, operation.number)
        self.newest = max(self.newest, zxid)
        self.turn = None
        answer = {"events": sorted(self.events), "code": code}
        self.events = []
        return answer

    def close(self):
        for connection in filter(None, self.slots):
            connection.close()
