"""Offers a service: an ephemeral sequential znode below /services/api for as long as it lives.

Usage: register.py HOSTS ADDRESS
"""

import sys
import threading

from kazoo.client import KazooClient

hosts, address = sys.argv[1:]
client = KazooClient(hosts=hosts, timeout=4.0)
client.start()
client.ensure_path("/services/api")
path = client.create("/services/api/api-", address.encode(), ephemeral=True, sequence=True)
print(path, flush=True)
threading.Event().wait()
