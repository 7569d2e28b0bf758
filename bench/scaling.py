"""What an operation costs with more znodes, more connections and more servers.

Usage: ZOKOR_BIN=target/release/zokor python3 bench/scaling.py [--quick] [--help]

Each of the three is changed while the other two have their middle value; connections are measured
with many requests under way in each and with one. The cost is processor time of the servers, as
`zokor bench` takes it from /proc. Prints a Markdown table for each, with the range over the rounds.
"""

import argparse
import collections
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile

from servers import Servers

# What is done: the arguments of `zokor bench`, and whether the big tree is what it works on. A
# create has its delete, so that the tree keeps its size.
READS, WRITES, CREATES = "reads", "writes", "creates and deletes"
WORK = {
    READS: "--mix get --reuse --root /scaling",
    WRITES: "--mix set --reuse --root /scaling",
    CREATES: "--mix create=1,delete=1 --root /created",
}
# Files of a process beside those of its connections.
FILES_BESIDE = 512

Point = collections.namedtuple("Point", "nodes connections outstanding servers")
Cost = collections.namedtuple("Cost", "all mean leader")


def numbers(text):
    found = [int(part.replace("_", "")) for part in text.split(",")]
    if min(found) < 1:
        raise argparse.ArgumentTypeError("all must be at least 1")
    return found


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=numbers, default=[1_000, 100_000, 1_000_000])
    parser.add_argument("--connections", type=numbers, default=[1, 100, 5_000])
    parser.add_argument("--servers", type=numbers, default=[3, 5, 7])
    parser.add_argument(
        "--middle",
        type=numbers,
        default=[100_000, 100, 3],
        metavar="NODES,CONNECTIONS,SERVERS",
        help="what the other two are while one is changed",
    )
    parser.add_argument("--outstanding", type=int, default=16, help="under way in a connection")
    parser.add_argument("--seconds", type=float, default=8, help="of each measurement")
    parser.add_argument("--warm-up", type=float, default=2, help="seconds before each")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--folder", help="where data lies; a temporary one by default")
    parser.add_argument("--set", action="append", default=[], help="one more line of zoo.cfg")
    parser.add_argument("--out", help="a file for the tables")
    parser.add_argument("--quick", action="store_true", help="only shows that this works")
    asked = parser.parse_args()
    if asked.quick:
        asked.nodes, asked.connections, asked.servers = [10, 1_000], [1, 20], [1, 3]
        asked.middle, asked.seconds, asked.warm_up, asked.rounds = [1_000, 20, 3], 0.1, 0.05, 1
    if len(asked.middle) != 3:
        parser.error("--middle takes three numbers")
    return asked


def allow_files(most_connections):
    """Raises what a process may have open, for the load and for the servers that are started."""
    wanted = most_connections + FILES_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        sys.exit(
            f"{most_connections:,} connections need {wanted:,} open files and this process may"
            f" have {hard:,} at most. Raise that as root (ulimit -Hn {wanted}; LimitNOFILE= of a"
            " service; --ulimit nofile= of a container), or ask for fewer with --connections."
        )
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Scaling:
    def __init__(self, asked):
        self.asked, self.lines = asked, []
        self.binary = os.path.abspath(os.environ["ZOKOR_BIN"])
        nodes, connections, n_servers = asked.middle
        self.middle = Point(nodes, connections, asked.outstanding, n_servers)
        middle, alone = self.middle, self.middle._replace(outstanding=1)
        # What changes, at which points it is measured, and what is done at each.
        self.axes = [
            ("nodes", [middle._replace(nodes=n) for n in asked.nodes], list(WORK)),
            ("connections", of_connections(middle, asked), [READS, WRITES]),
            ("connections", of_connections(alone, asked), [READS, WRITES]),
            ("servers", [middle._replace(servers=n) for n in asked.servers], [READS, WRITES]),
        ]
        # By point and work: a cost for each round. By point: megabytes for each round.
        self.costs = collections.defaultdict(list)
        self.resident = collections.defaultdict(list)

    def measure(self, folder):
        """One ensemble for all points that need the same one."""
        work_at = collections.defaultdict(list)
        for _, points, works in self.axes:
            for point in points:
                work_at[point] += [work for work in works if work not in work_at[point]]
        for n_servers, nodes in sorted({(point.servers, point.nodes) for point in work_at}):
            servers = Servers("zokor", self.binary, folder, self.asked.set, n_servers)
            try:
                servers.start_all()
                servers.first_write()
                servers.wait_until_serving()
                self.bench(
                    servers,
                    f"--mix get=1,set=1 --root /scaling --keep --nodes {nodes}"
                    " --connections 1 --count 1 --warm-up 0s",
                )
                for _ in range(self.asked.rounds):
                    for point, works in work_at.items():
                        if (point.servers, point.nodes) == (n_servers, nodes):
                            self.measure_once(servers, point, works)
            finally:
                servers.close()

    def measure_once(self, servers, point, works):
        for work in works:
            nodes = point.nodes if "--reuse" in WORK[work] else 1
            run = self.bench(
                servers,
                f"{WORK[work]} --nodes {nodes} --connections {point.connections}"
                f" --outstanding {point.outstanding} --duration {self.asked.seconds}s"
                f" --warm-up {self.asked.warm_up}s",
            )
            n_done = run["all"]["done"]
            assert n_done > 0, f"nothing was done at {point}"
            us = [process["cpu_ns"] / 1e3 / n_done for process in run["processes"]]
            cost = Cost(sum(us), sum(us) / len(us), us[servers.leader()])
            self.costs[point, work].append(cost)
            note = f"{work:20} {point} {cost.all:9.2f} us/op {run['all']['per_s']:10.0f} /s"
            print(note, file=sys.stderr, flush=True)
        self.resident[point].append(servers.resident_mb())

    def bench(self, servers, arguments):
        command = [self.binary, "bench", "--json", "--quiet", "--hosts", servers.hosts()]
        command += ["--pid", ",".join(map(str, servers.pids())), *arguments.split()]
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        assert run.returncode == 0, f"{' '.join(command)} failed: {run.stdout}"
        return json.loads(run.stdout)

    def say(self, line=""):
        print(line, flush=True)
        self.lines.append(line)

    def tables(self):
        for axis, points, works in self.axes:
            heads = [f"{work}: all | a server | leader" for work in works]
            self.say()
            self.say(f"Microseconds of CPU an operation, {told_beside(axis, points[0])}:")
            self.say()
            self.say(f"| {axis} | {' | '.join(heads)} | resident MB, largest |")
            self.say("|--:|" + "--:|" * (3 * len(works) + 1))
            for point in points:
                cells = [f"{getattr(point, axis):,}"]
                for work in works:
                    cells += self.cells(axis, point, work, points)
                cells.append(f"{max(self.resident[point]):.0f}")
                self.say(f"| {' | '.join(cells)} |")

    def cells(self, axis, point, work, points):
        """Medians over the rounds. What is to be flat along this axis has its range, and how many
        times the cheapest point it is. With more servers reads are to cost all of them the same,
        and writes each of them."""
        flat = ("all", "mean") if axis == "servers" else ("all",)
        return [self.cell(field, point, work, points, field in flat) for field in Cost._fields]

    def cell(self, field, point, work, points, with_range):
        rounds = {p: [getattr(cost, field) for cost in self.costs[p, work]] for p in points}
        medians = {p: statistics.median(costs) for p, costs in rounds.items()}
        if not with_range:
            return f"{medians[point]:.2f}"
        here, times = rounds[point], medians[point] / min(medians.values())
        return f"{medians[point]:.2f} ({min(here):.2f} to {max(here):.2f}), {times:.2f}x"


def of_connections(point, asked):
    return [point._replace(connections=n) for n in asked.connections]


def told_beside(axis, point):
    """What stays the same on this axis."""
    same = [] if axis == "nodes" else [f"{point.nodes:,} znodes"]
    if axis != "connections":
        same.append(f"{point.connections:,} connections")
    same.append(f"{point.outstanding} under way in each")
    if axis != "servers":
        same.append(f"{point.servers} servers")
    return ", ".join(same)


def main():
    # So that the servers are stopped as well when this is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    asked = options()
    allow_files(max(*asked.connections, asked.middle[1]))
    scaling = Scaling(asked)
    with tempfile.TemporaryDirectory(prefix="zokor-scaling-", dir=asked.folder) as folder:
        scaling.measure(folder)
    scaling.tables()
    if asked.out:
        with open(asked.out, "w") as out:
            out.write("\n".join(scaling.lines) + "\n")


if __name__ == "__main__":
    main()
