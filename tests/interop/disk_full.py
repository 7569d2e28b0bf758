"""kazoo against an ensemble of three whose disks fill up and are freed again.

Usage: disk_full.py SERVER (serve:BINARY)

Each server has a small disk of its own, a tmpfs in a mount namespace that ends with the script. What
is acknowledged stays, no server ends, no session is lost; while no quorum has room what would store
anything is refused, and everything else goes on.
"""

import os
import pathlib
import socket
import subprocess
import sys
import time

NAMESPACE = "ZOKOR_OWN_MOUNTS"
if NAMESPACE not in os.environ:
    os.environ[NAMESPACE] = "1"
    # As root no user namespace is needed; as anybody else it makes the mounts possible.
    mapped = [] if os.geteuid() == 0 else ["--map-root-user"]
    os.execvp("unshare", ["unshare", "--mount", *mapped, sys.executable, *sys.argv])

from kazoo.client import KazooState
from kazoo.exceptions import QuotaExceededError

from patience import BOUND, connect, persist
from start import Ensemble, mode

DISK = 32 << 20
SETTINGS = ["zokor.diskReserveMb=4", "snapCount=400"]


class SmallDisks(Ensemble):
    """An ensemble whose servers have a small disk each."""

    def disk(self, index):
        return pathlib.Path(self.folder.name) / f"{index + 1}" / "disk"

    def _configure(self, index):
        super()._configure(index)
        disk = self.disk(index)
        disk.mkdir()
        subprocess.check_call(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "small", disk])
        (disk / "data").mkdir()
        config = disk.parent / "zoo.cfg"
        here, there = f"dataDir={disk.parent}/data", f"dataDir={disk}/data"
        config.write_text(config.read_text().replace(here, there))
        (disk / "data" / "myid").write_text(f"{index + 1}\n")

    def _stop(self):
        for index in list(self.processes):
            self.kill(index)
        for index in range(self.n_servers):
            subprocess.call(["umount", self.disk(index)])
        super()._stop()

    def fill(self, index, leave):
        """Writes a file of somebody else's until `leave` bytes are free."""
        with open(self.disk(index) / "ballast", "ab") as ballast:
            while (more := self.free(index) - leave) > 0:
                ballast.write(b"x" * min(more, 1 << 20))
                ballast.flush()

    def make_room(self, index):
        (self.disk(index) / "ballast").unlink()

    def free(self, index):
        found = os.statvfs(self.disk(index))
        return found.f_bavail * found.f_frsize

    def monitor(self, index):
        """What `mntr` says."""
        with socket.create_connection(("127.0.0.1", self.ports[index]), timeout=5) as connection:
            connection.sendall(b"mntr")
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
        return dict(line.split("\t", 1) for line in answer.decode().splitlines() if "\t" in line)

    def leader(self):
        modes = [mode(port) for port in self.ports[: self.n_servers]]
        return modes.index("leader") if "leader" in modes else None


def until(what, condition):
    end = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.05)


with SmallDisks(sys.argv[1], 3, SETTINGS) as ensemble:
    everybody = range(3)
    client = connect(ensemble.hosts)
    states = []
    client.add_listener(states.append)
    client.create("/e", ephemeral=True)
    client.create("/log")
    written = set()

    def write(n_times):
        for _ in range(n_times):
            path = persist(client.create, "/log/n-", b"x" * 1000, sequence=True)
            written.add(path.rsplit("/", 1)[1])

    def is_refused():
        try:
            write(1)
        except QuotaExceededError:
            return True
        return False

    write(200)
    print("the leader's disk fills up")
    first = ensemble.leader()
    ensemble.fill(first, 1 << 20)
    until("it is short", lambda: ensemble.monitor(first)["zk_disk_short_of_room"] == "1")
    until("another leads", lambda: ensemble.leader() not in (None, first))
    write(200)

    print("so do all others")
    for index in everybody:
        ensemble.fill(index, 0)
    until("growth is refused", is_refused)
    leader = ensemble.leader()
    assert ensemble.monitor(leader)["zk_growth_refused"] == "1"
    for name in sorted(written)[:100]:
        persist(client.delete, f"/log/{name}")
        written.remove(name)
    assert persist(client.get, "/log/" + sorted(written)[0])[0] == b"x" * 1000
    persist(client.sync, "/log")
    other = connect(ensemble.hosts)
    assert set(other.get_children("/log")) >= written
    other.stop()

    print("one disk is freed, then all")
    ensemble.make_room(leader)
    time.sleep(2)
    assert is_refused(), "one of three has room"
    for index in set(everybody) - {leader}:
        ensemble.make_room(index)
    until("things grow again", lambda: not is_refused())
    write(100)
    for index in everybody:
        until("it has room", lambda: ensemble.monitor(index)["zk_disk_short_of_room"] == "0")
        assert ensemble.processes[index].poll() is None, "a server has ended"
    assert KazooState.LOST not in states, "the session was lost"
    assert client.exists("/e"), "the ephemeral is gone"
    # What was written again and again may have left more than one name behind, but never fewer.
    assert set(client.get_children("/log")) >= written

    print("all servers are killed and start again")
    for index in everybody:
        ensemble.kill(index)
    for index in everybody:
        ensemble.start(index)
    ensemble.wait_until_serving()
    persist(client.sync, "/log")
    assert set(persist(client.get_children, "/log")) >= written
    client.stop()
