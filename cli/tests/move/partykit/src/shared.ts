export interface Said {
  id: string;
  name: string;
  text: string;
  at: number;
}

export type ToClient =
  | { type: "history"; greeting: string; messages: Said[] }
  | { type: "greeting"; greeting: string }
  | { type: "rooms"; rooms: Record<string, number> }
  | ({ type: "said" } & Said);
