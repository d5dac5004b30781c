// What happens to the page of a client: its network comes back, it is hidden, it is seen again. Owns the listeners for
// that.
//
// Invariant: after the end of a watch nothing is called and no timer runs. It does not know rooms or connections.

import { after } from "./address.js";

/**
 * Calls `wake` when the network is back or the page is seen again, and `pause` when the page has been hidden for the option
 * `pauseAfter`. Returns the function that ends this.
 */
export function watchPage(option, wake, pause) {
  const stop = new AbortController();
  const { signal } = stop;
  const page = globalThis.document;
  let timer;
  const look = () => {
    clearTimeout(timer);
    if (page.hidden) timer = after(option("pauseAfter"), pause);
    else wake();
  };
  // Not every platform has pages.
  globalThis.addEventListener?.("online", wake, { signal });
  if (page && option("pauseAfter")) {
    page.addEventListener("visibilitychange", look, { signal });
    if (page.hidden) look();
  }
  return () => {
    stop.abort();
    clearTimeout(timer);
  };
}
