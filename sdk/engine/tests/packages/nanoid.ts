// Ids of nanoid, by the room's own randomness.

import { customAlphabet, nanoid } from "nanoid";
import { nanoid as quick } from "nanoid/non-secure";
import { type Connection, Server } from "partyserver";

const digits = customAlphabet("0123456789", 6);

export default class Ids extends Server {
  override onMessage(connection: Connection) {
    const many = new Set(Array.from({ length: 1_000 }, () => nanoid()));
    connection.send(JSON.stringify([nanoid(), nanoid(10), digits(), quick(), many.size]));
  }
}
