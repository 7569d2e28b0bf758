"""System calls an operation, of all three zokor servers together, as `strace -c` counts them.

Usage: ZOKOR_BIN=target/release/zokor python3 bench/syscalls.py [NAME...]

Counting slows the servers down, so that batches are larger than in earnest: compare runs of this
with each other, and lone operations (1x1), which have no batches, with anything.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time

from servers import Servers

COUNTED = {
    "lone read 1x1": ("--mix get --connections 1 --outstanding 1", 3_000),
    "reads 64x1": ("--mix get --connections 64 --outstanding 1", 30_000),
    "reads 16x64": ("--mix get --connections 16 --outstanding 64", 200_000),
    "lone write 1x1": ("--mix set --connections 1 --outstanding 1", 1_000),
    "writes 64x1": ("--mix set --connections 64 --outstanding 1", 10_000),
    "writes 16x64": ("--mix set --connections 16 --outstanding 64", 50_000),
    "watch, 1,000 watchers": ("--mix watch --watchers 1000", 20),
    "sessions, 16 at a time": ("--mix session --connections 16", 1_000),
}


def count(servers, binary, arguments, n):
    """Calls by name while the load runs, without what connecting and preparing cost."""
    few, many = (calls_of(servers, binary, arguments, times) for times in (n // 2, n + n // 2))
    return {name: (many[name] - few.get(name, 0)) / n for name in many}


def calls_of(servers, binary, arguments, n):
    tracers = [
        subprocess.Popen(
            ["strace", "-c", "-f", "-U", "name,calls", "-p", str(pid)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for pid in servers.pids()
    ]
    time.sleep(0.5)
    command = [binary, "bench", "--quiet", "--json", "--hosts", servers.hosts(), "--count", str(n)]
    subprocess.run([*command, "--warm-up", "0s", *arguments.split()], check=True, stdout=-3)
    total = {}
    for tracer in tracers:
        tracer.send_signal(signal.SIGINT)
        for name, calls in re.findall(r"^(\w+) +(\d+)$", tracer.communicate()[1], re.MULTILINE):
            if name != "total":
                total[name] = total.get(name, 0) + int(calls)
    return total


def main():
    binary = os.path.abspath(os.environ["ZOKOR_BIN"])
    with tempfile.TemporaryDirectory() as folder:
        servers = Servers("zokor", binary, folder)
        try:
            servers.start_all()
            servers.first_write()
            servers.wait_until_serving()
            for name in sys.argv[1:] or COUNTED:
                arguments, n = COUNTED[name]
                per_op = count(servers, binary, arguments, n)
                operations = n * (1_000 if "watch" in name else 1)
                per_op = {call: calls * n / operations for call, calls in per_op.items()}
                shown = [f"{call} {n:.2f}" for call, n in sorted(per_op.items(), key=by_count)]
                shown = [text for text in shown if not text.endswith((" 0.00", " -0.00"))]
                print(f"| {name} | {sum(per_op.values()):.2f} | {', '.join(shown)} |", flush=True)
        finally:
            servers.close()


def by_count(item):
    return -item[1]


if __name__ == "__main__":
    main()
