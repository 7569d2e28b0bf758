"""Drives the programs in kazoo_programs/ as processes and asserts what they say.

Usage: programs.py HOSTS
"""

import pathlib
import queue
import subprocess
import sys
import threading
import time

from kazoo.client import KazooClient

HERE = pathlib.Path(__file__).parent / "kazoo_programs"
HOSTS = sys.argv[1]
BOUND = 60


class Program:
    """A running program whose lines can be waited for."""

    def __init__(self, name, *arguments):
        command = [sys.executable, str(HERE / name), HOSTS, *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def line(self, bound=BOUND):
        """The next line, or None when the program has ended."""
        return self.lines.get(timeout=bound)

    def has_line(self):
        return not self.lines.empty()

    def kill(self):
        self.process.kill()
        self.process.wait()


def eventually(what, condition, bound=BOUND):
    end = time.monotonic() + bound
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError(f"not within {bound} s: {what}")


def a_table_is_reserved_once():
    first = Program("reserve.py", "Ada")
    assert [first.line(), first.line(), first.line()] == ["reserved", "Ada 0", None]
    second = Program("reserve.py", "Bob")
    assert [second.line(), second.line(), second.line()] == ["taken", "Ada 0", None]
    assert first.process.wait() == 0 and second.process.wait() == 0


def exactly_one_takes_over_when_the_leader_is_killed():
    programs = {name: Program("lead.py", name) for name in ["one", "two", "three"]}
    try:
        said = {name: program.line() for name, program in programs.items()}
        assert sorted(said.values()) == ["following", "following", "leading"], said
        for left in [2, 1]:
            (leader,) = [name for name, word in said.items() if word == "leading"]
            programs.pop(leader).kill()
            start = time.monotonic()
            said = {name: program.line() for name, program in programs.items()}
            # A session of 4 s, a tick of rounding, and the time that machines take.
            assert time.monotonic() - start < 20, "the session should have ended"
            expected = ["following"] * (left - 1) + ["leading"]
            assert sorted(said.values()) == expected, said
        client = KazooClient(hosts=HOSTS)
        client.start()
        client.sync("/leader")
        (leader,) = programs
        assert client.get("/leader")[0].decode() == leader
        client.stop()
    finally:
        for program in programs.values():
            program.kill()


def the_registry_follows_the_living():
    watcher = Program("discover.py")
    services = []
    try:
        assert watcher.line() == ""
        names = []
        for index in range(3):
            service = Program("register.py", f"10.0.0.{index}:80")
            services.append(service)
            path = service.line()
            assert path == f"/services/api/api-{index:010}", path
            names.append(path.rsplit("/", 1)[1])
            assert watcher.line() == " ".join(names)
        client = KazooClient(hosts=HOSTS)
        client.start()
        client.sync("/services")
        assert client.get("/services/api/api-0000000001")[0] == b"10.0.0.1:80"
        client.stop()
        services[1].kill()
        del names[1]
        assert watcher.line() == " ".join(names)
        assert not watcher.has_line()
    finally:
        for program in [watcher, *services]:
            program.kill()


def remove_leftovers():
    client = KazooClient(hosts=HOSTS)
    client.start()
    for path in ["/reservations", "/services"]:
        if client.exists(path):
            client.delete(path, recursive=True)
    # A leader of a former run may still be within its timeout.
    eventually("/leader is free", lambda: client.exists("/leader") is None)
    client.stop()


remove_leftovers()
for program in [
    a_table_is_reserved_once,
    exactly_one_takes_over_when_the_leader_is_killed,
    the_registry_follows_the_living,
]:
    program()
    print("ok", program.__name__, flush=True)
