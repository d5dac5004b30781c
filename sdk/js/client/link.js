// The way of a client's rooms to their server. Owns when it connects, by which carrier, and when it tries again.
//
// Invariant: one try runs at a time, and events of an older one are ignored. A try that fails is followed by a later one,
// until no room wants one. It does not know what rooms say.

import { after, isNear, queryOf, valueOf, withQuery } from "./address.js";
import { ROOM_PROTOCOL } from "./frames.js";
import { watchPage } from "./page.js";
import { STATES, eventOf } from "./room.js";
import { RoomError, Session } from "./session.js";
import { AWAY, LOST, overWebSocket } from "./websocket.js";

/** Clients that lost the same server come back spread over this part of their delay. */
const SPREAD = 0.2;

/** No delay is longer, before a part is added: timers would end it at once. */
const DELAY_MS_MAX = 2 ** 30;

/** By the host: the transport that worked last on this page. */
const remembered = new Map();

/** The close codes that stand for the error codes of a refused `join`. */
const CLOSES = { unauthorized: 4401, forbidden: 4403, bad_room: 4400, malformed: 4400, not_found: 4404, origin: 4403 };

/** True for the close codes after which another try would end the same way. */
export function isFinal(code) {
  return code === 4009 || (code >= 4400 && code <= 4499);
}

const asError = (error) => (error instanceof Error ? error : new Error(String(error)));

export class Link {
  #rooms = [];
  #session = new Session((frame) => this.#carrier.write(frame));
  #carrier = null;
  /** Stands for the running try. */
  #try = null;
  #timer;
  #uptime;
  #pulse;
  #retries = 0;
  /** `idle`, `connecting`, `open`, `waiting`, `offline` or `paused`. */
  #phase = "idle";
  /** The newest carrier, also after its end. */
  #latest = null;
  /** The room whose address the carrier of the running try has. */
  #first;
  /** The place of the carrier of the next try among the transports; undefined before the first try. */
  #way;
  /** True while the server checks a newer token. */
  #asking = false;
  #heardAt = 0;
  /** Ends the watch of the page; null without one. */
  #unwatch = null;

  /** `option` returns the latest value of an option of the client, or its default. */
  constructor(option) {
    this.option = option;
  }

  /** What the latest try has of a socket: `url`, `protocol`, `extensions`. */
  get socket() { return this.#latest?.socket; }
  get retries() { return this.#retries; }
  get transport() { return this.#phase === "open" ? this.#name : undefined; }
  get bufferedAmount() { return this.#carrier?.socket.bufferedAmount ?? 0; }

  get #host() { return this.#first.host; }
  get #transports() { return this.option("transports"); }
  get #name() { return this.#transports[this.#way ?? 0]; }
  /** True if it means to connect, and does not yet. */
  get #isAway() { return /^(waiting|offline|paused)$/.test(this.#phase); }
  get #wanting() { return this.#rooms.filter((room) => room._wanted); }

  statusOf(room) {
    const isJoining = this.#phase === "open" && room._member.channel === undefined;
    return isJoining || this.#phase === "idle" ? "connecting" : this.#phase;
  }

  readyStateOf(room) {
    if (this.#isAway) return STATES.CLOSED;
    const state = this.#carrier?.socket.readyState ?? STATES.CONNECTING;
    return state === STATES.OPEN && room._member.channel === undefined ? STATES.CONNECTING : state;
  }

  /** Takes the room in: over what is open, or with the next try. */
  enter(room) {
    this.#want(room);
    if (this.#session.can) this.#also(room);
    else if (this.#phase === "idle") this.#connect(0);
    room._refresh();
  }

  /** Closes what there is, and connects at once. */
  restart(room, code = 1000, reason = "") {
    this.#hangUp(code, reason);
    this.#want(room);
    for (const own of this.#rooms) {
      own._renewed = false;
      own._tries = 0;
    }
    this.#retries = 0;
    // Before the events, whose listeners may call this or `close` in turn: the latest call counts.
    this.#connect(0);
    this.#tell(code, reason);
  }

  /** Closes for good. */
  close(code = 1000, reason = "") {
    this.#hangUp(code, reason);
    for (const room of this.#rooms) {
      room._wanted = false;
      room._shut = true;
      this.#giveUp(room, code, reason);
    }
    this.#rest();
    this.#tell(code, reason);
  }

  /** Leaves one room. */
  leave(room) {
    this.#session.leave(room._member);
    this.#still(room);
    this.#rooms = this.#rooms.filter((own) => own !== room);
    this.#end(room, 1000, "");
  }

  send(room, entry) { return this.#session.send(room._member, entry); }
  flush(room) { this.#session.flush(room._member); }

  /** Takes what the session says about a room. */
  heard(room, type, detail) {
    if (type === "message") room._message(detail);
    else if (type === "presence") room._present(detail);
    else if (type === "error") room._error(detail);
    else if (type === "joined") {
      room._renewed = false;
      room._up = after(this.option("minUptime"), () => { room._tries = 0; });
      room._opened(detail);
    } else if (type === "closed") this.#closed(room, detail.code, detail.reason);
    else if (type === "expires") this.#renew(room, detail.retryMs);
    else this.#refused(room, detail);
  }

  #want(room) {
    if (!this.#rooms.includes(room)) this.#rooms.push(room);
    room._wanted = true;
    room._shut = room._member.gone = false;
    room._tries = 0;
  }

  /** Begins a try after a delay. */
  #connect(delay) {
    this.#halt();
    this.#unwatch ??= watchPage(this.option, () => this.#wake(), () => this.#pause());
    const mine = this.#try = {};
    this.#enter(delay > 0 ? "waiting" : "connecting");
    this.#debug("connects in", delay, "ms");
    this.#timer = setTimeout(() => this.#begin(mine), delay);
  }

  #debug(...what) {
    if (this.option("debug")) (this.option("debugLogger") ?? console.log)("PartySocket", ...what);
  }

  #enter(phase) {
    this.#phase = phase;
    for (const room of this.#rooms) room._refresh();
  }

  /** Ends what the running try waits for. */
  #halt() {
    this.#try = null;
    for (const timer of [this.#timer, this.#uptime, this.#pulse]) clearTimeout(timer);
    for (const room of this.#rooms) this.#still(room);
  }

  /** Ends what the room waits for. */
  #still(room) {
    clearTimeout(room._again);
    clearTimeout(room._up);
    room._run = null;
  }

  /** Closes the carrier. It throws if the code or the reason is invalid, and then nothing has changed. */
  #hangUp(code, reason) {
    this.#carrier?.close(code, reason);
    this.#part();
  }

  #part() {
    this.#halt();
    this.#carrier = null;
    this.#asking = false;
    this.#session.lost();
  }

  /** Dispatches the end of each room's connection. */
  #tell(code, reason, wasClean) {
    for (const room of [...this.#rooms]) {
      room._refresh();
      room._closed(code, reason, wasClean);
    }
  }

  /** The room is no longer wanted, and its application hears the end. */
  #end(room, code, reason) {
    this.#quit(room);
    room._closed(code, reason);
  }

  /** The room is no longer wanted. */
  #quit(room) {
    room._wanted = false;
    this.#restAlone();
    room._refresh();
  }

  /** Closes the carrier if it leads to no room any more. */
  #restAlone() {
    if (this.#wanting.length > 0) return;
    this.#hangUp(1000);
    this.#rest();
  }

  /** Tries again after a while, unless it was tried often enough. */
  #retry() {
    if (this.#wanting.length === 0) return this.#rest();
    if (globalThis.navigator?.onLine === false && !isNear(this.#host)) return this.#enter("offline");
    if (this.#retries >= this.option("maxRetries")) {
      for (const room of this.#rooms) room._wanted = false;
      return this.#rest();
    }
    this.#retries += 1;
    this.#connect(this.#delay(this.#retries));
  }

  #rest() {
    this.#unwatch?.();
    this.#unwatch = null;
    this.#enter("idle");
  }

  #delay(count) {
    const grown = this.option("minReconnectionDelay") * this.option("reconnectionDelayGrowFactor") ** (count - 1);
    return Math.min(grown, this.option("maxReconnectionDelay"), DELAY_MS_MAX) * (1 + SPREAD * Math.random());
  }

  async #begin(mine) {
    this.#enter("connecting");
    try {
      const [first] = this.#wanting;
      this.#first = first;
      this.#way ??= Math.max(0, this.#transports.indexOf(remembered.get(this.#host)));
      const Socket = this.option("WebSocket") ?? globalThis.WebSocket;
      if (!Socket && this.#name === "websocket" && !this.#transports[(this.#way += 1)]) {
        this.#way = 0;
        const text = "this platform has no WebSocket: pass one as the option WebSocket";
        console.error(`PartySocket: ${text}`);
        throw new Error(text);
      }
      const { query, token: own } = first._options;
      const given = [query, this.option("protocols"), own ?? this.option("token")];
      const values = await Promise.all(given.map(valueOf));
      const Other = this.#name === "websocket" ? undefined : (await import("./posting.js")).carriers[this.#name];
      if (this.#try === mine) this.#open(mine, Socket, Other, values);
    } catch (error) {
      if (this.#try !== mine) return;
      const rooms = this.#wanting;
      this.#retry();
      for (const room of rooms) room._error(asError(error));
    }
  }

  #open(mine, Socket, Other, [asked, offered, token]) {
    const first = this.#first;
    const { _options: { rewind }, _member: { secret, since } } = first;
    // Without a connection to come back to, the page may name one by its own query.
    const back = secret && { _since: since, _resume: secret };
    const query = { _pk: first._pk, ...asked, _rewind: rewind ?? asked?._rewind, ...back };
    const session = this.option("session");
    const protocols = [offered ?? (session ? ROOM_PROTOCOL : [])].flat();
    if (token && !Other) {
      // The server answers with one of the offers, and never with the token.
      if (protocols.length > 0) protocols.push(`bearer.${token}`);
      else query.token = token;
    }
    const address = Other ? first._pkurl.replace(/^ws/, "http") : first._pkurl;
    const fetch = this.option("fetch");
    this.#debug("opens", address, this.#name);
    const mind = (then) => (...what) => { if (this.#try === mine) then(...what); };
    const heard = {
      opened: mind((can) => this.#wasOpened(can)),
      frame: mind((frame) => this.#session.hear(frame)),
      life: mind(() => { this.#heardAt = Date.now(); }),
      // The end follows.
      error: mind((error) => { for (const room of this.#phase === "open" ? this.#wanting : [first]) room._error(error); }),
      ended: mind((...how) => this.#ended(...how)),
    };
    for (const room of this.#wanting) room._began();
    const at = (query) => withQuery(address, query);
    const timeout = this.option("connectionTimeout");
    const given = { at, query, protocols, session, token, Socket, fetch, heard, timeout };
    this.#latest = this.#carrier = Other ? new Other(given) : overWebSocket(given);
    this.#timer = after(timeout, () => this.#late(mine));
  }

  #wasOpened(can) {
    clearTimeout(this.#timer);
    this.#heardAt = Date.now();
    remembered.set(this.#host, this.#name);
    this.#uptime = after(this.option("minUptime"), () => { this.#retries = 0; });
    this.#session.opened(this.#first._member, can);
    this.#enter("open");
    if (can.rooms) this.#beat();
    for (const room of this.#wanting) if (room !== this.#first) this.#also(room);
  }

  /** Joins one more room over the open carrier, or gives it a link of its own. */
  async #also(room, fresh = false) {
    if (!this.#session.can.rooms) return this.#moveOut(room);
    const mine = this.#try;
    const run = room._run = {};
    // The room may have been left, and entered again.
    const isOver = () => this.#try !== mine || room._run !== run || !room._wanted;
    room._began();
    try {
      const { query, token, rewind } = room._options;
      const common = this.option("token");
      // The server knows what the first room has shown.
      const ask = token ?? (fresh || this.#first._options.token !== common ? common : undefined);
      const [asked, shown] = await Promise.all([valueOf(query), valueOf(ask)]);
      if (isOver()) return;
      const { name: party, room: name, _pk: id } = room;
      this.#session.join(room._member, { party, room: name, id, query: queryOf(asked), token: shown, rewind });
    } catch (error) {
      if (isOver()) return;
      room._error(asError(error));
      this.#later(room, 0);
    }
  }

  /** The room goes its own way: this one leads to others only. */
  #moveOut(room) {
    this.#rooms = this.#rooms.filter((own) => own !== room);
    const link = new Link(this.option);
    room._link = link;
    link.enter(room);
    this.#restAlone();
  }

  /** Joins the room again after a while, unless it was tried often enough. */
  #later(room, ms) {
    this.#still(room);
    if (room._tries >= this.option("maxRetries")) return this.#quit(room);
    room._tries += 1;
    const mine = this.#try;
    room._again = setTimeout(() => {
      if (this.#try === mine && room._wanted) this.#also(room, room._renewed);
    }, Math.max(ms ?? 0, this.#delay(room._tries)));
    room._refresh();
  }

  /** The server refused to let the room be joined. */
  #refused(room, frame) {
    const { code, message, close, retry_ms } = frame;
    if (code === "elsewhere") return this.#moveOut(room);
    const error = RoomError.of(frame);
    room._error(error);
    const mayRenew = code === "unauthorized" && this.#mayRenew(room);
    if (retry_ms !== undefined || mayRenew) {
      this.#later(room, retry_ms);
      return room._closed(close ?? 1013, message);
    }
    room._member.fail(error);
    this.#end(room, close ?? CLOSES[code] ?? 1011, message);
  }

  /** The server closed the connection of one room. */
  #closed(room, code, reason) {
    if (!this.#again(room, code, reason)) {
      this.#giveUp(room, code, reason);
      return this.#end(room, code, reason);
    }
    this.#later(room, 0);
    room._closed(code, reason);
  }

  /** Refuses what has no answer yet: none will come. */
  #giveUp(room, code, reason) {
    room._member.fail(new RoomError("closed", reason || `the connection is closed: ${code}`));
  }

  /** True if another try may succeed. */
  #again(room, code, reason, wasClean = true) {
    const wants = this.option("shouldReconnectOnClose")?.(eventOf("close", { code, reason, wasClean })) ?? true;
    if (code === 4401 && this.#mayRenew(room)) return wants;
    return wants && !isFinal(code);
  }

  /** True once after each time that a token was accepted. */
  #mayRenew(room) {
    if (!(room._options.token ?? this.option("token")) || room._renewed) return false;
    room._renewed = true;
    return true;
  }

  /** Shows a newer token before the old one ends. */
  async #renew(room, ms) {
    const mine = this.#try;
    const ask = this.option("token");
    if (!ask || (room._options.token ?? ask) !== ask) return;
    try {
      const token = await valueOf(ask);
      if (this.#try !== mine || this.#asking) return;
      this.#asking = true;
      this.#session.token(token, (error) => {
        this.#asking = false;
        if (error) room._error(error);
      });
    } catch (error) {
      room._error(asError(error));
      // Once more while the old one is valid.
      if (this.#try === mine && ms > 2_000) room._again = setTimeout(() => this.#renew(room, ms / 2), ms / 2);
    }
  }

  /** The server closed the connection, or it was lost. */
  #ended(code, reason, wasClean) {
    this.#debug("closed", code, reason);
    const opened = this.#phase === "open";
    const first = this.#first;
    const joined = first._member.channel !== undefined || !this.#wanting.includes(first);
    this.#part();
    // Before the first room is joined, what the server says is about that one.
    const hit = joined ? this.#wanting : [first];
    for (const room of hit) {
      if (this.#again(room, code, reason, wasClean)) continue;
      room._wanted = false;
      this.#giveUp(room, code, reason);
    }
    if (!opened && this.#fallBack()) this.#connect(0);
    else this.#retry();
    this.#tell(code, reason, wasClean);
  }

  /** Takes the next carrier, if there is one that was not tried in this round. */
  #fallBack() {
    if (this.#wanting.length === 0 || remembered.get(this.#host) === "websocket") return false;
    this.#way = (this.#way + 1) % this.#transports.length;
    return this.#way > 0;
  }

  /** The server did not open the connection in time. */
  #late(mine) {
    this.#first._error(new Error("TIMEOUT"));
    // The application may have closed it, or begun another try.
    if (this.#try !== mine) return;
    this.#lose("timeout");
  }

  /** Takes the server for gone. */
  #lose(why) {
    this.#carrier.drop();
    this.#ended(LOST, why, false);
  }

  /** Asks for a sign of life after a while without one. Without an answer the connection is lost. */
  #beat(quiet = this.option("heartbeat")) {
    clearTimeout(this.#pulse);
    this.#pulse = after(this.#heardAt + quiet - Date.now(), () => {
      if (this.#heardAt + quiet > Date.now()) return this.#beat();
      const asked = this.#heardAt;
      this.#session.ping();
      this.#pulse = after(this.option("connectionTimeout"), () => {
        if (this.#heardAt > asked) return this.#beat();
        this.#lose("the server is silent");
      });
    });
  }

  /** The page is seen again, or the network is back. */
  #wake() {
    if (this.#session.can?.rooms) this.#beat(0);
    else if (this.#isAway) this.#connect(0);
  }

  #pause() {
    if (this.#wanting.length === 0) return;
    const live = this.#carrier;
    this.#carrier?.drop();
    this.#part();
    this.#enter("paused");
    if (live) this.#tell(AWAY, "the page is hidden");
  }
}
