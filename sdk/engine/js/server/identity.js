// Who clients are, and tickets for them.
//
// Owns the identities of requests. Invariant: an identity is what the host said about a request or a connection, and
// nothing that a client sends. It does not know tokens.

import * as native from "room:native";
import { kebab } from "./names.js";

/** @typedef {{claims: string, capabilities: string[], ends: number | null}} IdentityRecord */

const ALL = ["read", "write", "presence"];
/** A ticket of which no time is said lasts a minute. */
const TICKET_MS = 60_000;

/** Of each request that came with one. @type {WeakMap<object, IdentityRecord>} */
const known = new WeakMap();

/** Notes who sent a request. @template {object} R @param {R} request @param {{identity?: IdentityRecord}} record @returns {R} */
export function sentBy(request, record) {
  if (record.identity !== undefined) known.set(request, record.identity);
  return request;
}

/** The claims; null for a ticket without any. @param {IdentityRecord | null | undefined} record */
export function claims(record) {
  return record === null || record === undefined || record.claims === "{}" ? null : JSON.parse(record.claims);
}

/** @param {IdentityRecord | null | undefined} record */
export function capabilities(record) {
  const held = record?.capabilities ?? ALL;
  return Object.freeze(Object.fromEntries(ALL.map((name) => [name, held.includes(name)])));
}

/** The claims of the token or ticket that a request or a connection came with, or null. @param {any} whose */
export function claimsOf(whose) {
  return claims(recordOf(whose));
}

/** What the client of a request or a connection may do. @param {any} whose */
export function capabilitiesOf(whose) {
  return capabilities(recordOf(whose));
}

/** @param {any} whose */
function recordOf(whose) {
  const own = known.get(whose);
  if (own !== undefined || typeof whose?.setState !== "function") return own;
  return native.identity(whose.id);
}

/**
 * Makes a ticket, which a client sends in place of a token.
 * @param {{party?: string, room?: string | null, for?: number, capabilities?: string[], once?: boolean, claims?: object}} [grant]
 */
export function ticket(grant = {}) {
  const room = grant.room === undefined && grant.party === undefined ? native.name() : grant.room;
  return native.ticket({
    party: grant.party === undefined ? native.party() : kebab(grant.party),
    room: room ?? null,
    ms: Number(grant.for ?? TICKET_MS),
    capabilities: grant.capabilities ?? ALL,
    once: grant.once === true,
    claims: grant.claims === undefined ? null : JSON.stringify(grant.claims),
  });
}
