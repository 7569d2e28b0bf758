// The Go client github.com/samuel/go-zookeeper, unchanged, against the servers that the only
// argument names: znodes, watches, a multi, ACLs, a lock, and an ephemeral's end.
//
// GO111MODULE=off GOPATH=/usr/share/gocode go build go_client.go
package main

import (
	"fmt"
	"log"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/samuel/go-zookeeper/zk"
)

const bound = 30 * time.Second

var open = zk.WorldACL(zk.PermAll)

type silent struct{}

func (silent) Printf(string, ...interface{}) {}

// check ends the program unless it holds.
func check(holds bool, what string, facts ...interface{}) {
	if !holds {
		log.Fatal("go_client.go: not so: ", what, " ", fmt.Sprint(facts...))
	}
}

func connect(hosts string) (*zk.Conn, <-chan zk.Event) {
	client, events, err := zk.Connect(strings.Split(hosts, ","), 10*time.Second)
	check(err == nil, "it connects", err)
	client.SetLogger(silent{})
	for event := range events {
		if event.State == zk.StateHasSession {
			break
		}
	}
	return client, events
}

func hears(events <-chan zk.Event, kind zk.EventType, path string) {
	select {
	case event := <-events:
		check(event.Type == kind && event.Path == path, "the event comes", event)
	case <-time.After(bound):
		check(false, "the event comes", kind, path)
	}
}

func znodes(a *zk.Conn, root string) {
	path, err := a.Create(root, []byte("one"), 0, open)
	check(err == nil && path == root, "it is created", path, err)
	_, err = a.Create(root, nil, 0, open)
	check(err == zk.ErrNodeExists, "but once", err)
	data, stat, err := a.Get(root)
	check(err == nil && string(data) == "one" && stat.Version == 0, "it has its data", err)
	stat, err = a.Set(root, []byte("two"), 0)
	check(err == nil && stat.Version == 1 && stat.DataLength == 3, "it is changed", err)
	_, err = a.Set(root, nil, 0)
	check(err == zk.ErrBadVersion, "a stale version is refused", err)
	for _, expected := range []string{"/n-0000000000", "/n-0000000001"} {
		path, err = a.Create(root+"/n-", nil, zk.FlagSequence, open)
		check(err == nil && path == root+expected, "it is numbered", path, err)
	}
	path, err = a.CreateProtectedEphemeralSequential(root+"/p-", nil, open)
	check(err == nil && strings.HasSuffix(path, "p-0000000002"), "it is protected", path, err)
	children, stat, err := a.Children(root)
	sort.Strings(children)
	check(err == nil && len(children) == 3 && stat.NumChildren == 3, "all are there", children)
	check(a.Delete(root, -1) == zk.ErrNotEmpty, "who has children stays")
	check(a.Delete(root+"/none", -1) == zk.ErrNoNode, "who is not there cannot go")
	fmt.Println("ok znodes")
}

func transactions(a *zk.Conn, root string) {
	path := root + "/t"
	results, err := a.Multi(
		&zk.CreateRequest{Path: path, Data: []byte("1"), Acl: open},
		&zk.SetDataRequest{Path: path, Data: []byte("2"), Version: 0},
		&zk.CheckVersionRequest{Path: root, Version: 1},
	)
	check(err == nil && len(results) == 3 && results[0].String == path, "all is done", err)
	_, err = a.Multi(
		&zk.DeleteRequest{Path: path, Version: 1},
		&zk.CheckVersionRequest{Path: root, Version: 7},
	)
	check(err == zk.ErrBadVersion, "the transaction fails", err)
	exists, _, err := a.Exists(path)
	check(err == nil && exists, "and nothing is done", err)
	fmt.Println("ok transactions")
}

func watches(a, b *zk.Conn, root string) {
	path := root + "/watched"
	_, err := b.Sync("/")
	check(err == nil, "sync", err)
	exists, _, events, err := b.ExistsW(path)
	check(err == nil && !exists, "it is not there", err)
	_, err = a.Create(path, nil, 0, open)
	check(err == nil, "it is created", err)
	hears(events, zk.EventNodeCreated, path)
	_, _, events, err = b.GetW(path)
	check(err == nil, "it is read", err)
	_, err = a.Set(path, []byte("x"), -1)
	check(err == nil, "it is changed", err)
	hears(events, zk.EventNodeDataChanged, path)
	_, _, events, err = b.ChildrenW(path)
	check(err == nil, "its children are read", err)
	_, err = a.Create(path+"/child", nil, 0, open)
	check(err == nil, "it has a child", err)
	hears(events, zk.EventNodeChildrenChanged, path)
	fmt.Println("ok watches")
}

func acls(a, b *zk.Conn, root string) {
	path := root + "/secret"
	check(a.AddAuth("digest", []byte("ann:secret")) == nil, "credentials are taken")
	_, err := a.Create(path, []byte("x"), 0, zk.AuthACL(zk.PermAll))
	check(err == nil, "it is created", err)
	acl, _, err := a.GetACL(path)
	right := zk.DigestACL(zk.PermAll, "ann", "secret")
	check(err == nil && len(acl) == 1 && acl[0] == right[0], "it has its ACL", acl, err)
	_, err = b.Sync("/")
	check(err == nil, "sync", err)
	_, _, err = b.Get(path)
	check(err == zk.ErrNoAuth, "a stranger is refused", err)
	_, err = a.SetACL(path, zk.WorldACL(zk.PermRead), 0)
	check(err == nil, "the ACL is changed", err)
	fmt.Println("ok ACLs")
}

func locks(a, b *zk.Conn, root string) {
	mine, theirs := zk.NewLock(a, root+"/lock", open), zk.NewLock(b, root+"/lock", open)
	check(mine.Lock() == nil, "one has the lock")
	got := make(chan error)
	go func() { got <- theirs.Lock() }()
	select {
	case err := <-got:
		check(false, "the other waits", err)
	case <-time.After(200 * time.Millisecond):
	}
	check(mine.Unlock() == nil, "it gives it back")
	select {
	case err := <-got:
		check(err == nil, "then the other has it", err)
	case <-time.After(bound):
		check(false, "then the other has it")
	}
	check(theirs.Unlock() == nil, "and gives it back")
	fmt.Println("ok locks")
}

func ephemerals(a, b *zk.Conn, root string) {
	path := root + "/ephemeral"
	_, err := a.Create(path, nil, zk.FlagEphemeral, open)
	check(err == nil, "it is created", err)
	_, err = b.Sync("/")
	check(err == nil, "sync", err)
	exists, stat, events, err := b.ExistsW(path)
	check(err == nil && exists && stat.EphemeralOwner == a.SessionID(), "it is there", err)
	a.Close()
	hears(events, zk.EventNodeDeleted, path)
	fmt.Println("ok ephemerals")
}

func main() {
	hosts, root := os.Args[1], fmt.Sprintf("/interop-go-%d", os.Getpid())
	a, _ := connect(hosts)
	b, _ := connect(hosts)
	znodes(a, root)
	transactions(a, root)
	watches(a, b, root)
	acls(a, b, root)
	locks(a, b, root)
	ephemerals(a, b, root)
	b.Close()
}
