/**
 * `TransformStream`, and the two that turn text into bytes and back.
 *
 * Invariant: the writable side takes a chunk only when the readable side has room. It does not know what chunks are,
 * but for text.
 */
import { deferred, invoke, methodOf, strategyOf } from "./queue.js";
import { controls, createReadable, errorOf as readableError, stageOf as readableStage } from "./readable.js";
import { createWritable, errorIfNeeded, errorOf, stageOf } from "./writable.js";
import { TextDecoder, TextEncoder } from "../encoding.js";
import { expose, viewBytes } from "../webidl.js";

const MAKE = Symbol("make");
let C; // A controller's state.

export class TransformStream {
  #state = { readable: null, writable: null, backpressure: true, change: deferred(), controller: null, finish: null };

  constructor(transformer, writableStrategy, readableStrategy) {
    const it = transformer ?? {};
    if (typeof it !== "object" && typeof it !== "function") throw new TypeError("The transformer must be an object");
    if (it.readableType !== undefined) throw new RangeError("TransformStream: readableType must be undefined");
    if (it.writableType !== undefined) throw new RangeError("TransformStream: writableType must be undefined");
    const forReading = strategyOf(readableStrategy, 0);
    const forWriting = strategyOf(writableStrategy, 1);
    const what = "TransformStream";
    const [start, transform, flush, cancel] =
      ["start", "transform", "flush", "cancel"].map((name) => methodOf(it, name, what));
    const state = this.#state;
    const started = deferred();
    state.controller = new TransformStreamDefaultController(MAKE);
    Object.assign(C(state.controller), {
      state,
      transform: transform && ((chunk) => invoke(it, transform, chunk, state.controller)),
      flush: flush && (() => invoke(it, flush, state.controller)),
      cancel: cancel && ((reason) => invoke(it, cancel, reason)),
    });
    state.writable = createWritable({
      ...forWriting,
      start: () => started.promise,
      write: (chunk) => sinkWrite(state, chunk),
      close: () => sinkClose(state),
      abort: (reason) => sinkAbort(state, reason),
    });
    state.readable = createReadable({
      ...forReading,
      start: () => started.promise,
      pull: () => sourcePull(state),
      cancel: (reason) => sourceCancel(state, reason),
    });
    started.resolve(start?.call(it, state.controller));
  }

  get readable() { return this.#state.readable.stream; }
  get writable() { return this.#state.writable.stream; }
}
expose(TransformStream, "TransformStream", ["readable", "writable"]);

export class TransformStreamDefaultController {
  #state = { state: null, transform: undefined, flush: undefined, cancel: undefined };

  constructor(token) {
    if (token !== MAKE) throw new TypeError("Illegal constructor");
  }

  get desiredSize() {
    return controls.desired(this.#state.state.readable.controller);
  }

  enqueue(chunk) {
    enqueue(this.#state.state, chunk);
  }

  error(reason) {
    errorBoth(this.#state.state, reason);
  }

  terminate() {
    const { state } = this.#state;
    if (controls.canEnqueue(state.readable.controller)) controls.close(state.readable.controller);
    errorWritable(state, new TypeError("The transform stream was terminated"));
  }

  static {
    C = (controller) => controller.#state;
  }
}
expose(TransformStreamDefaultController, "TransformStreamDefaultController",
  ["desiredSize", "enqueue", "error", "terminate"]);

function setBackpressure(state, backpressure) {
  state.change.resolve();
  state.change = deferred();
  state.backpressure = backpressure;
}

function forgetAlgorithms(state) {
  Object.assign(C(state.controller), { transform: undefined, flush: undefined, cancel: undefined });
}

function errorBoth(state, error) {
  controls.error(state.readable.controller, error);
  errorWritable(state, error);
}

function errorWritable(state, error) {
  forgetAlgorithms(state);
  errorIfNeeded(state.writable.controller, error);
  if (state.backpressure) setBackpressure(state, false);
}

function enqueue(state, chunk) {
  const { controller, stream } = state.readable;
  if (!controls.canEnqueue(controller)) throw new TypeError("enqueue: the readable side is not open");
  try {
    controls.enqueue(controller, chunk);
  } catch (error) {
    errorWritable(state, error);
    throw readableError(stream);
  }
  const backpressure = controls.desired(controller) <= 0;
  if (backpressure !== state.backpressure) setBackpressure(state, true);
}

async function transformChunk(state, chunk) {
  const { transform } = C(state.controller);
  if (transform === undefined) return enqueue(state, chunk);
  try {
    await transform(chunk);
  } catch (error) {
    errorBoth(state, error);
    throw error;
  }
}

async function sinkWrite(state, chunk) {
  if (state.backpressure) {
    await state.change.promise;
    const { stream } = state.writable;
    if (stageOf(stream) === "erroring" || stageOf(stream) === "errored") throw errorOf(stream);
  }
  await transformChunk(state, chunk);
}

/** Runs what ends the stream, once: closing, aborting and cancelling share the result. */
function finish(state, work) {
  if (state.finish !== null) return state.finish;
  const result = deferred();
  state.finish = result.promise;
  work().then(result.resolve, result.reject);
  return state.finish;
}

function sinkClose(state) {
  return finish(state, async () => {
    const { flush } = C(state.controller);
    forgetAlgorithms(state);
    try {
      await flush?.();
    } catch (error) {
      controls.error(state.readable.controller, error);
      throw error;
    }
    if (readableStage(state.readable.stream) === "errored") throw readableError(state.readable.stream);
    if (controls.canEnqueue(state.readable.controller)) controls.close(state.readable.controller);
  });
}

function sinkAbort(state, reason) {
  return finish(state, async () => {
    const { cancel } = C(state.controller);
    forgetAlgorithms(state);
    try {
      await cancel?.(reason);
    } catch (error) {
      controls.error(state.readable.controller, error);
      throw error;
    }
    if (readableStage(state.readable.stream) === "errored") throw readableError(state.readable.stream);
    controls.error(state.readable.controller, reason);
  });
}

function sourceCancel(state, reason) {
  return finish(state, async () => {
    const { cancel } = C(state.controller);
    forgetAlgorithms(state);
    const { stream, controller } = state.writable;
    try {
      await cancel?.(reason);
    } catch (error) {
      errorIfNeeded(controller, error);
      if (state.backpressure) setBackpressure(state, false);
      throw error;
    }
    if (stageOf(stream) === "errored") throw errorOf(stream);
    errorIfNeeded(controller, reason);
    if (state.backpressure) setBackpressure(state, false);
  });
}

function sourcePull(state) {
  setBackpressure(state, false);
  return state.change.promise;
}

export class TextEncoderStream {
  #encoder = new TextEncoder();
  #pending = "";
  #stream = new TransformStream({
    transform: (chunk, controller) => {
      const text = this.#pending + chunk;
      const last = text.charCodeAt(text.length - 1);
      const cut = last >= 0xd800 && last <= 0xdbff ? text.length - 1 : text.length;
      this.#pending = text.slice(cut);
      if (cut > 0) controller.enqueue(this.#encoder.encode(text.slice(0, cut)));
    },
    flush: (controller) => {
      if (this.#pending !== "") controller.enqueue(this.#encoder.encode(this.#pending));
    },
  });

  get encoding() { return "utf-8"; }
  get readable() { return this.#stream.readable; }
  get writable() { return this.#stream.writable; }
}
expose(TextEncoderStream, "TextEncoderStream", ["encoding", "readable", "writable"]);

export class TextDecoderStream {
  #decoder;
  #stream = new TransformStream({
    transform: (chunk, controller) => {
      if (viewBytes(chunk) === undefined) throw new TypeError("TextDecoderStream: a chunk must be bytes");
      const text = this.#decoder.decode(chunk, { stream: true });
      if (text !== "") controller.enqueue(text);
    },
    flush: (controller) => {
      const text = this.#decoder.decode();
      if (text !== "") controller.enqueue(text);
    },
  });

  constructor(label, options) {
    this.#decoder = new TextDecoder(label, options);
  }

  get encoding() { return this.#decoder.encoding; }
  get fatal() { return this.#decoder.fatal; }
  get ignoreBOM() { return this.#decoder.ignoreBOM; }
  get readable() { return this.#stream.readable; }
  get writable() { return this.#stream.writable; }
}
expose(TextDecoderStream, "TextDecoderStream", ["encoding", "fatal", "ignoreBOM", "readable", "writable"]);
