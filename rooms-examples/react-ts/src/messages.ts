// What the room and its page say to each other, as JSON. Both import this file, so they agree.

/** A message, as it is sent and as it is stored. */
export interface Said {
  id: number;
  name: string;
  text: string;
  /** Milliseconds since 1970. */
  at: number;
}

/** What the page sends. */
export interface FromClient {
  name: string;
  text: string;
}

/** What the room sends. */
export type ToClient =
  | { type: "welcome"; greeting: string; history: Said[] }
  | { type: "greeting"; greeting: string }
  | { type: "people"; people: number }
  | { type: "said"; said: Said };

/** Returns the message in a text, or null if it is not one: whatever a client sends is only a claim. */
export function parse(data: unknown): FromClient | null {
  try {
    const { name, text } = JSON.parse(String(data));
    return typeof name === "string" && typeof text === "string" ? { name, text } : null;
  } catch {
    return null;
  }
}
