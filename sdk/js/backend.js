// What a server of one's own says to a room server, and hears from it: publications, tickets, webhooks. Owns the requests for
// these, and the check of a webhook's signature.
//
// Invariant: a webhook is read only after its signature and its time have been checked, and no error shows a secret. For
// Node 20, Deno, Bun and workers. It does not know rooms or clients.

/** How old a webhook may be, or how far ahead its clock: what is older may be a copy. */
const TOLERANCE_S = 300;

/** A request that the server refused. */
export class BackendError extends Error {
  name = "BackendError";

  constructor(status, message, retryMs) {
    super(message);
    this.status = status;
    /** After how many milliseconds the same may succeed; undefined if the server does not say. */
    this.retryMs = retryMs;
  }
}

/** A webhook whose signature or time is invalid. */
export class WebhookError extends Error {
  name = "WebhookError";
}

const toBase64 = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
const fromBase64 = (text) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
const bytesOf = (data) => (ArrayBuffer.isView(data)
  ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  : new Uint8Array(data));

async function ask({ url, fetch = globalThis.fetch, signal }, path, headers, body) {
  const answer = await fetch(new URL(path, url), { method: "POST", headers, body, signal });
  const text = await answer.text();
  if (answer.ok) return JSON.parse(text);
  const wait = Number(answer.headers.get("retry-after"));
  throw new BackendError(answer.status, text || `the server answered ${answer.status}`, wait ? wait * 1_000 : undefined);
}

/** The one of `text`, `json` and `bytes` that a message has. */
function contentOf(message) {
  const given = ["text", "json", "bytes"].filter((key) => message[key] !== undefined);
  if (given.length !== 1) throw new TypeError(`a message has one of text, json and bytes, and this one has ${given.length}`);
  return given[0];
}

const pathOf = ({ party = "main", room }) => {
  if (!room) throw new TypeError("the room is missing: write { room: \"lobby\", … }");
  return `${encodeURIComponent(party)}/${encodeURIComponent(room)}`;
};

/** Publishes a message to a room. Returns `{ id }` once its turn is durable. */
export async function publish(server, message) {
  const kind = contentOf(message);
  const [type, body] = {
    text: ["text/plain", message.text],
    json: ["application/json", JSON.stringify(message.json)],
    bytes: ["application/octet-stream", message.bytes],
  }[kind];
  const headers = { authorization: `Bearer ${server.key}`, "content-type": type };
  if (message.idempotencyKey) headers["idempotency-key"] = message.idempotencyKey;
  return ask(server, `/_room/publish/${pathOf(message)}`, headers, body);
}

/**
 * Publishes many messages, to many rooms. Returns the result of each, in order: `{ status, id }` or
 * `{ status, error, retryMs }`.
 */
export async function publishMany(server, messages) {
  const written = messages.map((message) => {
    const kind = contentOf(message);
    pathOf(message);
    const content = kind === "bytes" ? { base64: toBase64(bytesOf(message.bytes)) } : { [kind]: message[kind] };
    return { party: message.party, room: message.room, idempotency_key: message.idempotencyKey, ...content };
  });
  const headers = { authorization: `Bearer ${server.key}`, "content-type": "application/json" };
  const { results } = await ask(server, "/_room/publish", headers, JSON.stringify({ messages: written }));
  return results.map(({ retry_after, ...result }) => ({
    ...result,
    ...(retry_after !== undefined && { retryMs: retry_after * 1_000 }),
  }));
}

/** Asks an operators' address for a ticket, with a token of scope `admin`. Returns the ticket, for `?ticket=`. */
export async function ticket(server, { party = "main", room, ms = 60_000, capabilities, once, claims }) {
  const { project, token } = server;
  const path = project ? `/_room/admin/projects/${encodeURIComponent(project)}/node/tickets` : "/_room/admin/tickets";
  const body = { party, room, ms, capabilities: capabilities ?? ["read", "write", "presence"], once, claims };
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  return (await ask(server, path, headers, JSON.stringify(body))).ticket;
}

/**
 * Checks a webhook, and reads it. `headers` are those of the request, and `body` is its text or bytes as they came; `secret` is
 * the variable of `[webhooks]`, or several while it changes.
 */
export async function verifyWebhook({ headers, body, secret, toleranceS = TOLERANCE_S, now = Date.now() }) {
  const read = (name) => (typeof headers.get === "function" ? headers.get(name) : [headers[name]].flat()[0]);
  const [id, time, signatures] = ["webhook-id", "webhook-timestamp", "webhook-signature"].map((name) => {
    const value = read(name);
    if (!value) throw new WebhookError(`the header ${name} is missing`);
    return value;
  });
  if (!/^\d{1,12}$/.test(time)) throw new WebhookError("webhook-timestamp is not a number of seconds");
  if (Math.abs(now / 1_000 - Number(time)) > toleranceS) {
    throw new WebhookError(`webhook-timestamp is more than ${toleranceS} s away: the webhook may be a copy, or a clock is wrong`);
  }
  const encoder = new TextEncoder();
  const content = typeof body === "string" ? encoder.encode(body) : bytesOf(body);
  const head = encoder.encode(`${id}.${time}.`);
  const signed = new Uint8Array(head.length + content.length);
  signed.set(head);
  signed.set(content, head.length);
  const offered = signatures.split(" ").filter((one) => one.startsWith("v1,")).map((one) => one.slice(3));
  for (const one of [secret].flat()) {
    const key = await keyOf(one);
    // `verify` compares in constant time.
    for (const signature of offered) {
      if (await crypto.subtle.verify("HMAC", key, bytesOrNone(signature), signed)) {
        return { ...JSON.parse(new TextDecoder().decode(content)), id };
      }
    }
  }
  throw new WebhookError("no signature in webhook-signature is that of the secret");
}

/** The key of a secret: `whsec_` and bytes in base64, or any other text, whose bytes it is. */
async function keyOf(secret) {
  if (!secret) throw new TypeError("the secret is missing: write { secret: process.env.WEBHOOK_SECRET, … }");
  const bytes = secret.startsWith("whsec_") ? fromBase64(secret.slice(6)) : new TextEncoder().encode(secret);
  return crypto.subtle.importKey("raw", bytes, { name: "HMAC", hash: "SHA-256" }, false, ["verify"]);
}

/** Decodes a signature. A text that is not valid base64 matches no key. */
function bytesOrNone(text) {
  try {
    return fromBase64(text);
  } catch {
    return new Uint8Array();
  }
}
