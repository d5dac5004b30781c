/**
 * The promises that wait for the answers of the outside.
 *
 * Invariant: a request's promise is settled once: by its answer, or by its signal, which gives the request up. What a
 * room's memory loses, nobody waits for: then `settle` returns false, and the dispatcher says what was lost. It does
 * not know turns.
 */
import * as native from "room:native";
import { deadlineOf, onAbort, timeoutError } from "./abort.js";
import { responseFrom } from "./response.js";
import { controls, createReadable } from "./streams/readable.js";

/** How many bytes of a streamed response wait to be read. One more fails the response, and gives the request up. */
const STREAM_BYTES_MAX = 8 * 1024 * 1024;

/** @type {Map<string, {settle: (result: object) => void, chunk?: (part: object) => void, what: string}>} */
const waiting = new Map();
let sent = 0;

/** The error of a request without an answer. @param {{code?: string, message: string}} failure */
export function failureError(failure) {
  const error = new TypeError(`fetch failed: ${failure.message}`);
  if (failure.code !== undefined) error.code = failure.code;
  return error;
}

/** Whether an answer says that there is none. Bytes have no code. */
const isFailure = (result) => !(result instanceof Uint8Array) && typeof result?.code === "string";

/**
 * Waits for the answer with this id. Returns a promise of what `settle` is given; a failure is a rejection with an
 * Error that has its `code`. For what is not `fetch`: calls, and requests to rooms.
 */
export function waitFor(id, what) {
  return new Promise((resolve, reject) => {
    waiting.set(id, {
      what,
      settle: (result) => (isFailure(result)
        ? reject(Object.assign(new Error(result.message), { code: result.code }))
        : resolve(result)),
    });
  });
}

/** Settles the promise of this request. False if nobody waits: it was made before this heap was. */
export function settle(id, result) {
  const entry = waiting.get(id);
  if (entry === undefined) return false;
  waiting.delete(id);
  entry.settle(result);
  return true;
}

/**
 * Takes a part of a body. False if nobody waits for it.
 * @param {{status: number, offset: number, bytes: Uint8Array}} part
 */
export function chunk(id, part) {
  const entry = waiting.get(id);
  if (entry?.chunk === undefined) return false;
  entry.chunk(part);
  return true;
}

/** Forgets a request without a word, as after its turn was rolled back. */
export function forget(id) {
  waiting.delete(id);
}

/** What is waited for: ids with a few words each. */
export function waitingFor() {
  return waiting.size === 0 ? [] : [...waiting].map(([id, { what }]) => ({ id, what }));
}

/**
 * Sends a request. Returns a promise of its response.
 * @param {object} record what `native.fetch` takes, without a tag
 * @param {{signal: AbortSignal|null, room: object|undefined}} extras
 */
export function fetchThroughHost(record, { signal, room = {} }) {
  const deadline = signal === null ? Infinity : deadlineOf(signal);
  const left = Math.min(room.timeoutMs ?? Infinity, deadline === Infinity ? Infinity : deadline - native.now());
  const timed = left === Infinity ? {} : { timeoutMs: Math.max(1, Math.ceil(left)) };
  const mode = native.mode();
  if (mode === "hook") return fetchInHook({ ...record, ...timed, cache: room.cache }, deadline);
  if (mode === "test") {
    throw new Error("fetch cannot be used in a test: it acts on a room, whose requests are room.fetches(), and which room.request(path) asks");
  }
  if (mode !== "room") {
    throw new Error("fetch cannot be used while the module is evaluated: call it in a method of the room or in a hook");
  }
  const { retries, bestEffort } = room;
  const chunks = Boolean(room.stream);
  const tag = room.tag ?? `js:${++sent}`;
  const id = native.fetch({ ...record, ...timed, tag, retries, bestEffort, chunks });
  return new Promise((resolve, reject) => {
    const answer = chunks ? streamed(record.url, resolve, () => waiting.delete(id) && native.cancelOutcall(id)) : null;
    const off = signal === null ? () => {} : onAbort(signal, (reason) => {
      if (!waiting.delete(id)) return;
      native.cancelOutcall(id);
      answer?.fail(reason);
      reject(reason);
    }, false);
    waiting.set(id, {
      what: `${record.method} ${record.url}`,
      chunk: answer?.chunk,
      settle(result) {
        off();
        if (!isFailure(result)) {
          if (answer === null) resolve(responseFrom(result, record.url));
          else answer.end(result);
          return;
        }
        const late = result.code === "timed-out" && deadline <= native.now() + 1;
        const error = late ? timeoutError() : failureError(result);
        answer?.fail(error);
        reject(error);
      },
    });
  });
}

/** A hook waits for the answer. */
async function fetchInHook(record, deadline) {
  let answer;
  try {
    answer = native.fetchNow(record);
  } catch (error) {
    if (error?.code === "timed-out" && deadline <= native.now() + 1) throw timeoutError();
    throw Object.assign(failureError(error), { cause: error });
  }
  return responseFrom(answer, record.url);
}

/** A response whose body comes in parts: it is there with the first one, and has no headers, which come last. */
function streamed(url, resolve, giveUp) {
  let body = null;
  let received = 0;
  const open = (status) => {
    body = createReadable({
      mark: STREAM_BYTES_MAX,
      size: (bytes) => bytes.length,
      cancel: async () => void giveUp(),
    });
    resolve(responseFrom({ status, headers: [], body: body.stream }, url));
  };
  return {
    chunk({ status, offset, bytes }) {
      if (body === null) open(status);
      if (!controls.canEnqueue(body.controller)) return;
      if (offset !== received) {
        const why = "fetch failed: the request was repeated in the middle of its body";
        controls.error(body.controller, new TypeError(why));
        return;
      }
      received += bytes.length;
      controls.enqueue(body.controller, bytes);
      if (controls.desired(body.controller) >= 0) return;
      const why = `fetch failed: more than ${STREAM_BYTES_MAX} bytes of the body were not read`;
      controls.error(body.controller, new TypeError(why));
      giveUp();
    },
    end(result) {
      if (body === null) resolve(responseFrom(result, url));
      else if (controls.canEnqueue(body.controller)) controls.close(body.controller);
    },
    fail(error) {
      if (body !== null) controls.error(body.controller, error);
    },
  };
}
