/**
 * `Date` by the room's clock: the host's, which a test may hold in its hands.
 *
 * Invariant: `Date.now()`, `new Date()` and `Date()` say what `performance.now()` and timers say; 0 while the module is
 * evaluated, so that no time of the build is in a room's heap. It does not know time zones.
 */
import * as native from "room:native";

const EngineDate = globalThis.Date;
const engineNow = EngineDate.now;

/** What says the time; null while the module is evaluated. @type {(() => number) | null} */
let clock = null;

/** Milliseconds since 1970 of the room's clock. */
export function now() {
  if (clock === null) {
    const mode = native.mode();
    if (mode === "global") return 0;
    // Code that is in no room has the engine's clock.
    clock = mode === "room" || mode === "hook" ? native.now : engineNow;
  }
  return clock();
}

export const Date = new Proxy(EngineDate, {
  apply: () => new EngineDate(now()).toString(),
  construct: (target, given, made) => Reflect.construct(target, given.length === 0 ? [now()] : given, made),
});
for (const [owner, name, value] of [
  [EngineDate, "now", now],
  [EngineDate.prototype, "constructor", Date],
]) {
  Object.defineProperty(owner, name, { value, writable: true, enumerable: false, configurable: true });
}
