// Messages that are checked by a schema of zod before the room believes them.

import { type Connection, Server, type WSMessage } from "partyserver";
import { z } from "zod";

const Move = z.object({
  type: z.literal("move"),
  to: z.tuple([z.number().int().min(0).max(7), z.number().int().min(0).max(7)]),
  comment: z.string().trim().max(10).optional(),
});
const Join = z.object({ type: z.literal("join"), email: z.email(), age: z.coerce.number().positive() });
const Said = z.discriminatedUnion("type", [Move, Join]).transform((said) => ({ ...said, seen: true }));

export default class Checked extends Server {
  override async onMessage(connection: Connection, message: WSMessage) {
    const read = await Said.safeParseAsync(JSON.parse(String(message)));
    if (read.success) return connection.send(JSON.stringify(read.data));
    const issues = read.error.issues.map(({ path, code }) => `${path.join(".")}: ${code}`);
    connection.send(JSON.stringify({ issues, text: z.prettifyError(read.error) }));
  }

  override onRequest() {
    return Response.json(z.toJSONSchema(Move));
  }
}
