// What the room and its page say to each other, as JSON. Each message has a `type`.

/** A message, as it is sent and as it is stored. */
export interface Said {
  id: number;
  name: string;
  text: string;
  /** Milliseconds since 1970. */
  at: number;
}

/** What a client sends. */
export type FromClient = { type: "name"; name: string } | { type: "say"; text: string };

/** What the room sends. */
export type ToClient =
  | { type: "welcome"; greeting: string; history: Said[] }
  | { type: "greeting"; text: string }
  | { type: "people"; count: number; names: string[] }
  | ({ type: "said" } & Said)
  | { type: "error"; text: string };

/** Returns the message in a text, or null if it is not one: whatever a client sends is only a claim. */
export function parse(text: string): FromClient | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null) return null;
  const { type, name, text: said } = value as Record<string, unknown>;
  if (type === "name" && typeof name === "string") return { type, name };
  if (type === "say" && typeof said === "string") return { type, text: said };
  return null;
}
