// The same room for workerd: a Durable Object with plain WebSockets, which is the faster of its two ways.
import { DurableObject } from "cloudflare:workers";

export class Bench extends DurableObject {
  constructor(state, env) {
    super(state, env);
    this.sockets = new Set();
    state.blockConcurrencyWhile(async () => {
      this.n = (await state.storage.get("n")) ?? 0;
    });
  }

  fetch() {
    const [client, socket] = Object.values(new WebSocketPair());
    socket.accept();
    this.sockets.add(socket);
    socket.addEventListener("message", ({ data }) => this.onMessage(socket, data));
    socket.addEventListener("close", () => {
      this.sockets.delete(socket);
      // workerd leaves the answer to a close to the worker.
      socket.close();
    });
    socket.send('{"t":"hello"}');
    return new Response(null, { status: 101, webSocket: client });
  }

  onMessage(socket, message) {
    const { t, s } = JSON.parse(message);
    switch (t) {
      case "echo":
        socket.send(message);
        break;
      case "cast":
        for (const other of this.sockets) other.send(message);
        break;
      case "incr": {
        this.n += 1;
        this.ctx.storage.put("n", this.n);
        socket.send(JSON.stringify({ t: "count", s, n: this.n }));
        break;
      }
      default:
        throw new Error(`unknown message ${t}`);
    }
  }
}

export default {
  fetch(request, env) {
    // /parties/:party/:room, and what else follows.
    const [, , , room] = new URL(request.url).pathname.split("/");
    return env.ROOMS.get(env.ROOMS.idFromName(room)).fetch(request);
  },
};
