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
  /** Retries after which it gives up. Default: no end. */
  maxRetries?: number;
  /** Messages that wait for a connection; further ones are dropped. Default: no bound. */
  maxEnqueuedMessages?: number;
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

export interface PartySocketEventMap {
  open: Event;
  message: MessageEvent;
  close: CloseEvent;
  error: ErrorEvent;
}

/** True for the close codes after which another try would end the same way: 4009 and 4400 to 4499. */
export function isFinal(code: number): boolean;

/** A WebSocket to a room. It connects when it is made, and again whenever the connection is lost. */
export class PartySocket extends EventTarget {
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

  onopen: ((event: Event) => void) | null;
  onmessage: ((event: MessageEvent) => void) | null;
  onclose: ((event: CloseEvent) => void) | null;
  onerror: ((event: ErrorEvent) => void) | null;

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

  /** The address of the latest try. */
  readonly url: string;
  readonly protocol: string;
  readonly extensions: string;
  readonly readyState: 0 | 1 | 2 | 3;
  /** How often it has tried again since a connection lasted for `minUptime`. */
  readonly retryCount: number;
  /** False once it stays closed until `reconnect` is called. */
  readonly shouldReconnect: boolean;
  /** Bytes that were given to `send` and have not left for the network. */
  readonly bufferedAmount: number;
  binaryType: BinaryType;

  /** Sends, or keeps for the next connection. True if it was sent now. */
  send(message: Message): boolean;
  /** Takes the messages that wait out of the queue. */
  drainQueuedMessages(): Message[];
  /**
   * Closes for good: only `reconnect` opens it again. The `close` event is dispatched before this returns.
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

  addEventListener<K extends keyof PartySocketEventMap>(
    type: K,
    listener: (event: PartySocketEventMap[K]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<K extends keyof PartySocketEventMap>(
    type: K,
    listener: (event: PartySocketEventMap[K]) => void,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void;
}

export default PartySocket;
