// What a back end says to a server and hears from it, as installed: publications, tickets, webhooks.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { after, describe, test } from "node:test";
import WebSocket from "ws";
import { Server, STEP_MS, project, within } from "../server.mjs";
import { load } from "./packed.mjs";
import { Queue, events } from "./peer.mjs";
import { PUBLISH_KEY, WEBHOOK_SECRET, sendWebhooks } from "./project.mjs";

const { RoomClient } = await load("client.js");
const { BackendError, WebhookError, publish, publishMany, ticket, verifyWebhook } = await load("backend.js");

/** Takes webhooks, as a server of Node does. */
const hooks = new Queue("webhook");
const receiver = createServer(async (request, response) => {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  hooks.push({ headers: request.headers, body: Buffer.concat(pieces) });
  response.writeHead(204).end();
});
receiver.listen(0, "127.0.0.1");
await once(receiver, "listening");
after(() => receiver.close());
sendWebhooks("hooked", receiver.address().port);

const server = await Server.start({ args: ["--ephemeral"] });
after(() => server.stop());
const publisher = { url: server.url, key: PUBLISH_KEY };

async function visit(options) {
  const client = new RoomClient({ host: server.host, WebSocket, ...options });
  after(() => client.close());
  const messages = events(client, "message");
  await events(client, "open").next();
  return { client, says: async () => (await messages.next()).data };
}

const failure = (promise) => promise.then(() => assert.fail("it succeeds"), (error) => error);

describe("publications", () => {
  test("texts, JSON and bytes reach a room, and a repetition with its key happens once", async () => {
    const room = "news of today? & more";
    const reader = await visit({ room });
    assert.match(await reader.says(), /^hello/);
    reader.client.binaryType = "arraybuffer";
    const first = await publish(publisher, { room, text: "plain", idempotencyKey: "one" });
    assert.match(first.id, /^\d+-\d+$/);
    assert.deepEqual(await publish(publisher, { room, text: "plain", idempotencyKey: "one" }), first);
    await publish(publisher, { room, json: { deployed: "v7" } });
    await publish(publisher, { room, bytes: new Uint8Array([1, 2, 255]).subarray(1) });
    assert.deepEqual([await reader.says(), await reader.says()], ["plain", '{"deployed":"v7"}']);
    assert.deepEqual([...new Uint8Array(await reader.says())], [2, 255]);
  });

  test("many at once have a result each, in their order", async () => {
    const reader = await visit({ room: "many" });
    assert.match(await reader.says(), /^hello/);
    reader.client.binaryType = "arraybuffer";
    const results = await publishMany(publisher, [
      { room: "many", text: "one" },
      { party: "nobody", room: "many", json: 1 },
      { room: "many", bytes: new Uint8Array([7]).buffer },
    ]);
    assert.deepEqual(results.map(({ status }) => status), [200, 404, 200]);
    assert.match(results[1].error, /nobody/);
    assert.equal(await reader.says(), "one");
    assert.deepEqual([...new Uint8Array(await reader.says())], [7]);
  });

  test("a refusal has its status and the server's words, and never the key", async () => {
    const wrong = await failure(publish({ ...publisher, key: "some-other-key-that-is-wrong" }, { room: "r", text: "x" }));
    assert.ok(wrong instanceof BackendError);
    assert.equal(wrong.status, 401);
    assert.ok(wrong.message.length > 0 && !wrong.message.includes("some-other-key"), wrong.message);
    const nobody = await failure(publish(publisher, { party: "nobody", room: "r", text: "x" }));
    assert.equal(nobody.status, 404);
  });

  test("a message that is none is refused before it is sent", async () => {
    const fetch = () => assert.fail("nothing is sent");
    for (const message of [{ room: "r" }, { room: "r", text: "x", json: 1 }, { text: "x" }]) {
      assert.ok(await failure(publish({ ...publisher, fetch }, message)) instanceof TypeError);
      assert.ok(await failure(publishMany({ ...publisher, fetch }, [message])) instanceof TypeError);
    }
  });
});

test("a ticket opens its room, for what it allows", async () => {
  // What `room dev` leaves for the other commands.
  const { token } = JSON.parse(await readFile(join(project, ".room/ephemeral/control.json"), "utf8"));
  const operator = { url: server.url, token };
  const own = await ticket(operator, { party: "members", room: "hall", capabilities: ["read"], claims: { sub: "guest" } });
  const { says, client } = await visit({ party: "members", room: "hall", id: "screen", query: { ticket: own } });
  assert.equal(await says(), "hello screen");
  const refused = await failure(client.send("mine", { ack: true }));
  assert.equal(refused.code, "read_only");
  const wrong = await failure(ticket(operator, { party: "members", room: "hall", capabilities: ["fly"] }));
  assert.deepEqual([wrong instanceof BackendError, wrong.status], [true, 400]);
});

describe("webhooks", () => {
  test("a server's webhook is verified as Node has it, and a changed one is not", async () => {
    const { client } = await visit({ party: "hooked", room: "bell", id: "ada" });
    let hook;
    let webhook;
    do {
      hook = await hooks.next();
      webhook = await verifyWebhook({ ...hook, secret: WEBHOOK_SECRET });
    } while (webhook.type !== "room.connected");
    assert.deepEqual([webhook.data.party, webhook.data.room, webhook.data.connection.id], ["hooked", "bell", "ada"]);
    assert.equal(webhook.id, hook.headers["webhook-id"]);
    assert.equal((await verifyWebhook({ ...hook, secret: ["an-older-secret-of-16", WEBHOOK_SECRET] })).id, webhook.id);
    const body = hook.body.toString().replace("ada", "eve");
    assert.ok(await failure(verifyWebhook({ ...hook, body, secret: WEBHOOK_SECRET })) instanceof WebhookError);
    client.close();
    assert.equal((await verifyWebhook({ ...(await hooks.next()), secret: WEBHOOK_SECRET })).type, "room.disconnected");
  });

  /** The example of the specification's libraries. */
  const published = {
    headers: new Headers({
      "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330",
      "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }),
    body: '{"test": 2432232314}',
    secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    now: 1_614_265_330_000,
  };

  test("the published example is verified, within its time and not after it", async () => {
    assert.deepEqual(await verifyWebhook(published), { test: 2432232314, id: "msg_p5jXN8AQM9LWM0D4loKWxJek" });
    for (const away of [-301_000, 301_000]) {
      const error = await failure(verifyWebhook({ ...published, now: published.now + away }));
      assert.match(error.message, /webhook-timestamp is more than 300 s away/);
    }
    assert.ok(await verifyWebhook({ ...published, now: published.now + 400_000, toleranceS: 500 }));
  });

  test("one of several signatures is enough, and an invalid one is ignored", async () => {
    const signed = (signature) => {
      const headers = new Headers(published.headers);
      headers.set("webhook-signature", signature);
      return verifyWebhook({ ...published, headers });
    };
    const good = published.headers.get("webhook-signature");
    assert.ok(await signed(`v1,AAAA v1a,xyz ${good}`));
    for (const bad of ["v1,", "v1,not base64!", good.slice(3), good.replace("v1", "v2"), `${good.slice(0, -4)}AAA=`]) {
      assert.ok(await failure(signed(bad)) instanceof WebhookError, bad);
    }
  });

  test("a header that is missing or malformed is named", async () => {
    for (const name of ["webhook-id", "webhook-timestamp", "webhook-signature"]) {
      const headers = Object.fromEntries([...published.headers].filter(([own]) => own !== name));
      assert.match((await failure(verifyWebhook({ ...published, headers }))).message, new RegExp(name));
    }
    for (const time of ["soon", "1e9", "-1", "9".repeat(40)]) {
      const headers = { ...Object.fromEntries(published.headers), "webhook-timestamp": time };
      assert.match((await failure(verifyWebhook({ ...published, headers }))).message, /not a number of seconds/);
    }
    const { secret, ...rest } = published;
    assert.match((await failure(verifyWebhook({ ...rest, secret: undefined }))).message, /secret is missing/);
    assert.ok(secret.length > 0);
  });

  test("a secret may be any text, and the body bytes", async () => {
    const [id, time, body] = ["msg_1", "1614265330", new TextEncoder().encode('{"type":"room.created"}')];
    const signature = createHmac("sha256", WEBHOOK_SECRET).update(`${id}.${time}.`).update(body).digest("base64");
    const headers = { "webhook-id": id, "webhook-timestamp": time, "webhook-signature": `v1,${signature}` };
    const webhook = await within(STEP_MS, "webhook", verifyWebhook({ headers, body, secret: WEBHOOK_SECRET, now: published.now }));
    assert.deepEqual(webhook, { type: "room.created", id });
  });
});

/** Calls a function of `sdk/backend.py`. */
function inPython(name, parameters) {
  const program = [
    "import json, sys",
    "sys.path.insert(0, sys.argv[1])",
    "import backend",
    "given = json.load(sys.stdin)",
    "if 'body' in given: given['body'] = given['body'].encode()",
    "try: print(json.dumps({'value': getattr(backend, sys.argv[2])(**given)}))",
    "except (backend.BackendError, backend.WebhookError) as error:",
    "    print(json.dumps({'error': type(error).__name__, 'text': str(error), 'status': getattr(error, 'status', None)}))",
  ].join("\n");
  const sdk = fileURLToPath(new URL("../../sdk", import.meta.url));
  const options = { input: JSON.stringify(parameters), encoding: "utf8", timeout: STEP_MS };
  const { status, stdout, stderr, error } = spawnSync("python3", ["-B", "-c", program, sdk, name], options);
  assert.equal(status, 0, `${stderr}${error ?? ""}`);
  return JSON.parse(stdout);
}

describe("a server in Python", () => {
  test("publishes texts and JSON, and a repetition with its key happens once", async () => {
    const room = "told by Python? & more";
    const reader = await visit({ room });
    assert.match(await reader.says(), /^hello/);
    const asked = { ...publisher, room, message: "héllo", idempotency_key: "python" };
    const first = inPython("publish", asked);
    assert.match(first.value, /^\d+-\d+$/);
    assert.deepEqual(inPython("publish", asked), first);
    inPython("publish", { ...publisher, room, message: { deployed: ["v7"] } });
    assert.equal(await reader.says(), "héllo");
    assert.deepEqual(JSON.parse(await reader.says()), { deployed: ["v7"] });
    const wrong = inPython("publish", { ...publisher, key: "some-other-key-that-is-wrong", room, message: "x" });
    assert.deepEqual([wrong.error, wrong.status], ["BackendError", 401]);
    assert.ok(!wrong.text.includes("some-other-key"), wrong.text);
  });

  test("makes tickets, each for what it allows", async () => {
    const { token } = JSON.parse(await readFile(join(project, ".room/ephemeral/control.json"), "utf8"));
    const asked = { url: server.url, token, party: "members", room: "hall", capabilities: ["read"], claims: { sub: "guest" } };
    const own = inPython("ticket", asked).value;
    const { says, client } = await visit({ party: "members", room: "hall", id: "wall", query: { ticket: own } });
    assert.equal(await says(), "hello wall");
    assert.equal((await failure(client.send("mine", { ack: true }))).code, "read_only");
    assert.equal(inPython("ticket", { ...asked, capabilities: ["fly"] }).status, 400);
  });

  test("verifies webhooks as any receiver does", () => {
    const headers = {
      "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330",
      "webhook-signature": "v1,AAAA v1a,xyz v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    };
    const hook = { headers, body: '{"test": 2432232314}', secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", now: 1_614_265_330 };
    const verified = inPython("verify_webhook", hook);
    assert.deepEqual(verified.value, { test: 2432232314, id: "msg_p5jXN8AQM9LWM0D4loKWxJek" });
    for (const [changed, text] of [
      [{ body: '{"test": 1}' }, /no signature/],
      [{ now: hook.now + 301 }, /more than 300 s away/],
      [{ headers: { ...headers, "webhook-id": undefined } }, /webhook-id is missing/],
      [{ headers: { ...headers, "webhook-timestamp": "soon" } }, /not a number of seconds/],
      [{ headers: { ...headers, "webhook-signature": "v1,not base64! v1," } }, /no signature/],
    ]) {
      const refused = inPython("verify_webhook", { ...hook, ...changed });
      assert.equal(refused.error, "WebhookError");
      assert.match(refused.text, text);
    }
  });
});
