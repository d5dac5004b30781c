/** A room server, and how it is asked. */
interface Asked {
  /** Its address, such as `https://rooms.example.com`. */
  url: string | URL;
  /** In place of the platform's `fetch`. */
  fetch?: typeof fetch;
  /** Ends the request. */
  signal?: AbortSignal;
}

/** Where messages are published. */
export interface PublishServer extends Asked {
  /** A key of `[publish]`. */
  key: string;
}

/** An operators' address, where tickets are made. */
export interface TicketServer extends Asked {
  /** A token of scope `admin`. */
  token: string;
  /** The project, on a server of several. */
  project?: string;
}

/** A message for a room: one of `text`, `json` and `bytes`. */
export type Publication = {
  /** Default `main`. */
  party?: string;
  room: string;
  /** What is published again with the same one, within 10 minutes, happens once. */
  idempotencyKey?: string;
} & (
  | { text: string; json?: undefined; bytes?: undefined }
  | { json: unknown; text?: undefined; bytes?: undefined }
  | { bytes: ArrayBuffer | ArrayBufferView; text?: undefined; json?: undefined }
);

export interface PublicationResult {
  status: number;
  /** The number of the turn's event. */
  id?: string;
  /** Why it was refused. */
  error?: string;
  /** After how many milliseconds it may succeed. */
  retryMs?: number;
}

export interface TicketOptions {
  /** Default `main`. */
  party?: string;
  /** Without it, the ticket is for every room of the party. */
  room?: string;
  /** For how many milliseconds it can be used to enter. Default 60,000. */
  ms?: number;
  /** Default: all. */
  capabilities?: ("read" | "write" | "presence")[];
  /** True if it can be used once. */
  once?: boolean;
  /** What the room reads as claims. */
  claims?: Record<string, unknown>;
}

/** A webhook whose signature was checked. */
export interface Webhook {
  /** The same in each repetition. */
  id: string;
  /** Such as `room.connected`. */
  type: string;
  timestamp: string;
  data: { party: string; room: string; connection?: { id: string; uri: string }; [key: string]: unknown };
}

export interface WebhookRequest {
  /** Of the request: `request.headers` of Node, or `Headers`. */
  headers: Headers | Record<string, string | string[] | undefined>;
  /** As it came. What was parsed and written again has another signature. */
  body: string | ArrayBuffer | ArrayBufferView;
  /** The variable that `[webhooks]` names; several while it changes. */
  secret: string | string[];
  /** How many seconds its time may be away. Default 300. */
  toleranceS?: number;
  /** Milliseconds since 1970. Default: now. */
  now?: number;
}

/** A request that the server refused. */
export class BackendError extends Error {
  constructor(status: number, message: string, retryMs?: number);
  readonly status: number;
  readonly retryMs: number | undefined;
}

/** A webhook that is not to be believed. */
export class WebhookError extends Error {}

/**
 * Publishes a message to a room, and resolves when its turn is durable.
 * @throws a `BackendError`, as a rejection.
 */
export function publish(server: PublishServer, message: Publication): Promise<{ id: string }>;

/**
 * Publishes many messages, to many rooms, in one request. → The result of each, in order.
 * @throws a `BackendError`, as a rejection, if the request is refused as a whole.
 */
export function publishMany(server: PublishServer, messages: Publication[]): Promise<PublicationResult[]>;

/**
 * Makes a ticket, which a client shows as `?ticket=`.
 * @throws a `BackendError`, as a rejection.
 */
export function ticket(server: TicketServer, options: TicketOptions): Promise<string>;

/**
 * Checks a webhook's signature and time, and reads it.
 * @throws a `WebhookError`, as a rejection, if it is not to be believed.
 */
export function verifyWebhook(request: WebhookRequest): Promise<Webhook>;
