// Code that uses every entry of the package.

import { publish, publishMany, ticket, verifyWebhook, type Webhook } from "roomkit/backend";
import { Room, RoomClient, RoomError, isFinal, type Arrival, type Status } from "roomkit/client";
import { useHistory, usePresence, useRoom } from "roomkit/react";

interface Seat {
  color: string;
}

const client = new RoomClient({
  host: "localhost:1999", room: "lobby", token: async () => "t", rewind: "30s", transports: ["websocket", "poll"], pauseAfter: Infinity,
});
const den: Room = client.join("den", { party: "games", rewind: 50, token: "ticket" });

export async function use(): Promise<string> {
  await den.send("x", { ack: true, again: true, timeout: 500 });
  const now: boolean = den.send("x");
  // @ts-expect-error A message is no object.
  den.send({ text: "x" });
  // @ts-expect-error Without `ack` there is no promise.
  den.send("x").then(() => {});
  try {
    await client.send(new ArrayBuffer(1), { ack: true });
  } catch (error) {
    if (error instanceof RoomError) return `${error.code} ${error.retryMs ?? 0}`;
  }
  client.addEventListener("status", ({ status }) => console.log(status satisfies Status));
  client.addEventListener("gap", ({ gap }) => console.log(gap));
  client.onopen = ({ arrival }) => console.log(arrival satisfies Arrival);
  client.onmessage = ({ data, lastEventId, replayed }) => console.log(data, lastEventId, replayed satisfies boolean);
  den.onpresence = ({ users, joined, left }) => console.log(users.size, joined.length, left.length);
  den.presence.set({ color: "red" });
  den.presence.flag("typing", 3_000);
  // @ts-expect-error A client makes its rooms.
  const own = new Room();
  den.leave();
  den.enter();
  client.close();
  return `${isFinal(4401)} ${now} ${own}`;
}

export function Page({ name }: { name: string }) {
  const { room, status } = useRoom({ room: name, query: { a: 1 }, onMessage: ({ data }) => console.log(data) });
  const { room: side } = useRoom({ client, room: "side", party: "games", enabled: status === "open" });
  const { users, flag } = usePresence<Seat>(room, { color: "red" });
  const lines = useHistory(side, { keep: 10, parse: (data) => JSON.parse(data) as { text: string } });
  // @ts-expect-error The room has no name.
  useRoom({ client });
  return (
    <ul onClick={() => { flag("typing"); room.reconnect(); }}>
      {[...users.values()].map(({ user, data }) => <li key={user} color={data.color}>{user}</li>)}
      {lines.map(({ id, data }) => <li key={id}>{data.text}</li>)}
    </ul>
  );
}

export async function serve(request: Request): Promise<Webhook> {
  const server = { url: "https://rooms.example.com", key: "k" };
  const { id } = await publish(server, { room: "lobby", json: { a: 1 }, idempotencyKey: "1" });
  const results = await publishMany(server, [{ room: "a", text: id }, { party: "b", room: "c", bytes: new Uint8Array(1) }]);
  // @ts-expect-error A message has one content.
  await publish(server, { room: "lobby", text: "x", json: 1 });
  console.log(results[0]?.status, await ticket({ url: "https://ops.example.com", token: "t" }, { room: "lobby", capabilities: ["read"] }));
  return verifyWebhook({ headers: request.headers, body: await request.text(), secret: ["old", "new"] });
}
