// Clients of a scripted server. Owns the server and the clients of each case, and ends them.
//
// Invariant: a case has a server of its own, and leaves no client behind. It does not know what the cases test.

import assert from "node:assert/strict";
import { afterEach, beforeEach } from "node:test";
import WebSocket from "ws";
import { load } from "./packed.mjs";
import { Peer, events } from "./peer.mjs";

const { RoomClient } = await load("client.js");

/** The server of the running case. */
export let peer;
const clients = [];
beforeEach(async () => { peer = await Peer.start(); });
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
  peer.stop();
});

/** Gives the running case another server. */
export async function replacePeer(options) {
  peer.stop();
  peer = await Peer.start(options);
}

const QUICK = { minReconnectionDelay: 20, maxReconnectionDelay: 40, minUptime: 1 };

export function connect(options = {}, Client = RoomClient) {
  const client = new Client({ host: peer.host, room: "lobby", id: "ada", WebSocket, ...QUICK, ...options });
  clients.push(client);
  // An error that no case asks for is seen by its consequences.
  client.addEventListener("error", () => {});
  return client;
}

/** A client whose first room is joined, and the socket of it. */
export async function joined(options, keys) {
  const client = connect(options);
  const opens = events(client, "open");
  const visit = await peer.visits.next();
  visit.joined(keys);
  await opens.next();
  return { client, visit, opens };
}

/** The error of a promise that has to fail. */
export const failure = (promise) => promise.then(() => assert.fail("it is acknowledged"), (error) => error);
