"""How a program uses kazoo whose servers come and go."""

import time

from kazoo.client import KazooClient
from kazoo.exceptions import ConnectionLoss, OperationTimeoutError
from kazoo.retry import KazooRetry

BOUND = 60


def connect(hosts):
    retry = KazooRetry(max_tries=-1, delay=0.05, max_delay=0.5, deadline=BOUND)
    client = KazooClient(hosts=",".join(hosts), timeout=10, connection_retry=retry)
    client.start(timeout=BOUND)
    return client


def persist(function, *arguments, **options):
    """Calls again after a lost connection, as a program must."""
    end = time.monotonic() + BOUND
    while True:
        try:
            return function(*arguments, **options)
        except (ConnectionLoss, OperationTimeoutError):
            assert time.monotonic() < end, "no server answers"
            time.sleep(0.05)
