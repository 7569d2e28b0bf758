"""Wants to lead: whoever makes the ephemeral /leader does; the others watch it and try again.

Usage: lead.py HOSTS NAME
"""

import sys
import threading

from kazoo.client import KazooClient
from kazoo.exceptions import NodeExistsError

hosts, name = sys.argv[1:]
client = KazooClient(hosts=hosts, timeout=4.0)
client.start()
gone = threading.Event()


def campaign():
    try:
        client.create("/leader", name.encode(), ephemeral=True)
        print("leading", flush=True)
    except NodeExistsError:
        print("following", flush=True)


campaign()


leaders = []


@client.DataWatch("/leader")
def changed(data, stat):
    # Who is slow may find the next leader where the one that it watched was.
    if stat is None or (leaders and leaders[-1] != stat.czxid):
        gone.set()
    leaders[:] = [] if stat is None else [stat.czxid]


while True:
    gone.wait()
    gone.clear()
    campaign()
