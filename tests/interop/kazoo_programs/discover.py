"""Follows who offers a service: prints the names below /services/api whenever they change.

Usage: discover.py HOSTS
"""

import sys
import threading

from kazoo.client import KazooClient

client = KazooClient(hosts=sys.argv[1])
client.start()
client.ensure_path("/services/api")


@client.ChildrenWatch("/services/api")
def changed(names):
    print(" ".join(sorted(names)), flush=True)


threading.Event().wait()
