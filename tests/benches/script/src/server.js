// The room that benchmarks talk to, as a script: the protocol of rooms-examples/bench.
import { Server } from "roomkit/server";

export default class Bench extends Server {
  onStart() {
    this.n = this.ctx.storage.kv.get("n") ?? 0;
  }

  onConnect(connection) {
    connection.send('{"t":"hello"}');
  }

  onMessage(connection, message) {
    const { t, s } = JSON.parse(message);
    switch (t) {
      case "echo":
        connection.send(message);
        break;
      case "cast":
        this.broadcast(message);
        break;
      case "incr": {
        const n = this.n + 1;
        this.ctx.storage.kv.put("n", n);
        connection.send(JSON.stringify({ t: "count", s, n }));
        this.n = n;
        break;
      }
      default:
        throw new Error(`unknown message ${t}`);
    }
  }
}
