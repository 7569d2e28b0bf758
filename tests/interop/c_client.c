// ZooKeeper's own C client (libzookeeper_mt), unchanged, against the servers that the only argument
// names: znodes, watches, transactions, ACLs, and a session that outlives its process.
//
// cc -Wall -Werror -DTHREADED c_client.c -lzookeeper_mt -o c_client

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zookeeper/zookeeper.h>

#define BOUND_S 30

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t heard = PTHREAD_COND_INITIALIZER;
static char events[64][512];
static int n_events;

// Ends the program unless `holds`.
#define check(holds) check_at((holds), #holds, __LINE__)
static void check_at(int holds, const char *what, int line) {
    if (!holds) {
        fprintf(stderr, "c_client.c:%d: not so: %s\n", line, what);
        exit(1);
    }
}

static void watch(zhandle_t *zh, int type, int state, const char *path, void *context) {
    pthread_mutex_lock(&mutex);
    check(n_events < 64);
    snprintf(events[n_events++], sizeof events[0], "%d %d %s", type, state, path ? path : "");
    pthread_cond_broadcast(&heard);
    pthread_mutex_unlock(&mutex);
}

// Waits for the event, and forgets it.
static void hears(int type, int state, const char *path) {
    char wanted[512];
    snprintf(wanted, sizeof wanted, "%d %d %s", type, state, path);
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += BOUND_S;
    pthread_mutex_lock(&mutex);
    for (;;) {
        int at = 0;
        while (at < n_events && strcmp(events[at], wanted)) at++;
        if (at < n_events) {
            memmove(events[at], events[at + 1], sizeof events[0] * (size_t)(--n_events - at));
            break;
        }
        if (pthread_cond_timedwait(&heard, &mutex, &end) == ETIMEDOUT) {
            fprintf(stderr, "c_client.c: no event %s\n", wanted);
            exit(1);
        }
    }
    pthread_mutex_unlock(&mutex);
}

static zhandle_t *connect_to(const char *hosts, const clientid_t *id) {
    zhandle_t *zh = zookeeper_init(hosts, watch, 10000, id, NULL, 0);
    check(zh != NULL);
    hears(ZOO_SESSION_EVENT, ZOO_CONNECTED_STATE, "");
    return zh;
}

static const char *below(const char *root, const char *rest) {
    static char path[8][256];
    static int turn;
    turn = (turn + 1) % 8;
    snprintf(path[turn], sizeof path[0], "%s%s", root, rest);
    return path[turn];
}

static void znodes(zhandle_t *zh, const char *root) {
    char name[256], data[16];
    int n = sizeof data;
    struct Stat stat;
    check(zoo_create(zh, root, "one", 3, &ZOO_OPEN_ACL_UNSAFE, 0, name, sizeof name) == ZOK);
    check(strcmp(name, root) == 0);
    check(zoo_create(zh, root, "x", 1, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0) == ZNODEEXISTS);
    check(zoo_get(zh, root, 0, data, &n, &stat) == ZOK);
    check(n == 3 && !memcmp(data, "one", 3) && stat.version == 0 && stat.dataLength == 3);
    check(zoo_set2(zh, root, "two", 3, 0, &stat) == ZOK && stat.version == 1);
    check(zoo_set(zh, root, "x", 1, 0) == ZBADVERSION);
    check(zoo_create2(zh, below(root, "/c"), "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_CONTAINER, name,
                      sizeof name, &stat) == ZOK);
    for (int i = 0; i < 2; i++) {
        check(zoo_create(zh, below(root, "/n-"), NULL, -1, &ZOO_OPEN_ACL_UNSAFE,
                         ZOO_PERSISTENT_SEQUENTIAL, name, sizeof name) == ZOK);
    }
    check(strcmp(name, below(root, "/n-0000000002")) == 0);
    n = sizeof data;
    check(zoo_get(zh, name, 0, data, &n, &stat) == ZOK && n == -1);
    struct String_vector children;
    check(zoo_get_children2(zh, root, 0, &children, &stat) == ZOK);
    check(children.count == 3 && stat.numChildren == 3);
    deallocate_String_vector(&children);
    check(zoo_delete(zh, root, -1) == ZNOTEMPTY);
    check(zoo_delete(zh, below(root, "/none"), -1) == ZNONODE);
    check(zoo_create(zh, below(root, "/"), "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0) ==
          ZBADARGUMENTS);
    puts("ok znodes");
}

static void transactions(zhandle_t *zh, const char *root) {
    zoo_op_t ops[3];
    zoo_op_result_t results[3];
    char name[256];
    struct Stat stat;
    memset(results, 0, sizeof results);
    zoo_create_op_init(&ops[0], below(root, "/t"), "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, name,
                       sizeof name);
    zoo_set_op_init(&ops[1], below(root, "/t"), "2", 1, 0, &stat);
    zoo_check_op_init(&ops[2], root, 1);
    check(zoo_multi(zh, 3, ops, results) == ZOK);
    check(!strcmp(name, below(root, "/t")) && stat.version == 1);
    zoo_delete_op_init(&ops[0], below(root, "/t"), 1);
    zoo_check_op_init(&ops[1], root, 7);
    check(zoo_multi(zh, 2, ops, results) == ZBADVERSION);
    check(results[0].err == ZOK && results[1].err == ZBADVERSION);
    check(zoo_exists(zh, below(root, "/t"), 0, &stat) == ZOK);
    puts("ok transactions");
}

static void watches(zhandle_t *zh, const char *root) {
    char data[16];
    int n = sizeof data;
    const char *path = below(root, "/watched");
    char kept[256];
    strcpy(kept, path);
    check(zoo_wexists(zh, kept, watch, NULL, NULL) == ZNONODE);
    check(zoo_create(zh, kept, "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0) == ZOK);
    hears(ZOO_CREATED_EVENT, ZOO_CONNECTED_STATE, kept);
    check(zoo_wget(zh, kept, watch, NULL, data, &n, NULL) == ZOK);
    check(zoo_set(zh, kept, "x", 1, -1) == ZOK);
    hears(ZOO_CHANGED_EVENT, ZOO_CONNECTED_STATE, kept);
    struct String_vector children;
    check(zoo_wget_children(zh, kept, watch, NULL, &children) == ZOK);
    deallocate_String_vector(&children);
    check(zoo_create(zh, below(root, "/watched/x"), "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0) ==
          ZOK);
    hears(ZOO_CHILD_EVENT, ZOO_CONNECTED_STATE, kept);
    n = sizeof data;
    check(zoo_wget(zh, kept, watch, NULL, data, &n, NULL) == ZOK);
    check(zoo_remove_watches(zh, kept, ZWATCHTYPE_DATA, watch, NULL, 0) == ZOK);
    check(zoo_remove_watches(zh, kept, ZWATCHTYPE_DATA, watch, NULL, 0) == ZNOWATCHER);
    puts("ok watches");
}

static void done(int code, const void *data) {
    pthread_mutex_lock(&mutex);
    *(int *)data = code;
    pthread_cond_broadcast(&heard);
    pthread_mutex_unlock(&mutex);
}

static void synced(int code, const char *path, const void *data) {
    done(code, data);
}

static void await_code(volatile int *code) {
    pthread_mutex_lock(&mutex);
    while (*code == 1) pthread_cond_wait(&heard, &mutex);
    pthread_mutex_unlock(&mutex);
    check(*code == ZOK);
}

// The server of this handle has done all that was done before.
static void catches_up(zhandle_t *zh) {
    volatile int code = 1;
    check(zoo_async(zh, "/", synced, (void *)&code) == ZOK);
    await_code(&code);
}

static void acls(zhandle_t *zh, const char *hosts, const char *root) {
    volatile int code = 1;
    const char *path = below(root, "/secret");
    char kept[256];
    strcpy(kept, path);
    check(zoo_add_auth(zh, "digest", "ann:secret", 10, done, (void *)&code) == ZOK);
    await_code(&code);
    check(zoo_create(zh, kept, "x", 1, &ZOO_CREATOR_ALL_ACL, 0, NULL, 0) == ZOK);
    struct ACL_vector acl;
    struct Stat stat;
    check(zoo_get_acl(zh, kept, &acl, &stat) == ZOK);
    check(acl.count == 1 && !strcmp(acl.data[0].id.scheme, "digest"));
    check(acl.data[0].perms == ZOO_PERM_ALL && !strncmp(acl.data[0].id.id, "ann:", 4));
    deallocate_ACL_vector(&acl);
    zhandle_t *stranger = connect_to(hosts, NULL);
    char data[16];
    int n = sizeof data;
    catches_up(stranger);
    check(zoo_get(stranger, kept, 0, data, &n, NULL) == ZNOAUTH);
    check(zookeeper_close(stranger) == ZOK);
    puts("ok ACLs");
}

// A process ends without a word, and another one goes on with its session. There are no threads yet.
static void session(const char *hosts, const char *root) {
    const char *path = below(root, "-ephemeral");
    int ends[2];
    clientid_t id;
    check(pipe(ends) == 0);
    pid_t child = fork();
    check(child >= 0);
    if (child == 0) {
        zhandle_t *zh = connect_to(hosts, NULL);
        check(zoo_create(zh, path, "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, NULL, 0) == ZOK);
        id = *zoo_client_id(zh);
        check(write(ends[1], &id, sizeof id) == sizeof id);
        _exit(0);
    }
    close(ends[1]);
    check(read(ends[0], &id, sizeof id) == sizeof id);
    check(waitpid(child, NULL, 0) == child);
    zhandle_t *zh = connect_to(hosts, &id);
    check(zoo_client_id(zh)->client_id == id.client_id);
    struct Stat stat;
    catches_up(zh);
    check(zoo_exists(zh, path, 0, &stat) == ZOK && stat.ephemeralOwner == id.client_id);
    check(zookeeper_close(zh) == ZOK);
    zhandle_t *other = connect_to(hosts, NULL);
    catches_up(other);
    check(zoo_exists(other, path, 0, &stat) == ZNONODE);
    check(zookeeper_close(other) == ZOK);
    puts("ok a session outlives its process, and ends");
}

int main(int n_arguments, char **arguments) {
    check(n_arguments == 2);
    const char *hosts = arguments[1];
    char root[64];
    snprintf(root, sizeof root, "/interop-c-%d", (int)getpid());
    zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
    session(hosts, root);
    zhandle_t *zh = connect_to(hosts, NULL);
    znodes(zh, root);
    transactions(zh, root);
    watches(zh, root);
    acls(zh, hosts, root);
    check(zookeeper_close(zh) == ZOK);
    return 0;
}
