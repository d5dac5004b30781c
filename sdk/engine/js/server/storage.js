// A room's storage, alarm and transactions, with the interface of a Durable Object's storage.
//
// Owns the names and the checks of that interface. Every call is synchronous at the host: a promise that a method
// returns has settled, so that awaiting it never ends the turn. It does not know turns; `transactions.js` knows when
// one ends.

import * as native from "room:native";
import { decode, encode } from "./codec.js";
import { RoomError } from "./errors.js";
import { closed, open, undo } from "./transactions.js";

/** @typedef {{start?: string, startAfter?: string, end?: string, prefix?: string, reverse?: boolean, limit?: number}} ListOptions */

/** @param {unknown} key @returns {string} */
function keyOf(key) {
  if (typeof key === "string" && key.isWellFormed()) return key;
  throw new TypeError(
    typeof key === "string"
      ? "a storage key must not contain lone surrogates"
      : `a storage key is a string, and not ${key === null ? "null" : typeof key}`,
  );
}

/** @param {string} key @param {Uint8Array | undefined} bytes */
function valueOf(key, bytes) {
  if (bytes === undefined) return undefined;
  try {
    return decode(bytes);
  } catch (cause) {
    throw new RoomError("not-a-value", `the value of the key "${key}" cannot be read`, { cause });
  }
}

/** @param {unknown} keys */
function getMany(keys) {
  const names = Array.from(/** @type {any} */ (keys), keyOf);
  const values = native.storageGetMany(names);
  /** @type {[string, any][]} */
  const found = [];
  for (let index = 0; index < names.length; index++) {
    const bytes = values[index];
    if (bytes !== undefined) found.push([names[index], valueOf(names[index], bytes)]);
  }
  // As in `list`: the order is that of the keys' bytes.
  return new Map(found.sort(([a], [b]) => compareBytes(a, b)));
}

/** The order of the bytes of two texts: that of their code points. @param {string} a @param {string} b */
function compareBytes(a, b) {
  if (a === b) return 0;
  const length = Math.min(a.length, b.length);
  for (let index = 0; index < length; index++) {
    const left = a.charCodeAt(index);
    const right = b.charCodeAt(index);
    if (left === right) continue;
    const pairs = (left >= 0xd800 && left <= 0xdfff ? 1 : 0) - (right >= 0xd800 && right <= 0xdfff ? 1 : 0);
    return pairs === 0 ? left - right : pairs;
  }
  return a.length - b.length;
}

/** @param {any} key @param {any} value */
function put(key, value) {
  if (value === undefined && typeof key === "string") throw new TypeError("put() called with undefined value.");
  native.storagePut(keyOf(key), encode(value));
}

/** @param {Record<string, any>} entries */
function putMany(entries) {
  /** @type {[string, Uint8Array][]} */
  const pairs = [];
  for (const [key, value] of Object.entries(entries)) {
    if (value !== undefined) pairs.push([keyOf(key), encode(value)]);
  }
  native.storagePutMany(pairs);
}

/** @param {ListOptions} options */
function checkedList(options) {
  const { start, startAfter, end, prefix, reverse, limit } = options ?? {};
  if (start !== undefined && startAfter !== undefined) {
    throw new TypeError("list() cannot be called with both start and startAfter values.");
  }
  if (limit !== undefined && !(Number.isInteger(limit) && limit > 0)) throw new TypeError("List limit must be positive.");
  for (const bound of [start, startAfter, end, prefix]) if (bound !== undefined) keyOf(bound);
  return { start, startAfter, end, prefix, reverse: Boolean(reverse), limit };
}

/** The entries of a listing, page by page. @param {ListOptions} [options] @returns {Generator<[string, any]>} */
function* listed(options) {
  const left = checkedList(options ?? {});
  while (left.limit === undefined || left.limit > 0) {
    const { entries, more } = native.storageList(left);
    for (const [key, bytes] of entries) yield [key, valueOf(key, bytes)];
    if (!more || entries.length === 0) return;
    const last = entries[entries.length - 1][0];
    if (left.limit !== undefined) left.limit -= entries.length;
    if (left.reverse) left.end = last;
    else [left.start, left.startAfter] = [undefined, last];
  }
}

/** What a storage and a transaction have in common. */
class Store {
  /** Throws if the store cannot be used any more. */
  check() {}

  /** @param {string | string[]} key */
  async get(key, _options) {
    this.check();
    return typeof key === "string" ? valueOf(key, native.storageGet(keyOf(key))) : getMany(key);
  }

  /** @param {string | Record<string, any>} key @param {any} [value] */
  async put(key, value, _options) {
    this.check();
    if (typeof key === "object" && key !== null) putMany(key);
    else put(key, value);
  }

  /** @param {string | string[]} key */
  async delete(key, _options) {
    this.check();
    return Array.isArray(key) ? native.storageDeleteMany(key.map(keyOf)) : native.storageDelete(keyOf(key));
  }

  /** @param {ListOptions} [options] @returns {Promise<Map<string, any>>} */
  async list(options) {
    this.check();
    return new Map(listed(options));
  }

  async deleteAll(_options) {
    this.check();
    native.storageDeleteAll();
  }

  /** When the alarm is due, in milliseconds since 1970, or null. @returns {Promise<number | null>} */
  async getAlarm(_options) {
    this.check();
    return native.alarmGet() ?? null;
  }

  /** @param {number | Date} at */
  async setAlarm(at, _options) {
    this.check();
    native.alarmSet(timeOf(at, "setAlarm()"));
  }

  async deleteAlarm(_options) {
    this.check();
    native.alarmDelete();
  }
}

/** Returns a time in milliseconds since 1970. @param {unknown} at @param {string} what @returns {number} */
export function timeOf(at, what) {
  const time = at instanceof Date ? at.getTime() : at;
  if (typeof time === "number" && Number.isFinite(time) && time >= 0) return Math.floor(time);
  throw new TypeError(`${what} takes a Date or milliseconds since 1970, and not ${String(at)}`);
}

/** The room's own durable, ordered storage. */
export class Storage extends Store {
  kv = new SyncStore();

  /** SQL is not there: this says what to use. */
  get sql() {
    return NO_SQL;
  }

  /**
   * Runs a function whose effects take place as a whole or not at all. It must settle within the turn: it may await the
   * storage, and not `fetch` or a timer.
   * @template T @param {(transaction: Transaction) => Promise<T> | T} part @returns {Promise<T>}
   */
  async transaction(part) {
    const mark = open();
    // One that waits for an event is undone, and rejected, when the turn ends.
    const undone = new Promise((_, reject) => void (mark.reject = reject));
    let value;
    try {
      value = await Promise.race([within(mark, part), undone]);
    } catch (error) {
      undo(mark);
      throw error;
    }
    closed(mark);
    return value;
  }

  /** @template T @param {() => T} part @returns {T} */
  transactionSync(part) {
    const mark = open();
    let value;
    try {
      value = part();
      if (typeof (/** @type {any} */ (value)?.then) === "function") {
        throw new TypeError("transactionSync() was called with a function that returns a promise: use transaction()");
      }
    } catch (error) {
      undo(mark);
      throw error;
    }
    closed(mark);
    return value;
  }

  /** Settles at once: what a turn sends leaves the host only after what it wrote is durable. */
  async sync() {}

  /** The bytes of the room's keys and values. */
  get size() {
    return native.storageBytes();
  }
}

/** @template T @param {import("./transactions.js").Mark} mark @param {(transaction: Transaction) => Promise<T> | T} part */
async function within(mark, part) {
  return part(new Transaction(mark));
}

/** The storage inside of a transaction. */
export class Transaction extends Store {
  #mark;

  /** @param {import("./transactions.js").Mark} mark */
  constructor(mark) {
    super();
    this.#mark = mark;
  }

  check() {
    if (this.#mark.undone !== null) throw this.#mark.undone;
    if (!this.#mark.open) throw new Error("the transaction is over");
  }

  /** Undoes what the transaction did. Nothing can be done in it any more. */
  rollback() {
    this.check();
    this.#mark.reject = () => {};
    undo(this.#mark);
    this.#mark.undone = new Error("Cannot perform operations on a rolled back transaction");
    this.#mark.wanted = true;
  }
}

/** The same storage without promises. */
class SyncStore {
  /** @param {string} key */
  get(key) {
    return valueOf(key, native.storageGet(keyOf(key)));
  }

  /** @param {string} key @param {any} value */
  put(key, value) {
    put(key, value);
  }

  /** @param {string} key @returns {boolean} */
  delete(key) {
    return native.storageDelete(keyOf(key));
  }

  /** @param {ListOptions} [options] @returns {IterableIterator<[string, any]>} */
  list(options) {
    checkedList(options ?? {});
    return listed(options);
  }
}

const noSql = () => {
  throw new RoomError("no-sql", "rooms have no SQL: keep values in ctx.storage (get, put, list with a prefix)");
};

const NO_SQL = Object.freeze({
  exec: noSql,
  prepare: noSql,
  get databaseSize() {
    return noSql();
  },
});
