// A WebSocket to a room that comes back by itself, with the interface of `partysocket`.
//
// One file without dependencies, for browsers, Node, Deno and Bun: a room server has it at
// `/_room/client.js`. README.md beside it says what it does, and where it differs from `partysocket`.

const CONNECTING = 0;
const OPEN = 1;
const CLOSING = 2;
const CLOSED = 3;

const DEFAULTS = {
  minReconnectionDelay: 3_000,
  maxReconnectionDelay: 10_000,
  reconnectionDelayGrowFactor: 1.3,
  minUptime: 5_000,
  connectionTimeout: 4_000,
  maxRetries: Infinity,
  maxEnqueuedMessages: Infinity,
};

/** Clients that lost the same server come back spread over this part of their delay. */
const SPREAD = 0.2;

/** The code of a connection that was lost, or was never made. */
const LOST = 1006;

/** True for the close codes after which another try would end the same way. */
export function isFinal(code) {
  return code === 4009 || (code >= 4400 && code <= 4499);
}

// Node has these two since a later version than browsers.
const CloseEventClass = globalThis.CloseEvent ?? class CloseEvent extends Event {
  constructor(type, { code = 0, reason = "", wasClean = false } = {}) {
    super(type);
    Object.assign(this, { code, reason, wasClean });
  }
};
const ErrorEventClass = globalThis.ErrorEvent ?? class ErrorEvent extends Event {
  constructor(type, { error, message = "" } = {}) {
    super(type);
    Object.assign(this, { error, message });
  }
};

const closeEvent = (code, reason, wasClean) => new CloseEventClass("close", { code, reason, wasClean });
const errorEvent = (error) => new ErrorEventClass("error", { error, message: error.message });

/** The value, or what the function returns, or what that promise brings. */
const valueOf = async (given) => (typeof given === "function" ? given() : given);

function makeId() {
  if (globalThis.crypto?.randomUUID) return crypto.randomUUID();
  // Pages without TLS have no randomUUID.
  const random = () => Math.floor(Math.random() * 2 ** 32).toString(16).padStart(8, "0");
  return [random(), random(), random(), random()].join("-");
}

/** The host without what stands around it, and whether it asks for TLS; undefined if it does not say. */
function readHost(text) {
  const [, scheme, rest] = /^(?:([a-z]+):\/\/)?(.*?)\/?$/i.exec(text);
  const secure = { http: false, ws: false, https: true, wss: true }[scheme?.toLowerCase()];
  return { host: rest, secure };
}

/** True for hosts on this machine or in its network, which seldom have a certificate. */
function isNear(host) {
  const name = host.replace(/:\d+$/, "").toLowerCase();
  if (name === "localhost" || name.endsWith(".localhost")) return true;
  if (["[::1]", "[::ffff:7f00:1]", "0.0.0.0"].includes(name)) return true;
  const address = /^(\d+)\.(\d+)\.\d+\.\d+$/.exec(name);
  if (!address) return false;
  const [a, b] = [Number(address[1]), Number(address[2])];
  return a === 127 || a === 10 || (a === 192 && b === 168) || (a === 172 && b >= 16 && b <= 31);
}

/** True if the host is asked with TLS: as it says itself, as the page was loaded from it, or by where it is. */
function isSecure({ host, secure }) {
  if (secure !== undefined) return secure;
  const page = globalThis.location;
  if (page?.host === host && /^https?:$/.test(page.protocol)) return page.protocol === "https:";
  return !isNear(host);
}

/** What of a name would end the path; a percent sign is the caller's, as it is in a URL. */
const inPath = (name) => String(name).replace(/[?#]/g, encodeURIComponent);

/** The address of the room, without a query. `scheme` is `ws` or `http`. */
function addressOf(options, scheme) {
  const { room, party, basePath, prefix, path, protocol } = options;
  if (path?.startsWith("/")) throw new Error(`the path ${path} begins with a slash: leave the slash out`);
  const at = readHost(options.host ?? "");
  const parts = basePath || [prefix || "parties", inPath(party ?? "main"), inPath(room)].join("/");
  const below = path ? `/${path}` : "";
  return `${protocol || scheme + (isSecure(at) ? "s" : "")}://${at.host}/${parts}${below}`;
}

/** An address with the parameters that have a value. */
function withQuery(address, query) {
  const pairs = Object.entries(query).filter(([, value]) => value !== null && value !== undefined);
  return pairs.length === 0 ? address : `${address}?${new URLSearchParams(pairs)}`;
}

function warnOfSlashes({ party, room, disableNameValidation }) {
  if (disableNameValidation) return;
  for (const [what, name] of Object.entries({ party, room })) {
    if (!name?.includes("/")) continue;
    console.warn(`PartySocket: the name of the ${what} ${JSON.stringify(name)} has a slash in it: what `
      + "follows the slash becomes a path. Leave it out, or set disableNameValidation.");
  }
}

const bytesOf = (message) => (typeof message === "string"
  ? new TextEncoder().encode(message).length
  : message.size ?? message.byteLength);

/** A WebSocket to a room. It connects when it is made, and again whenever the connection is lost. */
export class PartySocket extends EventTarget {
  static CONNECTING = CONNECTING;
  static OPEN = OPEN;
  static CLOSING = CLOSING;
  static CLOSED = CLOSED;
  CONNECTING = CONNECTING;
  OPEN = OPEN;
  CLOSING = CLOSING;
  CLOSED = CLOSED;

  onopen = null;
  onmessage = null;
  onclose = null;
  onerror = null;

  #options;
  /** The socket of the latest try. */
  #socket = null;
  /** True until the application has been told that this socket is closed. */
  #live = false;
  #binaryType = "blob";
  /** Messages that wait for an open socket. */
  #queue = [];
  /** Tries since a connection lasted, without the first. */
  #retries = 0;
  /** Stands for the running try. What belongs to another one is not listened to any more. */
  #try = null;
  #timer;
  #uptime;
  /** False from a close by the application, or a final one, until the next `reconnect`. */
  #wanted;
  #closed = false;
  #warned = false;

  constructor(options) {
    super();
    for (const type of ["open", "message", "close", "error"]) {
      this.addEventListener(type, (event) => this[`on${type}`]?.(event));
    }
    this.#use({ ...options, id: options.id || makeId() });
    warnOfSlashes(options);
    this.#wanted = !options.startClosed;
    if (!this.#wanted) return;
    this.#check("pass it to the constructor, or pass startClosed: true and set it with updateProperties");
    this.#connect(0);
  }

  /** The connection's id, which stays when it comes back. */
  get id() { return this._pk; }
  /** The address of the room without the query. */
  get roomUrl() { return this._pkurl; }
  /** The address of the latest try. */
  get url() { return this.#socket?.url ?? ""; }
  get protocol() { return this.#socket?.protocol ?? ""; }
  get extensions() { return this.#socket?.extensions ?? ""; }
  /** How often it has tried again since a connection lasted for `minUptime`. */
  get retryCount() { return this.#retries; }
  /** False once it stays closed until `reconnect` is called. */
  get shouldReconnect() { return this.#wanted; }

  get readyState() {
    if (this.#closed) return CLOSED;
    if (this.#socket) return this.#socket.readyState;
    return this.#wanted ? CONNECTING : CLOSED;
  }

  get binaryType() { return this.#binaryType; }
  set binaryType(type) {
    this.#binaryType = type;
    if (this.#socket) this.#socket.binaryType = type;
  }

  /** Bytes that were given to `send` and have not left for the network. */
  get bufferedAmount() {
    const queued = this.#queue.reduce((sum, message) => sum + bytesOf(message), 0);
    return queued + (this.#socket?.bufferedAmount ?? 0);
  }

  /** Sends, or keeps for the next connection. True if it was sent now. */
  send(message) {
    if (this.#socket?.readyState === OPEN && !this.#closed) {
      this.#socket.send(message);
      return true;
    }
    if (this.#closed && !this.#warned) {
      this.#warned = true;
      console.warn("PartySocket: send() was called after close(). The message waits until reconnect() is called.");
    }
    if (this.#queue.length < this.#option("maxEnqueuedMessages")) this.#queue.push(message);
    return false;
  }

  /** Takes the messages that wait out of the queue. */
  drainQueuedMessages() {
    return this.#queue.splice(0);
  }

  /** Closes for good: only `reconnect` opens it again. The `close` event is dispatched before this returns. */
  close(code = 1000, reason = "") {
    this.#hangUp(code, reason);
    this.#closed = true;
    this.#wanted = false;
    this.#tell(code, reason, true);
  }

  /** Closes what there is, and connects at once. */
  reconnect(code = 1000, reason = "") {
    this.#check("set it with updateProperties");
    this.#hangUp(code, reason);
    this.#wanted = true;
    this.#closed = false;
    this.#warned = false;
    this.#retries = 0;
    // Before the application is told, which may call this or `close` in turn: the latest call counts.
    this.#connect(0);
    this.#tell(code, reason, true);
  }

  /** Changes options from the next try on; those that are left out stay, the id among them. */
  updateProperties(options) {
    this.#use({ ...this.#options, ...options, id: options.id || this._pk });
  }

  /** Asks the room over HTTP. Options are those of a socket; `fetch` replaces the platform's. */
  static async fetch(options, init) {
    const query = await valueOf(options.query);
    return (options.fetch ?? fetch)(withQuery(addressOf(options, "http"), query ?? {}), init);
  }

  #use(options) {
    this._pkurl = addressOf(options, "ws");
    this.#options = options;
    this._pk = options.id;
    this.name = options.party ?? "main";
    this.room = options.room;
    this.host = readHost(options.host ?? "").host;
    this.path = options.path ? `/${options.path}` : "";
    this.basePath = options.basePath;
  }

  #option(name) {
    return this.#options[name] ?? DEFAULTS[name];
  }

  #check(way) {
    if (!this.host) throw new Error(`the host is missing: ${way}`);
    if (!this.room && !this.basePath) throw new Error(`the room (or basePath) is missing: ${way}`);
  }

  #debug(...what) {
    if (this.#options.debug) (this.#options.debugLogger ?? console.log)("PartySocket", ...what);
  }

  /** Ends what the running try waits for. */
  #halt() {
    this.#try = null;
    clearTimeout(this.#timer);
    clearTimeout(this.#uptime);
  }

  /** Closes the socket. It throws if the code or the reason is invalid, and then nothing has changed. */
  #hangUp(code, reason) {
    if (this.#live) this.#socket.close(code, reason);
    this.#halt();
  }

  /** Tells the application once that the socket is closed. */
  #tell(code, reason, wasClean) {
    if (!this.#live) return;
    this.#live = false;
    this.dispatchEvent(closeEvent(code, reason, wasClean));
  }

  #connect(delay) {
    this.#halt();
    const mine = this.#try = {};
    this.#debug("connects in", delay, "ms");
    this.#timer = setTimeout(() => this.#begin(mine), delay);
  }

  /** Tries again after a while, unless it was tried often enough. */
  #retry() {
    if (!this.#wanted) return;
    if (this.#retries >= this.#option("maxRetries")) {
      this.#debug("gives up after", this.#retries, "retries");
      return;
    }
    this.#retries += 1;
    const grown = this.#option("minReconnectionDelay")
      * this.#option("reconnectionDelayGrowFactor") ** (this.#retries - 1);
    const delay = Math.min(grown, this.#option("maxReconnectionDelay"));
    this.#connect(delay * (1 + SPREAD * Math.random()));
  }

  async #begin(mine) {
    try {
      const [query, protocols] = await Promise.all([
        valueOf(this.#options.query),
        valueOf(this.#options.protocols),
      ]);
      if (this.#try !== mine) return;
      this.#open(withQuery(this._pkurl, { _pk: this._pk, ...query }), protocols, mine);
    } catch (error) {
      if (this.#try === mine) this.#fail(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #open(url, protocols, mine) {
    const Socket = this.#options.WebSocket ?? globalThis.WebSocket;
    if (!Socket) {
      throw new Error("this platform has no WebSocket: pass one as the option WebSocket, such as that of the package ws");
    }
    this.#debug("opens", url);
    const socket = protocols ? new Socket(url, protocols) : new Socket(url);
    socket.binaryType = this.#binaryType;
    this.#socket = socket;
    this.#live = true;
    const listen = (type, heard) => socket.addEventListener(type, (event) => {
      if (this.#try === mine) heard(event);
    });
    listen("open", () => this.#opened());
    listen("message", ({ data, origin }) => this.dispatchEvent(new MessageEvent("message", { data, origin })));
    listen("error", (event) => this.#failed(event));
    listen("close", ({ code, reason, wasClean }) => this.#ended(code, reason, wasClean));
    this.#timer = setTimeout(() => this.#late(mine), this.#option("connectionTimeout"));
  }

  #opened() {
    clearTimeout(this.#timer);
    this.#uptime = setTimeout(() => { this.#retries = 0; }, this.#option("minUptime"));
    for (const message of this.drainQueuedMessages()) this.#socket.send(message);
    this.dispatchEvent(new Event("open"));
  }

  /** The socket failed: its close event follows. */
  #failed(event) {
    const error = event.error ?? new Error(event.message || "the connection failed");
    this.#debug("failed", error.message);
    this.dispatchEvent(errorEvent(error));
  }

  /** The server closed the connection, or it was lost. */
  #ended(code, reason, wasClean) {
    this.#debug("closed", code, reason);
    this.#halt();
    const again = this.#options.shouldReconnectOnClose?.(closeEvent(code, reason, wasClean)) ?? true;
    if (isFinal(code) || !again) this.#wanted = false;
    this.#retry();
    this.#tell(code, reason, wasClean);
  }

  /** The server did not open the connection in time. */
  #late(mine) {
    this.dispatchEvent(errorEvent(new Error("TIMEOUT")));
    // The application may have closed it, or begun another try.
    if (this.#try !== mine) return;
    this.#socket.close();
    this.#ended(LOST, "timeout", false);
  }

  /** A try ended before there was a socket. */
  #fail(error) {
    this.#debug("failed", error.message);
    if (!this.#options.WebSocket && !globalThis.WebSocket) console.error(`PartySocket: ${error.message}`);
    this.#retry();
    this.dispatchEvent(errorEvent(error));
  }
}

export default PartySocket;
