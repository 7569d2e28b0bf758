"""Starts servers on free ports of the loopback, runs a command against them, and stops them.

Usage: start.py SERVER N COMMAND...

SERVER is `zookeeper` (Debian's package), `serve:BINARY` (N processes of `zokor serve`) or
`dev:BINARY` (one process of `zokor dev` with N servers). The list of servers, `host:port,...`, is
appended to COMMAND. The exit code is the command's.
"""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

BOUND = 60


class Ensemble:
    """Servers that belong together; a context that stops them when it is left."""

    def __init__(self, server, n_servers, settings=(), jaas=None):
        """`settings` are lines of `zoo.cfg`, `jaas` is the file that names the users of SASL."""
        self.settings, self.jaas, self.flags = list(settings), jaas, []
        self.kind, _, self.binary = server.partition(":")
        assert self.kind in ("zookeeper", "serve", "dev"), server
        self.n_servers = n_servers
        self.folder = tempfile.TemporaryDirectory(prefix="zokor-interop-")
        self.processes = {}
        self.claim, self.ports = claim_ports(3 * n_servers)
        self.hosts = [f"127.0.0.1:{port}" for port in self.ports[:n_servers]]

    def __enter__(self):
        try:
            if self.jaas:
                path = pathlib.Path(self.folder.name) / "jaas.conf"
                path.write_text(self.jaas)
                self.flags = [f"-Djava.security.auth.login.config={path}"]
            if self.kind == "dev":
                self._start_dev()
            else:
                for index in range(self.n_servers):
                    self._configure(index)
                    self.start(index)
            self.wait_until_serving()
        except BaseException:
            self.show_logs()
            self._stop()
            raise
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            self.show_logs()
        self._stop()

    def _stop(self):
        for index in list(self.processes):
            self.kill(index)
        self.claim.close()
        self.folder.cleanup()

    def _start_dev(self):
        command = [self.binary, "dev", "--servers", str(self.n_servers)]
        command += ["--port", str(self.ports[0]), "--data-dir", f"{self.folder.name}/data"]
        self.processes[0] = self._spawn(command, 0)

    def _configure(self, index):
        folder = pathlib.Path(self.folder.name) / f"{index + 1}"
        folder.mkdir()
        lines = [
            "tickTime=500",
            "initLimit=40",
            "syncLimit=20",
            f"dataDir={folder}/data",
            f"clientPort={self.ports[index]}",
            "clientPortAddress=127.0.0.1",
            "maxClientCnxns=0",
            "admin.enableServer=false",
            "4lw.commands.whitelist=*",
            "extendedTypesEnabled=true",
            *self.settings,
        ]
        if self.n_servers > 1:
            for other in range(self.n_servers):
                peer, election = self.ports[self.n_servers + 2 * other :][:2]
                lines.append(f"server.{other + 1}=127.0.0.1:{peer}:{election}")
        (folder / "data").mkdir()
        (folder / "zoo.cfg").write_text("\n".join(lines) + "\n")
        (folder / "data" / "myid").write_text(f"{index + 1}\n")

    def start(self, index):
        """Starts one server; does not wait."""
        config = f"{self.folder.name}/{index + 1}/zoo.cfg"
        if self.kind == "zookeeper":
            names = ("zookeeper", "slf4j-simple", "snappy-java")
            jars = ":".join(f"/usr/share/java/{name}.jar" for name in names)
            command = ["java", *self.flags, "-Xmx192m", "-XX:TieredStopAtLevel=1", "-cp", jars]
            command += ["org.apache.zookeeper.server.quorum.QuorumPeerMain", config]
        else:
            command = [self.binary, "serve", "--config", config]
        self.processes[index] = self._spawn(command, index)

    def _spawn(self, command, index):
        # What Java is told on its command line is told to others so.
        told = {**os.environ, "JVMFLAGS": " ".join(self.flags)} if self.flags else None
        with open(f"{self.folder.name}/log.{index + 1}", "ab") as log:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=told
            )

    def kill(self, index):
        """Ends one server at once."""
        process = self.processes.pop(index)
        process.kill()
        process.wait()

    def wait_until_serving(self):
        end = time.monotonic() + BOUND
        while True:
            for process in self.processes.values():
                assert process.poll() is None, "a server ended by itself"
            modes = [mode(port) for port in self._running_ports()]
            if all(modes) and sum(m in ("leader", "standalone") for m in modes) == 1:
                return
            assert time.monotonic() < end, f"the servers do not serve: {modes}"
            time.sleep(0.05)

    def _running_ports(self):
        if self.kind == "dev":
            return self.ports[: self.n_servers]
        return [self.ports[index] for index in self.processes]

    def show_logs(self):
        for log in sorted(pathlib.Path(self.folder.name).glob("log.*")):
            lines = log.read_text(errors="replace").splitlines()[-60:]
            print(f"---- {log.name}", *lines, sep="\n", file=sys.stderr)


def mode(port):
    """What the server says of itself, or None while it does not serve."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"srvr")
            answer = b""
            while chunk := connection.recv(4096):
                answer += chunk
    except OSError:
        return None
    for line in answer.decode(errors="replace").splitlines():
        if line.startswith("Mode: "):
            return line.removeprefix("Mode: ")
    return None


def claim_ports(n):
    """`n` free ports in a row below those of outgoing connections. Whoever listens on the port
    before them owns them; keep the listener as long as they are needed."""
    for first in range(12_000, 19_900, n + 1):
        claim = socket.socket()
        try:
            claim.bind(("127.0.0.1", first))
            claim.listen()
        except OSError:
            claim.close()
            continue
        ports = list(range(first + 1, first + 1 + n))
        if all(is_free(port) for port in ports):
            return claim, ports
        claim.close()
    raise AssertionError(f"no {n} free ports in a row")


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def main():
    # So that the servers are stopped as well when this is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    server, n_servers, *command = sys.argv[1:]
    with Ensemble(server, int(n_servers)) as ensemble:
        environment = {**os.environ, "INTEROP_SERVER": ensemble.kind}
        code = subprocess.call([*command, ",".join(ensemble.hosts)], env=environment)
        if code != 0:
            ensemble.show_logs()
    sys.exit(code)


if __name__ == "__main__":
    main()
