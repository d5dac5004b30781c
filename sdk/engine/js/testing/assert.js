// What a test asserts.
//
// Owns the assertions. Invariant: a failed one throws an `AssertionError` whose message has both values. It does not know
// rooms.

import { difference, same, show } from "./compare.js";

/** An assertion that failed. */
export class AssertionError extends Error {
  /** @param {string} message @param {{actual?: unknown, expected?: unknown}} [values] */
  constructor(message, values = {}) {
    super(message);
    this.name = "AssertionError";
    Object.assign(this, values);
  }
}

/** @param {unknown} ok @param {string} [message] */
export function assert(ok, message) {
  if (!ok) throw new AssertionError(message ?? `expected a value that is true\n  received: ${show(ok)}`, { actual: ok });
}

/** @param {string} text @param {string | undefined} message */
function headed(text, message) {
  return message === undefined ? text : `${message}: ${text}`;
}

function differ(actual, expected, text, message) {
  throw new AssertionError(headed(text, message) + difference(actual, expected), { actual, expected });
}

assert.equal = (actual, expected, message) => {
  if (Object.is(actual, expected)) return;
  const deep = same(actual, expected) ? "the values are alike, but not the same: use deepEqual" : "the values are not equal";
  differ(actual, expected, deep, message);
};

assert.notEqual = (actual, expected, message) => {
  if (!Object.is(actual, expected)) return;
  throw new AssertionError(headed(`the values are equal: ${show(actual)}`, message), { actual, expected });
};

assert.deepEqual = (actual, expected, message) => {
  if (!same(actual, expected)) differ(actual, expected, "the values are not equal", message);
};

assert.notDeepEqual = (actual, expected, message) => {
  if (!same(actual, expected)) return;
  throw new AssertionError(headed(`the values are equal: ${show(actual)}`, message), { actual, expected });
};

assert.match = (text, pattern, message) => {
  if (typeof text === "string" && fits(text, pattern)) return;
  const what = typeof text === "string" ? "the text does not match" : "the value is not a text";
  throw new AssertionError(`${headed(what, message)}\n  expected: ${show(pattern)}\n  received: ${show(text)}`, {
    actual: text,
    expected: pattern,
  });
};

assert.throws = (run, expected, message) => {
  let returned;
  try {
    returned = run();
  } catch (error) {
    return checked(error, expected, message);
  }
  if (typeof returned?.then === "function") {
    returned.then(undefined, () => {});
    throw new AssertionError(headed("the function returned a promise: use `await assert.rejects`", message));
  }
  throw new AssertionError(headed("nothing was thrown", message), { expected });
};

assert.rejects = async (promise, expected, message) => {
  // After an await the stack does not name the test any more.
  const { stack } = new Error();
  let value;
  try {
    value = await (typeof promise === "function" ? promise() : promise);
  } catch (error) {
    return checked(error, expected, message, stack);
  }
  throw at(stack, new AssertionError(headed(`the promise was not rejected, but is ${show(value)}`, message), { expected }));
};

assert.fail = (message = "the test failed") => {
  throw new AssertionError(message);
};

function fits(text, pattern) {
  // A global pattern would go on where it ended last.
  return pattern instanceof RegExp ? text.search(pattern) !== -1 : text.includes(String(pattern));
}

/** Returns an error that fits, and throws otherwise. */
function checked(error, expected, message, stack) {
  const text = error instanceof Error ? error.message : String(error);
  const fit =
    expected === undefined ||
    (typeof expected === "function" ? error instanceof expected : fits(text, expected) || error?.name === expected);
  if (fit) return error;
  const failure = new AssertionError(
    `${headed("another error was thrown", message)}\n  expected: ${show(expected)}\n  received: ${error?.name ?? "a value"}: ${text}`,
    { actual: error, expected },
  );
  failure.cause = error;
  throw at(stack, failure);
}

/** @param {string | undefined} stack @param {AssertionError} failure */
function at(stack, failure) {
  if (stack !== undefined) failure.stack = stack;
  return failure;
}
