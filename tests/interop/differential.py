"""The same seeded operations to Apache ZooKeeper and to zokor; every answer is compared.

Usage: differential.py SERVER N [--seed S] [--rounds R] [--operations M] [--seconds T]
                       [--at-least K] [--super] [--quotas] [--sasl]

SERVER and N say which zokor, as for start.py; ZooKeeper is one server of Debian's package. A round
has a seed and fresh servers. Several sessions take turns and wait for what they asked, so that there
is one right answer; at times one of them asks several things at once, which are answered in order.
A round ends at the first difference that is not in `KNOWN`; what failed is told with the command
that repeats it. The exit code is 0 if there is none.

Compared are the code, the body, the events in front of the reply, and whether the connection ends.
Numbers that the servers choose are compared by what they mean: a zxid by the operation that made
it, a session by when it was opened, a time by whether there is one. What has no order, as the names
of children, is sorted.
"""

import argparse
import collections
import signal
import sys
import time

from sides.jute import NAMES
from sides.known import KNOWN, reconcile
from sides.login import jaas
from sides.operations import SASL_USERS, SUPER_DIGEST, Generator
from sides.subject import Subject
from start import Ensemble

# The servers look for empty containers every minute, each in its own time.
BEFORE_SWEEP = 45


def switches(options):
    return [name for name in ("super", "quotas", "sasl") if getattr(options, name)]


def settings_of(options):
    """What both sides are told in `zoo.cfg`."""
    settings = []
    if options.super:
        settings.append(f"DigestAuthenticationProvider.superDigest={SUPER_DIGEST}")
    if options.quotas:
        settings.append("enforceQuota=true")
    if options.sasl:
        provider = "org.apache.zookeeper.server.auth.SASLAuthenticationProvider"
        settings += [f"authProvider.1={provider}", "superUser=root"]
    return settings


def show(answer, other):
    """The parts of an answer that differ."""
    keys = [key for key in {**answer, **other} if answer.get(key) != other.get(key)]
    return "\n".join(f"    {key}: {answer.get(key, 'nothing')}" for key in keys)


def run_round(options, seed, counts, end):
    """Whether all answers are the same."""
    history = collections.deque(maxlen=options.history)
    settings, n_servers = settings_of(options), options.n_servers
    # Its own disk decides how fast ZooKeeper is, and nothing else: nobody cuts its power.
    users = jaas(SASL_USERS) if options.sasl else None
    theirs = Ensemble("zookeeper", 1, [*settings, "forceSync=no"], users)
    with theirs, Ensemble(options.server, n_servers, settings, users) as ours:
        end = min(end, time.monotonic() + BEFORE_SWEEP)
        other, mine = Subject(theirs.hosts), Subject(ours.hosts)
        generator = Generator(seed, options.n_servers, switches(options))
        same, number = True, 0
        try:
            while same and number < options.operations and time.monotonic() < end:
                group = generator.next(number + 1)
                number += len(group)
                history += [f"  {operation.number}: {operation}" for operation in group]
                same = compare_all(generator, group, other, mine, counts)
        except BaseException:
            same = False
            raise
        finally:
            if not same:
                print("before it", *list(history)[:-1], sep="\n")
                print(
                    f"again: python3 tests/interop/differential.py {options.server} "
                    f"{options.n_servers} --seed {seed} --operations {number}",
                    *(f"--{name}" for name in switches(options)),
                    flush=True,
                )
            other.close()
            mine.close()
    return same


def compare_all(generator, group, other, mine, counts):
    """Whether both sides answer the same to operations that are sent at once."""
    for subject in (other, mine):
        for operation in group:
            subject.send(operation)
    return all([compare(generator, operation, other, mine, counts) for operation in group])


def compare(generator, operation, other, mine, counts):
    """Whether both sides answer the same."""
    theirs, ours = other.receive(operation), mine.receive(operation)
    if generator.sessions_ended(operation):
        # A session's ephemerals go in no particular order.
        theirs["events"].sort()
        ours["events"].sort()
    counts["operations"] += 1
    counts["events"] += len(theirs["events"])
    counts["codes", NAMES.get(operation.op, operation.op), theirs["code"]] += 1
    ours = reconcile(operation, ours, theirs, counts)
    if ours != theirs:
        print(f"DIFFERENT: seed {generator.seed}, operation {operation.number}: {operation}")
        print(f"  ZooKeeper\n{show(theirs, ours)}")
        print(f"  zokor\n{show(ours, theirs)}")
    generator.learn(operation, theirs)
    return ours == theirs


def main():
    # So that the servers are stopped as well when this is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("server")
    parser.add_argument("n_servers", type=int)
    parser.add_argument("--seed", type=int, default=1, help="of the first round")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--operations", type=int, default=3000, help="in each round")
    parser.add_argument("--seconds", type=float, default=3600, help="no round goes on after them")
    parser.add_argument("--at-least", type=int, default=1, help="fewer operations are a failure")
    parser.add_argument("--history", type=int, default=12, help="operations told before a failure")
    parser.add_argument("--super", action="store_true", help="users may be super users as well")
    parser.add_argument("--quotas", action="store_true", help="quotas are set, and enforced")
    parser.add_argument("--sasl", action="store_true", help="sessions log in with DIGEST-MD5")
    parser.add_argument("--codes", action="store_true", help="tell how often each was answered")
    options = parser.parse_args()
    begin = time.monotonic()
    end = begin + options.seconds
    counts, rounds, same = collections.Counter(), 0, True
    for seed in range(options.seed, options.seed + options.rounds):
        if time.monotonic() > end:
            break
        same = run_round(options, seed, counts, end) and same
        rounds += 1
    codes = [(key[1:], n) for key, n in counts.items() if isinstance(key, tuple)]
    codes.sort(key=str)
    if options.codes:
        print(*(f"{name} {code}: {n}" for (name, code), n in codes), sep="\n")
    seconds = time.monotonic() - begin
    print(f"{rounds} rounds, {counts['operations']} operations, {counts['events']} events")
    print(f"{counts['operations'] / seconds:.0f} operations a second, servers' starts included")
    for known in KNOWN:
        print(f"  known: {known.__name__}, {counts[known.__name__]} times")
    sys.exit(0 if same and counts["operations"] >= options.at_least else 1)


if __name__ == "__main__":
    main()
