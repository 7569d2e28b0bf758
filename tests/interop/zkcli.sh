#!/usr/bin/env bash
# Walks the Java command line of Apache ZooKeeper (Debian's package) through every command it has.
#
# Usage: zkcli.sh HOSTS
#
# INTEROP_SERVER, which start.py sets, tells what the servers are: `dev` makes no znodes with a TTL.

set -euo pipefail

hosts=$1
# What zokor does not have yet. A word goes from here when it does: what is said until then is
# asserted as well.
not_yet=""

# Whether the servers have this.
has() {
    [ "${INTEROP_SERVER:-}" = zookeeper ] || [[ " $not_yet " != *" $1 "* ]]
}
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

# Asserts that it has this line so many times.
says_times() {
    local n
    n=$(grep -cx -- "$2" "$output" || true)
    if [ "$n" != "$1" ]; then
        echo "zkcli.sh: $n lines \"$2\", not $1, in:" >&2
        cat "$output" >&2
        exit 1
    fi
}

# Asserts that these words stand in it.
says_part() {
    says ".*$1.*"
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
says "\[$root/ephemeral\]"
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
create $root/kinds ""
create -s $root/kinds/s- x
create -s -e $root/kinds/se- x
create -e $root/kinds/e x
create -c $root/kinds/c x
create -t 100000 $root/kinds/t x
create -s -t 100000 $root/kinds/st- x
create -t 0 $root/kinds/bad x
create -c -e $root/kinds/bad x
create -e -t 5 $root/kinds/bad x
create $root/kinds/acl x world:anyone:cdrw
create $root/kinds/empty
create $root/kinds/e/below x
create $root/kinds/bad x nonsense
create nonsense x
stat $root/kinds/c
getEphemerals
getEphemerals $root/kinds
getEphemerals $root/nowhere
getAcl $root/kinds/acl
getAcl -s $root/kinds/acl
setAcl $root/kinds/acl world:anyone:cdrwa
deleteall $root/kinds/acl
getAllChildrenNumber $root/nowhere
quit
END
says "Created $root/kinds/s-0000000000"
says "Created $root/kinds/se-0000000001"
says "Created $root/kinds/e"
says "Created $root/kinds/c"
if [ "${INTEROP_SERVER:-}" = dev ]; then
    says "KeeperErrorCode = Unimplemented for $root/kinds/t"
else
    says "Created $root/kinds/t"
    says "Created $root/kinds/st-0000000005"
fi
says_part "ttl must be positive and cannot be larger than: 1099511627775"
says_part "-c cannot be combined with -s or -e"
says "TTLs cannot be used with Ephemeral znodes"
says "nonsense does not have the form scheme:id:perm"
says "Acl is not valid : null"
says "Created $root/kinds/acl"
says "Created $root/kinds/empty"
says "Ephemerals cannot have children: $root/kinds/e/below"
says_part "Path must start with / character"
both="\[$root/kinds/se-0000000001, $root/kinds/e\]"
says_times 2 "$both\|\[$root/kinds/e, $root/kinds/se-0000000001\]"
says "\[\]"
says_times 2 ": cdrw"
says "Insufficient permission : $root/kinds/acl"
says "Node does not exist: $root/nowhere"
echo "ok every kind of znode"

cli <<END
create $root/many ""
create $root/many/a 1
create $root/many/a/b 2
create $root/many/a/b/c 3
create $root/many/z 4
ls -R $root/many
ls -s $root/many
ls $root/nowhere
get $root/nowhere
delete $root/nowhere
delete -v 7 $root/many/z
set -s $root/many/z five
set -v 1 $root/many/z six
delete -v 2 $root/many/z
ls $root/many
getAllChildrenNumber $root/many
setAcl -R $root/many world:anyone:cdrwa,ip:127.0.0.1:r
getAcl $root/many/a/b/c
setAcl -v 7 $root/many world:anyone:cdrwa
setAcl -s -v 1 $root/many world:anyone:cdrwa
setAcl $root/many nonsense
deleteall -b 2 $root/many/a
deleteall $root/nowhere
ls -s $root/many
sync $root/nowhere
quit
END
says "$root/many"
says "$root/many/a"
says "$root/many/a/b"
says "$root/many/a/b/c"
says "$root/many/z"
says_times 4 "Node does not exist: $root/nowhere"
says "version No is not valid : $root/many/z"
says "dataLength = 4"
says "dataVersion = 1"
says "\[a\]"
says "3"
says ": r"
says "version No is not valid : $root/many"
says "aclVersion = 2"
says "\[\]"
says "cversion = 4"
says "Sync is OK"
echo "ok trees"

cli <<END
create $root/seen 1
addWatch -m PERSISTENT $root/seen
addWatch -m PERSISTENT_RECURSIVE $root/seen/sub
set $root/seen 2
create $root/seen/sub 1
create $root/seen/sub/deep 1
printwatches
printwatches off
set $root/seen 3
printwatches on
removewatches $root/seen
removewatches $root/seen
get -w $root/seen
removewatches $root/seen -d
ls -w $root/seen
removewatches $root/seen -c
stat -w $root/seen/later
create $root/seen/later x
addWatch -m NONSENSE $root/seen
quit
END
says_times 1 "WatchedEvent state:SyncConnected type:NodeDataChanged path:$root/seen"
says "WatchedEvent state:SyncConnected type:NodeCreated path:$root/seen/sub"
says "WatchedEvent state:SyncConnected type:NodeChildrenChanged path:$root/seen"
says "WatchedEvent state:SyncConnected type:NodeCreated path:$root/seen/sub/deep"
says_not "WatchedEvent state:SyncConnected type:NodeChildrenChanged path:$root/seen/sub"
says "printwatches is on"
says "WatchedEvent state:SyncConnected type:PersistentWatchRemoved path:$root/seen"
says "KeeperErrorCode = No such watcher for $root/seen"
says "WatchedEvent state:SyncConnected type:DataWatchRemoved path:$root/seen"
says "WatchedEvent state:SyncConnected type:ChildWatchRemoved path:$root/seen"
says "WatchedEvent state:SyncConnected type:NodeCreated path:$root/seen/later"
echo "ok watches of every kind"

cli <<END
create $root/bounded 12345
create $root/bounded/child 1
listquota $root/bounded
setquota -n 5 $root/bounded
listquota $root/bounded
setquota -b 1000 $root/bounded
setquota -N 8 $root/bounded
setquota -B 2000 $root/bounded
listquota $root/bounded
set $root/bounded/child 1234
listquota $root/bounded
delquota -N $root/bounded
delquota -n $root/bounded
listquota $root/bounded
setquota -n 5 $root/bounded/child
delquota $root/bounded
listquota $root/bounded
setquota -n 5 $root/nowhere
quit
END
limits="Output quota for $root/bounded"
says_times 2 "quota for $root/bounded does not exist."
says "$limits count=5,bytes=-1=;byteHardLimit=-1;countHardLimit=-1"
says_times 2 "$limits count=5,bytes=1000=;byteHardLimit=2000;countHardLimit=8"
says "$limits count=-1,bytes=1000=;byteHardLimit=2000;countHardLimit=-1"
says "$root/bounded/child has a parent $root/bounded which has a quota"
says "$root/nowhere does not exist."
if has quotas; then
    says_times 2 "Output stat for $root/bounded count=2,bytes=6"
    says_times 2 "Output stat for $root/bounded count=2,bytes=9"
else
    says_times 4 "Output stat for $root/bounded count=0,bytes=0"
fi
echo "ok quotas"

cli <<END
config
config -s
reconfig -remove 3
reconfig -add server.5=127.0.0.1:1:2:participant;3
history
create $root/again ""
delete $root/again
redo 5
redo 999
nonsense
help
version
close
ls /
connect $hosts
sync /
ls $root
quit
END
if [[ $hosts == *,* ]]; then
    says_times 6 "server.[123]=127.0.0.1:[0-9]*:[0-9]*:participant"
    says_times 2 "version=[0-9a-f]*"
else
    # One server has no members to tell of.
    says_not "server\..*"
fi
says "dataVersion = .*"
if has reconfig; then
    says_times 2 "KeeperErrorCode = Reconfig is disabled"
else
    says_times 2 "KeeperErrorCode = Unimplemented"
fi
says "0 - config"
says "4 - history"
says_times 2 "Created $root/again"
says "Command index out of range"
says_part "Command not found nonsense"
says "Not connected"
says "Sync is OK"
says "\[again, .*watched\]"
# Not the lines of a trace.
commands=$(grep $'^\t' "$output" | grep -v $'^\tat ' | cut -f2 | cut -d' ' -f1 | sort -u)
[ "$(wc -l <<<"$commands")" -ge 26 ]
for command in $commands; do
    if ! grep -q "^$command\( \|\$\)" "${BASH_SOURCE[0]}"; then
        echo "zkcli.sh: the command $command is walked past" >&2
        exit 1
    fi
done
echo "ok the others, and every command of $(wc -l <<<"$commands")"

cli <<END
deleteall $root
ls $root
ls /
quit
END
says "Node does not exist: $root"
says "\[.*zookeeper\]"
says_not "\[.*${root#/}.*\]"
echo "ok deleteall"
