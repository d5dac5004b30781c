// What a client says to a server and hears from it, over `room.1`. Owns what each room has been asked and has answered.
//
// Invariant: a message that the client wants acknowledged is settled once, and is sent again only where the server knows it
// again, unless it may be handled twice. Messages of a room leave in the order in which they were sent. Pure: frames go
// in, frames and events come out. It does not know sockets, timers or pages.

import { Presence } from "./presence.js";

/** Acknowledgements that a room may owe. The server remembers 256 ids for each connection, so none of these is forgotten. */
const UNANSWERED_MAX = 128;

/** Why the server or the client refused something. `code` is a name, of `PROTOCOL.md` or of `CLIENT.md`. */
export class RoomError extends Error {
  name = "RoomError";

  constructor(code, message, retryMs) {
    super(message);
    this.code = code;
    /** After how many milliseconds the same may succeed; undefined if it may not. */
    this.retryMs = retryMs;
  }

  /** The error of a frame. */
  static of({ code, message, retry_ms }) {
    return new RoomError(code, message, retry_ms);
  }
}

/** Bytes of a message; undefined for what is neither text nor bytes. */
export const sizeOf = (data) => (typeof data === "string"
  ? new TextEncoder().encode(data).length
  : data?.size ?? data?.byteLength);

/** A text of an id that sorts as the id does: its two numbers have 64 bits. */
const sortable = (id) => id.split("-").map((number) => number.padStart(20, "0")).join();

/** One room of a session: its connection, and the messages that wait. */
export class Member {
  /** Its channel, while it is joined. */
  channel;
  /** What proves to the server that the connection is this client's; undefined if it cannot come back. */
  secret;
  /** The id that it continues after. */
  since;
  /** Messages that have not been sent, and those that have no answer yet. */
  waiting = [];
  unanswered = new Set();
  /** Their bytes. */
  bytes = 0;
  /** Until this id its messages are from before it came. */
  #replayed;
  #named = 0;
  #prefix;

  /**
   * `heard` gets `(type, detail)`: `joined`, `message`, `presence`, `refused`, `closed`, `expires` and `error`. `prefix`
   * begins the ids of its messages, and is its own.
   */
  constructor(heard, prefix, now) {
    this.heard = heard;
    this.#prefix = prefix;
    this.presence = new Presence((...what) => this.show?.(...what) ?? false, now);
  }

  nextId() {
    return `${this.#prefix}-${(this.#named += 1).toString(36)}`;
  }

  /** Takes what the server says first. Returns true if it is the connection that the client had. */
  welcome({ secret, at, arrival }) {
    // Without ids there is nothing to come back with.
    this.secret = at === null || at === undefined ? undefined : secret;
    this.#replayed = undefined;
    if (arrival === "new" || arrival === "gap") this.#replayed = this.since = at ?? undefined;
    return arrival === "resumed";
  }

  /** Notes the id of a message. Returns true if the message is from before the client came. */
  note(id) {
    if (!id) return false;
    const replayed = this.#replayed !== undefined && sortable(id) <= sortable(this.#replayed);
    // Replayed messages do not say where a new client continues: `at` did.
    if (!replayed) this.since = id;
    return replayed;
  }

  /** Takes the message out of what is kept. */
  drop(entry) {
    const at = this.waiting.indexOf(entry);
    if (at >= 0) this.waiting.splice(at, 1);
    if (at >= 0 || this.unanswered.delete(entry)) this.bytes -= entry.bytes;
  }

  /** Settles the message, if it is not yet. */
  settle(entry, error) {
    this.drop(entry);
    entry.settled?.(error);
    entry.settled = undefined;
  }

  /** Settles messages with an error: by default those that wait for an answer. */
  fail(error, entries = this.unanswered) {
    for (const entry of [...entries]) this.settle(entry, error);
  }
}

export class Session {
  /** What the way to the server can do: `rooms`, `acks`, `ids`; undefined without one. */
  can;
  #write;
  #first;
  #ref = 0;
  /** What to do with the answer, by the number of the question. */
  #asked = new Map();
  #channels = new Map();

  /** `write` gets the frames of the client. */
  constructor(write) {
    this.#write = write;
  }

  /** There is a way to the server, by the address of this room. `can` says what it can: `rooms`, `acks`, `ids`. */
  opened(first, can) {
    this.#first = first;
    this.can = can;
  }

  /** The way to the server is lost: no question will be answered. */
  lost() {
    for (const member of this.#channels.values()) this.#part(member);
    this.#channels.clear();
    this.#asked.clear();
    this.can = this.#first = undefined;
  }

  /** Asks to join a room: `asked` has the keys of the frame that say which. The answer is `joined` or `refused`. */
  join(member, asked) {
    const { since, secret } = member;
    const mine = member.joining = {};
    // After a gap it gets the same history as a new client.
    const frame = { type: "join", ...asked, since: secret && since, resume: secret };
    this.#ask(frame, (error, answer) => {
      const isNewest = member.joining === mine;
      if (!error) this.#joined(isNewest && member, answer);
      else if (isNewest) member.heard("refused", answer);
    });
    member.gone = false;
  }

  /** Leaves a room for good: what waits for it is refused. */
  leave(member) {
    member.gone = true;
    member.joining = undefined;
    // Its answer may still come.
    if (this.#first === member) this.#first = undefined;
    if (this.can && member.channel !== undefined) {
      this.#ask({ type: "leave", channel: member.channel });
      this.#channels.delete(member.channel);
    }
    this.#part(member);
    member.fail(new RoomError("left", "the client left the room"), [...member.unanswered, ...member.waiting]);
  }

  /** Shows a newer token. `answered` gets the error, or undefined. */
  token(token, answered) {
    this.#ask({ type: "token", token }, answered);
  }

  /** Asks for a sign of life. */
  ping() {
    this.#ask({ type: "ping" });
  }

  /**
   * Keeps a message, and sends it as soon as it may be. `entry` has `data`, which may be undefined until `flush` is called
   * again, `bytes`, and for one that is acknowledged `settled`, which gets the error or undefined. With `again` it is also
   * sent again where it may be handled twice. Returns true if it was sent at once.
   */
  send(member, entry) {
    member.bytes += entry.bytes;
    member.waiting.push(entry);
    this.flush(member);
    return !member.waiting.includes(entry);
  }

  /** Sends what may be sent. */
  flush(member) {
    while (member.channel !== undefined && member.waiting.length > 0) {
      const [entry] = member.waiting;
      if (entry.data === undefined || (entry.settled && member.unanswered.size >= UNANSWERED_MAX)) return;
      if (entry.settled && !this.can.acks) {
        member.settle(entry, new RoomError("no_acks", "the server does not speak room.1"));
        continue;
      }
      member.waiting.shift();
      if (entry.settled) member.unanswered.add(entry);
      else member.bytes -= entry.bytes;
      this.#say(member, entry);
    }
  }

  /** Takes a frame of the server. */
  hear(frame) {
    const error = frame.type === "error" ? RoomError.of(frame) : undefined;
    const answered = this.#asked.get(frame.ref);
    if (answered) {
      this.#asked.delete(frame.ref);
      return answered(error, frame);
    }
    if (frame.type === "joined" && !frame.ref) return this.#joined(this.#first, frame);
    const member = this.#channels.get(frame.channel);
    if (!member) return;
    if (frame.type === "message") {
      const { data, id } = frame;
      member.heard("message", { data, id, replayed: member.note(id) });
    } else if (frame.type === "presence") {
      member.heard("presence", member.presence.hear(frame));
    } else if (frame.type === "closed") {
      this.#channels.delete(frame.channel);
      // It may have a newer connection already.
      if (member.channel !== frame.channel) return;
      this.#part(member);
      member.heard("closed", frame);
    } else if (error) {
      member.heard(frame.code === "token_expires" ? "expires" : "error", error);
    }
  }

  /** Writes a frame that has an answer. `answered` gets its error, or undefined, and the answer. Returns the frame's number. */
  #ask(frame, answered = () => {}) {
    const ref = (this.#ref += 1);
    this.#asked.set(ref, answered);
    this.#write({ ...frame, ref });
    return ref;
  }

  /** The member has no channel any more, and its questions no answers. */
  #part(member) {
    for (const entry of member.unanswered) this.#asked.delete(entry.ref);
    member.channel = member.show = undefined;
  }

  #joined(member, frame) {
    const { channel } = frame;
    if (!member || member.gone) return void this.#ask({ type: "leave", channel });
    member.channel = channel;
    this.#channels.set(channel, member);
    member.show = (keys, answered) => {
      this.#ask({ type: "presence", channel, ...keys }, (error) => {
        answered(error);
        if (error) member.heard("error", error);
      });
      return true;
    };
    const resumed = member.welcome(frame);
    this.#repeat(member, resumed);
    member.presence.repeat(resumed);
    this.flush(member);
    member.heard("joined", frame);
  }

  /** Sends again what has no answer, and refuses what might be handled twice. */
  #repeat(member, resumed) {
    for (const entry of [...member.unanswered]) {
      if (entry.again || (resumed && entry.known && this.can.ids)) this.#say(member, entry);
      else member.settle(entry, new RoomError("lost", "the connection was lost, and the message may have been handled"));
    }
  }

  #say(member, entry) {
    const frame = { type: "send", channel: member.channel, data: entry.data };
    if (!entry.settled) return this.#write(frame);
    entry.known = this.can.ids;
    entry.id ??= member.nextId();
    entry.ref = this.#ask({ ...frame, id: entry.id }, (error) => {
      member.settle(entry, error);
      this.flush(member);
    });
  }
}
