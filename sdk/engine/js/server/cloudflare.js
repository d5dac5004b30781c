// The module "cloudflare:workers", as far as rooms have it.
//
// Owns the base classes. Invariant: a class that cannot work here says so when it is made. It does not know how a
// Durable Object's methods are called: `adapters.js` does.

import { env } from "./context.js";
import { RoomError } from "./errors.js";

export { env };

/** A class whose instances are rooms, with Cloudflare's method names: `fetch`, `alarm`, `webSocketMessage`, … */
export class DurableObject {
  /** @param {import("./context.js").RoomState} ctx @param {Record<string, any>} env */
  constructor(ctx, env) {
    this.ctx = ctx;
    this.env = env;
  }
}

/** Refused: there are no workers beside the rooms. */
export class WorkerEntrypoint {
  constructor() {
    throw new RoomError(
      "no-workers",
      "WorkerEntrypoint does not exist here: export a class that extends Server, and call its rooms with getServerByName()",
    );
  }
}

/** What is called like the base class of stubs. */
export class RpcTarget {}
