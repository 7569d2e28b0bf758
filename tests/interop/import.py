"""From ZooKeeper to zokor and back: what each says of every znode, compared to the last bit.

Usage: import.py SERVER [--rounds N] [--seconds S] [--seed X] [--zookeepers Z]

SERVER says which zokor, `serve:BINARY`. A real ZooKeeper of Debian's package is written to by
several sessions at once and killed, again and again, with snapshots that are taken amid the writes
and packed in each of its three ways. It may be an ensemble of Z servers, which are killed together.
Its folder, that of the server with the largest zxid, is imported while it is dead. ZooKeeper itself
is started again on the same folder, and zokor on what was imported, as one server and as three, and
they must agree on every path, data, ACL, list of children, and every number of every stat. Sessions
go on at zokor; one of which nobody is heard expires. Then the way back: a backup of the running
zokor, restored, and exported for ZooKeeper.
"""

import argparse
import collections
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

from sides.client import (
    CREDENTIALS, EPHEMERAL, NO_NODE, NODE_EXISTS, SEQUENTIAL, Client, Failed, Load, Lost,
)  # fmt: skip
from sides.subject import wait_until_it_answers
from start import Ensemble

N_LOADS = 3
BOUND = 60
# It describes the ensemble, which is another one now.
CONFIG = ["/zookeeper/config"]
PACKING = ["", "snapshot.compression.method=gz\n", "snapshot.compression.method=snappy\n"]
SETTINGS = ["snapCount=300", "preAllocSize=256", "maxSessionTimeout=120000"]


class OnFolder(Ensemble):
    """Servers whose folders are there already."""

    def __init__(self, server, folders):
        self.folders = folders
        super().__init__(server, len(folders), SETTINGS)

    def _configure(self, index):
        super()._configure(index)
        data = pathlib.Path(self.folder.name) / f"{index + 1}" / "data"
        shutil.rmtree(data)
        shutil.copytree(self.folders[index], data)


def run(binary, *arguments, code=0):
    """One command of zokor; its output."""
    done = subprocess.run([binary, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
    return done.stdout


def written(binary, options):
    """Writes to a ZooKeeper and kills it; its folder as it was at the last kill, what it says of it
    after a start, and sessions that are alive."""
    seed, rounds, n_servers = options.seed, options.rounds, options.zookeepers
    frozen = tempfile.TemporaryDirectory(prefix="zokor-import-")
    with Ensemble("zookeeper", n_servers, SETTINGS) as zookeeper:
        address = zookeeper.hosts[0]
        wait_until_it_answers(address)
        first = Client(address)
        for path in ("/load", "/zookeeper/quota/load", *(f"/load/{n}" for n in range(N_LOADS))):
            first.create(path)
        first.create("/zookeeper/quota/load/zookeeper_limits", b"count=-1,bytes=-1")
        first.create("/zookeeper/quota/load/zookeeper_stats", b"count=-1,bytes=-1")
        # Names and data at the edges.
        first.create("/edges", None)
        for name in ("caf\u00e9", "\u6f22", "a.b", "..a", " "):
            first.create(f"/edges/{name}", name.encode())
        resumed, expires = Client(address), Client(address, 12_000)
        resumed.create("/resumed", b"mine", flags=EPHEMERAL)
        expires.create("/expires", flags=EPHEMERAL)
        folders = [pathlib.Path(zookeeper.folder.name) / f"{n + 1}" for n in range(n_servers)]
        lines, n_done = [(folder / "zoo.cfg").read_text() for folder in folders], 0
        host = [zookeeper.hosts[number % n_servers] for number in range(N_LOADS)]
        loads = [Load(host[number], number, f"{seed}/{number}") for number in range(N_LOADS)]
        for round in range(rounds):
            [load.start() for load in loads]
            time.sleep(options.seconds)
            [zookeeper.kill(index) for index in range(n_servers)]
            for load in loads:
                load.join(BOUND)
                assert load.failure is None, load.failure
                n_done += load.n_done
            for folder, text in zip(folders, lines):
                (folder / "zoo.cfg").write_text(text + PACKING[(round + 1) % len(PACKING)])
            if round + 1 == rounds:
                break
            start_again(zookeeper)
            before, loads = loads, []
            for number, load in enumerate(before):
                loads.append(Load(host[number], number, f"{seed}/{number}/{round}"))
                # Some sessions stay, some are resumed later than others, and some are left behind.
                if (number + round) % 2 == 0:
                    load.client.connect(host[number])
                    loads[-1].client = load.client
        zxids = []
        for index, folder in enumerate(folders):
            shutil.copytree(folder / "data", f"{frozen.name}/data{index}")
            tried = f"{frozen.name}/try{index}"
            said = run(binary, "import", "--from", folder / "data", "--to", tried, "--id", 1)
            zxids.append(int(re.search(r"^zxid +0x(\w+)$", said, re.MULTILINE)[1], 16))
        source = f"{frozen.name}/data{zxids.index(max(zxids))}"
        start_again(zookeeper)
        truth = Client(address).walk()
        names = folders[0].glob("data/version-2/snapshot.*")
        ends = (name.suffix if name.suffix in (".gz", ".snappy") else "plain" for name in names)
        n_packed = collections.Counter(ends)
    print(f"   {n_done} writes, {len(truth)} znodes, snapshots {dict(n_packed)}, zxids {zxids}")
    return frozen, source, truth, resumed, expires, [load.client for load in loads]


def start_again(zookeeper):
    """Starts the servers on what they have."""
    for index in range(zookeeper.n_servers):
        zookeeper.start(index)
    zookeeper.wait_until_serving()
    for address in zookeeper.hosts:
        wait_until_it_answers(address)


def same(truth, found, where, leave_out=()):
    """Fails with the first path at which two walks differ."""
    for path in sorted({*truth, *found}):
        if path in leave_out:
            continue
        mine, theirs = truth.get(path), found.get(path)
        if mine != theirs:
            raise AssertionError(f"{where}: {path!r}\n  ZooKeeper {mine}\n  zokor     {theirs}")


def eventually(what, done):
    end = time.monotonic() + BOUND
    while not done():
        assert time.monotonic() < end, what
        time.sleep(0.1)


def is_gone(client, path):
    try:
        client.node(path)
        return False
    except Failed as error:
        assert error.code == NO_NODE
        return True


def sessions_go_on(address, truth, resumed, expires, others):
    """The imported sessions are those that ZooKeeper began."""
    reader = Client(address)
    for client in (resumed, *others):
        client.connect(address)
    try:
        resumed.create("/resumed", flags=EPHEMERAL)
        raise AssertionError("the ephemeral of a resumed session is not there")
    except Failed as error:
        assert error.code == NODE_EXISTS
    # The counter of sequential names goes on where it was.
    for number in range(N_LOADS):
        name = reader.create(f"/load/{number}/s-", flags=SEQUENTIAL)
        stat = truth[f"/load/{number}"][1]
        number_at = lambda at: int.from_bytes(stat[at : at + 4], "big", signed=True)
        cversion, n_children = number_at(36), number_at(56)
        assert name == f"/load/{number}/s-{(cversion + n_children) // 2:010}", name
    resumed.end()
    assert is_gone(reader, "/resumed")
    eventually("the session of /expires has not expired", lambda: is_gone(reader, "/expires"))
    assert expires.session not in (client.session for client in (reader, resumed, *others))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("server")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--zookeepers", type=int, default=1)
    options = parser.parse_args()
    kind, _, binary = options.server.partition(":")
    assert kind == "serve" and CREDENTIALS, "import.py serve:BINARY"
    frozen, source, truth, resumed, expires, others = written(binary, options)
    folder = pathlib.Path(frozen.name)
    one, three = folder / "one", folder / "three"
    for target in (("--to", one), ("--to", three, "--servers", "1,2,3")):
        said = run(binary, "import", "--from", source, *target)
    print("".join(f"   {line}\n" for line in said.splitlines()), end="")
    run(binary, "import", "--from", source, "--to", one, code=1)
    run(binary, "inspect", one)

    with OnFolder(options.server, [one]) as zokor:
        same(truth, Client(zokor.hosts[0]).walk(), "one server", CONFIG)
        print("   one server of zokor has all of it")
        backup, data = folder / "backup", pathlib.Path(zokor.folder.name) / "1" / "data"
        run(binary, "backup", "--from", data, "--server", zokor.hosts[0], "--to", backup)
        sessions_go_on(zokor.hosts[0], truth, resumed, expires, others)
        print("   sessions go on, sequences go on, and who is not heard from expires")

    with OnFolder(options.server, [three / str(number) for number in (1, 2, 3)]) as zokor:
        for address in zokor.hosts:
            client = Client(address)
            same(truth, client.walk(), address, CONFIG)
        print("   three servers of zokor have all of it")

    run(binary, "restore", "--from", backup, "--to", folder / "restored")
    with OnFolder(options.server, [folder / "restored"]) as zokor:
        same(truth, Client(zokor.hosts[0]).walk(), "restored", CONFIG)
        print("   what was backed up and restored has all of it")

    run(binary, "export", "--from", backup, "--to", folder / "exported")
    (folder / "exported" / "myid").write_text("1\n")
    with OnFolder("zookeeper", [folder / "exported"]) as zookeeper:
        wait_until_it_answers(zookeeper.hosts[0])
        same(truth, Client(zookeeper.hosts[0]).walk(), "exported", CONFIG)
        print("   ZooKeeper has all of it again")
    frozen.cleanup()
    print("ok import")


if __name__ == "__main__":
    try:
        main()
    except Lost:
        sys.exit("a connection has ended")
