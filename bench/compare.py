"""Compares three servers of Apache ZooKeeper with three of zokor on this machine.

Both stand beside each other; scenario by scenario they take turns, in each round again, with
`zokor bench` as the load. What an operation costs is processor time of all three servers together.
The other side rests meanwhile. Prints a Markdown table and, with --out, writes it to a file.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from scenarios import SCENARIOS
from servers import Servers

SIDES = ("zookeeper", "zokor")


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement")
    parser.add_argument("--warm-up", type=float, default=1, help="seconds before each")
    parser.add_argument("--jvm-warm-up", type=float, default=20, help="seconds after the start")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="scenarios whose names contain this")
    parser.add_argument("--kills", type=int, default=3, help="times that a leader is killed")
    parser.add_argument("--znodes", type=int, default=1_000_000, help="of the big tree; 0: none")
    parser.add_argument("--folder", help="where data lies; a temporary one by default")
    parser.add_argument("--set", action="append", default=[], help="one more line of zoo.cfg")
    parser.add_argument("--out", help="a file for the tables")
    parser.add_argument("--raw", help="a file for all that was measured, as JSON")
    return parser.parse_args()


class Comparison:
    def __init__(self, asked):
        self.asked = asked
        self.binary = os.path.abspath(os.environ["ZOKOR_BIN"])
        self.sides, self.lines, self.raw = {}, [], {}

    def bench(self, side, arguments, wait=True):
        """Runs a load; returns what it measured, or the process if it is not to be waited for."""
        servers = self.sides[side]
        command = [self.binary, "bench", "--json", "--quiet", "--hosts", servers.hosts()]
        command += ["--pid", ",".join(map(str, servers.pids())), *arguments.split()]
        run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        return finish(run) if wait else run

    def say(self, line=""):
        print(line, flush=True)
        self.lines.append(line)

    def start(self, folder):
        """Brings both up, one after the other; what that costs."""
        costs = {}
        for side in SIDES:
            servers = Servers(side, self.binary, folder, self.asked.set)
            self.sides[side] = servers
            servers.start_all()
            servers.first_write()
            servers.wait_until_serving()
            costs[side] = servers.cpu_s()
            time.sleep(2)
            costs[side, "idle"] = servers.resident_mb()
        self.raw["start"] = {str(key): value for key, value in costs.items()}
        return costs

    def warm_up(self):
        """So that the JVM has compiled what it will need. For both, though only one has a JVM."""
        for mix in ("get=1,set=1", "ephemeral=1,sequential=1,children=1,sync=1,multi=1"):
            for side in SIDES:
                for outstanding in (64, 1):
                    seconds = self.asked.jvm_warm_up / 4
                    arguments = f"--mix {mix} --outstanding {outstanding} --duration {seconds}s"
                    self.bench(side, f"{arguments} --warm-up 0s")

    def scenarios(self):
        chosen = [one for one in SCENARIOS if self.asked.only in one.name]
        runs = {(one.name, side): [] for one in chosen for side in SIDES}
        for _ in range(self.asked.rounds):
            for one in chosen:
                for side in SIDES:
                    times = f"--duration {self.asked.seconds}s --warm-up {self.asked.warm_up}s"
                    run = self.bench(side, f"{one.arguments} {times}")
                    runs[one.name, side].append(run)
                    note = f"{side:10} {one.name:24} {cpu_us(run):9.2f} us/op"
                    note += f" {run['all']['per_s']:10.0f} /s {run['n_errors']} errors"
                    print(note, file=sys.stderr, flush=True)
        self.raw["scenarios"] = {f"{name} | {side}": run for (name, side), run in runs.items()}
        self.table(chosen, runs)

    def table(self, chosen, runs):
        self.say(
            "| work | CPU us/op ZooKeeper | zokor | ratio (rounds) | target | per s ZooKeeper | zokor"
            " | ratio | p50 ms ZooKeeper | zokor | p99 ms ZooKeeper | zokor | switches/op ZooKeeper"
            " | zokor | RSS MB ZooKeeper | zokor | generator us/op | errors | verdict |"
        )
        self.say("|---|" + "--:|" * 17 + "---|")
        for one in chosen:
            theirs, ours = (runs[one.name, side] for side in SIDES)
            self.say(row(one, theirs, ours))

    def kills(self):
        """The longest time without a write when the leader is killed, each time."""
        gaps = {side: [] for side in SIDES}
        for _ in range(self.asked.kills):
            for side in SIDES:
                servers = self.sides[side]
                run = self.bench(
                    side, "--mix set --outstanding 4 --duration 9s --warm-up 1s", wait=False
                )
                time.sleep(4)
                leader = servers.leader()
                servers.kill(leader)
                gaps[side].append(finish(run)["longest_write_pause_ns"] / 1e6)
                servers.start(leader)
                servers.wait_until_serving()
                time.sleep(2)
        for side in SIDES:
            each = ", ".join(f"{gap:.0f}" for gap in gaps[side])
            self.say(f"- Leader killed under load, longest time without a write, {side}: {each} ms.")
        self.raw["kills"] = gaps

    def big_tree(self, folder):
        """A tree of many znodes: what loading costs, holding it, restarting on it, snapshots."""
        figures = {}
        for side in SIDES:
            servers = Servers(side, self.binary, folder, self.asked.set)
            self.sides[side] = servers
            try:
                figures[side] = self.big_tree_of(side, servers)
            finally:
                servers.close()
        self.raw["big tree"] = figures
        self.say(f"| with {self.asked.znodes:,} znodes of 100 B | ZooKeeper | zokor | ratio |")
        self.say("|---|--:|--:|--:|")
        for key in figures["zookeeper"]:
            theirs, ours = (figures[side][key] for side in SIDES)
            ratio = f"{theirs / ours:.1f}" if ours and theirs else ""
            self.say(f"| {key} | {theirs:.2f} | {ours:.2f} | {ratio} |")

    def big_tree_of(self, side, servers):
        servers.start_all()
        servers.first_write()
        servers.wait_until_serving()
        # ZooKeeper's JVM is warm, as for the other figures.
        if side == "zookeeper":
            self.bench(side, "--mix create=1,set=1 --duration 10s --warm-up 0s")
        # ZooKeeper takes a snapshot after 50,000 to 100,000 writes, zokor after 100,000.
        paced = "--mix set --rate 3000 --warm-up 2s --connections 16 --outstanding 64"
        calm = self.bench(side, f"{paced} --duration 10s")
        before = servers.cpu_s()
        load = self.bench(
            side,
            f"--mix create --count {self.asked.znodes} --connections 16 --outstanding 64"
            " --warm-up 0s --root /big --keep",
        )
        figures = {"load, CPU us a znode": (servers.cpu_s() - before) * 1e6 / self.asked.znodes}
        figures["load, s"] = load["elapsed_ns"] / 1e9
        figures["load, errors"] = load["n_errors"]
        figures["resident MB, largest server"] = servers.resident_mb()
        figures["p99 ms of 3,000 sets a second, small tree"] = calm["all"]["p99_ns"] / 1e6
        here = servers.snapshots()
        busy = self.bench(side, f"{paced} --duration 40s")
        figures["p99 ms of the same, big tree"] = busy["all"]["p99_ns"] / 1e6
        figures["longest ms of the same"] = busy["all"]["max_ns"] / 1e6
        figures["snapshots begun meanwhile"] = len(servers.snapshots() - here)
        figures["data on disk, MB a server"] = servers.disk_mb()
        for index in range(len(servers.processes)):
            servers.kill(index)
        begun = time.monotonic()
        servers.start_all()
        servers.first_write()
        servers.wait_until_serving()
        figures["restart to first write, s"] = time.monotonic() - begun
        figures["restart, CPU s of all servers"] = servers.cpu_s()
        figures["resident MB after the restart"] = servers.resident_mb()
        return figures


def finish(run):
    text, _ = run.communicate()
    assert text, "the load has failed"
    return json.loads(text)


def cpu_us(run):
    return sum(p["cpu_ns"] for p in run["processes"]) / 1e3 / max(run["all"]["done"], 1)


def median(runs, figure):
    return statistics.median(figure(run) for run in runs)


def kind_of(run, kind):
    return next((row for row in run["kinds"] if row["kind"] == kind), run["all"])


def row(one, theirs, ours):
    sides = (theirs, ours)
    cpu = [median(runs, cpu_us) for runs in sides]
    ratio = cpu[0] / cpu[1]
    by_round = [cpu_us(a) / cpu_us(b) for a, b in zip(theirs, ours)]
    per_s = [median(runs, lambda run: run["all"]["per_s"]) for runs in sides]
    # With one change for many watchers it is the last of them who counts.
    latency = lambda q: [  # noqa: E731
        median(runs, lambda run: kind_of(run, "last")[q] / 1e6) for runs in sides
    ]
    p50, p99 = latency("p50_ns"), latency("p99_ns")
    switches = [
        median(
            runs,
            lambda run: sum(p["switches"] for p in run["processes"]) / max(run["all"]["done"], 1),
        )
        for runs in sides
    ]
    resident = [
        median(runs, lambda run: max(p["resident_bytes"] for p in run["processes"]) / 1e6)
        for runs in sides
    ]
    own = median(ours, lambda run: run["generator"]["cpu_ns"] / 1e3 / max(run["all"]["done"], 1))
    errors = sum(run["n_errors"] for runs in sides for run in runs)
    wanted = [("CPU", ratio / one.cpu)]
    if one.per_s:
        wanted.append((f"throughput {one.per_s:g}x", per_s[1] / per_s[0] / one.per_s))
    for name, found, most in [("p50", p50, one.p50), ("p99", p99, one.p99), ("last", p50, one.last)]:
        if most:
            wanted.append((f"{name} {most:g}x", most / (found[1] / found[0])))
    missed = [f"{name}: {part:.0%} of it" for name, part in wanted if part < 1]
    verdict = "missed, " + ", ".join(missed) if missed else "met"
    cells = [
        one.name,
        f"{cpu[0]:.1f}",
        f"{cpu[1]:.2f}",
        f"{ratio:.1f} ({min(by_round):.1f} to {max(by_round):.1f})",
        f"{one.cpu:g}",
        f"{per_s[0]:.0f}",
        f"{per_s[1]:.0f}",
        f"{per_s[1] / per_s[0]:.1f}",
        *(f"{value:.2f}" for value in [*p50, *p99, *switches]),
        *(f"{value:.0f}" for value in resident),
        f"{own:.2f}",
        str(errors),
        verdict,
    ]
    return "| " + " | ".join(cells) + " |"


def main():
    # So that the servers are stopped as well when this is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    asked = options()
    comparison = Comparison(asked)
    with tempfile.TemporaryDirectory(prefix="zokor-compare-", dir=asked.folder) as folder:
        try:
            costs = comparison.start(folder)
            comparison.warm_up()
            comparison.scenarios()
            comparison.say()
            theirs, ours = (costs[side] for side in SIDES)
            comparison.say(
                f"- Start to first write, CPU of all servers: {theirs:.2f} s and {ours:.3f} s,"
                f" {theirs / ours:.0f} times less."
            )
            theirs, ours = (costs[side, "idle"] for side in SIDES)
            comparison.say(f"- Idle after the start, resident: {theirs:.1f} and {ours:.1f} MB.")
            if asked.kills:
                comparison.kills()
            for servers in comparison.sides.values():
                servers.close()
            if asked.znodes:
                comparison.say()
                comparison.big_tree(folder)
        finally:
            for servers in comparison.sides.values():
                servers.close()
            if asked.out:
                with open(asked.out, "w") as out:
                    out.write("\n".join(comparison.lines) + "\n")
            if asked.raw:
                with open(asked.raw, "w") as out:
                    json.dump(comparison.raw, out, indent=1)


if __name__ == "__main__":
    main()
