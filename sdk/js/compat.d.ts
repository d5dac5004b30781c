// The modules that the engine has under the names of others, so that code that was written for them is checked as it
// is.

declare module "partyserver" {
  export * from "roomkit/server";
}

declare module "partykit/server" {
  import type * as roomkit from "roomkit/server";
  import type { Party } from "roomkit/server";
  export type Connection<TState = unknown> = Party.Connection<TState>;
  export type ConnectionContext = Party.ConnectionContext;
  export type Storage = Party.Storage;
  export type Request = Party.Request;
  export type Lobby = Party.Lobby;
  export type FetchLobby = Party.FetchLobby;
  export type CronLobby = Party.CronLobby;
  export type Cron = Party.Cron;
  export type ExecutionContext = Party.ExecutionContext;
  export type Stub = Party.Stub;
  export type Context = Party.Context;
  export type Room = Party.Room;
  export type Server = Party.Server;
  export type ServerOptions = Party.ServerOptions;
  export type Worker = Party.Worker;
  export type Party = Party.Room;
  export type PartyServer = Party.Server;
  export type PartyWorker = Party.Worker;
  export type PartyConnection = Party.Connection;
  export type PartyConnectionContext = Party.ConnectionContext;
  export type ConnectionState<TState> = roomkit.ConnectionState<TState>;
  export type ConnectionSetStateFn<TState> = roomkit.ConnectionSetStateFunction<TState>;
  export type FetchSocket = roomkit.PendingSocket;
  export type ServerOptions = roomkit.ServerOptions;
  export type PartyServerOptions = roomkit.ServerOptions;
  export type PartyRequest = Party.Request;
  export type PartyStorage = Party.Storage;
  export type PartyKitStorage = Party.Storage;
  export type PartyKitContext = Party.ConnectionContext;
  export type PartyStub = Party.Stub;
  export type PartyContext = Party.Context;
  export type PartyLobby = Party.Lobby;
  export type PartyFetchLobby = Party.FetchLobby;
  export type PartyExecutionContext = Party.ExecutionContext;
  export type PartyKitConnection = Party.Connection;
  export type PartyKitServer = Party.PartyKitServer;
  export type PartyKitRoom = Party.PartyKitRoom;
}

declare module "cloudflare:workers" {
  import type { Connection, RoomState } from "roomkit/server";

  /** A class whose instances are rooms, with Cloudflare's names. */
  export class DurableObject<Env = Record<string, any>, Props = Record<string, unknown>> {
    constructor(ctx: RoomState<Props>, env: Env);
    readonly ctx: RoomState<Props>;
    readonly env: Env;
    fetch?(request: Request): Response | Promise<Response>;
    alarm?(info?: { retryCount: number; isRetry: boolean }): void | Promise<void>;
    webSocketMessage?(connection: Connection, message: string | ArrayBuffer): void | Promise<void>;
    webSocketClose?(connection: Connection, code: number, reason: string, wasClean: boolean): void | Promise<void>;
    webSocketError?(connection: Connection, error: unknown): void | Promise<void>;
  }

  /** What is called like the base class of stubs. */
  export class RpcTarget {}

  /** The project's variables, and the exported classes that are rooms. It is read while a room runs. */
  export const env: Record<string, any>;
}

// Cloudflare's names of types that code for PartyServer mentions.

type DurableObjectNamespace<T = unknown> = import("roomkit/server").PartyNamespace<T>;
type DurableObjectId = import("roomkit/server").RoomId;
type DurableObjectState<Props = Record<string, unknown>> = import("roomkit/server").RoomState<Props>;
type DurableObjectStorage = import("roomkit/server").Storage;
type DurableObjectStub<T = unknown> = import("roomkit/server").RoomStub<T>;
type ExecutionContext = import("roomkit/server").ExecutionContext;

/** What `scheduled` of a worker gets. */
interface ScheduledController {
  readonly cron: string;
  readonly scheduledTime: number;
  noRetry(): void;
}

/** The default export of a worker. */
interface ExportedHandler<Env = unknown> {
  fetch?(request: Request, env: Env, ctx: ExecutionContext): Response | Promise<Response>;
  scheduled?(controller: ScheduledController, env: Env, ctx: ExecutionContext): void | Promise<void>;
}
