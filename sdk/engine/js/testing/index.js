// What a file of tests imports as `roomkit/test`.
//
// Owns nothing but the list. Invariant: these names are those of `test.d.ts`.

export { assert, AssertionError } from "./assert.js";
export { PendingCall, PendingFetch } from "./asked.js";
export { TestClient } from "./client.js";
export { TestResponse } from "./response.js";
export { TestProject, TestRoom } from "./room.js";
export { afterEach, beforeEach, describe, test } from "./runner.js";
