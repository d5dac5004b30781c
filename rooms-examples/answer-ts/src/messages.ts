// What the room and its page say to each other, as JSON.

/** A question, and what is there of its answer. */
export interface Talk {
  id: string;
  question: string;
  answer: string;
  /** How the answer ended, or that it has not. */
  state: "open" | "whole" | "failed";
}

/** What the room sends. */
export type ToClient =
  | { type: "talks"; talks: Talk[] }
  | { type: "asked"; talk: Talk }
  /** More of an answer: `from` is the length of what was there before. */
  | { type: "piece"; id: string; from: number; text: string }
  | { type: "ended"; id: string; state: Talk["state"]; problem?: string };
