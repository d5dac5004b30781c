// A PartyKit room without any handler.

import type * as Party from "partykit/server";

export default class Empty {
  constructor(readonly room: Party.Room) {}
}
