// Recipes of Apache Curator against the servers that the only argument names.

import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.CuratorCacheListener;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.retry.ExponentialBackoffRetry;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;

public class CuratorRecipes {
    static final int BOUND_S = 30;

    final String hosts;
    final String root = "/interop-curator-" + ProcessHandle.current().pid();

    CuratorRecipes(String hosts) {
        this.hosts = hosts;
    }

    public static void main(String[] arguments) throws Exception {
        CuratorRecipes recipes = new CuratorRecipes(arguments[0]);
        recipes.run("operations and transactions", recipes::operations);
        recipes.run("lock", recipes::lock);
        recipes.run("lock for readers and writers", recipes::readersAndWriters);
        recipes.run("semaphore", recipes::semaphore);
        recipes.run("leader election", recipes::leader);
        recipes.run("cache", recipes::cache);
        recipes.run("counters", recipes::counters);
        recipes.run("double barrier", recipes::barrier);
        recipes.run("queue", recipes::queue);
        recipes.run("a persistent ephemeral comes back", recipes::persistentNode);
    }

    interface Recipe {
        void run(CuratorFramework a, CuratorFramework b) throws Exception;
    }

    /** Runs a recipe with two sessions of its own. */
    void run(String name, Recipe recipe) throws Exception {
        try (CuratorFramework a = connect(); CuratorFramework b = connect()) {
            recipe.run(a, b);
        }
        System.out.println("ok " + name);
    }

    CuratorFramework connect() throws Exception {
        CuratorFramework client =
                CuratorFrameworkFactory.newClient(hosts, new ExponentialBackoffRetry(100, 5));
        client.start();
        check(client.blockUntilConnected(BOUND_S, TimeUnit.SECONDS), "it connects");
        return client;
    }

    static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    void operations(CuratorFramework a, CuratorFramework b) throws Exception {
        String path = root + "/operations/deep";
        a.create().orSetData().creatingParentContainersIfNeeded().forPath(path, "1".getBytes());
        b.sync().forPath("/");
        check(b.checkExists().forPath(path).getVersion() == 0, "it was created");
        a.setData().withVersion(0).forPath(path, "2".getBytes());
        try {
            a.setData().withVersion(0).forPath(path, "3".getBytes());
            throw new AssertionError("a stale version is taken");
        } catch (KeeperException.BadVersionException expected) {
            // As it should be.
        }
        var results = a.transaction().forOperations(
                a.transactionOp().check().withVersion(1).forPath(path),
                a.transactionOp().create().forPath(path + "/child", new byte[0]),
                a.transactionOp().setData().forPath(path, "4".getBytes()));
        check(results.size() == 3 && results.get(2).getError() == 0, "all of it is done");
        try {
            a.transaction().forOperations(
                    a.transactionOp().delete().forPath(path + "/child"),
                    a.transactionOp().create().forPath(path, new byte[0]));
            throw new AssertionError("a transaction that fails is taken");
        } catch (KeeperException.NodeExistsException expected) {
            check(a.checkExists().forPath(path + "/child") != null, "nothing of it is done");
        }
        String name = a.create().withProtection().withMode(CreateMode.EPHEMERAL_SEQUENTIAL)
                .forPath(path + "/protected-", new byte[0]);
        check(name.endsWith("0000000001"), name);
        a.delete().guaranteed().deletingChildrenIfNeeded().forPath(path);
        check(a.checkExists().forPath(path) == null, "all of it is gone");
    }

    void lock(CuratorFramework a, CuratorFramework b) throws Exception {
        AtomicInteger inside = new AtomicInteger();
        AtomicInteger done = new AtomicInteger();
        ExecutorService threads = Executors.newFixedThreadPool(6);
        List<Future<?>> futures = new java.util.ArrayList<>();
        for (int i = 0; i < 6; i++) {
            InterProcessMutex mutex = new InterProcessMutex(i % 2 == 0 ? a : b, root + "/lock");
            futures.add(threads.submit(() -> {
                for (int n = 0; n < 5; n++) {
                    check(mutex.acquire(BOUND_S, TimeUnit.SECONDS), "its turn comes");
                    check(inside.incrementAndGet() == 1, "nobody else is inside");
                    done.incrementAndGet();
                    inside.decrementAndGet();
                    mutex.release();
                }
                return null;
            }));
        }
        for (Future<?> future : futures) {
            future.get(BOUND_S, TimeUnit.SECONDS);
        }
        threads.shutdown();
        check(done.get() == 30, "all had their turns");
    }

    void readersAndWriters(CuratorFramework a, CuratorFramework b) throws Exception {
        InterProcessReadWriteLock mine = new InterProcessReadWriteLock(a, root + "/read-write");
        InterProcessReadWriteLock theirs = new InterProcessReadWriteLock(b, root + "/read-write");
        check(mine.readLock().acquire(BOUND_S, TimeUnit.SECONDS), "one reads");
        check(theirs.readLock().acquire(BOUND_S, TimeUnit.SECONDS), "another reads as well");
        theirs.readLock().release();
        check(!theirs.writeLock().acquire(200, TimeUnit.MILLISECONDS), "nobody writes meanwhile");
        mine.readLock().release();
        check(theirs.writeLock().acquire(BOUND_S, TimeUnit.SECONDS), "then one writes");
        check(!mine.readLock().acquire(200, TimeUnit.MILLISECONDS), "and nobody reads");
        theirs.writeLock().release();
    }

    void semaphore(CuratorFramework a, CuratorFramework b) throws Exception {
        InterProcessSemaphoreV2 mine = new InterProcessSemaphoreV2(a, root + "/semaphore", 2);
        InterProcessSemaphoreV2 theirs = new InterProcessSemaphoreV2(b, root + "/semaphore", 2);
        var first = mine.acquire(BOUND_S, TimeUnit.SECONDS);
        var second = theirs.acquire(BOUND_S, TimeUnit.SECONDS);
        check(first != null && second != null, "two get in");
        check(mine.acquire(200, TimeUnit.MILLISECONDS) == null, "a third does not");
        mine.returnLease(first);
        check(theirs.acquire(BOUND_S, TimeUnit.SECONDS) != null, "until one leaves");
    }

    void leader(CuratorFramework a, CuratorFramework b) throws Exception {
        LeaderLatch first = new LeaderLatch(a, root + "/leader", "first");
        LeaderLatch second = new LeaderLatch(b, root + "/leader", "second");
        first.start();
        check(first.await(BOUND_S, TimeUnit.SECONDS), "who is alone leads");
        second.start();
        check(!second.await(200, TimeUnit.MILLISECONDS), "the second waits");
        check(second.getLeader().getId().equals("first"), "and knows who leads");
        // Its session goes, and what it held with it.
        a.close();
        check(second.await(BOUND_S, TimeUnit.SECONDS), "then the second leads");
        second.close();
    }

    void cache(CuratorFramework a, CuratorFramework b) throws Exception {
        String path = root + "/cache";
        a.create().creatingParentsIfNeeded().forPath(path, "0".getBytes());
        BlockingQueue<String> events = new LinkedBlockingQueue<>();
        CountDownLatch ready = new CountDownLatch(1);
        b.sync().forPath("/");
        try (CuratorCache cache = CuratorCache.build(b, path)) {
            cache.listenable().addListener(CuratorCacheListener.builder()
                    .forCreates(node -> events.add("created " + node.getPath()))
                    .forChanges((old, node) -> events.add("changed " + node.getPath()))
                    .forDeletes(node -> events.add("deleted " + node.getPath()))
                    .forInitialized(ready::countDown)
                    .build());
            cache.start();
            check(ready.await(BOUND_S, TimeUnit.SECONDS), "it reads all there is");
            expect(events, "created " + path);
            a.create().forPath(path + "/x", "1".getBytes());
            expect(events, "created " + path + "/x");
            a.setData().forPath(path + "/x", "2".getBytes());
            expect(events, "changed " + path + "/x");
            a.create().forPath(path + "/x/y", "3".getBytes());
            expect(events, "created " + path + "/x/y");
            a.delete().forPath(path + "/x/y");
            expect(events, "deleted " + path + "/x/y");
            String data = new String(cache.get(path + "/x").get().getData());
            check(data.equals("2"), "it has the data");
        }
    }

    static void expect(BlockingQueue<String> events, String event) throws Exception {
        String found = events.poll(BOUND_S, TimeUnit.SECONDS);
        check(event.equals(found), event + " is awaited, and there is " + found);
    }

    void counters(CuratorFramework a, CuratorFramework b) throws Exception {
        DistributedAtomicLong mine = new DistributedAtomicLong(a, root + "/atomic",
                new ExponentialBackoffRetry(1, 20));
        DistributedAtomicLong theirs = new DistributedAtomicLong(b, root + "/atomic",
                new ExponentialBackoffRetry(1, 20));
        for (int n = 0; n < 20; n++) {
            check(mine.increment().succeeded() && theirs.increment().succeeded(), "it counts");
        }
        check(mine.add(0L).postValue() == 40, "nothing is lost");
        SharedCount count = new SharedCount(a, root + "/count", 7);
        SharedCount other = new SharedCount(b, root + "/count", 0);
        count.start();
        b.sync().forPath("/");
        other.start();
        check(other.getCount() == 7, "the other sees it");
        check(other.trySetCount(other.getVersionedValue(), 8), "and sets it");
        count.close();
        other.close();
    }

    void barrier(CuratorFramework a, CuratorFramework b) throws Exception {
        DistributedDoubleBarrier mine = new DistributedDoubleBarrier(a, root + "/barrier", 2);
        DistributedDoubleBarrier theirs = new DistributedDoubleBarrier(b, root + "/barrier", 2);
        ExecutorService threads = Executors.newSingleThreadExecutor();
        Future<Boolean> entered = threads.submit(() -> theirs.enter(BOUND_S, TimeUnit.SECONDS));
        check(mine.enter(BOUND_S, TimeUnit.SECONDS) && entered.get(), "both enter");
        Future<Boolean> left = threads.submit(() -> theirs.leave(BOUND_S, TimeUnit.SECONDS));
        check(mine.leave(BOUND_S, TimeUnit.SECONDS) && left.get(), "both leave");
        threads.shutdown();
    }

    void queue(CuratorFramework a, CuratorFramework b) throws Exception {
        SimpleDistributedQueue mine = new SimpleDistributedQueue(a, root + "/queue");
        SimpleDistributedQueue theirs = new SimpleDistributedQueue(b, root + "/queue");
        for (String item : List.of("one", "two", "three")) {
            mine.offer(item.getBytes());
        }
        for (String item : List.of("one", "two", "three")) {
            byte[] taken = theirs.poll(BOUND_S, TimeUnit.SECONDS);
            check(item.equals(new String(taken)), "what was first is taken first");
        }
    }

    void persistentNode(CuratorFramework a, CuratorFramework b) throws Exception {
        String path = root + "/persistent";
        BlockingQueue<String> events = new LinkedBlockingQueue<>();
        try (PersistentNode node =
                new PersistentNode(a, CreateMode.EPHEMERAL, false, path, "x".getBytes())) {
            node.start();
            check(node.waitForInitialCreate(BOUND_S, TimeUnit.SECONDS), "it is there");
            b.sync().forPath("/");
            b.watchers().add().usingWatcher((org.apache.zookeeper.Watcher) event ->
                    events.add(event.getType() + " " + event.getPath())).forPath(path);
            b.delete().forPath(path);
            expect(events, "NodeDeleted " + path);
            expect(events, "NodeCreated " + path);
        }
    }
}
