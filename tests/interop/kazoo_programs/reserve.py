"""Reserves a table: makes /reservations/table5 unless it is there, and reads it back.

Usage: reserve.py HOSTS NAME
"""

import sys

from kazoo.client import KazooClient
from kazoo.exceptions import NodeExistsError

hosts, name = sys.argv[1:]
client = KazooClient(hosts=hosts)
client.start()

client.ensure_path("/reservations")
if client.exists("/reservations/table5"):
    print("taken", flush=True)
else:
    try:
        client.create("/reservations/table5", name.encode())
        print("reserved", flush=True)
    except NodeExistsError:
        print("taken", flush=True)

data, stat = client.get("/reservations/table5")
print(data.decode(), stat.version, flush=True)
client.stop()
