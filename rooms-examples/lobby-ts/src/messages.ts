// What the rooms and their page say to each other, as JSON.
import type { PartyNamespace } from "roomkit/server";
import type { Lobby } from "./lobby";
import type { Meeting } from "./meeting";

/** A room with people in it. */
export interface Entry {
  room: string;
  people: number;
}

/** What rooms send. */
export type ToClient =
  | { type: "rooms"; rooms: Entry[] }
  | { type: "people"; people: number }
  | { type: "wave"; from: string }
  | { type: "notice"; text: string };

/** The parties that both classes call, by the names of their classes. */
export interface Env {
  Lobby: PartyNamespace<Lobby>;
  Meeting: PartyNamespace<Meeting>;
}

/** The one room of the party `lobby`. */
export const ALL = "all";
