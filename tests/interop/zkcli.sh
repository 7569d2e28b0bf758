#!/usr/bin/env bash
# Walks the Java command line of Apache ZooKeeper (Debian's package) through its commands.
#
# Usage: zkcli.sh HOSTS

set -euo pipefail

hosts=$1
root=/interop-cli-$$
output=$(mktemp)
trap 'rm -f "$output"' EXIT

# Runs commands, one a line on standard input, in one session.
cli() {
    java -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
        -cp /usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar \
        org.apache.zookeeper.ZooKeeperMain -server "$hosts" >"$output" 2>&1 || true
}

# Asserts that the last session's output has this line (a basic regular expression).
says() {
    if ! grep -qx -- "$1" "$output"; then
        echo "zkcli.sh: no line \"$1\" in:" >&2
        cat "$output" >&2
        exit 1
    fi
}

# Asserts that it has no such line.
says_not() {
    if grep -qx -- "$1" "$output"; then
        echo "zkcli.sh: a line \"$1\" in:" >&2
        cat "$output" >&2
        exit 1
    fi
}

cli <<END
create $root one
create $root twice
create $root/none/deep
get $root
get -s $root
set $root two
set -v 0 $root three
get $root
create -s $root/n- x
create -s $root/n- x
create -e $root/ephemeral here
ls $root
ls -s $root
stat $root
stat $root/none
sync $root
delete $root
getAllChildrenNumber $root
getEphemerals
whoami
quit
END
says "Created $root"
says "Node already exists: $root"
says "Node does not exist: $root/none/deep"
says "one"
says "dataLength = 3"
says "dataVersion = 0"
says "version No is not valid : $root"
says "two"
says "Created $root/n-0000000000"
says "Created $root/n-0000000001"
says "Created $root/ephemeral"
says "\[ephemeral, n-0000000000, n-0000000001\]"
says "numChildren = 3"
says "cversion = 3"
says "dataVersion = 1"
says "ephemeralOwner = 0x0"
says "Node does not exist: $root/none"
says "Sync is OK"
says "Node not empty: $root"
says "3"
says ".*$root/ephemeral.*"
says "ip: .*127.0.0.1"
echo "ok znodes"

cli <<END
ls $root
quit
END
says "\[n-0000000000, n-0000000001\]"
echo "ok the ephemeral went with its session"

cli <<END
getAcl $root
create $root/secret x auth:nobody:cdrwa
addauth digest ada:pw
create $root/secret x auth::cdrwa
getAcl $root/secret
whoami
quit
END
says "'world,'anyone"
says ": cdrwa"
says "Acl is not valid : $root/secret"
says "Created $root/secret"
says "'digest,'ada:BQn2eIntEkP0ldaGkwF+SiJLMTg="
says "digest: ada"

cli <<END
get $root/secret
setAcl $root/secret world:anyone:r
addauth digest ada:pw
setAcl $root/secret world:anyone:r
get -s $root/secret
set $root/secret y
quit
END
says "Insufficient permission : $root/secret"
says "aclVersion = 1"
says "x"
echo "ok ACLs"

cli <<END
create $root/watched 1
get -w $root/watched
set $root/watched 2
ls -w $root/watched
create $root/watched/child
addWatch -m PERSISTENT_RECURSIVE $root/watched
create $root/watched/other
quit
END
says "WatchedEvent state:SyncConnected type:NodeDataChanged path:$root/watched"
says "WatchedEvent state:SyncConnected type:NodeChildrenChanged path:$root/watched"
says "WatchedEvent state:SyncConnected type:NodeCreated path:$root/watched/other"
echo "ok watches"

cli <<END
create -c $root/container
create $root/container/child
deleteall $root
ls $root
ls /
config
version
quit
END
says "Created $root/container"
says "Node does not exist: $root"
says "\[.*zookeeper\]"
says_not "\[.*${root#/}.*\]"
says "ZooKeeper CLI version: .*"
echo "ok deleteall"
