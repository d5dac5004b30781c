// The project that the tests of the client run: the room of `room/`, with the secrets that its manifest names.

import { appendFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SignJWT } from "jose";
import { project } from "../server.mjs";

export const PUBLISH_KEY = "a-key-of-the-tests-of-the-client";
export const WEBHOOK_SECRET = "a-secret-of-the-tests-of-the-client";
const AUTH_SECRET = "0123456789abcdef0123456789abcdef";

writeFileSync(join(project, ".env"), Object.entries({ AUTH_SECRET, PUBLISH_KEY, WEBHOOK_SECRET })
  .map(([name, value]) => `${name}=${value}\n`).join(""));

/** A token of a member, which ends after these seconds. */
export const tokenOf = (sub, seconds = 3_600) => new SignJWT({ sub }).setProtectedHeader({ alg: "HS256" })
  .setExpirationTime(Math.floor(Date.now() / 1_000) + seconds).sign(new TextEncoder().encode(AUTH_SECRET));

/** Has the webhooks of one party sent to a port of this machine. */
export function sendWebhooks(party, port) {
  const lines = ["", "[webhooks]", `url = "http://127.0.0.1:${port}/"`, 'secret = "WEBHOOK_SECRET"', `parties = ["${party}"]`, ""];
  appendFileSync(join(project, "room.toml"), lines.join("\n"));
}
