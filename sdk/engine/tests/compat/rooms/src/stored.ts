// The storage of a Durable Object, as PartyKit's demos use it.
//
// A client's message names a step, and a time if it needs one; the answer goes back as JSON.

import { Server, type Connection, type WSMessage } from "partyserver";

const said = (error: unknown) => (error instanceof Error ? error.message : String(error));

type Step = (room: Stored, at: number) => unknown;

const STEPS: Record<string, Step> = {
  missing: async ({ ctx: { storage } }) => [(await storage.get("none")) === undefined, (await storage.get(["none"])).size],
  many: async ({ ctx: { storage } }) => {
    await storage.put({ a: 1, b: 2, c: 3 });
    return [[...(await storage.get(["c", "none", "a"]))], await storage.delete("a"), await storage.delete(["a", "b"])];
  },
  order: async ({ ctx: { storage } }) => {
    await storage.put({ "item:2": 2, "item:10": 10, "item:\u{1F600}": "emoji", "item:\uFF5E": "wide", other: 0, "item:": "" });
    const keys = async (options: object) => [...(await storage.list(options)).keys()];
    return [
      await keys({ prefix: "item:" }),
      await keys({ prefix: "item:", limit: 2 }),
      await keys({ prefix: "item:", reverse: true, limit: 1 }),
      await keys({ start: "item:10", end: "other" }),
      await keys({ startAfter: "item:10", limit: 1 }),
    ];
  },
  clone: async ({ ctx: { storage } }) => {
    const self: Record<string, unknown> = { date: new Date(5), big: 2n ** 70n, bytes: new Uint8Array([1]), gone: undefined };
    self.self = self;
    await storage.put("rich", new Map([["it", self]]));
    const read = (await storage.get<Map<string, any>>("rich"))!.get("it");
    return [read.date.getTime(), String(read.big), [...read.bytes], "gone" in read, read.self === read];
  },
  noFunctions: ({ ctx: { storage } }) => storage.put("f", () => 1).then(() => "stored", said),
  noUndefined: ({ ctx: { storage } }) => storage.put("u", undefined).then(() => "stored", said),
  bounds: async ({ ctx: { storage } }) => [
    await storage.put("k".repeat(2_048), 1).then(() => "stored", said),
    await storage.put("k".repeat(2_049), 1).then(() => "stored", said),
    await storage.put("v", "v".repeat(200_000)).then(() => "stored", said),
    await storage.put("v", "v".repeat(2 << 20)).then(() => "stored", said),
  ],
  transaction: async ({ ctx: { storage } }) => {
    await storage.put("t", 1);
    const kept = await storage.transaction(async (transaction) => {
      await transaction.put("t", 2);
      return transaction.get("t");
    });
    const failed = await storage
      .transaction(async (transaction) => {
        await transaction.put("t", 3);
        throw new Error("undo it");
      })
      .catch(said);
    await storage.transaction(async (transaction) => {
      await transaction.put("t", 4);
      transaction.rollback();
    });
    return [kept, failed, await storage.get("t")];
  },
  unawaited: ({ ctx: { storage } }) => {
    void storage.put("x", 1);
    void storage.put("y", 2);
    return storage.list({ start: "x" }).then((all) => [...all]);
  },
  sync: async ({ ctx: { storage } }) => (await storage.sync()) ?? null,
  alarm: async ({ ctx: { storage } }) => {
    const at = Date.now() + 60_000;
    const before = await storage.getAlarm();
    await storage.setAlarm(new Date(at));
    const first = await storage.getAlarm();
    await storage.setAlarm(at + 5_000);
    const second = await storage.getAlarm();
    await storage.deleteAlarm();
    return [before, first === at, second === at + 5_000, await storage.getAlarm()];
  },
  setAlarm: ({ ctx: { storage } }, at) => storage.setAlarm(at),
  badAlarm: ({ ctx: { storage } }) => storage.setAlarm(Number.NaN).then(() => "set", said),
  deleteAll: async ({ ctx: { storage } }) => {
    await storage.put("left", 1);
    await storage.setAlarm(Date.now() + 60_000);
    await storage.deleteAll();
    return [(await storage.list()).size, await storage.getAlarm()];
  },
  failOnce: async (room, at) => {
    room.failures = 1;
    await room.ctx.storage.setAlarm(at);
  },
};

export default class Stored extends Server {
  failures = 0;

  override async onMessage(connection: Connection, message: WSMessage) {
    const [step = "", at] = String(message).split(" ");
    connection.send(JSON.stringify((await STEPS[step]!(this, Number(at))) ?? null));
  }

  override async onAlarm() {
    this.broadcast(JSON.stringify(["alarm", await this.ctx.storage.getAlarm()]));
    if (this.failures > 0) {
      this.failures -= 1;
      throw new Error("the alarm failed");
    }
  }
}
