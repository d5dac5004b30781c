/** What a query parameter may be; one that is null or undefined is left out. */
export type QueryParams = Record<string, string | number | boolean | null | undefined>;
export type QueryProvider = QueryParams | null | (() => QueryParams | null | Promise<QueryParams | null>);
export type Protocols = string | string[] | null | undefined;
export type ProtocolsProvider = Protocols | (() => Protocols | Promise<Protocols>);
export type Message = string | ArrayBuffer | Blob | ArrayBufferView;

/** Which room is meant. */
export interface RoomAddress {
  /** The server: `chat.example.com`, `localhost:1999`. A scheme before it decides about TLS. */
  host: string;
  /** The room's name. It or `basePath` is needed to connect. */
  room?: string;
  /** The party's name. Default `main`. */
  party?: string;
  /** A path in place of `parties/PARTY/ROOM`, without a slash at its start. */
  basePath?: string;
  /** What stands before the party. Default `parties`. */
  prefix?: string;
  /** What follows the room's name, without a slash at its start. */
  path?: string;
  /** Parameters of the URL. A function is called anew for each connection. */
  query?: QueryProvider;
}

export interface PartySocketOptions extends RoomAddress {
  /** The connection's id, unique among the room's connections: one a tab, not one a user. Default: a random one. */
  id?: string;
  /** Default `wss`; `ws` for hosts of this machine and its network, and of a page loaded without TLS. */
  protocol?: "ws" | "wss";
  /** Subprotocols. A function is called anew for each connection. */
  protocols?: ProtocolsProvider;
  /** True if it is to connect at the first `reconnect()` only. */
  startClosed?: boolean;
  /** Milliseconds before the first retry. Default 3,000. */
  minReconnectionDelay?: number;
  /** Most milliseconds before a retry, to which up to a fifth is added at random. Default 10,000. */
  maxReconnectionDelay?: number;
  /** By what the delay is multiplied from retry to retry. Default 1.3. */
  reconnectionDelayGrowFactor?: number;
  /** Milliseconds after which a connection has lasted, and the delays begin again. Default 5,000. */
  minUptime?: number;
  /** Milliseconds that a connection may take to open. Default 4,000. */
  connectionTimeout?: number;
  /** Retries after which it gives up, of the socket and of each room of it. Default: no end. */
  maxRetries?: number;
  /** Messages that wait for a connection; further ones are dropped. Default: no bound. */
  maxEnqueuedMessages?: number;
  /** Their bytes; what would be more is dropped. Default: no bound. */
  maxEnqueuedBytes?: number;
  /** False keeps it closed after this close. Final codes (4009, 4400 to 4499) keep it closed in any case. */
  shouldReconnectOnClose?: (event: CloseEvent) => boolean;
  /** True silences the warning about a slash in a name. */
  disableNameValidation?: boolean;
  /** The class to connect with. Default: the platform's `WebSocket`. */
  WebSocket?: unknown;
  /** True tells what happens. */
  debug?: boolean;
  /** Who is told. Default `console.log`. */
  debugLogger?: (...what: unknown[]) => void;
}

export interface PartyFetchOptions extends RoomAddress {
  /** Default `https`; `http` where a socket would use `ws`. */
  protocol?: "http" | "https";
  /** In place of the platform's `fetch`. */
  fetch?: typeof fetch;
}

/** How the client has come to its connection: see `PROTOCOL.md`. */
export type Arrival = "new" | "resumed" | "continued" | "gap";

/** Why messages are missing. */
export type Gap = "too_old" | "unknown_id" | "unknown_connection" | (string & {});

/** `waiting`: it tries again after a while. `offline`: when the network is back. `paused`: when the page is looked at. */
export type Status = "connecting" | "open" | "waiting" | "offline" | "paused" | "closed";

export type TransportName = "websocket" | "sse" | "poll";

/** A token, or what returns the newest one. */
export type TokenProvider = string | null | undefined | (() => string | null | undefined | Promise<string | null | undefined>);

/** How much of the time before a new client gets: a number of messages, or a time such as `30s`. */
export type Rewind = number | string;

/** Options of a `RoomClient`: those of a `PartySocket`, and more. */
export interface RoomClientOptions extends PartySocketOptions {
  /** Who the client is. A function is called for each connection, and before the token's end, for a newer one. */
  token?: TokenProvider;
  /** What a new client gets of the time before. */
  rewind?: Rewind;
  /** The ways to the server, in the order in which they are tried. Default: all three. */
  transports?: TransportName[];
  /** False for a server that does not speak `room.1`: messages are sent as they are. Default true. */
  session?: boolean;
  /** Milliseconds that an acknowledgement may take. Default 10,000; `Infinity`: no bound. */
  ackTimeout?: number;
  /** Milliseconds without a frame after which the client asks whether the server is there. Default 30,000; `Infinity`: never. */
  heartbeat?: number;
  /** Milliseconds for which a page may be hidden before its client pauses. Default 30 minutes; `Infinity`: never. */
  pauseAfter?: number;
  /** Milliseconds before the first retry. Default 1,000. */
  minReconnectionDelay?: number;
  /** Messages that wait for a connection or an answer. A further one is refused with `queue_full`. Default 1,000. */
  maxEnqueuedMessages?: number;
  /** Their bytes. A message that would be more is refused with `queue_full`. Default 1 MiB. */
  maxEnqueuedBytes?: number;
  /** In place of the platform's `fetch`, for event streams and polls. */
  fetch?: typeof fetch;
}

/** Options of one more room of a `RoomClient`. */
export interface RoomOptions {
  /** The party's name. Default `main`. */
  party?: string;
  /** The connection's id. Default: that of the client. */
  id?: string;
  /** Parameters, as of a URL. */
  query?: QueryProvider;
  /** A token for this room alone, such as a ticket. */
  token?: TokenProvider;
  /** What a new client gets of the time before. */
  rewind?: Rewind;
  /** True if it is to be joined when `enter` is called. */
  startClosed?: boolean;
  disableNameValidation?: boolean;
}

export interface SendOptions {
  /** True asks for an acknowledgement: `send` returns a promise. */
  ack?: boolean;
  /** True sends it again also where it may be handled twice: after a connection that could not be resumed. */
  again?: boolean;
  /** Milliseconds that the acknowledgement may take. Default: `ackTimeout` of the client. */
  timeout?: number;
}

/** Why something was refused. `CLIENT.md` lists the codes of the client, and `PROTOCOL.md` those of the server. */
export class RoomError extends Error {
  constructor(code: string, message: string, retryMs?: number);
  readonly code: string;
  /** After how many milliseconds the same may succeed; undefined if it may not. */
  readonly retryMs: number | undefined;
}

/** One user in a room. */
export interface PresenceEntry<T = unknown> {
  user: string;
  /** What the user shows. */
  data: T;
  /** How many connections the user has. */
  connections: number;
  /** What the user does now, such as `typing`. */
  flags: string[];
}

export interface PresenceChange<T = unknown> {
  joined: PresenceEntry<T>[];
  updated: PresenceEntry<T>[];
  left: string[];
}

/** Who is in a room. */
export interface Presence<T = unknown> {
  /** By the user's name. It is another map after each change. */
  readonly users: ReadonlyMap<string, PresenceEntry<T>>;
  /** Shows this to all in the room, from now on; null leaves. A refusal is an `error` of the room. */
  set(data: T | null): void;
  /** Shows a flag for some milliseconds, at most a minute; 0 ends it. Default 5,000. */
  flag(name: string, forMs?: number): void;
}

export interface StatusEvent extends Event {
  readonly status: Status;
}
export interface OpenEvent extends Event {
  readonly arrival: Arrival;
}
export interface GapEvent extends Event {
  readonly gap: Gap;
}
export interface PresenceEvent<T = unknown> extends Event, PresenceChange<T> {
  readonly users: ReadonlyMap<string, PresenceEntry<T>>;
}
/** `lastEventId` is the id of the message. */
export interface RoomMessageEvent<T = any> extends MessageEvent<T> {
  /** True for a message of the time before, which `rewind` asked for. */
  readonly replayed: boolean;
}

export interface PartySocketEventMap {
  open: OpenEvent;
  message: RoomMessageEvent;
  close: CloseEvent;
  error: ErrorEvent;
}

export interface RoomEventMap extends PartySocketEventMap {
  status: StatusEvent;
  gap: GapEvent;
  presence: PresenceEvent;
}

/** True for the close codes after which another try would end the same way: 4009 and 4400 to 4499. */
export function isFinal(code: number): boolean;

/** One room, as a page sees it. A `RoomClient` makes it. */
export class Room extends EventTarget {
  protected constructor();

  onopen: ((event: OpenEvent) => void) | null;
  onmessage: ((event: RoomMessageEvent) => void) | null;
  onclose: ((event: CloseEvent) => void) | null;
  onerror: ((event: ErrorEvent) => void) | null;
  onstatus: ((event: StatusEvent) => void) | null;
  ongap: ((event: GapEvent) => void) | null;
  onpresence: ((event: PresenceEvent) => void) | null;

  /** The connection's id, which stays when it comes back. */
  readonly id: string;
  readonly _pk: string;
  /** The address of the room without the query. */
  readonly roomUrl: string;
  readonly _pkurl: string;
  /** The party's name. */
  readonly name: string;
  readonly room: string | undefined;
  readonly host: string;
  /** With a slash at its start, or empty. */
  readonly path: string;
  readonly basePath: string | undefined;

  /** Who is in the room. */
  readonly presence: Presence<any>;
  /** What a page shows of its connection. */
  readonly status: Status;
  /** How it has come to its latest connection. */
  readonly arrival: Arrival | undefined;
  readonly readyState: 0 | 1 | 2 | 3;
  /** Bytes that were given to `send` and have not left for the network. */
  readonly bufferedAmount: number;
  binaryType: BinaryType;

  /** Sends, or keeps for the next connection. True if it was sent now. */
  send(message: Message, options?: SendOptions & { ack?: false }): boolean;
  /**
   * Sends, and resolves when the message's turn is durable.
   * @throws a `RoomError`, as a rejection: of the server, or `no_answer`, `lost`, `queue_full`, `closed`, `left`, `no_acks`.
   */
  send(message: Message, options: SendOptions & { ack: true }): Promise<void>;
  /** Takes the messages that wait out of the queue. Those that wait for an acknowledgement are rejected with `dropped`. */
  drainQueuedMessages(): Message[];
  /** Joins the room, if it does not yet. */
  enter(): void;
  /** Leaves the room. The `close` event is dispatched before this returns. */
  leave(): void;

  addEventListener<K extends keyof RoomEventMap>(
    type: K,
    listener: (event: RoomEventMap[K]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<K extends keyof RoomEventMap>(
    type: K,
    listener: (event: RoomEventMap[K]) => void,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void;
}

/** A WebSocket to a room. It connects when it is made, and again whenever the connection is lost. */
export class PartySocket extends Room {
  static readonly CONNECTING: 0;
  static readonly OPEN: 1;
  static readonly CLOSING: 2;
  static readonly CLOSED: 3;

  /**
   * @throws if the host is missing, or both the room and `basePath`, unless `startClosed` is set; and if
   * the path begins with a slash.
   */
  constructor(options: PartySocketOptions);

  readonly CONNECTING: 0;
  readonly OPEN: 1;
  readonly CLOSING: 2;
  readonly CLOSED: 3;

  /** The address of the latest try. */
  readonly url: string;
  readonly protocol: string;
  readonly extensions: string;
  /** How often it has tried again since a connection lasted for `minUptime`. */
  readonly retryCount: number;
  /** False once it stays closed until `reconnect` is called. */
  readonly shouldReconnect: boolean;

  /**
   * Closes for good: only `reconnect` opens it again. The `close` event is dispatched before this returns. Over event streams
   * and polls, messages that were sent before are still on their way for at most 5 s.
   * @throws if the code or the reason is invalid; nothing has changed then.
   */
  close(code?: number, reason?: string): void;
  /**
   * Closes what there is, and connects at once.
   * @throws if the host is missing, or both the room and `basePath`; or if the code or the reason is invalid.
   */
  reconnect(code?: number, reason?: string): void;
  /** Changes options from the next try on; those that are left out stay, the id among them. */
  updateProperties(options: Partial<PartySocketOptions>): void;

  /** Asks the room over HTTP. */
  static fetch(options: PartyFetchOptions, init?: RequestInit): Promise<Response>;
}

/** A client of one room or several, which misses nothing that the server still knows. `CLIENT.md` is its guide. */
export class RoomClient extends PartySocket {
  constructor(options: RoomClientOptions);

  /** The way to the server, while it is open. */
  readonly transport: TransportName | undefined;

  /** Joins one more room, over the same socket if the server can; with `startClosed` when `enter` is called. */
  join(name: string, options?: RoomOptions): Room;
  updateProperties(options: Partial<RoomClientOptions>): void;
}

export default PartySocket;
