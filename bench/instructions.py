"""Instructions a request of the core alone, as `valgrind --tool=cachegrind` counts them.

Usage: cargo build --release -p zokor-core --example requests
       python3 bench/instructions.py [--check] [--binary target/release/examples/requests]

The difference of two runs, so that what both do before is not counted. The same program always
takes the same number; another compiler may make another one. With --check the exit code is 1 if a
request takes more than its limit below.
"""

import argparse
import os
import re
import subprocess
import sys

# The most instructions that --check lets pass: what was measured and 5 % of it, so that other
# versions of the compiler and small repairs pass and a needless copy or search does not. Whoever
# makes a request cheaper lowers its limit; who needs more says why beside it.
LIMITS = {
    ("get", "together"): 2_890,
    ("get", "alone"): 3_330,
    ("set", "together"): 6_780,
    ("set", "alone"): 10_680,
    ("create", "together"): 9_450,
    ("multi", "together"): 40_110,
    ("children", "together"): 10_230,
}
# How many requests the two runs make.
FEW, MANY = 2_000, 6_000
# Below this part of a limit it guards nothing any more.
SLACK = 0.85


def default_binary():
    return os.path.join(os.environ.get("CARGO_TARGET_DIR", "target"), "release/examples/requests")


def instructions(binary, kind, how, n):
    """Of a whole run with `n` requests."""
    command = ["valgrind", "--tool=cachegrind", "--cache-sim=no"]
    command += ["--cachegrind-out-file=/dev/null", binary, kind, how, str(n)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"I\s+refs:\s+([\d,]+)", run.stderr)
    if run.returncode != 0 or not found:
        sys.exit(f"{' '.join(command)} failed with code {run.returncode}:\n{run.stderr}")
    return int(found.group(1).replace(",", ""))


def a_request(binary, kind, how):
    few, many = (instructions(binary, kind, how, n) for n in (FEW, MANY))
    assert many > few, f"{MANY} requests take {many} instructions, {FEW} take {few}"
    return (many - few) / (MANY - FEW)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail above the limits")
    parser.add_argument("--binary", default=default_binary(), help="the built example")
    asked = parser.parse_args()
    if not os.access(asked.binary, os.X_OK):
        sys.exit(
            f"there is no {asked.binary}:"
            " cargo build --release --package zokor-core --example requests"
        )
    print("| request | instructions | limit | part of it |")
    print("|---|--:|--:|--:|")
    problems, hints = [], []
    for (kind, how), limit in LIMITS.items():
        found = a_request(asked.binary, kind, how)
        part = found / limit
        print(f"| {kind}, {how} | {found:,.0f} | {limit:,} | {part:.0%} |", flush=True)
        told = f"{kind}, {how}, takes {found:,.0f} instructions, {abs(part - 1):.1%}"
        if part > 1:
            problems.append(f"{told} more than its limit of {limit:,}")
        elif part < SLACK:
            lower = round(found * 1.05, -1)
            hints.append(f"{told} less than its limit of {limit:,}: lower that to {lower:,.0f}")
    if not asked.check:
        return 0
    for hint in hints:
        print(f"HINT: {hint} in bench/instructions.py")
    for problem in problems:
        print(f"FAILED: {problem}")
    if not problems:
        print("instructions: all within their limits")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
