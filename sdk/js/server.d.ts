// The module `roomkit/server`: what a room imports. The engine has it; here are its types.
//
// A room is a class that extends `Server`, which the module exports:
//
//     import { Server, type Connection, type WSMessage } from "roomkit/server";
//
//     export default class Chat extends Server {
//       onMessage(connection: Connection, message: WSMessage) {
//         this.broadcast(message, [connection.id]);
//       }
//     }
//
// `SERVER.md` beside this file explains when what a handler does takes effect.

// --- Connections ---------------------------------------------------------------------------------------------------

/** What a client sends: text, or bytes as an `ArrayBuffer`. Views can be sent, and never arrive. */
export type WSMessage = string | ArrayBuffer | ArrayBufferView;

/**
 * How a message waits for a client that takes less than the room sends. `volatile`: a client for which more than a little
 * waits, or that is away, does not get it. `latest`: it takes the place of the waiting message with the same key, and stands
 * behind all others; a client that is away does not get it. A key has 1 to 128 bytes.
 */
export type Delivery = { volatile?: boolean; latest?: undefined } | { volatile?: false; latest: string };

type Plain = undefined | null | boolean | string | number | bigint | Date | ((...args: any[]) => any);

/** A value that must be changed as a whole. */
export type Immutable<T> = T extends Plain
  ? T
  : T extends Map<infer K, infer V>
    ? ReadonlyMap<Immutable<K>, Immutable<V>>
    : T extends Set<infer M>
      ? ReadonlySet<Immutable<M>>
      : { readonly [K in keyof T]: Immutable<T[K]> };

/** The state of a connection: null until `setState` is called. */
export type ConnectionState<TState> = Immutable<TState> | null;

/** Makes the next state of a connection of the one before. */
export type ConnectionSetStateFunction<TState> = (before: ConnectionState<TState>) => TState | null;
/** PartyServer's name of it. */
export type ConnectionSetStateFn<TState> = ConnectionSetStateFunction<TState>;

/** What is known of a client when it connects. */
export interface ConnectionContext {
  /** The request that opened the connection, as the hooks left it: URL, query, headers. */
  readonly request: Request;
}

/** What a client may do. */
export interface Capabilities {
  /** It gets what the room sends. */
  readonly read: boolean;
  /** It may send messages, and requests other than `GET` and `HEAD`. */
  readonly write: boolean;
  /** The room may show it to others. */
  readonly presence: boolean;
}

/** What a ticket allows. Without `party` and `room`, it is for this room; with `party` alone, for all rooms of the party. */
export interface TicketGrant {
  party?: string;
  room?: string | null;
  /** For how long it can be used to connect, in milliseconds: a minute, if nothing is said. */
  for?: number;
  /** All, if nothing is said. */
  capabilities?: ("read" | "write" | "presence")[];
  /** It can be used once. */
  once?: boolean;
  /** The claims that the room gets. */
  claims?: Record<string, unknown>;
}

/** The claims of the token or ticket that a request or a connection came with; null without any. Hooks call it, too. */
export function claimsOf<T = any>(whose: Request | Connection): T | null;
/** What the client of a request or a connection may do. */
export function capabilitiesOf(whose: Request | Connection): Capabilities;

/** The event of a listener of a connection. */
export interface ConnectionEventMap {
  message: MessageEvent;
  close: CloseEvent;
  error: Event & { readonly error: Error; readonly message: string };
}

type ConnectionListener<E, TState> =
  | ((this: Connection<TState>, event: E) => unknown)
  | { handleEvent(event: E): unknown };

/** A client of the room. There is one object for each connection, as long as the room is in memory. */
export class Connection<TState = unknown> {
  private constructor();

  static readonly CONNECTING: 0;
  static readonly OPEN: 1;
  static readonly CLOSING: 2;
  static readonly CLOSED: 3;
  readonly CONNECTING: 0;
  readonly OPEN: 1;
  readonly CLOSING: 2;
  readonly CLOSED: 3;

  /** The connection's id, unique in the room. The client chooses it by `_pk`: it says nothing about who it is. */
  readonly id: string;
  /** The URL that the client connected with, query included. */
  readonly uri: string;
  /** The same as `uri`. */
  readonly url: string;
  /** The id, and what `getConnectionTags` returned. */
  readonly tags: readonly string[];
  /**
   * What carries its messages: `"sse"`, server-sent events, in a party with `sse = true`; `"long-poll"` in one with
   * `resume`, too.
   */
  readonly transport: "websocket" | "sse" | "long-poll";
  /** The room's name. */
  readonly server: string;
  /** The room's name. */
  readonly room: string;
  readonly readyState: 0 | 1 | 2 | 3;
  readonly binaryType: "arraybuffer";
  readonly protocol: string;
  readonly extensions: string;
  /** The connection itself. */
  readonly socket: this;

  /**
   * The claims of the client's token or ticket, as `[auth]` of room.toml has checked them; null without any. They stay
   * with the connection through reloads and hibernation, and no client can choose them. They change only when the client
   * itself shows a newer token of the same `sub`: when it comes back, with a poll, or with a frame `token` of `room.1`.
   */
  readonly claims: any;
  /** What the client may do: everything, unless its ticket says otherwise. */
  readonly capabilities: Capabilities;

  /** What `setState` stored last, or null. It survives reloads, hibernation and crashes. */
  readonly state: ConnectionState<TState>;
  /** Keeps a value with the connection. Null removes it. Returns the new state. */
  setState(state: TState | null | ConnectionSetStateFunction<TState>): ConnectionState<TState>;
  /** The same as `setState`. */
  serializeAttachment(state: TState | null): void;
  /** The same as `state`. */
  deserializeAttachment(): ConnectionState<TState>;

  /**
   * Sends text or bytes when the turn commits.
   * @throws TypeError if the message is an object (use `JSON.stringify`), or the connection was closed.
   */
  send(message: WSMessage, delivery?: Delivery): void;
  /** Closes the connection when the turn commits. */
  close(code?: number, reason?: string): void;
  /** Does nothing: the server has accepted the connection. */
  accept(): void;

  /** Listens as long as the room is in memory. The methods of the class, such as `onMessage`, hold longer. */
  addEventListener<K extends keyof ConnectionEventMap>(
    type: K,
    listener: ConnectionListener<ConnectionEventMap[K], TState> | null,
    options?: boolean | { once?: boolean },
  ): void;
  removeEventListener<K extends keyof ConnectionEventMap>(
    type: K,
    listener: ConnectionListener<ConnectionEventMap[K], TState> | null,
  ): void;
}

// --- Storage -------------------------------------------------------------------------------------------------------

/** Which keys are listed. */
export interface ListOptions {
  /** The first key, itself included. */
  start?: string;
  /** The key behind which the list begins. Not together with `start`. */
  startAfter?: string;
  /** The key before which the list ends. */
  end?: string;
  /** What all keys begin with. */
  prefix?: string;
  /** From the last key to the first. */
  reverse?: boolean;
  /** The most entries. */
  limit?: number;
}

/** Options of Durable Objects that are accepted and change nothing: a turn is isolated and durable in any case. */
export interface IgnoredOptions {
  allowConcurrency?: boolean;
  allowUnconfirmed?: boolean;
  noCache?: boolean;
}

/**
 * What a storage and a transaction have in common. Keys are ordered by their UTF-8 bytes. Values are what
 * `structuredClone` copies; those that are plain JSON are stored as JSON text.
 *
 * Every call has its effect at once: its promise has settled, and awaiting it does not end the turn.
 */
export interface StorageOperations {
  get<T = unknown>(key: string, options?: IgnoredOptions): Promise<T | undefined>;
  /** Those of the keys that are there, in the order of keys. */
  get<T = unknown>(keys: string[], options?: IgnoredOptions): Promise<Map<string, T>>;
  put<T>(key: string, value: T, options?: IgnoredOptions): Promise<void>;
  put<T>(entries: Record<string, T>, options?: IgnoredOptions): Promise<void>;
  /** Returns whether the key was there. */
  delete(key: string, options?: IgnoredOptions): Promise<boolean>;
  /** Returns how many of the keys were there. */
  delete(keys: string[], options?: IgnoredOptions): Promise<number>;
  /** In the order of keys. */
  list<T = unknown>(options?: ListOptions & IgnoredOptions): Promise<Map<string, T>>;
  deleteAll(options?: IgnoredOptions): Promise<void>;
  /** When the alarm is due, in milliseconds since 1970, or null. */
  getAlarm(options?: IgnoredOptions): Promise<number | null>;
  /** Sets the room's one alarm, which calls `onAlarm`. */
  setAlarm(at: number | Date, options?: IgnoredOptions): Promise<void>;
  deleteAlarm(options?: IgnoredOptions): Promise<void>;
}

/** The storage inside of a transaction. */
export interface StorageTransaction extends StorageOperations {
  /** Undoes what the transaction did, and ends it. */
  rollback(): void;
}

/** The storage without promises. */
export interface SyncStorage {
  get<T = unknown>(key: string): T | undefined;
  put<T>(key: string, value: T): void;
  delete(key: string): boolean;
  list<T = unknown>(options?: ListOptions): IterableIterator<[string, T]>;
}

/** The room's own durable storage. */
export interface Storage extends StorageOperations {
  /** The same storage without promises. */
  readonly kv: SyncStorage;
  /** The bytes of all keys and values. */
  readonly size: number;
  /**
   * Runs a function whose effects take place as a whole or not at all: an error undoes them. It must settle within the
   * turn: it may await the storage, and not `fetch` or a timer.
   */
  transaction<T>(part: (transaction: StorageTransaction) => Promise<T> | T): Promise<T>;
  transactionSync<T>(part: () => T): T;
  /** Settles at once: what a turn sends leaves only after what it wrote is durable. */
  sync(): Promise<void>;
  /** Not there: calls throw an error that says what to use. */
  readonly sql: { exec(...args: never): never; prepare(...args: never): never };
}

// --- Other rooms ---------------------------------------------------------------------------------------------------

/** The name of a room, where Durable Objects have an id. */
export interface RoomId {
  readonly name: string;
  toString(): string;
  toJSON(): string;
  equals(other: unknown): boolean;
}

type NotCallable =
  | `on${Capitalize<string>}`
  | `webSocket${string}`
  | "alarm"
  | "call"
  | "constructor"
  | "fetch"
  | "getConnectionTags"
  | "then"
  | keyof Server;

type IsAny<T> = 0 extends 1 & T ? true : false;

/** The public methods of a room's class, called from elsewhere. */
export type RemoteMethods<T> = IsAny<T> extends true
  ? unknown
  : {
      readonly [K in Exclude<keyof T, NotCallable> as T[K] extends (...args: any[]) => any ? K : never]: T[K] extends (
        ...args: infer A
      ) => infer R
        ? (...args: A) => Promise<Awaited<R>>
        : never;
    };

/** Another room. Each request and call leaves when the turn is durable, and is answered in a later turn. */
export type RoomStub<T = unknown> = RemoteMethods<T> & {
  readonly party: string;
  readonly name: string;
  readonly id: RoomId;
  /** Sends a request to the room's `onRequest`. The input is a path such as `/count`, a URL or a `Request`. */
  fetch(input?: string | URL | Request, init?: RequestInit): Promise<Response>;
  fetch(init?: RequestInit): Promise<Response>;
  /** Calls the room's `onCall` exactly once, and returns what it returns. */
  call<R = unknown>(data: unknown, options?: CallOptions): Promise<R>;
  /** Not there: it throws, as a room cannot open a WebSocket to another one. */
  socket(): never;
  /** The same as `socket`. */
  connect(): never;
};

export interface CallOptions {
  /** Given to `onAnswer` if the answer outlives the code that waits for it. */
  tag?: string;
}

/** A party of the project, where PartyServer has the namespace of a Durable Object. */
export interface PartyNamespace<T = unknown> {
  readonly party: string;
  get(room: string | RoomId): RoomStub<T>;
  getByName(name: string): RoomStub<T>;
  idFromName(name: string): RoomId;
  idFromString(text: string): RoomId;
  newUniqueId(): RoomId;
}

/** A room that calls this one. */
export interface Caller {
  readonly party: string;
  readonly room: string;
}

/** A failed request or call, as the host reports it. */
export interface Failure extends Error {
  /** In kebab-case: `timed-out`, `host-not-allowed`, … */
  readonly code: string;
}

// --- Timers and crons ----------------------------------------------------------------------------------------------

/** When a timer is due: at a time, or after so many milliseconds; with `every` again and again. */
export interface When {
  at?: number | Date;
  /** Milliseconds from now. */
  after?: number;
  /** Milliseconds between two times. */
  every?: number;
}

/** A durable timer. */
export interface Timer<T = any> {
  readonly id: string;
  /** When it is due, in milliseconds since 1970. */
  readonly at: number;
  readonly every: number | null;
  readonly tag: string;
  readonly data: T;
  /** How often it failed. */
  readonly tries: number;
}

/** A planned call: `[crons]` in room.toml. */
export interface Cron {
  readonly name: string;
  /** Its schedule, as in `0 3 * * *`. */
  readonly cron: string;
  /** In milliseconds since 1970. */
  readonly scheduledTime: number;
  noRetry(): void;
}

/** A part of a response that `fetch` asked for with `room: { stream: true }`. */
export interface Chunk {
  readonly id: string;
  readonly tag: string;
  readonly status: number;
  readonly offset: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** What rooms of both kinds have besides PartyKit's and PartyServer's members. */
/** A message that the room has sent to all, or to the connections with a tag. */
export interface Sent {
  id: string;
  /** When it was sent, in milliseconds since 1970. */
  at: number;
  /** The tag that it was sent to; none if it was sent to all. */
  tag?: string;
  message: string | ArrayBuffer;
}

/** Which messages are read: the newest that fit. */
export interface HistoryOptions {
  limit?: number;
  /** Only those before the message with this id. */
  before?: string;
  /** Only those after the message with this id. */
  after?: string;
}

/** A user that is present. */
export interface PresentUser<T = any> {
  /** The claim `sub` of its token or ticket, or the id of its connection. */
  user: string;
  /** What it shows. */
  data: T;
  /** How many connections it has, with those whose clients are away; 0 while its grace goes on. */
  connections: number;
  /** The flags that have not ended. */
  flags: string[];
}

/**
 * Who is in the room. The party asks for it: `presence = true` in room.toml. A refusal is an error with a code: `not-kept`,
 * `not-found`, `not-present`, `forbidden`, `too-large`, `beyond-limit` or `invalid`.
 */
export interface Presence {
  /** Shows `data`, a value of JSON, of the connection's user from now on. */
  set<T = unknown>(connection: { readonly id: string }, data: T): void;
  /** Ends the presence of the connection's user, until the next `set`. */
  clear(connection: { readonly id: string }): void;
  /** Gives the connection's user a flag that ends by itself: `flag(connection, "typing", 5_000)`; 0 ends it. */
  flag(connection: { readonly id: string }, flag: string, milliseconds: number): void;
  /** The users that are present, by their names. */
  users<T = any>(): PresentUser<T>[];
  /** The user with this name, or null. */
  user<T = any>(name: string): PresentUser<T> | null;
}

export interface RoomExtras {
  /** Who is in the room, and what each of them shows. */
  readonly presence: Presence;
  /** Schedules `onTimer`; a number is milliseconds since 1970. Returns the timer's id. */
  schedule(when: number | Date | When, tag: string, data?: unknown): string;
  /** Returns false if there is no timer with this id. */
  cancelTimer(id: string): boolean;
  /** The earliest first. */
  timers(): Timer[];
  /**
   * What earlier turns have sent, the oldest first. The party asks for it: `history = { keep = 100 }` in room.toml. With
   * `more`, there are older ones. Throws an error with the code `not-kept`, `forgotten` or `invalid`.
   */
  readHistory(options?: HistoryOptions): { messages: Sent[]; more: boolean };
  /** Calls `onCall` of another room, and returns what it returns. */
  call<R = unknown>(party: string, room: string, data: unknown, options?: CallOptions): Promise<R>;
  /** The names of a party's rooms that store something. */
  rooms(party: string): AsyncGenerator<string, void, undefined>;
  /** Makes a ticket, which a client sends as `?ticket=` in place of a token. It has no effect besides. */
  ticket(grant?: TicketGrant): string;
}

// --- Hooks ---------------------------------------------------------------------------------------------------------

/** What a hook is called with at last. */
export interface ExecutionContext {
  /** A rejection of the promise is logged. */
  waitUntil(promise: Promise<unknown>): void;
  passThroughOnException(): void;
  readonly props: Record<string, unknown>;
}

/** What a hook knows of its project. */
export interface FetchLobby<Env = Record<string, any>> {
  readonly env: Env;
  /** The parties of the project by name. */
  readonly parties: Record<string, PartyNamespace>;
  readonly analytics: { writeDataPoint(...args: unknown[]): void };
}

/** What a hook before a room knows. */
export interface Lobby<Env = Record<string, any>> extends FetchLobby<Env> {
  /** The room's name. */
  readonly id: string;
  /** The room's name. */
  readonly name: string;
  readonly party: string;
  /** The name of the exported class that is the party, or the party's name if the class is the default export. */
  readonly className: string;
}

/** Closes a connection. A code of 4400 to 4499 tells clients not to try again. */
export interface Refusal {
  refuse: { code?: number; reason?: string };
}

/** What becomes of a client: the request goes on (also if nothing is returned), or is answered here. */
export type Verdict = Request | Response | Refusal | false | null | undefined | void;

/** A WebSocket whose URL names no room. */
export interface PendingSocket {
  readonly request: Request;
  readonly url: string;
  readonly headers: Headers;
  close(code?: number, reason?: string): void;
}

/** The room that such a WebSocket goes to. */
export interface Destination {
  party: string;
  room: string;
}

type Later<T> = T | Promise<T>;

/**
 * The static methods of a room's class that run outside of rooms. A hook may await `fetch` and promises, has no storage
 * and no timers, and must settle by itself.
 */
export interface Hooks<Env = Record<string, any>> {
  onBeforeConnect?(request: Request, lobby: Lobby<Env>, ctx: ExecutionContext): Later<Verdict>;
  onBeforeRequest?(request: Request, lobby: Lobby<Env>, ctx: ExecutionContext): Later<Verdict>;
  /** Answers requests whose URL names no room and no file. Null leaves them to the server. */
  onFetch?(request: Request, lobby: FetchLobby<Env>, ctx: ExecutionContext): Later<Response | null | undefined>;
  onSocket?(
    socket: PendingSocket,
    lobby: FetchLobby<Env>,
    ctx: ExecutionContext,
  ): Later<Destination | Refusal | Response | null | undefined | void>;
  /** What it returns is of no meaning. */
  onCron?(cron: Cron, lobby: FetchLobby<Env>, ctx: ExecutionContext): unknown;
}

// --- The room ------------------------------------------------------------------------------------------------------

export interface ServerOptions {
  /** Accepted; `hibernate` of the party in room.toml decides. */
  hibernate?: boolean;
}

/** A text that is answered with another one, without the room's handler. */
export class WebSocketRequestResponsePair {
  constructor(request: string, response: string);
  readonly request: string;
  readonly response: string;
}

/** The state of a room, with the members of a Durable Object's. */
export interface RoomState<Props = Record<string, unknown>> {
  readonly storage: Storage;
  readonly id: RoomId;
  readonly props: Props;
  /** A rejection of the promise is logged. */
  waitUntil(promise: Promise<unknown>): void;
  /** Holds back the room's events until the promise settles, for 30 s at most. */
  blockConcurrencyWhile<T>(work: () => Promise<T>): Promise<T>;
  getWebSockets(tag?: string): Connection[];
  getTags(connection: Connection): string[];
  setWebSocketAutoResponse(pair?: WebSocketRequestResponsePair): void;
  getWebSocketAutoResponse(): WebSocketRequestResponsePair | null;
  /** Not there: it throws, as the server accepts WebSockets itself. */
  acceptWebSocket(...args: unknown[]): never;
  /** Fails the turn. */
  abort(reason?: string): never;
}

export interface Server<Env, Props> extends RoomExtras {}

/**
 * A room: its methods are called with its events, one at a time. Each call is a turn: if it throws, nothing of what it
 * did takes effect. Static methods with the names of `Hooks` run before clients reach a room.
 */
export class Server<Env = Record<string, any>, Props = Record<string, unknown>> {
  constructor(ctx: RoomState<Props>, env: Env);

  static options: ServerOptions;

  readonly ctx: RoomState<Props>;
  /** The project's variables, and the exported classes that are rooms. */
  readonly env: Env;
  /** The room's name. */
  get name(): string;
  /** The party's name. */
  get party(): string;

  /** Runs before the first event of each instance: after a start, a reload, a crash, and after hibernation. */
  onStart(props?: Props): Later<void>;
  /** Names up to nine tags of a connection, for `getConnections(tag)`. It must settle within its turn. */
  getConnectionTags(connection: Connection, context: ConnectionContext): Later<string[]>;
  onConnect(connection: Connection, context: ConnectionContext): Later<void>;
  onMessage(connection: Connection, message: WSMessage): Later<void>;
  onClose(connection: Connection, code: number, reason: string, wasClean: boolean): Later<void>;
  onError(connection: Connection, error: unknown): Later<void>;
  /** Without it requests are answered with 404. An error with a numeric `code` (400 to 599) chooses the status. */
  onRequest(request: Request): Later<Response>;
  onAlarm(): Later<void>;
  /** Learns of a failure of `sql`, which is thrown all the same. Errors of handlers fail their turn, and are logged. */
  onException(error: unknown): unknown;
  /** Every request to the room comes here. Who overrides it calls `super.fetch(request)`, which calls `onRequest`. */
  fetch(request: Request): Later<Response>;
  /** The alarm comes here. Who overrides it calls `super.alarm()`, which calls `onAlarm`. */
  alarm(): Later<void>;

  /** A timer of `schedule` is due. It is delivered at least once. */
  onTimer?(timer: Timer): Later<void>;
  /** Another room calls. What it returns goes back. It must settle within its turn. */
  onCall?(caller: Caller, data: any, id: string): unknown;
  /** The answer to a call whose waiting code ended with a reload, a crash or an eviction. */
  onAnswer?(tag: string, answer: any, id: string): Later<void>;
  /** As `onAnswer`, for `fetch`. */
  onResponse?(tag: string, response: Response | Failure, id: string): Later<void>;
  /** A part of a response whose waiting code ended. */
  onChunk?(chunk: Chunk): Later<void>;
  onCron?(cron: Cron): Later<void>;
  /** Another server publishes a message, by HTTP and with a key. Without it, the message goes to all connections. */
  onPublish?(message: WSMessage): Later<void>;
  /** The room was not used for the time that `ttl` of its party names, and is deleted with this turn. */
  onExpire?(): Later<void>;

  /** Sends to all connections but those with these ids. */
  broadcast(message: WSMessage, without?: string[], delivery?: Delivery): void;
  getConnection<TState = unknown>(id: string): Connection<TState> | undefined;
  /** The open connections, or those with a tag, in the order in which they joined. */
  getConnections<TState = unknown>(tag?: string): IterableIterator<Connection<TState>>;
  /** Nothing is to be set: a room has its name from the start. It throws if the name is another one. */
  setName(name: string): Promise<void>;
  /** Not there: it throws an error that says what to use. */
  sql(...args: unknown[]): never;
}

/**
 * Returns a stub of a room: `fetch`, `call`, and the public methods of its class.
 * @param party What `env` has for an exported class, or the party's name.
 */
export function getServerByName<T = unknown>(
  party: PartyNamespace<T> | string,
  name: string,
  options?: Record<string, unknown>,
): Promise<RoomStub<T>>;

/** Accepted, and without meaning: the server finds its rooms by itself. */
export interface RoutingRetryOptions {
  maxAttempts?: number;
  baseDelayMs?: number;
  maxDelayMs?: number;
  onRetry?(event: RoutingRetryEvent): void | Promise<void>;
}

/** What `onRetry` would get. */
export interface RoutingRetryEvent {
  error: unknown;
  attempt: number;
  maxAttempts: number;
  delayMs: number;
  name: string;
  className?: string;
}

export interface PartyServerOptions {
  /** The first part of the path. Default `parties`. */
  prefix?: string;
  cors?: boolean | HeadersInit;
  /** These three are accepted, and without meaning: rooms run where the server runs. */
  jurisdiction?: string;
  locationHint?: string;
  routingRetry?: false | RoutingRetryOptions;
  onBeforeConnect?(request: Request, lobby: Omit<Lobby, keyof FetchLobby>): Later<Response | Request | void>;
  onBeforeRequest?(request: Request, lobby: Omit<Lobby, keyof FetchLobby>): Later<Response | Request | void>;
}

/**
 * For a worker, `export default { fetch(request, env) }`, as PartyServer projects have it. The server routes by itself,
 * and asks the worker before it does. Returns null if the URL is not one of a room.
 */
export function routePartykitRequest(
  request: Request,
  env?: unknown,
  options?: PartyServerOptions,
): Promise<Response | null>;

// --- PartyKit ------------------------------------------------------------------------------------------------------

type AnyConnection<TState = unknown> = Connection<TState>;
type AnyConnectionContext = ConnectionContext;
type AnyCron = Cron;
type AnyExecutionContext = ExecutionContext;
type AnyFetchLobby = FetchLobby;
type AnyLobby = Lobby;
type AnyRequest = Request;
type AnyServerOptions = ServerOptions;
type AnyStorage = Storage;

/** PartyKit's names: `class Chat implements Party.Server { constructor(readonly room: Party.Room) {} }`. */
export namespace Party {
  type Connection<TState = unknown> = AnyConnection<TState>;
  type ConnectionContext = AnyConnectionContext;
  type Storage = AnyStorage;
  type Request = AnyRequest;
  type Lobby = AnyLobby;
  type FetchLobby = AnyFetchLobby;
  type CronLobby = AnyFetchLobby;
  type Cron = AnyCron;
  type ExecutionContext = AnyExecutionContext;
  type Stub = RoomStub<any>;
  type ServerOptions = AnyServerOptions;

  interface Context {
    /** The parties of the project by name. */
    readonly parties: Record<string, PartyNamespace<any>>;
  }

  /** The room that the constructor gets. */
  interface Room extends RoomExtras {
    /** The room's name. */
    readonly id: string;
    /** 64 hexadecimal digits that are this room's alone. */
    readonly internalID: string;
    /** The party's name. */
    readonly name: string;
    readonly env: Record<string, any>;
    readonly storage: AnyStorage;
    readonly context: Context;
    readonly parties: Context["parties"];
    /** By id. `getConnections` is newer. */
    readonly connections: Map<string, AnyConnection>;
    readonly analytics: { writeDataPoint(...args: unknown[]): void };
    blockConcurrencyWhile<T>(work: () => Promise<T>): Promise<T>;
    waitUntil(promise: Promise<unknown>): void;
    broadcast(message: WSMessage, without?: string[], delivery?: Delivery): void;
    getConnection<TState = unknown>(id: string): AnyConnection<TState> | undefined;
    getConnections<TState = unknown>(tag?: string): IterableIterator<AnyConnection<TState>>;
  }

  /** What a room's class may have. The message comes before the connection. */
  interface Server {
    readonly options?: ServerOptions;
    onStart?(): Later<void>;
    getConnectionTags?(connection: AnyConnection, context: AnyConnectionContext): Later<string[]>;
    onConnect?(connection: AnyConnection, context: AnyConnectionContext): Later<void>;
    onMessage?(message: string | ArrayBuffer | ArrayBufferView, sender: AnyConnection): Later<void>;
    onClose?(connection: AnyConnection): Later<void>;
    onError?(connection: AnyConnection, error: Error): Later<void>;
    onRequest?(request: AnyRequest): Later<Response>;
    onAlarm?(): Later<void>;
    onTimer?(timer: Timer): Later<void>;
    onCall?(caller: Caller, data: any, id: string): unknown;
    onAnswer?(tag: string, answer: any, id: string): Later<void>;
    onResponse?(tag: string, response: Response | Failure, id: string): Later<void>;
    onChunk?(chunk: Chunk): Later<void>;
    onExpire?(): Later<void>;
  }

  /** The class itself, with its hooks: `Chat satisfies Party.Worker`. */
  interface Worker extends Hooks {
    new (room: Room): Server;
  }

  /** The first API: an object, whose handlers get the room as an argument. `export default {} satisfies PartyKitServer`. */
  interface PartyKitServer extends Hooks {
    onConnect?(connection: AnyConnection, room: Room, ctx: AnyConnectionContext): Later<void>;
    onMessage?(message: string | ArrayBuffer | ArrayBufferView, connection: AnyConnection, room: Room): Later<void>;
    onClose?(connection: AnyConnection, room: Room): Later<void>;
    onError?(connection: AnyConnection, error: Error, room: Room): Later<void>;
    onRequest?(request: AnyRequest, room: Room): Later<Response>;
    onAlarm?(room: Room): Later<void>;
    /** The older name of `onFetch`. */
    unstable_onFetch?: Hooks["onFetch"];
  }

  type PartyKitRoom = Room;
}

// Without this line everything above would be exported, and is named where it is.
export {};
