// The tags of the binary form of values.
//
// Owns what a tag's number means; the writer and the reader are `codec-write.js` and `codec-read.js`. Invariant: a
// number keeps its meaning, as stores keep values. It does not know how a value is written.

/** The version of the form, behind its first byte. */
export const VERSION = 1;

export const UNDEFINED = 0;
export const NULL = 1;
export const TRUE = 2;
export const FALSE = 3;
export const INTEGER = 4;
export const FLOAT = 5;
export const TEXT = 6;
export const UNITS = 7;
export const BIGINT = 8;
export const REFERENCE = 9;
export const DATE = 10;
export const REGEXP = 11;
export const MAP = 12;
export const SET = 13;
export const BUFFER = 14;
export const VIEW = 15;
export const ERROR = 16;
export const BOXED = 17;
export const ARRAY = 18;
export const SPARSE = 19;
export const OBJECT = 20;

export const VIEWS = [
  DataView,
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
  ...(typeof globalThis.Float16Array === "function" ? [globalThis.Float16Array] : []),
];
export const VIEW_TAGS = VIEWS.map((view) => view.name);

/** The kinds of errors that are kept; every other one becomes `Error`. */
export const ERRORS = [Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError];
export const ERROR_NAMES = ERRORS.map((kind) => kind.name);
