// Who is in a room, as the server tells. Owns the list of users, and what the client shows of its own.
//
// Invariant: after each event the list is that of the server, and what the client shows is sent again to a connection that
// does not have it. Pure: it does not know frames' numbers, sockets or pages.

/** A flag is sent again only after this part of its time: a key that is held down is not a frame each. */
const FRESH = 0.5;

export class Presence {
  /** By the user's name: `{ user, data, connections, flags }`. */
  users = new Map();
  #own;
  #flags = new Map();
  #say;
  #now;

  /** `say` sends what it gets, if the room is joined. */
  constructor(say, now = Date.now) {
    this.#say = say;
    this.#now = now;
  }

  /** Shows this to all in the room, from now on; null leaves. */
  set(data) {
    this.#own = data;
    this.#say({ data });
  }

  /** Shows a flag for some milliseconds, at most a minute; 0 ends it. */
  flag(flag, forMs = 5_000) {
    if (forMs > 0 && (this.#flags.get(flag) ?? 0) > this.#now()) return;
    if (this.#say({ flag, for_ms: forMs })) this.#flags.set(flag, forMs > 0 ? this.#now() + forMs * FRESH : 0);
  }

  /** Says again what is shown, to a connection that knows nothing. */
  repeat() {
    this.#flags.clear();
    if (this.#own !== undefined && this.#own !== null) this.#say({ data: this.#own });
  }

  /** Takes an event of the server. → What has changed, as `{ joined, updated, left }`. */
  hear({ sync, joined = [], updated = [], left = [] }) {
    const was = this.users;
    if (sync) {
      joined = sync.filter(({ user }) => !was.has(user));
      updated = sync.filter(({ user }) => was.has(user));
      const there = new Set(sync.map(({ user }) => user));
      left = [...was.keys()].filter((user) => !there.has(user));
    }
    // A new one, so that who keeps the former sees that it has changed.
    this.users = new Map(was);
    for (const user of left) this.users.delete(user);
    for (const entry of [...joined, ...updated]) this.users.set(entry.user, { flags: [], ...entry });
    return { joined, updated, left };
  }
}
