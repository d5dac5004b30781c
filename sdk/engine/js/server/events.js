// The events of a room: what each calls, and what its turn returns.
//
// Owns one function for each event. Invariant: an event that must wait does so with all it needs, as the host forgets
// it; one that the host repeats by itself, if its turn fails, is not kept in memory. It does not know savepoints.

import * as native from "room:native";
import * as fetches from "../web/pending.js";
import * as timers from "../web/timers.js";
import { makeRoom } from "./adapters.js";
import { decode, encode } from "./codec.js";
import * as connections from "./connection.js";
import { connectionOf, latest, latestId, undivided } from "./connection.js";
import { timerOf } from "./context.js";
import { messageOf, RoomError } from "./errors.js";
import * as gate from "./gate.js";
import { failureResponse, Handler, statusOf } from "./handler.js";
import * as hooks from "./hooks.js";
import * as http from "./http.js";
import * as outcalls from "./outcalls.js";
import * as turns from "./turns.js";
import { calm } from "./turns.js";


/** The most tags of a connection, its id included, and the most characters of one. */
const TAGS_MAX = 10;
const TAG_LENGTH_MAX = 256;
/** When an alarm or a timer that is due while the room starts comes again. */
const POSTPONE_MS = 250;

/** @type {import("./load.js").Target} */
let target;
/** @type {any} */
let room = null;
/** The author's object, if it has its `onMessage` called with the connection first, and always has one. @type {any} */
let connectionFirst = null;

/** @param {import("./load.js").Target} chosen */
export function use(chosen) {
  target = chosen;
}

/**
 * A message begins. It is short, as most of what a room does begins here.
 * @param {string} id @param {string | ArrayBuffer} data @returns {boolean} Whether the event is complete.
 */
export function message(id, data) {
  try {
    if (!calm) {
      enter("message", id, data);
      return false;
    }
    const connection = id === latestId ? latest : connectionOf(id);
    if (connection === undefined) return true;
    let result;
    if (undivided && connectionFirst !== null) result = connectionFirst.onMessage(connection, data);
    else result = deliver(connection, data);
    if (result !== undefined && turns.isThenable(result)) turns.runs(new Handler("message", "nothing"), result);
    return calm;
  } catch (error) {
    turns.failed(new Handler("message", "nothing"), error);
    return false;
  }
}

/** @param {connections.Connection} connection @param {string | ArrayBuffer} data */
function deliver(connection, data) {
  const { autoResponse } = room.state;
  if (autoResponse !== null && data === autoResponse.request) {
    connection.send(autoResponse.response);
    return undefined;
  }
  const result = room.message(connection, data);
  if (connections.listening) connections.dispatch(connection, "message", { data });
  return result;
}

/** An event begins. @param {string} kind */
export function enter(kind, a, b, c, d) {
  const hook = HOOKS[kind];
  if (hook !== undefined) {
    turns.run(new Handler(kind, "value"), () => hook(a, b));
    return;
  }
  if (kind === "start") {
    turns.reset();
    turns.runOwnStart(new Handler("start", "nothing"), startRoom);
    return;
  }
  turns.begin(kind === "response" || kind === "answer" ? a : kind === "chunk" ? a.id : undefined);
  const event = EVENTS[kind];
  if (event === undefined) throw new TypeError(`the event "${kind}" is unknown`);
  event(a, b, c, d);
}

function startRoom() {
  const { value, promises } = gate.during(() => makeRoom(target));
  room = value;
  connectionFirst = room.isDirect ? room.it : null;
  // What the constructor blocks the room for comes before onStart.
  return promises.length > 0 ? Promise.all(promises).then(() => room.start()) : room.start();
}

/** @type {Record<string, (...args: any[]) => unknown>} */
const HOOKS = {
  beforeConnect: (request, to) => hooks.before(target, "beforeConnect", request, to),
  beforeRequest: (request, to) => hooks.before(target, "beforeRequest", request, to),
  fetch: (request) => hooks.fetched(target, request),
  socket: (request) => hooks.socket(target, request),
};

/**
 * Runs a handler now, or when the room is ready.
 * @param {Handler} handler @param {() => unknown} work @param {number} [bytes]
 */
function handle(handler, work, bytes) {
  if (!turns.waits()) {
    turns.run(handler, work);
    return;
  }
  turns.enqueue(handler, work, bytes);
  if (turns.isNew()) restart();
}

function restart() {
  turns.runLateStart(new Handler("start", "nothing"), startRoom);
}

/** An event that the host repeats if its turn fails. @param {Handler} handler @param {() => unknown} work */
function handleNow(handler, work) {
  if (turns.waits()) {
    throw new RoomError(
      "not-ready",
      `"${handler.kind}" came while the room starts or is blocked: onStart, or blockConcurrencyWhile(), waits for something outside`,
    );
  }
  turns.run(handler, work);
}

/** What a connection brings with it. */
class ConnectionContext {
  #record;
  /** @type {Request | null} */
  #request = null;

  constructor(record) {
    this.#record = record;
  }

  /** The request that opened the connection. */
  get request() {
    this.#request ??= http.toRequest(this.#record);
    return this.#request;
  }
}

/** What a connection brings with it, and the host's record of a request. @returns {unknown[]} */
export function samples() {
  const record = { method: "", uri: "", headers: [], body: new Uint8Array(0) };
  return [record, new ConnectionContext(record)];
}

/** @param {connections.Connection} connection @param {unknown} given @returns {string[]} */
function checkedTags(connection, given) {
  if (given === undefined || given === null) return [];
  if (!Array.isArray(given)) throw new TypeError("getConnectionTags must return an array of strings");
  if (given.length === 0) return given;
  const tags = [...new Set(given)].filter((tag) => tag !== connection.id);
  if (tags.length >= TAGS_MAX) {
    throw new Error(`A connection can only have ${TAGS_MAX} tags, including the default id tag.`);
  }
  for (const tag of tags) {
    if (typeof tag !== "string") throw new Error(`A connection tag must be a string. Received: ${String(tag)}`);
    if (tag === "") throw new Error("A connection tag must not be an empty string.");
    if (tag.length > TAG_LENGTH_MAX) {
      throw new Error(`A connection tag must not exceed ${TAG_LENGTH_MAX} characters`);
    }
  }
  return tags;
}

/** @param {() => any} answer The author's response, or a promise of it. */
function answering(answer) {
  const response = answer();
  if (!turns.isThenable(response)) return http.fromResponse(response, "onRequest");
  return response.then((/** @type {any} */ late) => http.fromResponse(late, "onRequest"));
}

/** @param {any} error */
function refused(error) {
  if (statusOf(error) !== undefined) native.refuse(failureResponse(error));
  throw error;
}

/** @type {Record<string, (...args: any[]) => void>} */
const EVENTS = {
  tags(record, request) {
    // The host needs the tags now, also while the room starts.
    if (room === null) throw new RoomError("not-ready", "a connection came before the room was started");
    const connection = connections.prepare(record);
    turns.run(new Handler("tags", "value"), () => {
      const tags = room.tags(connection, new ConnectionContext(request));
      if (!turns.isThenable(tags)) return checkedTags(connection, tags);
      return tags.then((/** @type {unknown} */ late) => checkedTags(connection, late));
    });
  },

  connect(record, request) {
    const handler = new Handler("connect", "nothing");
    handler.connection = record.id;
    const connection = connections.join(record);
    handle(handler, () => room.connect(connection, new ConnectionContext(request)));
  },

  message(id, data) {
    const connection = connections.connectionOf(id);
    if (connection === undefined) return;
    const bytes = typeof data === "string" ? data.length : data.byteLength;
    handle(new Handler("message", "nothing"), () => deliver(connection, data), bytes);
  },

  close(record, code, reason, clean) {
    const connection = connections.part(record);
    handle(new Handler("close", "nothing"), () => room.close(connection, code, reason, clean));
  },

  error(record, text) {
    const connection = connections.adopt(record);
    handle(new Handler("error", "nothing"), () => room.error(connection, new Error(text)));
  },

  request(record) {
    const incoming = native.request();
    const pieces = incoming?.bodyFollows ? incoming.id : undefined;
    const request = http.toRequest(record, pieces);
    const handler = new Handler("request", "response");
    handler.pieces = pieces ?? null;
    handle(
      handler,
      () => {
        const first = handler.request === null;
        try {
          const answer = answering(() => room.request(request));
          return turns.isThenable(answer) && first ? answer.catch((/** @type {any} */ error) => failedRequest(handler, error)) : answer;
        } catch (error) {
          return failedRequest(handler, error);
        }
      },
      record.body.length,
    );
  },

  alarm() {
    if (turns.waits()) native.alarmSet(native.now() + POSTPONE_MS);
    else turns.run(new Handler("alarm", "nothing"), () => room.alarm());
  },

  expire() {
    handleNow(new Handler("expire", "nothing"), () => room.expire());
  },

  timer(record) {
    if (turns.waits()) {
      const { tag, data } = record;
      native.schedule({ at: native.now() + POSTPONE_MS, tag, data });
      return;
    }
    const handler = new Handler("timer", "nothing");
    turns.run(handler, () => room.own("onTimer", `the timer "${record.tag}" is due`, timerOf(record)));
  },

  publish(data) {
    handleNow(new Handler("publish", "nothing"), () =>
      room.has("onPublish") ? room.it.onPublish(data) : connections.broadcast(data),
    );
  },

  cron(name, at) {
    handleNow(new Handler("cron", "nothing"), () => hooks.cron(target, room, name, at));
  },

  call(caller, id, data) {
    handleNow(new Handler("call", "value"), () => {
      const method = outcalls.methodOf(data);
      const result =
        method === undefined
          ? room.own("onCall", `the room ${caller.party}/${caller.room} calls`, caller, decode(data), id)
          : room.method(method.method, method.args);
      return turns.isThenable(result) ? result.then(encode) : encode(result);
    });
  },

  tick() {
    turns.mark();
    turns.run(new Handler("tick", "nothing"), () => void timers.runDue(native.now()));
  },

  response(id, tag, result) {
    turns.mark();
    if (outcalls.settle(id, result) || fetches.settle(id, result)) return;
    late("onResponse", id, tag, () => (result.code === undefined ? http.toResponse(result) : failureOf(result)));
  },

  answer(id, tag, result) {
    turns.mark();
    if (outcalls.settle(id, result)) return;
    late("onAnswer", id, tag, () => (result instanceof Uint8Array ? decode(result) : failureOf(result)));
  },

  chunk(chunk) {
    turns.mark();
    if (fetches.chunk(chunk.id, chunk)) return;
    if (room.has("onChunk")) handleNow(new Handler("chunk", "nothing"), () => room.it.onChunk(chunk));
  },

  body(id, bytes, end) {
    turns.mark();
    http.bodyPiece(id, bytes, end);
  },

  streamClose(id, reason) {
    turns.mark();
    http.streamClosed(id, reason);
  },
};

/** The handler of a request failed: its error may say the status, if its turn is on. */
function failedRequest(handler, error) {
  if (handler.first && handler.request === null) refused(error);
  throw error;
}

/** @param {{code: string, message: string}} failure */
function failureOf({ code, message }) {
  return new RoomError(code, message);
}

/** An answer came that nobody in this heap waits for. @param {string} name @param {string} id @param {string} tag @param {() => any} read */
function late(name, id, tag, read) {
  if (room?.has(name)) {
    handleNow(new Handler(name, "nothing"), () => room.it[name](tag, read(), id));
    return;
  }
  let what;
  try {
    const value = read();
    what = http.isResponse(value) ? `status ${value.status}` : value instanceof Error ? messageOf(value) : "a value";
  } catch (error) {
    what = messageOf(error);
  }
  native.log(
    "warn",
    `the answer to the request ${id} is lost (${what}): the code that waited for it ended with a reload, a crash or an eviction. ` +
      `Write ${name}(tag, answer, id) to handle such answers`,
    { request: id, tag },
  );
}
