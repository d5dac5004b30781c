// Values that JSON does not have, on their way through a socket and the storage as superjson writes them.

import { type Connection, Server, type WSMessage } from "partyserver";
import superjson from "superjson";

class Money {
  constructor(readonly cents: number) {}
  get euros() {
    return this.cents / 100;
  }
}
superjson.registerClass(Money, { identifier: "Money" });

export default class Rich extends Server {
  override async onMessage(connection: Connection, message: WSMessage) {
    const { storage } = this.ctx;
    if (message === "first") {
      const shared = { name: "shared" };
      const value = {
        at: new Date(0),
        tags: new Set(["a", "b"]),
        seats: new Map([[1, { free: true }]]),
        big: 2n ** 64n,
        nothing: undefined,
        not: Number.NaN,
        pattern: /a+/gi,
        price: new Money(250),
        url: new URL("https://example.com/a?b"),
        twice: [shared, shared],
      };
      await storage.put("value", superjson.stringify(value));
    }
    const text = (await storage.get<string>("value"))!;
    const value = superjson.parse<any>(text);
    connection.send(
      JSON.stringify([
        value.at.toISOString(),
        value.tags instanceof Set && [...value.tags],
        value.seats.get(1).free,
        String(value.big),
        "nothing" in value && value.nothing === undefined,
        Number.isNaN(value.not),
        String(value.pattern),
        value.price.euros,
        value.url.searchParams.has("b"),
        value.twice[0] === value.twice[1],
      ]),
    );
  }
}
