// Tests of rooms without a server: what files `*.test.ts` import, which `room test` runs. TESTING.md is the guide.

import type { PresentUser, Timer } from "roomkit/server";

// --- Tests ---------------------------------------------------------------------------------------------------------

/** Declares a test. It fails if the function throws, or if a turn of its rooms fails and the test does not look at it. */
export function test(name: string, body: () => void | Promise<void>): void;

/** Groups tests: their names begin with this one. */
export function describe(name: string, body: () => void): void;

/** Runs before each test of its group. */
export function beforeEach(body: () => void | Promise<void>): void;

/** Runs after each test of its group, also if it failed. */
export function afterEach(body: () => void | Promise<void>): void;

/** What `throws` and `rejects` expect: a part of the message or the name of the error, a pattern, or its class. */
export type ExpectedError = string | RegExp | (abstract new (...args: any[]) => unknown);

interface Assert {
  /** Fails unless the value is true. */
  (ok: unknown, message?: string): asserts ok;
  /** Fails unless both are the same by `Object.is`. */
  equal(actual: unknown, expected: unknown, message?: string): void;
  notEqual(actual: unknown, expected: unknown, message?: string): void;
  /** Fails unless both have the same types and contents. */
  deepEqual(actual: unknown, expected: unknown, message?: string): void;
  notDeepEqual(actual: unknown, expected: unknown, message?: string): void;
  /** Fails unless the text matches the pattern, or has the text in it. */
  match(text: unknown, pattern: RegExp | string, message?: string): void;
  /** Fails unless the function throws. Returns what it threw. */
  throws(body: () => unknown, expected?: ExpectedError, message?: string): any;
  /** Fails unless the promise, or that of the function, is rejected. Resolves to the reason. */
  rejects(promise: Promise<unknown> | (() => Promise<unknown>), expected?: ExpectedError, message?: string): Promise<any>;
  fail(message?: string): never;
}

export const assert: Assert;

/** What a failed assertion throws. */
export class AssertionError extends Error {
  readonly actual?: unknown;
  readonly expected?: unknown;
}

// --- Rooms ---------------------------------------------------------------------------------------------------------

export interface TestRoomOptions {
  /** The party whose script runs: `"main"` by default. */
  party?: string;
  /** Variables beside those of `[vars]` in room.toml. */
  vars?: Record<string, string>;
  /** What is stored at first. */
  stored?: Record<string, unknown>;
  /** Other rooms that store something, by party: what `this.rooms(party)` lists. */
  others?: Record<string, Iterable<string>>;
  /** What time it is at first: 2025-01-01T00:00:00Z by default. */
  clock?: number | Date;
  /** How many bytes the room may store: `room_bytes_max`. */
  bytesMax?: number;
  /** How many of its messages the room remembers: `history` of the party in room.toml. */
  history?: number;
  /** Keeps presence: `presence` of the party in room.toml. `grace` is in milliseconds, and 5,000 by default. */
  presence?: boolean | { grace?: number };
}

export interface ConnectOptions {
  /** Below the URL of the room: `"/spectate"`. */
  path?: string;
  query?: Record<string, string> | URLSearchParams;
  headers?: HeadersInit;
  /** The claims of the client's token: it is as if `[auth]` had checked it. */
  claims?: Record<string, unknown>;
  /** A ticket that a room of the test made. */
  ticket?: string;
  /** By which transport. `"websocket"` if it is not named. */
  transport?: "websocket" | "sse" | "long-poll";
}

/** A request of a client. */
export interface TestRequestInit extends RequestInit {
  /** The claims of the client's token: it is as if `[auth]` had checked it. */
  claims?: Record<string, unknown>;
}

/** What `console` and the platform wrote about the room. */
export interface LogLine {
  level: "trace" | "debug" | "info" | "warn" | "error";
  message: string;
  fields: Record<string, string>;
}

/** What a room has stored. */
export interface Stored {
  get<T = any>(key: string): T | undefined;
  list<T = any>(options?: { prefix?: string }): Map<string, T>;
  keys(prefix?: string): string[];
  readonly size: number;
}

/**
 * One room under test, whose script is bundled as for a server and runs in the same engine. When a call returns,
 * everything that follows from it has happened: turns have run, what they sent has arrived. What comes from outside is up
 * to the test: time, and the answers of other servers and rooms.
 */
export class TestRoom {
  constructor(name: string, options?: TestRoomOptions);
  readonly name: string;
  readonly party: string;
  /** What it has stored, at the time of the call. */
  readonly storage: Stored;

  /** Connects a client. One that has the id already is replaced. */
  connect(id: string, options?: ConnectOptions): TestClient;
  /** Sends a request, to a path below the URL of the room. The promise settles when the response is complete. */
  request(path?: string | URL | Request, init?: TestRequestInit): Promise<Response>;
  /** Sends a request, and returns the response as it grows: for streams. */
  begin(path?: string | URL | Request, init?: TestRequestInit): TestResponse;
  /** Sends a request whose body follows in pieces, as in a party with `request_bodies = "pieces"`. */
  upload(path?: string | URL | Request, init?: RequestInit): TestResponse;
  /** Asks `onFetch` of the class with a request of no room; null if it has no answer. */
  onFetch(path: string | URL | Request, init?: RequestInit): Response | null;
  /** Asks `onSocket` of the class with the request of a WebSocket of no room; null if it failed. */
  onSocket(path: string | URL | Request, init?: RequestInit): {
    party?: string;
    room?: string;
    respond?: Response;
    refuse?: { code: number; reason: string };
  } | null;
  /** Answers what hooks fetch, from now on, at once; `code` is that of a failure: `unreachable`, `timed-out`, … */
  answerHooks(answer: (request: Request) => Response | { code: string; message?: string }): void;
  /** Calls `onCall`, as another room does. Returns what that returns. */
  call<T = any>(data?: unknown, caller?: { party?: string; room?: string }): T;
  /** Calls a public method of the class, as another room does. */
  callMethod<T = any>(method: string, ...args: unknown[]): T;

  /** Moves the clock. Alarms, timers, schedules and `setTimeout` that come due fire at their time. */
  advance(milliseconds: number): void;
  /** Publishes a message, as another server does: calls `onPublish`. */
  publish(message: string | ArrayBuffer | ArrayBufferView): void;
  /** Calls `onCron`. */
  cron(name: string, at?: number | Date): void;
  /** Ends the room as its `ttl` does: `onExpire`, and everything that is stored is gone. */
  expire(): void;
  /** What time it is, in milliseconds since 1970. */
  now(): number;

  /** Replaces the instance, as a deployment does: `onStart` runs at once. Connections stay. */
  reload(): void;
  /** Ends the instance. The next event starts another. Connections stay, as in a server. */
  hibernate(): void;
  /**
   * Ends the instance alone, as `hibernate` does: memory and code that waits are lost; storage, history and connections
   * stay. The death of a server, which ends connections, too, is `TestRoom::crash` of tests in Rust.
   */
  crash(): void;

  /** When the alarm is due, or null. */
  alarm(): number | null;
  /** The schedules that wait, the earliest first. */
  timers(): Timer[];
  /** The users that are present, by their names. */
  presentUsers<T = any>(): PresentUser<T>[];
  /** The ids of the open connections, in the order in which they came. */
  connectionIds(): string[];
  /** The requests to other servers that wait for an answer, the oldest first. */
  fetches(): PendingFetch[];
  /** The calls of other rooms, and requests to them, that wait for an answer. In a project the rooms themselves answer. */
  calls(): PendingCall[];
  /** The room's log so far. */
  logs(): LogLine[];
  /** Takes the errors of the turns that failed since the last call. */
  takeErrors(): string[];
  /** The error of the turn that failed last and was not taken, or null. */
  lastError(): string | null;
}

/** Rooms that call each other: their calls are answered at once. */
export class TestProject {
  room(name: string, options?: TestRoomOptions): TestRoom;
}

/** A WebSocket to a room under test. */
export class TestClient {
  private constructor();
  readonly id: string;
  send(message: string | ArrayBuffer | ArrayBufferView): void;
  sendJson(value: unknown): void;
  /** Takes what arrived since the last call. */
  received(): (string | ArrayBuffer)[];
  /** Takes what arrived since the last call, with how the room sent it. A client under test misses no message. */
  deliveries(): { message: string | ArrayBuffer; delivery: { volatile?: true; latest?: string } }[];
  /** Takes what arrived since the last call, each message read as JSON. */
  receivedJson<T = any>(): T[];
  /** Closes the connection with a close frame. */
  close(code?: number, reason?: string): void;
  /** Loses the connection without one: the room sees 1006. */
  lose(): void;
  /** Shows a value of JSON of its own user, as a client of `room.1` may. No handler is called. */
  show(data: unknown): void;
  /** Ends the presence of its own user. */
  hide(): void;
  /** Gives its own user a flag that ends by itself. */
  flag(flag: string, milliseconds: number): void;
  /** How the connection ended, or null while it is open. */
  closed(): { code: number; reason: string; wasClean: boolean } | null;
  /** What a hook answered in place of opening the connection, or null. */
  response(): Response | null;
  /** The values of a header that a hook added to the answer of the handshake. */
  headers(name: string): string[];
}

/** A response as it grows. */
export class TestResponse {
  private constructor();
  /** Status and headers, once it has begun. */
  readonly head: Response | null;
  readonly status: number | null;
  readonly isComplete: boolean;
  readonly isBrokenOff: boolean;
  /** Takes what arrived of the body since the last call. */
  take(): Uint8Array;
  takeText(): string;
  /** Takes the whole events that arrived, as an `EventSource` reads them. */
  takeEvents(): { type: string; data: string }[];
  /** The whole response, when it is complete. */
  whole(): Promise<Response>;
  /** Leaves before it has ended. */
  leave(): void;
  /** Ends it for another reason. */
  cut(end: "left" | "slow" | "idle" | "late"): void;
  /** Sends a piece of the request's body. */
  sendPiece(piece: string | ArrayBuffer | ArrayBufferView): void;
  /** Sends the last piece of the request's body. */
  sendLast(piece?: string | ArrayBuffer | ArrayBufferView): void;
  failBody(why?: "aborted" | "stalled" | "too-large"): void;
}

/** A request to another server. */
export class PendingFetch {
  private constructor();
  readonly id: string;
  readonly tag: string;
  readonly url: string;
  readonly method: string;
  readonly request: Request;
  readonly retries: number;
  /** True with `room: { stream: true }`: the body may come by `respondPart`. */
  readonly inParts: boolean;
  readonly bestEffort: boolean;
  respond(response: Response): void;
  /** Delivers the next part of the body. Returns whether the room took it. */
  respondPart(part: string | ArrayBuffer | ArrayBufferView): boolean;
  /** Answers with a failure: `unreachable` by default, `timed-out`, `host-not-allowed`, … */
  fail(code?: string, message?: string): void;
}

/** A call of another room, or a request to it. */
export class PendingCall {
  private constructor();
  readonly id: string;
  readonly tag: string;
  readonly party: string;
  readonly room: string;
  /** The method of the other class that is called, and its arguments; null for `call()` and `fetch()`. */
  readonly method: string | null;
  readonly args: unknown[] | null;
  /** What `call()` gave. */
  readonly data: any;
  /** What `fetch()` of the room sends, or null. */
  readonly request: Request | null;
  /** With what the other room returns: a `Response` for a request. */
  answer(value?: unknown): void;
  fail(code?: string, message?: string): void;
}
