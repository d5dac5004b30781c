// The ways to a server that has no WebSockets for this client: server-sent events or long polls, and a post for each message.
// Owns how both say and hear the frames of `room.1`. It is loaded when it is needed.
//
// Invariant: as of a WebSocket's carrier. Posts of one connection are made one after the other, as the server handles each
// as it comes. It does not know which rooms there are, or when it is opened again.

// It imports nothing, so that a bundler leaves it whole and apart.

/** The code of a connection that was lost. */
const LOST = 1006;

/** A post is answered when its turn is durable. It has no id by which it is known again. */
const POSTED = { rooms: false, acks: true, ids: false };

/** Without a byte for this long, an event stream is lost: the server writes at least every 15 s. */
const SILENCE_MS = 45_000;
/** An answer to a poll takes at most 25 s, and then some for the way. */
const POLL_MS = 40_000;
/** A new connection is answered at once. A poll that takes longer waits for messages of the former one. */
const RESUMED_MS = 1_000;

/** Posts that wait for those before them, and their bytes. A further message is refused with `queue_full`. */
const POSTS_MAX = 1_000;
const POST_BYTES_MAX = 1 << 20;

/** Posts that wait when the client closes may take this long. Later ones are not made. */
const DRAIN_MS = 5_000;

/** What the status of a post means. */
const CODES = { 400: "malformed", 403: "over", 410: "over", 413: "too_large", 429: "too_fast", 503: "busy" };

/** What event streams and polls have in common: the room's connection, the client's posts, and the end. */
class Posting {
  /** What of a socket a page may ask for is here. */
  socket = this;
  readyState = 0;
  #stop = new AbortController();
  #posts = Promise.resolve();
  #count = 0;
  #bytes = 0;

  constructor({ at, query, token, fetch = globalThis.fetch, heard, timeout }) {
    this.at = at;
    this.query = query;
    this.heard = heard;
    this.timeout = timeout;
    this.url = at(query);
    /** What admits the client. Later requests show the connection's secret alone. */
    this.admission = token ? { authorization: `Bearer ${token}` } : {};
    this.fetch = (url, init, ms) => {
      const signal = ms ? anyOf([this.#stop.signal, AbortSignal.timeout(ms)]) : this.#stop.signal;
      return fetch(url, { ...init, signal });
    };
    this.run().then(() => this.end(LOST, "", false), (error) => {
      if (this.readyState > 1) return;
      this.heard.error(error);
      this.end(LOST, "", false);
    });
  }

  get bufferedAmount() { return this.#bytes; }

  opened() {
    this.readyState = 1;
    this.heard.opened(POSTED);
  }

  /** Takes the connection's id and secret, by which it posts. */
  joined(welcome) {
    this.connection = welcome.connection;
    this.secret = welcome.secret;
    this.heard.frame({ type: "joined", channel: 0, ...welcome });
  }

  end(code, reason, wasClean) {
    if (this.readyState > 1) return;
    this.drop();
    this.heard.ended(code, reason, wasClean);
  }

  drop() {
    this.readyState = 3;
    this.#stop.abort();
  }

  close(code, reason) {
    if (code !== 1000 && !(code >= 3000 && code <= 4999)) {
      throw new DOMException(`${code} is not a close code of a client: write 1000, or 3000 to 4999`, "InvalidAccessError");
    }
    if (this.#count === 0) return this.drop();
    // It stays open, as posts are those of its connection.
    this.readyState = 2;
    const timer = setTimeout(() => this.drop(), DRAIN_MS);
    this.#posts.then(() => {
      clearTimeout(timer);
      this.drop();
    });
  }

  /** The end that a refusal with this status is, or undefined if the server may not know this way. */
  refusal(status) {
    const isFinal = status >= 400 && status < 500 && ![404, 405, 406, 408, 429].includes(status);
    return isFinal ? 4000 + status : undefined;
  }

  write({ type, ref, data }) {
    // The carrier is closed with its only room.
    if (type === "leave") return;
    if (type !== "send") return this.#refuse(ref, "no_socket", `${type} needs a WebSocket`);
    const bytes = data.byteLength ?? data.length;
    // One that is alone may have any size: the server says what is too large.
    if (this.#count >= POSTS_MAX || (this.#count > 0 && this.#bytes + bytes > POST_BYTES_MAX)) {
      return this.#refuse(ref, "queue_full", `at most ${POSTS_MAX} messages and ${POST_BYTES_MAX} bytes wait to be posted`);
    }
    this.#count += 1;
    this.#bytes += bytes;
    // One after the other, as the server handles each as it comes.
    this.#posts = this.#posts.then(() => this.#post(data, ref)).finally(() => {
      this.#count -= 1;
      this.#bytes -= bytes;
    });
  }

  /** Answers for the server, when the caller has noted what it asked. */
  #refuse(ref, code, message) {
    queueMicrotask(() => this.hear({ type: "error", ref, channel: 0, code, message }));
  }

  hear(frame) {
    if (this.readyState === 1) this.heard.frame(frame);
  }

  async #post(data, ref) {
    if (this.readyState > 2) return;
    const isText = typeof data === "string";
    const headers = { "x-room-secret": this.secret, "content-type": isText ? "text/plain" : "application/octet-stream" };
    const url = this.at({ _connection: this.connection });
    try {
      const answer = await this.fetch(url, { method: "POST", headers, body: data }, POLL_MS);
      const text = await answer.text();
      if (answer.ok) {
        // The party's answer to a ping comes with the post.
        if (answer.status === 200) this.hear({ type: "message", channel: 0, data: text });
        this.hear({ type: "ack", channel: 0, ref });
        return;
      }
      const wait = Number(answer.headers.get("retry-after"));
      const retry_ms = wait ? wait * 1_000 : undefined;
      this.hear({ type: "error", channel: 0, ref, code: CODES[answer.status] ?? "failed", message: text, retry_ms });
    } catch (error) {
      if (this.readyState !== 1) return;
      this.heard.error(error);
      this.end(LOST, "a post failed", false);
    }
  }
}

/** A signal that is aborted with the first of these. */
function anyOf(signals) {
  if (AbortSignal.any) return AbortSignal.any(signals);
  const stop = new AbortController();
  for (const signal of signals) signal.addEventListener("abort", () => stop.abort(signal.reason), { once: true });
  return stop.signal;
}

const fromBase64 = (text) => Uint8Array.from(atob(text), (byte) => byte.charCodeAt(0)).buffer;

/** Server-sent events. */
class EventStream extends Posting {
  async run() {
    const answer = await this.fetch(this.url, { headers: { accept: "text/event-stream", ...this.admission } });
    if (!answer.headers.get("content-type")?.startsWith("text/event-stream")) return this.#refused(answer);
    this.opened();
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { done, value } = await this.#within(reader.read());
      if (done) return;
      this.heard.life();
      const events = (text + value).split("\n\n");
      text = events.pop();
      for (const event of events) this.#take(event);
    }
  }

  #refused({ status }) {
    const code = this.refusal(status);
    if (code) this.end(code, `the server answered ${status}`, true);
    else throw new Error(`the server has no event stream here: it answered ${status}`);
  }

  async #within(read) {
    let timer;
    const late = new Promise((_, fail) => { timer = setTimeout(fail, SILENCE_MS, new Error("the event stream is silent")); });
    try {
      return await Promise.race([read, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  #take(event) {
    const fields = {};
    for (const line of event.split("\n")) {
      const [, name, value] = /^([a-z]+): ?([^]*)$/.exec(line) ?? [];
      if (name === "data") fields.data = fields.data === undefined ? value : `${fields.data}\n${value}`;
      else if (name) fields[name] = value;
    }
    const { event: name = "message", data, id } = fields;
    if (data === undefined) return;
    // What follows the id is for an EventSource, which knows nothing else.
    const at = id?.split(".")[0];
    if (name === "welcome") this.joined(JSON.parse(data));
    else if (name === "message") this.hear({ type: "message", channel: 0, data, id: at });
    else if (name === "binary") this.hear({ type: "message", channel: 0, data: fromBase64(data), id: at });
    else if (name === "presence") this.hear({ type: "presence", channel: 0, ...JSON.parse(data) });
    else if (name === "close") {
      const { code, reason } = JSON.parse(data);
      this.end(code, reason, true);
    }
  }
}

/** Long polls. */
class LongPoll extends Posting {
  async run() {
    let { _since: since, _resume: secret, ...query } = this.query;
    // The first poll of a connection has no presence.
    let presenceAt = secret && 0;
    const resumed = () => {
      if (this.readyState > 0) return;
      this.opened();
      this.joined({ connection: query._pk, secret, at: since, arrival: "resumed" });
    };
    if (secret) setTimeout(resumed, Math.min(RESUMED_MS, this.timeout / 2));
    for (;;) {
      const url = this.at({ ...query, _poll: "", _since: since, _presence_at: presenceAt });
      const headers = { ...(secret && { "x-room-secret": secret }), ...(!this.secret && this.admission) };
      const response = await this.fetch(url, { headers }, POLL_MS);
      const answer = await response.json().catch(() => undefined);
      if (this.readyState > 1) return;
      if (!answer?.messages) return this.#refused(response, answer);
      // A poll that the connection knows has no welcome.
      if (!answer.welcome) resumed();
      else {
        if (this.readyState === 0) this.opened();
        this.joined(answer.welcome);
      }
      secret = this.secret;
      delete query._rewind;
      this.heard.life();
      for (const { id, text, base64 } of answer.messages) {
        this.hear({ type: "message", channel: 0, id, data: text ?? fromBase64(base64) });
      }
      if (answer.presence) this.hear({ type: "presence", channel: 0, ...answer.presence });
      presenceAt = answer.presence_at ?? presenceAt ?? 0;
      since = answer.since;
      const closed = answer.superseded ? { code: 4409, reason: "another poll took its place" } : answer.closed;
      if (closed) return this.end(closed.code, closed.reason, true);
      if (this.readyState > 1) return;
    }
  }

  #refused({ status }, answer) {
    const code = answer?.code ?? this.refusal(status);
    // Every refusal of a poll has a name; another answer is that of a room that has no polls.
    if (code && answer?.error) this.end(code, answer.message ?? "", true);
    else throw new Error(answer?.message ?? `the server has no polls here: it answered ${status}`);
  }
}

/** The carriers by the names of their transports. */
export const carriers = { sse: EventStream, poll: LongPoll };
