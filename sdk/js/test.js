// What stands in for `roomkit/test` outside of `room test`. The engine has the module itself, and never reads this file.

/** The names that the module has, so that what imports them gets the error below. */
let afterEach, assert, AssertionError, beforeEach, describe, PendingCall, PendingFetch, test, TestClient, TestProject, TestResponse, TestRoom;

export {
  afterEach, assert, AssertionError, beforeEach, describe, PendingCall, PendingFetch, test, TestClient, TestProject,
  TestResponse, TestRoom,
};

throw new Error(
  'the module "roomkit/test" is for files of tests (*.test.ts), which `room test` runs: a room, a page or a script cannot import it',
);
