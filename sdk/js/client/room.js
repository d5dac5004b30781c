// One room, as a page sees it. Owns its events, what is sent to it, and the bounds of what waits.
//
// Invariant: `close` is dispatched once for each connection and for each try, before anything of the next one. It does not
// know how its link reaches the server, or when it tries again.

import { addressOf, after, makeId, readHost } from "./address.js";
import { Member, RoomError, sizeOf } from "./session.js";

export const CONNECTING = 0;
export const OPEN = 1;
export const CLOSED = 3;

/** An event with these properties: not every platform has classes for all of them. */
export const eventOf = (type, keys) => Object.assign(new Event(type), keys);

const TYPES = ["open", "message", "close", "error", "status", "gap", "presence"];

/** A room that the client is in, or comes back to. */
export class Room extends EventTarget {
  #member;
  #link;
  #binaryType = "blob";
  #status = "closed";
  /** True if it was told that a message after `close` waits. */
  #warned = false;
  /** True until the application has been told that its connection is closed. */
  #live = false;

  /** A room that is reached by a link. */
  constructor(options) {
    super();
    for (const type of TYPES) {
      this[`on${type}`] = null;
      this.addEventListener(type, (event) => this[`on${type}`]?.(event));
    }
    this.#member = new Member((type, detail) => this.#link.heard(this, type, detail), makeId().slice(0, 8));
    this._use(options);
  }

  // What begins with an underscore is for the other files of this client.

  get _member() { return this.#member; }
  get _link() { return this.#link; }

  _use(options) {
    this._pkurl = addressOf(options, "ws");
    this._options = options;
    this._pk = options.id;
    this.name = options.party ?? "main";
    this.room = options.room;
    this.host = readHost(options.host).host;
    this.path = options.path ? `/${options.path}` : "";
    this.basePath = options.basePath;
  }

  _moveTo(link) { this.#link = link; }

  /** Whether it wants to be in the room. */
  _wanted = false;
  /** True from a close by the application until it is opened again. */
  _shut = false;
  /** How often it was joined again since a connection lasted for `minUptime`. */
  _tries = 0;

  /** Dispatches `status` if it has changed. */
  _refresh() {
    const status = this._wanted ? this.#link.statusOf(this) : "closed";
    if (status === this.#status) return;
    this.#status = status;
    this.dispatchEvent(eventOf("status", { status }));
  }

  /** A try to connect begins, of which the application hears the end. */
  _began() { this.#live = true; }

  /** Tells the application once that its connection is closed. */
  _closed(code, reason, wasClean) {
    if (!this.#live) return;
    this.#live = false;
    this.dispatchEvent(eventOf("close", { code, reason, wasClean }));
  }

  _error(error) {
    this.dispatchEvent(eventOf("error", { error, message: error.message }));
  }

  _opened({ arrival, gap }) {
    this.arrival = arrival;
    this._refresh();
    if (arrival === "gap") this.dispatchEvent(eventOf("gap", { gap }));
    this.dispatchEvent(eventOf("open", { arrival }));
  }

  _message({ data, id, replayed }) {
    if (typeof data !== "string" && this.#binaryType === "blob") data = new Blob([data]);
    const init = { data, origin: this._pkurl.split("/", 3).join("/"), lastEventId: id ?? "" };
    this.dispatchEvent(Object.assign(new MessageEvent("message", init), { replayed }));
  }

  _present(change) {
    this.dispatchEvent(eventOf("presence", { ...change, users: this.presence.users }));
  }

  /** The connection's id, which stays when it comes back. */
  get id() { return this._pk; }
  /** The address of the room without the query. */
  get roomUrl() { return this._pkurl; }
  /** Who is here, and what they show. */
  get presence() { return this.#member.presence; }
  /** `connecting`, `open`, `waiting` before it tries again, `offline`, `paused`, or `closed`. */
  get status() { return this.#status; }

  get readyState() {
    if (!this._wanted) return CLOSED;
    return this.#link.readyStateOf(this);
  }

  get binaryType() { return this.#binaryType; }
  set binaryType(type) { this.#binaryType = type; }

  /** Bytes that were given to `send` and have not left for the network. */
  get bufferedAmount() {
    return this.#member.waiting.reduce((sum, { bytes }) => sum + bytes, 0) + this.#link.bufferedAmount;
  }

  /** Sends, or keeps for the next connection. True if it was sent now; with `ack` a promise of its acknowledgement. */
  send(data, { ack = false, again = false, timeout } = {}) {
    // As a WebSocket does with what is neither text nor bytes.
    if (sizeOf(data) === undefined) data = String(data);
    if (ack) return this.#sendAcked(data, again, timeout ?? this.#link.option("ackTimeout"));
    const entry = { data: undefined, bytes: sizeOf(data) };
    const full = this.#full(entry);
    if (full) {
      this._error(full);
      return false;
    }
    return this.#give(entry, data);
  }

  /** Takes the messages that wait out of the queue. */
  drainQueuedMessages() {
    const waiting = [...this.#member.waiting];
    for (const entry of waiting) this.#member.settle(entry, new RoomError("dropped", "the message was taken out of the queue"));
    return waiting.map(({ given }) => given);
  }

  /** Joins the room, if it does not yet. */
  enter() {
    this._shut = false;
    if (!this._wanted) this.#link.enter(this);
  }

  /** Leaves the room. */
  leave() {
    this.#link.leave(this);
  }

  #sendAcked(data, again, timeout) {
    return new Promise((resolve, reject) => {
      const entry = { data: undefined, bytes: sizeOf(data), again };
      const full = this.#full(entry);
      if (full) return reject(full);
      const timer = after(timeout, () => {
        const message = `there is no answer after ${timeout} ms: the message may have been handled`;
        this.#member.settle(entry, new RoomError("no_answer", message));
        // Others may have waited for its place.
        this.#link.flush(this);
      });
      entry.settled = (error) => {
        clearTimeout(timer);
        if (error) reject(error);
        else resolve();
      };
      this.#give(entry, data);
    });
  }

  /** The error if there is no space for one more. What can be sent at once needs none. */
  #full({ bytes }) {
    const { waiting, unanswered, channel, bytes: held } = this.#member;
    if (waiting.length === 0 && channel !== undefined) return undefined;
    const [count, size] = [this.#link.option("maxEnqueuedMessages"), this.#link.option("maxEnqueuedBytes")];
    if (waiting.length + unanswered.size < count && held + bytes <= size) return undefined;
    return new RoomError("queue_full", `${waiting.length} messages wait, or more than ${size} bytes with this one`);
  }

  #give(entry, data) {
    if (this._shut && !this.#warned) {
      this.#warned = true;
      console.warn("PartySocket: a message after close() waits for reconnect()");
    }
    entry.given = data;
    if (!(globalThis.Blob && data instanceof Blob)) entry.data = data;
    const sent = this.#link.send(this, entry);
    // It keeps its place among the others until it is read.
    if (entry.data === undefined) data.arrayBuffer().then((bytes) => {
      entry.data = bytes;
      this.#link.flush(this);
    }, (error) => {
      this.#member.settle(entry, error);
      this._error(error);
      this.#link.flush(this);
    });
    return sent;
  }
}
