// One room, as a page sees it. Owns its events, what is sent to it, and the bounds of what waits.
//
// Invariant: `close` is dispatched once for each connection and for each try, before anything of the next one. It does not
// know how its link reaches the server, or when it tries again.

import { addressOf, after, makeId, readHost } from "./address.js";
import { Member, RoomError, sizeOf } from "./session.js";

/** The states of a WebSocket, by which `readyState` counts. */
export const STATES = { CONNECTING: 0, OPEN: 1, CLOSING: 2, CLOSED: 3 };

/** An event with these properties: not every platform has classes for all of them. */
export const eventOf = (type, keys) => Object.assign(new Event(type), keys);

const TYPES = ["open", "message", "close", "error", "status", "gap", "presence"];

/** A room that the client is in, or comes back to. */
export class Room extends EventTarget {
  binaryType = "blob";
  #status = "closed";
  /** True if the console has the warning about a message after `close`. */
  #warned;
  /** True until `close` has been dispatched for its connection. */
  #live;

  /** A room that is reached by a link. */
  constructor(options) {
    super();
    for (const type of TYPES) {
      this[`on${type}`] = null;
      this.addEventListener(type, (event) => this[`on${type}`]?.(event));
    }
    this._member = new Member((type, detail) => this._link.heard(this, type, detail), makeId().slice(0, 8));
    this._use(options);
  }

  // What begins with an underscore is for the other files of this client.

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

  /** What leads to its server. */
  _link;
  /** Whether it wants to be in the room. */
  _wanted = false;
  /** True from a close by the application until it is opened again. */
  _shut = false;
  /** How often it was joined again since a connection lasted for `minUptime`. */
  _tries = 0;

  /** Dispatches `status` if it has changed. */
  _refresh() {
    const status = this._wanted ? this._link.statusOf(this) : "closed";
    if (status === this.#status) return;
    this.#status = status;
    this.#fire("status", { status });
  }

  /** A try to connect begins, whose end is dispatched. */
  _began() { this.#live = true; }

  #fire(type, keys) { this.dispatchEvent(eventOf(type, keys)); }

  /** Dispatches `close`, once for each connection and each try. */
  _closed(code, reason, wasClean = true) {
    if (!this.#live) return;
    this.#live = false;
    this.#fire("close", { code, reason, wasClean });
  }

  _error(error) {
    this.#fire("error", { error, message: error.message });
  }

  _opened({ arrival, gap }) {
    this.arrival = arrival;
    this._refresh();
    if (arrival === "gap") this.#fire("gap", { gap });
    this.#fire("open", { arrival });
  }

  _message({ data, id, replayed }) {
    if (typeof data !== "string" && this.binaryType === "blob") data = new Blob([data]);
    const init = { data, origin: this._pkurl.split("/", 3).join("/"), lastEventId: id ?? "" };
    this.dispatchEvent(Object.assign(new MessageEvent("message", init), { replayed }));
  }

  _present(change) {
    this.#fire("presence", { ...change, users: this.presence.users });
  }

  /** The connection's id, which stays when it comes back. */
  get id() { return this._pk; }
  /** The address of the room without the query. */
  get roomUrl() { return this._pkurl; }
  /** Who is here, and what they show. */
  get presence() { return this._member.presence; }
  /** `connecting`, `open`, `waiting` before it tries again, `offline`, `paused`, or `closed`. */
  get status() { return this.#status; }

  get readyState() {
    if (!this._wanted) return STATES.CLOSED;
    return this._link.readyStateOf(this);
  }

  /** Bytes that were given to `send` and have not left for the network. */
  get bufferedAmount() {
    return this._member.waiting.reduce((sum, { bytes }) => sum + bytes, 0) + this._link.bufferedAmount;
  }

  /** Sends, or keeps for the next connection. True if it was sent now; with `ack` a promise of its acknowledgement. */
  send(data, { ack = false, again = false, timeout = this._link.option("ackTimeout") } = {}) {
    // As a WebSocket does with what is neither text nor bytes.
    const bytes = sizeOf(data) ?? sizeOf(data = String(data));
    const entry = { given: data, bytes, again };
    const full = this.#full(entry);
    if (ack) return full ? Promise.reject(full) : this.#giveAcked(entry, timeout);
    if (full) this._error(full);
    return !full && this.#give(entry);
  }

  /** Takes the messages that wait out of the queue. */
  drainQueuedMessages() {
    const waiting = [...this._member.waiting];
    this._member.fail(new RoomError("dropped", "the message was taken out of the queue"), waiting);
    return waiting.map(({ given }) => given);
  }

  /** Joins the room, if it does not yet. */
  enter() {
    if (!this._wanted) this._link.enter(this);
  }

  /** Leaves the room. */
  leave() {
    this._link.leave(this);
  }

  #giveAcked(entry, timeout) {
    return new Promise((resolve, reject) => {
      const timer = after(timeout, () => {
        const message = `no answer came in ${timeout} ms: the message may have been handled`;
        this.#refuse(entry, new RoomError("no_answer", message));
      });
      entry.settled = (error) => {
        clearTimeout(timer);
        if (error) reject(error);
        else resolve();
      };
      this.#give(entry);
    });
  }

  /** Settles a message without the server. Others may have waited for its place. */
  #refuse(entry, error) {
    this._member.settle(entry, error);
    this._link.flush(this);
  }

  /** Returns the error if the queue is full. A message that can be sent at once needs no space in it. */
  #full({ bytes }) {
    const { waiting, unanswered, channel, bytes: held } = this._member;
    if (waiting.length === 0 && channel !== undefined) return undefined;
    const [count, size] = [this._link.option("maxEnqueuedMessages"), this._link.option("maxEnqueuedBytes")];
    if (waiting.length + unanswered.size < count && held + bytes <= size) return undefined;
    return new RoomError("queue_full", `the queue holds at most ${count} messages and ${size} bytes`);
  }

  #give(entry) {
    if (this._shut && !this.#warned) {
      this.#warned = true;
      console.warn("PartySocket: a message after close() waits for reconnect()");
    }
    const { given } = entry;
    const isBlob = globalThis.Blob && given instanceof Blob;
    if (!isBlob) entry.data = given;
    const sent = this._link.send(this, entry);
    // A blob keeps its place among the others until it is read.
    if (isBlob) given.arrayBuffer().then((bytes) => {
      entry.data = bytes;
      this._link.flush(this);
    }, (error) => {
      this.#refuse(entry, error);
      this._error(error);
    });
    return sent;
  }
}
