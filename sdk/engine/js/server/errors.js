// The errors of the server library, and how an error becomes text.
//
// Owns the texts that reach the log and a client. Invariant: nothing here throws, whatever the value is that a room
// threw. It does not know turns and natives.

/** The most characters of an error that go into the log. */
const LOG_TEXT_MAX = 16_384;

/** A failure that programs can tell apart by its `code`, in kebab-case. */
export class RoomError extends Error {
  /** @param {string} code @param {string} message @param {ErrorOptions} [options] */
  constructor(code, message, options) {
    super(message, options);
    this.name = "RoomError";
    this.code = code;
  }
}

/** Returns the error that `structuredClone` throws for a value that cannot be copied. @param {string} message */
export function dataCloneError(message) {
  if (typeof globalThis.DOMException === "function") return new DOMException(message, "DataCloneError");
  const error = new Error(message);
  error.name = "DataCloneError";
  return error;
}

/** Returns what a value that was thrown says, without its stack. @param {unknown} thrown @returns {string} */
export function messageOf(thrown) {
  try {
    if (thrown instanceof Error) return thrown.message === "" ? thrown.name : String(thrown.message);
    return String(thrown);
  } catch {
    return "a value that cannot be converted to text was thrown";
  }
}

/** Returns a value that was thrown as text for the log: name, message, stack and causes. @param {unknown} thrown */
export function describe(thrown) {
  let text;
  try {
    text = withCauses(thrown, 0);
  } catch {
    text = messageOf(thrown);
  }
  return text.length > LOG_TEXT_MAX ? `${text.slice(0, LOG_TEXT_MAX)}…` : text;
}

/** @param {any} thrown @param {number} depth @returns {string} */
function withCauses(thrown, depth) {
  if (!(thrown instanceof Error)) return messageOf(thrown);
  const head = String(thrown);
  const stack = typeof thrown.stack === "string" ? thrown.stack.trimEnd() : "";
  const text = stack === "" ? head : stack.startsWith(head) ? stack : `${head}\n${stack}`;
  if (thrown.cause === undefined || depth === 4) return text;
  return `${text}\ncaused by: ${withCauses(thrown.cause, depth + 1)}`;
}

/** Returns a text that is at most so many bytes of UTF-8, as the reason of a close frame. @param {string} text */
export function cutToBytes(text, max = 123) {
  let bytes = 0;
  let end = 0;
  for (const character of text) {
    const point = /** @type {number} */ (character.codePointAt(0));
    bytes += point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    if (bytes > max) return text.slice(0, end);
    end += character.length;
  }
  return text;
}
