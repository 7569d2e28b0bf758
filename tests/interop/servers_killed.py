"""kazoo against an ensemble of three whose servers are killed one after the other.

Usage: servers_killed.py SERVER (as for start.py, but not dev:)
"""

import sys
import threading

from kazoo.client import KazooState
from kazoo.exceptions import NodeExistsError

from patience import BOUND, connect, persist
from start import Ensemble, mode

with Ensemble(sys.argv[1], 3) as ensemble:
    client = connect(ensemble.hosts)
    states = []
    client.add_listener(states.append)
    session = client.client_id[0]
    client.create("/e", ephemeral=True)
    client.create("/log")
    seen, changed = [], threading.Condition()

    @client.DataWatch("/log")
    def note(data, stat):
        with changed:
            seen.append(data)
            changed.notify()

    written = []
    for round in range(6):
        modes = [mode(int(host.rsplit(":", 1)[1])) for host in ensemble.hosts]
        leader = modes.index("leader")
        victim = leader if round % 2 == 0 else (leader + 1) % 3
        ensemble.kill(victim)
        for index in range(20):
            name = f"/log/{round}-{index:02}"
            try:
                persist(client.create, name, b"x")
            except NodeExistsError:
                pass  # The reply was lost, the write was not.
            written.append(name.rsplit("/", 1)[1])
        word = f"round {round}".encode()
        persist(client.set, "/log", word)
        with changed:
            assert changed.wait_for(lambda: seen[-1] == word, BOUND), seen
        ensemble.start(victim)
        ensemble.wait_until_serving()

    assert KazooState.LOST not in states, "the session was lost"
    assert client.client_id[0] == session
    assert client.exists("/e").ephemeralOwner == session
    for host in ensemble.hosts:
        other = connect([host])
        other.sync("/log")
        assert sorted(other.get_children("/log")) == written
        other.stop()
    client.stop()
    last = connect(ensemble.hosts)
    last.sync("/e")
    assert last.exists("/e") is None, "the ephemeral goes with its session"
    last.stop()
    print("ok servers_killed")
