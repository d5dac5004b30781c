// Where a room is. Owns how the options of a client become an address.
//
// Invariant: a name in the options ends no path and begins no query. It does not know sockets.

/** The value, or what the function returns, or what that promise brings. */
export const valueOf = async (given) => (typeof given === "function" ? given() : given);

/** Starts a timer, unless its time is longer than a timer can be: such a time never passes. */
export const after = (ms, then) => (ms < 2 ** 31 ? setTimeout(then, ms) : undefined);

/** Returns a random id that no other client has. */
export function makeId() {
  // Pages without TLS have no randomUUID.
  return crypto.randomUUID?.() ?? crypto.getRandomValues(new Uint32Array(4)).join("-");
}

/** Splits off the scheme and a slash at the end. `secure` is true for a scheme with TLS, and undefined without a scheme. */
export function readHost(text) {
  const [, scheme, rest] = /^(?:([a-z]+):\/\/)?(.*?)\/?$/i.exec(text ?? "");
  return { host: rest, secure: scheme && /[ps]s$/i.test(scheme) };
}

/** This machine by its names, and the networks 127.0.0.0/8, 10.0.0.0/8, 192.168.0.0/16 and 172.16.0.0/12. */
const NEAR =
  /^((.*\.)?localhost|\[::(1|ffff:7f00:1)\]|0\.0\.0\.0|(127\.\d+|10\.\d+|192\.168|172\.(1[6-9]|2\d|3[01]))\.\d+\.\d+)$/i;

/** True for hosts on this machine or in its network, which seldom have a certificate. */
export function isNear(host) {
  return NEAR.test(host.replace(/:\d+$/, ""));
}

/** True if the host is asked with TLS: as it says itself, as the page was loaded from it, or by where it is. */
function isSecure({ host, secure }) {
  if (secure !== undefined) return secure;
  const page = globalThis.location;
  if (page?.host === host && /^https?:$/.test(page.protocol)) return page.protocol === "https:";
  return !isNear(host);
}

/** Escapes what would end the path; a percent sign is the caller's, as it is in a URL. */
const inPath = (name) => String(name).replace(/[?#]/g, encodeURIComponent);

/** The address of the room, without a query. `scheme` is `ws` or `http`. */
export function addressOf(options, scheme) {
  const { room, party, basePath, prefix, path, protocol } = options;
  if (path?.startsWith("/")) throw new Error(`the path ${path} begins with a slash: leave it out`);
  const at = readHost(options.host);
  const parts = basePath || [prefix || "parties", inPath(party ?? "main"), inPath(room)].join("/");
  const below = path ? `/${path}` : "";
  return `${protocol || scheme + (isSecure(at) ? "s" : "")}://${at.host}/${parts}${below}`;
}

/** The parameters that have a value, as the text of a query. */
export function queryOf(query) {
  const pairs = Object.entries(query ?? {}).filter(([, value]) => value !== null && value !== undefined);
  return String(new URLSearchParams(pairs));
}

/** An address with the parameters that have a value. */
export function withQuery(address, query) {
  const text = queryOf(query);
  return text ? `${address}?${text}` : address;
}

/** Throws if the options lead to no room. */
export function checkAddress({ host, room, basePath }) {
  const missing = readHost(host).host ? !room && !basePath && "room (or basePath)" : "host";
  if (missing) throw new Error(`the ${missing} is missing: pass it to the constructor, or set it with updateProperties`);
}

export function warnOfSlashes({ party, room, disableNameValidation }) {
  for (const name of [party, room]) {
    if (disableNameValidation || !name?.includes("/")) continue;
    console.warn(`PartySocket: what follows the slash in ${name} is a path: leave it out, or set disableNameValidation`);
  }
}
