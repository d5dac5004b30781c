// Server-sent events, read by `fetch`: EventSource cannot show a token.
//
// Invariant: events are handed on whole and in order; a stream that breaks is opened again, by a path that
// the reader makes, so that it can say how far it was. It does not know what the events say.

import { Refused, ask } from "./api.js";

const RETRY_MS = 1_000;

/**
 * Follows a stream until the signal. `path()` is where; `event({id, name, data})` and
 * `state("open" | "waiting" | "refused", text)` are told.
 */
export async function follow(path, signal, { event, state }) {
  while (!signal.aborted) {
    try {
      const answer = await ask("GET", path(), undefined, { signal, accept: "text/event-stream" });
      state("open", "live");
      await read(answer.body, event);
      state("waiting", "the stream ended; opening it again");
    } catch (error) {
      if (signal.aborted) return;
      const final = error instanceof Refused && error.status >= 400 && error.status < 500;
      state(
        final ? "refused" : "waiting",
        error instanceof Refused ? error.message : "the stream broke off; opening it again",
      );
      if (final) return;
    }
    await pause(RETRY_MS, signal);
  }
}

async function read(body, event) {
  let text = "";
  for await (const piece of pieces(body)) {
    text += piece;
    let end;
    while ((end = text.indexOf("\n\n")) >= 0) {
      const block = parse(text.slice(0, end));
      text = text.slice(end + 2);
      if (block.id !== undefined || block.data !== undefined) event(block);
    }
  }
}

async function* pieces(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}

function parse(block) {
  const event = { name: "message" };
  for (const line of block.split("\n")) {
    const [, field, value] = /^([^:]*): ?(.*)$/.exec(line) ?? [];
    if (field === "id") event.id = value;
    else if (field === "event") event.name = value;
    else if (field === "data") event.data = JSON.parse(value);
  }
  return event;
}

const pause = (ms, signal) =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
