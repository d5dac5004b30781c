// The room that the tests of the client talk to: it follows the commands in its messages.

import { Server, type Connection, type ConnectionContext, type WSMessage } from "roomkit/server";

export default class Commands extends Server {
  static onBeforeConnect(request: Request) {
    const refused = new URL(request.url).searchParams.get("refuse");
    return refused ? { refuse: { code: Number(refused), reason: "as asked" } } : request;
  }

  onConnect(connection: Connection, { request }: ConnectionContext) {
    const { searchParams } = new URL(request.url);
    connection.send(`hello ${connection.id} ${searchParams.get("word") ?? ""}`.trim());
    this.broadcast(`joined ${connection.id}`, [connection.id]);
  }

  async onMessage(connection: Connection, message: WSMessage) {
    if (typeof message !== "string") return connection.send(message);
    const [verb, ...words] = message.split(" ");
    switch (verb) {
      case "all":
        return this.broadcast(words.join(" "));
      case "others":
        return this.broadcast(words.join(" "), [connection.id]);
      case "count": {
        const count = ((await this.ctx.storage.get<number>("count")) ?? 0) + 1;
        await this.ctx.storage.put("count", count);
        return this.broadcast(`count ${count}`);
      }
      case "fail":
        throw new Error("as asked");
      case "close":
        return connection.close(Number(words[0]), words[1]);
      case "who":
        return connection.send(`you are ${JSON.stringify(connection.claims ?? null)}`);
      case "quiet":
        return;
      default:
        return connection.send(message);
    }
  }

  onClose(connection: Connection, code: number) {
    this.broadcast(`left ${connection.id} ${code}`);
  }
}
