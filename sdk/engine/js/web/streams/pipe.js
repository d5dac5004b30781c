/**
 * `pipeTo` and `pipeThrough`: what joins a readable and a writable stream.
 *
 * Invariant: every chunk that was read is written before the pipe ends, and both ends are unlocked then. It does not
 * know what chunks are.
 */
import { isSignal, onAbort } from "../abort.js";
import { dictionary } from "./queue.js";
import * as readable from "./readable.js";
import * as writable from "./writable.js";
import { expose, handled } from "../webidl.js";

const { ReadableStream } = readable;

function optionsOf(options, what) {
  const { preventClose, preventAbort, preventCancel, signal } = dictionary(options, `${what}: the options`);
  if (signal !== undefined && !isSignal(signal)) throw new TypeError(`${what}: the signal must be an AbortSignal`);
  return {
    preventClose: Boolean(preventClose), preventAbort: Boolean(preventAbort), preventCancel: Boolean(preventCancel),
    signal,
  };
}

class Pipe {
  constructor(source, target, options) {
    this.source = source;
    this.target = target;
    this.options = options;
    this.reader = source.getReader();
    this.writer = target.getWriter();
    this.result = Promise.withResolvers();
    this.lastWrite = Promise.resolve();
    this.over = false;
    this.offAbort = () => {};
  }

  run() {
    const { signal } = this.options;
    if (signal !== undefined) {
      const give = () => this.aborted(signal.reason);
      if (signal.aborted) {
        give();
        return this.result.promise;
      }
      this.offAbort = onAbort(signal, give);
    }
    this.reader.closed.then(() => this.sourceClosed(), (error) => this.sourceFailed(error));
    handled(this.writer.closed).then(() => this.targetClosed(), (error) => this.targetFailed(error));
    if (writable.closeAsked(this.target) || writable.stageOf(this.target) === "closed") this.targetClosed();
    this.step();
    return this.result.promise;
  }

  /** Reads when the target has room; writes what comes. */
  step() {
    if (this.over) return;
    const size = writable.desiredSizeOf(this.target);
    if (size === null) return;
    if (size <= 0) {
      this.writer.ready.then(() => this.step(), () => {});
      return;
    }
    readable.read(this.reader, {
      chunk: (chunk) => queueMicrotask(() => {
        this.lastWrite = handled(writable.write(this.writer, chunk));
        this.step();
      }),
      close() {},
      error() {},
    });
  }

  aborted(reason) {
    const actions = [];
    if (!this.options.preventAbort && writable.stageOf(this.target) === "writable") {
      actions.push(() => writable.abortWritable(this.target, reason));
    }
    if (!this.options.preventCancel && readable.stageOf(this.source) === "readable") {
      actions.push(() => readable.cancelStream(this.source, reason));
    }
    this.shutdown(() => Promise.all(actions.map((action) => action())), { error: reason });
  }

  sourceFailed(error) {
    const action = this.options.preventAbort ? null : () => writable.abortWritable(this.target, error);
    this.shutdown(action, { error });
  }

  targetFailed(error) {
    const action = this.options.preventCancel ? null : () => readable.cancelStream(this.source, error);
    this.shutdown(action, { error });
  }

  sourceClosed() {
    this.shutdown(this.options.preventClose ? null : () => writable.closeWithErrors(this.writer), null);
  }

  targetClosed() {
    if (this.over) return;
    const error = new TypeError("ReadableStream.pipeTo: the target is closed");
    const action = this.options.preventCancel ? null : () => readable.cancelStream(this.source, error);
    this.shutdown(action, { error });
  }

  /** Ends the pipe once what was read is written. */
  async shutdown(action, failure) {
    if (this.over) return;
    this.over = true;
    let end = failure;
    if (writable.stageOf(this.target) === "writable" && !writable.closeAsked(this.target)) await this.written();
    if (action !== null) {
      try {
        await action();
      } catch (error) {
        end = { error };
      }
    }
    writable.releaseWriter(this.writer);
    readable.release(this.reader);
    this.offAbort();
    if (end === null) this.result.resolve(undefined);
    else this.result.reject(end.error);
  }

  async written() {
    for (let last; last !== this.lastWrite; ) {
      last = this.lastWrite;
      await last.then(undefined, () => {});
    }
  }
}

function pipe(source, target, options) {
  return new Pipe(source, target, options).run();
}

const methods = {
  pipeTo(destination, options) {
    try {
      if (!readable.isReadable(this)) throw new TypeError("pipeTo: this must be a ReadableStream");
      if (!writable.isWritable(destination)) throw new TypeError("pipeTo: the argument must be a WritableStream");
      const all = optionsOf(options, "pipeTo");
      if (this.locked) throw new TypeError("pipeTo: the readable stream is locked");
      if (destination.locked) throw new TypeError("pipeTo: the writable stream is locked");
      return pipe(this, destination, all);
    } catch (error) {
      return Promise.reject(error);
    }
  },

  pipeThrough(transform, options) {
    const target = transform?.writable;
    const result = transform?.readable;
    if (!readable.isReadable(result)) throw new TypeError("pipeThrough: the readable must be a ReadableStream");
    if (!writable.isWritable(target)) throw new TypeError("pipeThrough: the writable must be a WritableStream");
    const all = optionsOf(options, "pipeThrough");
    if (this.locked) throw new TypeError("pipeThrough: the readable stream is locked");
    if (target.locked) throw new TypeError("pipeThrough: the writable stream is locked");
    handled(pipe(this, target, all));
    return result;
  },
};
for (const [name, value] of Object.entries(methods)) {
  Object.defineProperty(ReadableStream.prototype, name, { value, writable: true, configurable: true });
}
expose(ReadableStream, "ReadableStream", ["pipeTo", "pipeThrough"]);
