// Who is in a room, as the server says. Owns the list of users, and what the client shows of its own.
//
// Invariant: after each event the list is that of the server, and what the client shows is sent again to a connection that
// does not have it. Pure: it does not know frames' numbers, sockets or pages.

/** A flag is sent again only after this part of its time: a key that is held down is not a frame each. */
const FRESH = 0.5;

export class Presence {
  /** By the user's name: `{ user, data, connections, flags }`. */
  users = new Map();
  #own;
  /** Stands for the newest `set` that the server has not answered; null without one. */
  #owed = null;
  /** By the flag: when it ends at the server, and when it is to be sent again. */
  #flags = new Map();
  #say;
  #now;

  /** `say` gets `(keys, answered)`, and returns true if it sent the keys. `answered` gets the error, or undefined. */
  constructor(say, now = Date.now) {
    this.#say = say;
    this.#now = now;
  }

  /** Shows this to all in the room, from now on; null leaves. */
  set(data) {
    this.#own = data;
    // Its flags end with it.
    if (data === null) this.#flags.clear();
    this.#show();
  }

  #show() {
    const mine = this.#owed = {};
    this.#say({ data: this.#own }, (error) => {
      // What may succeed later is said again with the next connection.
      if (this.#owed === mine && error?.retryMs === undefined) this.#owed = null;
    });
  }

  /** Shows a flag for some milliseconds, at most a minute; 0 ends it. */
  flag(flag, forMs = 5_000) {
    const now = this.#now();
    const known = this.#flags.get(flag);
    const sent = { end: now + forMs, again: now + forMs * FRESH };
    if (forMs > 0 && known?.again > now && known.end <= sent.end) return;
    const answered = (error) => {
      if (error && this.#flags.get(flag) === sent) this.#flags.delete(flag);
    };
    if (this.#say({ flag, for_ms: forMs }, answered)) this.#flags.set(flag, sent);
  }

  /** Says again what the connection does not have: all of it, or with `resumed` what has no answer. */
  repeat(resumed) {
    this.#flags.clear();
    if (this.#owed || (!resumed && (this.#own ?? null) !== null)) this.#show();
  }

  /** Takes an event of the server. Returns what has changed, as `{ joined, updated, left }`. */
  hear({ sync, joined = [], updated = [], left = [] }) {
    const was = this.users;
    // A new map, so that a page which keeps the former one sees that it has changed.
    const users = this.users = new Map(sync ? [] : was);
    for (const user of left) users.delete(user);
    for (const entry of sync ?? [...joined, ...updated]) users.set(entry.user, { flags: [], ...entry });
    if (!sync) return { joined, updated, left };
    const isKnown = ({ user }) => was.has(user);
    return {
      joined: sync.filter((entry) => !isKnown(entry)),
      updated: sync.filter(isKnown),
      left: [...was.keys()].filter((user) => !users.has(user)),
    };
  }
}
