// node-zookeeper-client, unchanged: znodes, watches, a transaction, an ephemeral's end.
//
// Usage: node.js HOSTS

"use strict";

const assert = require("node:assert");
const zookeeper = require("node-zookeeper-client");

const { CreateMode, Event, Exception } = zookeeper;
const root = `/interop-node-${process.pid}-${Date.now()}`;
const bound = setTimeout(() => assert.fail("not within 60 s"), 60_000);

/** Calls a method that takes a callback. */
function call(client, method, ...rest) {
  return new Promise((resolve, reject) => {
    client[method](...rest, (error, ...values) => (error ? reject(error) : resolve(values)));
  });
}

async function connect() {
  const client = zookeeper.createClient(process.argv[2], { sessionTimeout: 10_000 });
  const connected = new Promise((resolve) => client.once("connected", resolve));
  client.connect();
  await connected;
  return client;
}

async function main() {
  const [one, two] = [await connect(), await connect()];

  const [path] = await call(one, "create", root, Buffer.from("one"));
  assert.strictEqual(path, root);
  const [data, stat] = await call(one, "getData", root);
  assert.strictEqual(data.toString(), "one");
  assert.strictEqual(stat.version, 0);
  await assert.rejects(call(one, "create", root), { code: Exception.NODE_EXISTS });
  await call(one, "setData", root, Buffer.from("two"), 0);
  await assert.rejects(call(one, "setData", root, Buffer.from("x"), 0), { code: Exception.BAD_VERSION });
  console.log("ok znodes");

  const sequential = CreateMode.PERSISTENT_SEQUENTIAL;
  const [first] = await call(one, "create", `${root}/n-`, null, sequential);
  assert.strictEqual(first, `${root}/n-0000000000`);
  await call(one, "mkdirp", `${root}/a/b/c`);
  const [children] = await call(one, "getChildren", root);
  assert.deepStrictEqual(children.sort(), ["a", "n-0000000000"]);
  console.log("ok children");

  const results = await call(
    one.transaction().create(`${root}/t`, Buffer.from("x")).setData(`${root}/t`, Buffer.from("y"), 0),
    "commit",
  );
  assert.strictEqual(results[0].length, 2);
  await assert.rejects(
    call(one.transaction().remove(`${root}/t`).check(`${root}/t`, 1), "commit"),
    { code: Exception.NO_NODE },
  );
  assert.notStrictEqual((await call(one, "exists", `${root}/t`))[0], null);
  console.log("ok transaction");

  const ephemeral = `${root}/ephemeral`;
  const events = [];
  const waiting = [];
  const watcher = (event) => {
    events.push([event.getType(), event.getPath()]);
    waiting.splice(0).forEach((resolve) => resolve());
  };
  const [missing] = await call(one, "exists", ephemeral, watcher);
  assert.ok(!missing);
  const created = new Promise((resolve) => waiting.push(resolve));
  await call(two, "create", ephemeral, CreateMode.EPHEMERAL);
  await created;
  await call(one, "exists", ephemeral, watcher);
  const deleted = new Promise((resolve) => waiting.push(resolve));
  two.close();
  await deleted;
  assert.deepStrictEqual(events, [
    [Event.NODE_CREATED, ephemeral],
    [Event.NODE_DELETED, ephemeral],
  ]);
  console.log("ok watches and ephemerals");

  one.close();
  clearTimeout(bound);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
