// Rooms in React: `useRoom`, `usePresence`, `useHistory`. Owns when a component's room is entered and left.
//
// Invariant: a component that is mounted twice at once, as StrictMode does, opens one socket, and rendering on a server
// opens none. It does not know frames or sockets: the client does.

import { useCallback, useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import { RoomClient } from "./client.js";

const HANDLERS = {
  onOpen: "open", onMessage: "message", onClose: "close", onError: "error", onGap: "gap", onPresence: "presence",
  onStatus: "status",
};
/** Functions that may change with each rendering: the latest is called. */
const ASKED = ["query", "token", "protocols", "shouldReconnectOnClose"];
/** Options whose change leads to no other room. */
const APART = new Set([...Object.keys(HANDLERS), "client", "enabled", "WebSocket", "fetch", "debugLogger"]);

const keyOf = (options) => JSON.stringify(options, (name, value) => {
  if (APART.has(name)) return undefined;
  return typeof value === "function" ? "function" : value;
});

/** A room that a component holds. */
class Held {
  #ending;
  #entered = false;

  constructor(key, latest, { client, ...options }) {
    this.key = key;
    this.client = client;
    const given = { ...options, startClosed: true, host: options.host ?? globalThis.location?.host };
    for (const name of ASKED) {
      if (typeof options[name] === "function") given[name] = (...what) => latest.current[name](...what);
    }
    if (client) delete given.host;
    this.room = client ? client.join(options.room, given) : new RoomClient(given);
  }

  /** Its status, which is not `closed` while it waits to be mounted. */
  status(enabled) {
    return this.#entered || !enabled ? this.room.status : "connecting";
  }

  enter() {
    clearTimeout(this.#ending);
    this.#entered = true;
    this.room.enter();
  }

  /** Leaves, unless it is entered again at once. */
  release() {
    this.#ending = setTimeout(() => {
      this.#entered = false;
      if (this.client) this.room.leave();
      else this.room.close();
    }, 0);
  }
}

/**
 * A room, as long as the component is mounted and `enabled` is not false. Options are those of `RoomClient`, with handlers; with
 * `client`, it is one more room of that client. Returns `{ room, status }`.
 */
export function useRoom(options) {
  const { client, enabled = true } = options;
  const key = keyOf(options);
  const latest = useRef(options);
  const [held, hold] = useState(() => new Held(key, latest, options));
  let now = held;
  if (held.key !== key || held.client !== client) {
    now = new Held(key, latest, options);
    hold(now);
  }
  const { room } = now;

  // Before the others: they call what the latest rendering gave.
  useEffect(() => { latest.current = options; });
  useEffect(() => {
    const heard = Object.entries(HANDLERS).map(([name, type]) => [type, (event) => latest.current[name]?.(event)]);
    for (const [type, listener] of heard) room.addEventListener(type, listener);
    return () => heard.forEach(([type, listener]) => room.removeEventListener(type, listener));
  }, [room]);
  useEffect(() => {
    if (!enabled) return undefined;
    now.enter();
    return () => now.release();
  }, [now, enabled]);

  const subscribe = useCallback((changed) => listen(room, ["status"], changed), [room]);
  const status = useSyncExternalStore(subscribe, () => now.status(enabled), () => (enabled ? "connecting" : "closed"));
  return { room, status };
}

function listen(room, types, changed) {
  for (const type of types) room.addEventListener(type, changed);
  return () => types.forEach((type) => room.removeEventListener(type, changed));
}

const NOBODY = new Map();

/** Who is in a room. With `shown`, the component's own user shows it. Returns `{ users, set, flag }`. */
export function usePresence(room, shown) {
  const subscribe = useCallback((changed) => listen(room, ["presence"], changed), [room]);
  const users = useSyncExternalStore(subscribe, () => room.presence.users, () => NOBODY);
  const text = shown === undefined ? undefined : JSON.stringify(shown);
  useEffect(() => {
    if (text !== undefined) room.presence.set(JSON.parse(text));
  }, [room, text]);
  return useMemo(() => ({
    users,
    set: (data) => room.presence.set(data),
    flag: (name, forMs) => room.presence.flag(name, forMs),
  }), [room, users]);
}

const NOTHING = [];
const histories = new WeakMap();

/** The newest messages of a room, which all components share. */
class History {
  list = NOTHING;
  #listeners = new Set();

  constructor(room, keep) {
    this.keep = keep;
    room.addEventListener("message", ({ data, lastEventId, replayed }) => {
      const all = [...this.list, { id: lastEventId || undefined, data, replayed: Boolean(replayed) }];
      this.#become(all.slice(-this.keep));
    });
    // Messages are missing: the room is as if the client came for the first time.
    room.addEventListener("gap", () => this.#become(NOTHING));
  }

  subscribe(changed) {
    this.#listeners.add(changed);
    return () => this.#listeners.delete(changed);
  }

  #become(list) {
    this.list = list;
    for (const changed of this.#listeners) changed();
  }
}

/**
 * The newest messages of a room: those of the time before, if the room has `rewind`, and those since. After a gap the list
 * restarts. Returns a list of `{ id, data, replayed }`; `parse` reads each `data`.
 */
export function useHistory(room, { keep = 100, parse } = {}) {
  const subscribe = useCallback((changed) => {
    const history = histories.get(room) ?? new History(room, keep);
    histories.set(room, history);
    history.keep = Math.max(history.keep, keep);
    return history.subscribe(changed);
  }, [room, keep]);
  const list = useSyncExternalStore(subscribe, () => histories.get(room)?.list ?? NOTHING, () => NOTHING);
  const reader = useRef(parse);
  useEffect(() => { reader.current = parse; });
  return useMemo(() => {
    const newest = list.slice(-keep);
    return parse ? newest.map((message) => ({ ...message, data: (reader.current ?? parse)(message.data) })) : newest;
  }, [list, keep, Boolean(parse)]);
}

export { RoomClient } from "./client.js";
