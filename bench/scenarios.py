"""The work that is compared, and by how much zokor is to be ahead."""

import dataclasses


@dataclasses.dataclass
class Scenario:
    """`cpu`: how many times less processor time an operation is to cost; `per_s`: how many times
    the throughput; `p50`, `p99`, `last`: at most this part of the latency."""

    name: str
    arguments: str
    cpu: float
    per_s: float = None
    p50: float = None
    p99: float = None
    last: float = None


SCENARIOS = [
    Scenario("reads 16x64", "--mix get --connections 16 --outstanding 64", 20, per_s=6),
    Scenario("reads 64x1", "--mix get --connections 64 --outstanding 1", 5),
    Scenario("lone read 1x1", "--mix get --connections 1 --outstanding 1", 8, p50=0.3),
    Scenario("writes 16x64", "--mix set --connections 16 --outstanding 64", 20, per_s=6),
    Scenario("writes 64x1", "--mix set --connections 64 --outstanding 1", 5, per_s=2.5),
    Scenario("lone write 1x1", "--mix set --connections 1 --outstanding 1", 2.3, p50=0.5),
    Scenario("writes 1 KiB 16x16", "--mix set --connections 16 --outstanding 16 --size 1024", 8),
    Scenario("writes 10 KiB 16x16", "--mix set --connections 16 --outstanding 16 --size 10240", 4),
    Scenario("90/10 16x64", "--mix get=90,set=10 --connections 16 --outstanding 64", 15),
    Scenario("50/50 16x64", "--mix get=50,set=50 --connections 16 --outstanding 64", 15),
    Scenario("90/10 64x1", "--mix get=90,set=10 --connections 64 --outstanding 1", 6),
    Scenario("50/50 64x1", "--mix get=50,set=50 --connections 64 --outstanding 1", 6),
    Scenario(
        "paced 500/s, 50/50",
        "--mix get=50,set=50 --rate 500 --connections 16 --outstanding 16",
        3,
        p50=0.4,
        p99=0.3,
    ),
    Scenario("ephemerals 16x16", "--mix ephemeral --connections 16 --outstanding 16", 12),
    Scenario("sequential 16x16", "--mix sequential --connections 16 --outstanding 16", 12),
    Scenario("multi of 10 16x16", "--mix multi --connections 16 --outstanding 16", 12),
    Scenario("children of 100 16x16", "--mix children --connections 16 --outstanding 16", 15),
    Scenario("watch, 1,000 watchers", "--mix watch --watchers 1000", 8, last=0.2),
    Scenario("sessions, 16 at a time", "--mix session --connections 16", 5),
]
