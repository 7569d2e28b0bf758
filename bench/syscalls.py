"""System calls an operation, of all three zokor servers together, as `strace -c` counts them.

Usage: ZOKOR_BIN=target/release/zokor python3 bench/syscalls.py [--check] [NAME...]

Counting slows the servers down, so that batches are larger than in earnest: compare runs of this
with each other, and lone operations (1x1), which have no batches, with anything.

With --check half as many operations are counted, and the exit code is 1 if any work needs more
calls than its limits below say. Where strace may attach to nobody, the check says so and passes.
"""

import argparse
import dataclasses
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading

from servers import Servers


@dataclasses.dataclass
class Work:
    """`n` operations (for watch: changes) with these arguments of `zokor bench`, each of which
    counts as `weight` operations. An operation takes at least `least` calls, or strace has missed
    some. `limits` are the most calls an operation that --check lets pass, by name; `all` are all
    together, `others` those that have no limit of their own."""

    arguments: str
    n: int
    least: float
    limits: dict
    weight: int = 1


# Measured 14 times on two busy cores (load 5 to 10). What is not batched sends, receives and writes
# exactly as often as it must, to a few per cent: its limits are less than one call an operation
# away. How often a server waits (epoll_wait) and wakes a thread (futex) depends on what else the
# machine does, and so do batches, sessions among them: these have limits of a third and more above
# the largest count. fdatasync is left out by servers whose disks write through at once. A kind of
# call that is not named falls under `others`.
WORKS = {
    "lone read 1x1": Work(
        "--mix get --connections 1 --outstanding 1",
        3_000,
        2.0,
        {"all": 3.6, "recvfrom": 1.3, "writev": 1.3, "epoll_wait": 1.6, "others": 0.4},
    ),
    "reads 64x1": Work(
        "--mix get --connections 64 --outstanding 1",
        30_000,
        2.0,
        {"all": 2.5, "recvfrom": 1.1, "writev": 1.1, "epoll_wait": 0.4, "others": 0.1},
    ),
    "reads 16x64": Work(
        "--mix get --connections 16 --outstanding 64", 200_000, 0.01, {"all": 0.08}
    ),
    "lone write 1x1": Work(
        "--mix set --connections 1 --outstanding 1",
        1_000,
        25.0,
        {"all": 46, "recvfrom": 8.6, "writev": 8.6, "epoll_wait": 11.8, "futex": 6.9}
        | {"pwrite64": 3.5, "write": 3.5, "fdatasync": 3.5, "mprotect": 0.8, "others": 0.4},
    ),
    "writes 64x1": Work(
        "--mix set --connections 64 --outstanding 1",
        10_000,
        2.0,
        {"all": 4.6, "recvfrom": 1.6, "writev": 1.6, "epoll_wait": 0.7, "futex": 0.6}
        | {"pwrite64": 0.5, "write": 0.4, "fdatasync": 0.4, "mprotect": 0.6, "others": 0.1},
    ),
    "writes 16x64": Work("--mix set --connections 16 --outstanding 64", 50_000, 0.05, {"all": 0.6}),
    "watch, 1,000 watchers": Work(
        "--mix watch --watchers 1000",
        20,
        2.5,
        {"all": 3.6, "recvfrom": 1.2, "writev": 2.3, "epoll_wait": 0.4, "others": 0.2},
        weight=1_000,
    ),
    "sessions, 16 at a time": Work(
        "--mix session --connections 16",
        1_000,
        12.0,
        {"all": 32, "setsockopt": 5.3, "recvfrom": 6.5, "writev": 6, "epoll_wait": 5.5}
        | {"epoll_ctl": 2.3, "accept4": 1.5, "shutdown": 1.2, "close": 1.2, "futex": 3.5}
        | {"write": 2, "pwrite64": 2, "fdatasync": 2, "mprotect": 0.5, "others": 0.3},
    ),
}
# How often what is above a limit is counted again: chance does not strike three times.
ATTEMPTS = 3
# The longest time that one measurement may take, in seconds.
BOUND = 120
STRACE = ["strace", "-c", "-f", "-U", "name,calls"]


class NotTraced(Exception):
    """strace counts nothing, and why."""


class Tracer:
    """Counts the calls of one process from the moment that this is made."""

    def __init__(self, pid, folder):
        self.pid, self.summary = pid, pathlib.Path(folder) / f"calls.{pid}"
        command = [*STRACE, "-o", str(self.summary), "-p", str(pid)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.bound = threading.Timer(BOUND, self.process.kill)
        self.bound.daemon = True
        self.bound.start()
        said = []
        for line in self.process.stderr:
            said.append(line.strip())
            if " attached" in line:
                return
        self.process.wait()
        self.bound.cancel()
        raise NotTraced("; ".join(said) or f"strace ends with code {self.process.returncode}")

    def finish(self):
        """How often each call was made."""
        self.process.send_signal(signal.SIGINT)
        self.process.communicate()
        self.bound.cancel()
        text = self.summary.read_text() if self.summary.exists() else ""
        found = re.findall(r"^(\w+) +(\d+)$", text, re.MULTILINE)
        return {name: int(calls) for name, calls in found if name != "total"}


def why_forbidden(folder):
    """Why strace may attach to no process here; None if it may. Any other trouble is raised."""
    victim = subprocess.Popen(["sleep", "60"])
    try:
        Tracer(victim.pid, folder).finish()
    except NotTraced as error:
        if re.search("ptrace|not permitted|attach:", str(error), re.IGNORECASE):
            return str(error)
        raise
    finally:
        victim.kill()
        victim.wait()
    return None


def count(servers, binary, work, n):
    """Calls an operation by name while the load runs, without what connecting and preparing cost:
    the difference of two runs."""
    few, many = (
        calls_of(servers, binary, work.arguments, times) for times in (n // 2, n + n // 2)
    )
    return {name: (many[name] - few.get(name, 0)) / (n * work.weight) for name in many}


def calls_of(servers, binary, arguments, n):
    tracers = [Tracer(pid, servers.folder) for pid in servers.pids()]
    command = [binary, "bench", "--quiet", "--json", "--hosts", servers.hosts(), "--count", str(n)]
    subprocess.run([*command, "--warm-up", "0s", *arguments.split()], check=True, stdout=-3)
    total = {}
    for tracer in tracers:
        calls = tracer.finish()
        if not calls:
            raise NotTraced(f"not one call of process {tracer.pid} was counted")
        for name, n_calls in calls.items():
            total[name] = total.get(name, 0) + n_calls
    return total


def row(name, per_op):
    shown = [f"{call} {n:.2f}" for call, n in sorted(per_op.items(), key=lambda item: -item[1])]
    shown = [text for text in shown if not text.endswith((" 0.00", " -0.00"))]
    return f"| {name} | {sum(per_op.values()):.2f} | {', '.join(shown)} |"


def excesses(work, per_op):
    """In words, where these counts are above a limit."""
    named = {call: per_op.get(call, 0) for call in work.limits if call not in ("all", "others")}
    total = sum(per_op.values())
    found = {**named, "all": total, "others": total - sum(named.values())}
    return [
        f"{call} {found[call]:.2f} an operation where {limit:g} is the limit"
        for call, limit in work.limits.items()
        if found[call] > limit
    ]


def check(servers, binary, name):
    """Counts until one attempt is within the limits. Returns what is wrong with the last one."""
    work = WORKS[name]
    for attempt in range(ATTEMPTS):
        per_op = count(servers, binary, work, work.n // 2)
        print(row(name, per_op), flush=True)
        total = sum(per_op.values())
        if total < work.least:
            wrong = [f"only {total:.2f} calls an operation where {work.least:g} are the least"]
        else:
            wrong = excesses(work, per_op)
        if not wrong:
            return []
        again = ", counted again" if attempt + 1 < ATTEMPTS else ""
        print(f"  {name}: {', '.join(wrong)}{again}", flush=True)
    return [f"{name}: {problem}" for problem in wrong]


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail above the limits, count less")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(WORKS)}")
    asked = parser.parse_args()
    unknown = [name for name in asked.names if name not in WORKS]
    if unknown:
        parser.error(f"{unknown[0]!r} is none of {', '.join(WORKS)}")
    return asked


def main():
    # So that the servers are stopped as well when this is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    asked, problems = options(), []
    binary = os.path.abspath(os.environ["ZOKOR_BIN"])
    with tempfile.TemporaryDirectory() as folder:
        why = why_forbidden(folder)
        if why and asked.check:
            print(f"SKIPPED: system calls are NOT checked, strace may not attach here: {why}")
            return 0
        if why:
            raise NotTraced(why)
        servers = Servers("zokor", binary, folder)
        try:
            servers.start_all()
            servers.first_write()
            servers.wait_until_serving()
            for name in asked.names or WORKS:
                if asked.check:
                    problems += check(servers, binary, name)
                else:
                    print(row(name, count(servers, binary, WORKS[name], WORKS[name].n)), flush=True)
        finally:
            servers.close()
    for problem in problems:
        print(f"FAILED: system calls: {problem}")
    if asked.check and not problems:
        print("system calls: all within their limits")
    return 1 if problems else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NotTraced as error:
        sys.exit(f"FAILED: strace does not count system calls: {error}")
    except FileNotFoundError as error:
        sys.exit(f"FAILED: {error}")
