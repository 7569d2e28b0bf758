"""Servers of one kind that belong together: started, killed, asked, and what they cost."""

import os
import pathlib
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "tests" / "interop"))
from start import claim_ports, mode  # noqa: E402

N_SERVERS = 3
LEADS = ("leader", "standalone")
BOUND = 120
JARS = "/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar"

# What both are told. All else is the default of each: fsync is on in both.
SETTINGS = ["tickTime=2000", "initLimit=10", "syncLimit=5", "maxClientCnxns=0"]
# The heap is that of a machine for servers; logging costs it as little as ours.
JAVA = ["java", "-Xmx2g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", JARS]
JAVA += ["org.apache.zookeeper.server.quorum.QuorumPeerMain"]


class Servers:
    """`kind` is `zookeeper` or `zokor`."""

    def __init__(self, kind, binary, folder, extra=(), n_servers=N_SERVERS):
        self.kind, self.binary, self.n_servers = kind, binary, n_servers
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"bench-{kind}-", dir=folder))
        self.claim, self.ports = claim_ports(3 * n_servers)
        self.processes = [None] * n_servers
        for index in range(n_servers):
            self._configure(index, extra)

    def _configure(self, index, extra):
        place = self.folder / f"{index + 1}"
        (place / "data").mkdir(parents=True)
        lines = [*SETTINGS, *extra, f"dataDir={place}/data", f"clientPort={self.ports[index]}"]
        lines += ["clientPortAddress=127.0.0.1", "4lw.commands.whitelist=*"]
        lines += ["admin.enableServer=false"]
        for other in range(self.n_servers):
            peer, election = self.ports[self.n_servers + 2 * other :][:2]
            lines.append(f"server.{other + 1}=127.0.0.1:{peer}:{election}")
        (place / "zoo.cfg").write_text("\n".join(lines) + "\n")
        (place / "data" / "myid").write_text(f"{index + 1}\n")

    def start(self, index):
        config = f"{self.folder}/{index + 1}/zoo.cfg"
        if self.kind == "zookeeper":
            command = [*JAVA, config]
        else:
            command = [self.binary, "--log", "warn", "serve", "--config", config]
        with open(f"{self.folder}/log.{index + 1}", "ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.processes[index] = process

    def start_all(self):
        for index in range(self.n_servers):
            self.start(index)

    def kill(self, index):
        self.processes[index].kill()
        self.processes[index].wait()
        self.processes[index] = None

    def close(self):
        for index, process in enumerate(self.processes):
            if process:
                self.kill(index)
        self.claim.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def modes(self):
        return [process and mode(port) for process, port in zip(self.processes, self.ports)]

    def wait_until_serving(self):
        end = time.monotonic() + BOUND
        while True:
            modes = self.modes()
            if all(modes) and sum(mode in LEADS for mode in modes) == 1:
                return
            assert time.monotonic() < end, f"{self.kind} does not serve: {modes}"
            time.sleep(0.05)

    def leader(self):
        return next(index for index, mode in enumerate(self.modes()) if mode in LEADS)

    def hosts(self):
        """Followers first: a single connection is one to a follower on both sides."""
        ranked = sorted(zip(self.modes(), self.ports))
        ports = [port for kind, port in ranked if kind not in LEADS]
        ports += [port for kind, port in ranked if kind in LEADS]
        return ",".join(f"127.0.0.1:{port}" for port in ports)

    def pids(self):
        return [process.pid for process in self.processes if process]

    def cpu_s(self):
        """Processor seconds of all servers that run, since each began."""
        return sum(cpu_s(pid) for pid in self.pids())

    def resident_mb(self):
        """Resident megabytes of the largest server."""
        return max(status(pid, "VmRSS:") / 1024 for pid in self.pids())

    def disk_mb(self):
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        return sum(path.stat().st_blocks for path in files) * 512 / 1e6 / self.n_servers

    def snapshots(self):
        """How many snapshots lie on the disks, by server and name."""
        names = ("snapshot.", "snapshot-", "snap")
        return {
            str(path)
            for path in self.folder.rglob("*")
            if path.is_file() and path.name.startswith(names)
        }

    def first_write(self):
        """Waits until a write succeeds, at whichever server is first."""
        end = time.monotonic() + BOUND
        while time.monotonic() < end:
            for port in self.ports:
                try:
                    write_once(port)
                    return
                except (OSError, ValueError):
                    pass
            time.sleep(0.02)
        raise AssertionError(f"{self.kind} takes no write")


def cpu_s(pid):
    """By the scheduler's count of each thread; by the system's count of the process where threads
    have ended."""
    by_threads = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            by_threads += int((task / "schedstat").read_text().split()[0])
        except OSError:
            pass
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    by_ticks = (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
    by_threads /= 1e9
    return by_ticks if by_ticks > by_threads + 0.02 else by_threads


def status(pid, key):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    return 0


def write_once(port):
    """One session that creates an ephemeral znode."""

    def frame(payload):
        return struct.pack(">i", len(payload)) + payload

    def text(value):
        return struct.pack(">i", len(value)) + value

    def answer(connection):
        head = receive(connection, 4)
        return receive(connection, struct.unpack(">i", head)[0])

    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(frame(struct.pack(">iqiq", 0, 0, 30_000, 0) + text(bytes(16)) + b"\0"))
        if struct.unpack(">i", answer(connection)[4:8])[0] <= 0:
            raise ValueError("refused")
        acl = struct.pack(">ii", 1, 31) + text(b"world") + text(b"anyone")
        create = struct.pack(">ii", 1, 1) + text(b"/first") + text(b"x") + acl
        connection.sendall(frame(create + struct.pack(">i", 1)))
        if struct.unpack(">i", answer(connection)[12:16])[0] != 0:
            raise ValueError("failed")
        connection.sendall(frame(struct.pack(">ii", 2, -11)))
        answer(connection)


def receive(connection, n):
    data = b""
    while len(data) < n:
        chunk = connection.recv(n - len(data))
        if not chunk:
            raise OSError("closed")
        data += chunk
    return data
