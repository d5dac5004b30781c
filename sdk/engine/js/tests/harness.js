// What tests of the library import as "room:test".
//
// Owns the list of a file's tests and the assertions. Invariant: a file reports every test that it names, and a failed
// assertion names both values. It does not know which module is tested.

const tests = [];

/** Adds a test: `run` may be async. */
export function test(name, run) {
  tests.push({ name, run });
}

/** Fails unless both values are the same, compared deeply and by `Object.is`. */
export function equal(actual, expected, what = "") {
  if (!same(actual, expected)) {
    throw new Error(`${what && what + ": "}got ${show(actual)}, expected ${show(expected)}`);
  }
}

/** Fails unless `run` throws; `expected` is a part of the message, a name of the error, or a constructor. */
export function throws(run, expected) {
  let error;
  try {
    run();
  } catch (thrown) {
    error = thrown;
  }
  check(error, expected);
}

/** Fails unless the promise, or what the function returns, is rejected. */
export async function rejects(promise, expected) {
  let error;
  try {
    await (typeof promise === "function" ? promise() : promise);
  } catch (thrown) {
    error = thrown;
  }
  check(error, expected);
}

function check(error, expected) {
  if (error === undefined) throw new Error(`nothing was thrown, expected ${show(expected)}`);
  const fits =
    expected === undefined ||
    (typeof expected === "function" && error instanceof expected) ||
    (typeof expected === "string" && (String(error.message).includes(expected) || error.name === expected));
  if (!fits) throw new Error(`threw ${error.name}: ${error.message}, expected ${show(expected)}`);
}

function same(a, b) {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
  if (a instanceof Date) return Object.is(a.getTime(), b.getTime());
  if (a instanceof RegExp) return String(a) === String(b);
  if (a instanceof Error) return a.name === b.name && a.message === b.message;
  if (a instanceof Map) return same([...a], [...b]);
  if (a instanceof Set) return same([...a], [...b]);
  if (a instanceof ArrayBuffer) return same(new Uint8Array(a), new Uint8Array(b));
  const keys = Reflect.ownKeys(a);
  return keys.length === Reflect.ownKeys(b).length && keys.every((key) => Object.hasOwn(b, key) && same(a[key], b[key]));
}

function show(value) {
  if (typeof value === "function") return value.name;
  try {
    return JSON.stringify(value, (_, inner) => (typeof inner === "bigint" ? `${inner}n` : inner)) ?? String(value);
  } catch {
    return String(value);
  }
}

/** Runs the tests of the file and returns lines: "ok NAME", or "failed NAME: why". */
export async function report() {
  const lines = [];
  for (const { name, run } of tests) {
    try {
      await run();
      lines.push(`ok ${name}`);
    } catch (error) {
      lines.push(`failed ${name}: ${error?.message ?? error}\n${error?.stack ?? ""}`);
    }
  }
  return lines;
}

/** The room in which a file of tests runs: a request answers with the report. */
export default class Tests {
  async onRequest() {
    return new Response(JSON.stringify(await report()));
  }
}
