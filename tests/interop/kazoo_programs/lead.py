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


@client.DataWatch("/leader")
def changed(data, stat):
    if stat is None:
        gone.set()


while True:
    gone.wait()
    gone.clear()
    campaign()
