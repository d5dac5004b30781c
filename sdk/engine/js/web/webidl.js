/**
 * The conversions of Web IDL that several globals share.
 *
 * Invariant: a conversion returns a value of its type or throws a TypeError (bytes out of range: a TypeError, too, as
 * Web IDL says). It does not know which global asks.
 */

/** Returns the value as a string without lone surrogates. @param {unknown} value @returns {string} */
export function toUSVString(value) {
  const text = typeof value === "string" ? value : `${value}`;
  return text.isWellFormed() ? text : text.toWellFormed();
}

/** Returns the value as a string of code units up to 255. @param {unknown} value @returns {string} */
export function toByteString(value) {
  const text = typeof value === "string" ? value : `${value}`;
  for (let i = 0; i < text.length; i++) {
    if (text.charCodeAt(i) > 255) {
      throw new TypeError(`Cannot convert to a ByteString: the character at index ${i} has a value greater than 255`);
    }
  }
  return text;
}

/** Returns the bytes that a buffer or a view shows, without a copy; undefined for other values. */
export function viewBytes(value) {
  if (value instanceof Uint8Array) return value;
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  return undefined;
}

/** As viewBytes, and throws a TypeError for other values. @returns {Uint8Array} */
export function bytesOf(value, what) {
  const bytes = viewBytes(value);
  if (bytes === undefined) throw new TypeError(`${what} must be an ArrayBuffer, a typed array or a DataView`);
  return bytes;
}

/** Returns a buffer that holds exactly these bytes; the view's own one if it is exactly that. */
export function exactBuffer(bytes) {
  const whole = bytes.byteOffset === 0 && bytes.byteLength === bytes.buffer.byteLength;
  return whole ? bytes.buffer : bytes.slice().buffer;
}

/** Returns one array with the bytes of all. @param {Uint8Array[]} parts @returns {Uint8Array} */
export function concat(parts) {
  if (parts.length === 1) return parts[0];
  let length = 0;
  for (const part of parts) length += part.byteLength;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.byteLength;
  }
  return whole;
}

/** Keeps a promise's rejection from being an unhandled one. Its readers look at the promise. Returns it. */
export function handled(promise) {
  promise.then(undefined, () => {});
  return promise;
}

/** Makes the named members of a class enumerable and gives it a `Symbol.toStringTag`, as Web IDL does. */
export function expose(type, name, members = []) {
  for (const member of members) Object.defineProperty(type.prototype, member, { enumerable: true });
  Object.defineProperty(type.prototype, Symbol.toStringTag, { value: name, configurable: true });
}
