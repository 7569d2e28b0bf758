"""kazoo's operations and recipes, each with several clients.

Usage: recipes.py HOSTS
"""

import datetime
import sys
import threading
import time
import uuid

from kazoo.client import KazooClient
from kazoo.exceptions import BadVersionError, NoAuthError, NodeExistsError, NoNodeError
from kazoo.exceptions import NotEmptyError, RolledBackError
from kazoo.recipe.cache import TreeCache
from kazoo.security import make_digest_acl

HOSTS = sys.argv[1]
BOUND = 60
ROOT = f"/interop-{uuid.uuid4().hex[:8]}"


def connect(**options):
    client = KazooClient(hosts=HOSTS, **options)
    client.start(timeout=BOUND)
    return client


def together(functions):
    """Runs the functions at once; a failure of one is a failure here."""
    failures = []

    def run(function):
        try:
            function()
        except BaseException as failure:  # Whatever it is, the main thread reports it.
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
        assert not thread.is_alive(), "a client hangs"
    if failures:
        raise failures[0]


def raises(error, function, *arguments, **options):
    try:
        function(*arguments, **options)
    except error:
        return
    raise AssertionError(f"{error.__name__} was expected")


def operations(a, b):
    path = f"{ROOT}/operations"
    assert a.create(path, b"one", makepath=True) == path
    raises(NodeExistsError, a.create, path)
    data, stat = a.get(path)
    assert (data, stat.version, stat.data_length, stat.ephemeralOwner) == (b"one", 0, 3, 0)
    assert a.set(path, b"two").version == 1
    raises(BadVersionError, a.set, path, b"x", version=0)
    child, child_stat = a.create(f"{path}/child", b"", include_data=True)
    assert (child, child_stat.version) == (f"{path}/child", 0)
    assert a.create(f"{path}/n-", sequence=True) == f"{path}/n-0000000001"
    b.sync(path)
    assert sorted(b.get_children(path)) == ["child", "n-0000000001"]
    names, stat = b.get_children(path, include_data=True)
    assert stat.numChildren == 2 and stat.cversion == 2
    raises(NotEmptyError, b.delete, path)
    raises(NoNodeError, b.get, f"{path}/none")
    a.create(f"{path}/e", ephemeral=True)
    assert a.exists(f"{path}/e").ephemeralOwner == a.client_id[0]
    b.sync(path)
    b.delete(path, recursive=True)
    assert a.sync(path) and a.exists(path) is None


def transaction(a, b):
    t = a.transaction()
    t.create(f"{ROOT}/t", b"1")
    t.set_data(f"{ROOT}/t", b"2", version=0)
    t.check(f"{ROOT}/t", version=1)
    results = t.commit()
    assert results[0] == f"{ROOT}/t" and results[1].version == 1 and results[2] is True
    t = a.transaction()
    t.delete(f"{ROOT}/t")
    t.check(f"{ROOT}/t", version=1)
    results = t.commit()
    assert isinstance(results[0], RolledBackError) and isinstance(results[1], NoNodeError)
    b.sync(ROOT)
    assert b.get(f"{ROOT}/t")[0] == b"2"


def acl(a, b):
    path = f"{ROOT}/secret"
    owner = connect(auth_data=[("digest", "ada:pw")])
    owner.create(path, b"x", acl=[make_digest_acl("ada", "pw", all=True)])
    b.sync(path)
    raises(NoAuthError, b.get, path)
    b.add_auth("digest", "ada:pw")
    assert b.get(path)[0] == b"x"
    owner.stop()
    owner.close()


def watches(a, b):
    path = f"{ROOT}/watched"
    seen, changed = [], threading.Condition()

    def note(event):
        with changed:
            seen.append((event.type, event.path))
            changed.notify()

    def wait_for(expected):
        with changed:
            assert changed.wait_for(lambda: len(seen) >= len(expected), BOUND)
            assert seen == expected, seen
            seen.clear()

    assert a.exists(path, watch=note) is None
    b.create(path)
    wait_for([("CREATED", path)])
    a.get(path, watch=note)
    b.set(path, b"x")
    wait_for([("CHANGED", path)])
    a.get_children(path, watch=note)
    b.create(f"{path}/child")
    wait_for([("CHILD", path)])
    b.delete(path, recursive=True)


def lock(a, b):
    holders, entries = [], []

    def work(client):
        mine = client.Lock(f"{ROOT}/lock")
        for _ in range(5):
            with mine:
                assert not holders, "two hold the lock"
                holders.append(client)
                entries.append(client)
                client.sync(ROOT)
                holders.pop()

    together([lambda c=c: work(c) for c in (a, b)])
    assert len(entries) == 10


def read_write_lock(a, b):
    with a.ReadLock(f"{ROOT}/rwlock"), b.ReadLock(f"{ROOT}/rwlock"):
        assert not a.WriteLock(f"{ROOT}/rwlock").acquire(blocking=False)
    with a.WriteLock(f"{ROOT}/rwlock"):
        assert not b.ReadLock(f"{ROOT}/rwlock").acquire(blocking=False)


def semaphore(a, b):
    one, two = a.Semaphore(f"{ROOT}/sem", max_leases=2), b.Semaphore(f"{ROOT}/sem", max_leases=2)
    three = a.Semaphore(f"{ROOT}/sem", max_leases=2)
    assert one.acquire() and two.acquire()
    assert not three.acquire(blocking=False)
    two.release()
    assert three.acquire(timeout=BOUND)
    one.release()
    three.release()


def election(a, b):
    leaders, at_once = [], []

    def lead(name):
        assert not at_once, "two lead"
        at_once.append(name)
        leaders.append(name)
        at_once.pop()

    together(
        [
            lambda: a.Election(f"{ROOT}/election", "a").run(lead, "a"),
            lambda: b.Election(f"{ROOT}/election", "b").run(lead, "b"),
        ]
    )
    assert sorted(leaders) == ["a", "b"]


def counter(a, b):
    def count(client):
        number = client.Counter(f"{ROOT}/counter", default=0)
        for _ in range(20):
            number += 1

    together([lambda c=c: count(c) for c in (a, b)])
    a.sync(ROOT)
    assert a.Counter(f"{ROOT}/counter").value == 40


def barrier(a, b):
    gate = a.Barrier(f"{ROOT}/barrier")
    gate.create()
    assert not b.Barrier(f"{ROOT}/barrier").wait(timeout=0.1)
    together([lambda: assert_true(b.Barrier(f"{ROOT}/barrier").wait(timeout=BOUND)), gate.remove])


def assert_true(value):
    assert value


def double_barrier(a, b):
    order, guard = [], threading.Lock()

    def pass_through(client, name):
        gate = client.DoubleBarrier(f"{ROOT}/double", 2, identifier=name)
        gate.enter()
        with guard:
            order.append("in")
        gate.leave()
        with guard:
            order.append("out")

    together([lambda: pass_through(a, "a"), lambda: pass_through(b, "b")])
    assert order == ["in", "in", "out", "out"], order


def queue(a, b):
    line = a.Queue(f"{ROOT}/queue")
    for index in range(5):
        line.put(b"%d" % index)
    line.put(b"first", priority=1)
    b.sync(ROOT)
    other = b.Queue(f"{ROOT}/queue")
    taken = [other.get() for _ in range(6)]
    assert taken == [b"first", b"0", b"1", b"2", b"3", b"4"], taken
    assert other.get() is None
    locking = a.LockingQueue(f"{ROOT}/locking")
    locking.put(b"x")
    assert b.LockingQueue(f"{ROOT}/locking").get(timeout=BOUND) == b"x"


def party(a, b):
    one, two = a.Party(f"{ROOT}/party", "ada"), b.Party(f"{ROOT}/party", "bob")
    one.join()
    two.join()
    a.sync(ROOT)
    assert sorted(one) == ["ada", "bob"]
    two.leave()
    a.sync(ROOT)
    assert list(one) == ["ada"]
    one.leave()


def lease(a, b):
    hour = datetime.timedelta(hours=1)
    assert a.NonBlockingLease(f"{ROOT}/lease", hour, identifier="a")
    assert not b.NonBlockingLease(f"{ROOT}/lease", hour, identifier="b")


def cache(a, b):
    a.ensure_path(f"{ROOT}/cache")
    ready = threading.Event()
    tree = TreeCache(a, f"{ROOT}/cache")
    tree.listen(lambda event: event.event_data and event.event_data.data == b"x" and ready.set())
    tree.start()
    b.create(f"{ROOT}/cache/znode", b"x")
    assert ready.wait(BOUND)
    assert tree.get_data(f"{ROOT}/cache/znode").data == b"x"
    tree.close()


def set_partitioner(a, b):
    """Whoever comes first may take everything; it must give half away when the other has come."""
    partitioners = [
        client.SetPartitioner(
            f"{ROOT}/parts", set=(1, 2, 3, 4), identifier=name, time_boundary=1
        )
        for client, name in ((a, "a"), (b, "b"))
    ]
    end = time.monotonic() + BOUND
    while not all(it.acquired for it in partitioners):
        assert time.monotonic() < end, [it.state for it in partitioners]
        for it in partitioners:
            assert not it.failed
            if it.release:
                it.release_set()
            elif not it.acquired:
                it.wait_for_acquire(0.1)
    assert sorted(item for it in partitioners for item in it) == [1, 2, 3, 4]
    assert all(len(list(it)) == 2 for it in partitioners)
    for it in partitioners:
        it.finish()


def ephemerals_end_with_their_session(a, b):
    owner = connect()
    path = f"{ROOT}/ephemeral"
    owner.create(path, ephemeral=True)
    session = owner.client_id
    owner.restart()
    assert owner.client_id != session, "restart begins a new session"
    assert owner.exists(path) is None
    owner.create(path, ephemeral=True)
    gone = threading.Event()
    assert a.sync(ROOT)
    assert a.exists(path, watch=lambda event: gone.set()) is not None
    owner.stop()
    assert gone.wait(BOUND)
    assert a.exists(path) is None


def admin(a, b):
    assert a.command(b"ruok") == "imok"
    assert "zk_server_state" in a.command(b"mntr")
    assert len(a.server_version()) >= 3


one, two = connect(), connect()
one.ensure_path(ROOT)
two.sync(ROOT)
for recipe in [
    operations,
    transaction,
    acl,
    watches,
    lock,
    read_write_lock,
    semaphore,
    election,
    counter,
    barrier,
    double_barrier,
    queue,
    party,
    lease,
    cache,
    set_partitioner,
    ephemerals_end_with_their_session,
    admin,
]:
    recipe(one, two)
    print("ok", recipe.__name__, flush=True)
# The second client has the identity that one of the znodes asks for.
two.delete(ROOT, recursive=True)
one.stop()
two.stop()
