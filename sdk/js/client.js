// A client of rooms that comes back by itself: `RoomClient`, and `PartySocket`, which is a plain WebSocket to one room. Owns
// the interface of both, which is that of `partysocket` and more, and their defaults.
//
// Invariant: a page that uses `partysocket` finds each of its options, events, properties and methods here. Modules
// without dependencies, for browsers, Node, Deno and Bun: a room server has them at `/_room/client.js`. It does not know
// frames or sockets: the folder `client` does.

import { addressOf, checkAddress, makeId, valueOf, warnOfSlashes, withQuery } from "./client/address.js";
import { Link, isFinal } from "./client/link.js";
import { Room, STATES } from "./client/room.js";
import { RoomError } from "./client/session.js";

export { Room, RoomError, isFinal };

const DEFAULTS = {
  minReconnectionDelay: 3_000,
  maxReconnectionDelay: 10_000,
  reconnectionDelayGrowFactor: 1.3,
  minUptime: 5_000,
  connectionTimeout: 4_000,
  maxRetries: Infinity,
  maxEnqueuedMessages: Infinity,
  maxEnqueuedBytes: Infinity,
  ackTimeout: 10_000,
  transports: ["websocket"],
};

const CLIENT_DEFAULTS = {
  ...DEFAULTS,
  minReconnectionDelay: 1_000,
  maxEnqueuedMessages: 1_000,
  maxEnqueuedBytes: 1 << 20,
  transports: ["websocket", "sse", "poll"],
  session: true,
  heartbeat: 30_000,
  pauseAfter: 30 * 60_000,
};

/** A WebSocket to a room. It connects when it is made, and again whenever the connection is lost. */
export class PartySocket extends Room {
  static defaults = DEFAULTS;
  static {
    for (const it of [this, this.prototype]) Object.assign(it, STATES);
  }

  constructor(options) {
    const { defaults } = new.target;
    super({ ...options, id: options.id || makeId() });
    warnOfSlashes(options);
    this._link = new Link((name) => this._options[name] ?? defaults[name]);
    if (options.startClosed) return;
    checkAddress(options);
    this._link.enter(this);
  }

  /** The address of the latest try. */
  get url() { return this._link.socket?.url ?? ""; }
  get protocol() { return this._link.socket?.protocol ?? ""; }
  get extensions() { return this._link.socket?.extensions ?? ""; }
  /** How often it has tried again since a connection lasted for `minUptime`. */
  get retryCount() { return this._link.retries; }
  /** False once it stays closed until `reconnect` is called. */
  get shouldReconnect() { return this._wanted; }

  /** Closes for good: only `reconnect` opens it again. The `close` event is dispatched before this returns. */
  close(code, reason) {
    this._link.close(code, reason);
  }

  /** Closes what there is, and connects at once. */
  reconnect(code, reason) {
    checkAddress(this._options);
    this._link.restart(this, code, reason);
  }

  /** Changes options from the next try on; those that are left out stay, the id among them. */
  updateProperties(options) {
    this._use({ ...this._options, ...options, id: options.id || this._pk });
  }

  /** Asks the room over HTTP. Options are those of a socket; `fetch` replaces the platform's. */
  static async fetch(options, init) {
    const query = await valueOf(options.query);
    return (options.fetch ?? fetch)(withQuery(addressOf(options, "http"), query), init);
  }
}

/** A client of one room or several, which misses nothing that the server still knows. */
export class RoomClient extends PartySocket {
  static defaults = CLIENT_DEFAULTS;
  /** Rooms that were joined beside the first one. */
  #rooms = new Set();

  /** `websocket`, `sse` or `poll`, while it is open. */
  get transport() { return this._link.transport; }

  /** Joins one more room, over the same socket if the server can; with `startClosed` when `enter` is called. */
  join(name, options = {}) {
    const given = { ...options, room: name };
    for (const key of ["host", "prefix", "protocol", "id", "disableNameValidation"]) given[key] ??= this._options[key];
    warnOfSlashes(given);
    const room = new Room(given);
    room.addEventListener("status", ({ status }) => {
      if (status === "closed") this.#rooms.delete(room);
      else this.#rooms.add(room);
    });
    room._link = this._link;
    if (!options.startClosed) room.enter();
    return room;
  }

  close(code, reason) {
    super.close(code, reason);
    // Those that the server could not have over the same socket.
    for (const room of [...this.#rooms]) room._link.close(code, reason);
    this.#rooms.clear();
  }
}

export default PartySocket;
