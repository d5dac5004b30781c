/**
 * Puts the globals of the web on `globalThis`.
 *
 * Invariant: a global that is there does what its standard says; what is not supported is absent. It is evaluated once,
 * before the author's module.
 */
import { AbortController, AbortSignal } from "./abort.js";
import { Blob, File } from "./blob.js";
import { console } from "./console.js";
import { Crypto, crypto, CryptoKey, SubtleCrypto } from "./crypto/index.js";
import { Date } from "./date.js";
import { DOMException } from "./dom-exception.js";
import { atob, btoa, TextDecoder, TextEncoder } from "./encoding.js";
import { CloseEvent, CustomEvent, ErrorEvent, Event, EventTarget, MessageEvent, reportError } from "./events.js";
import { fetch } from "./fetch.js";
import { FormData } from "./form-data.js";
import { Headers } from "./headers.js";
import { Request } from "./request.js";
import { Response } from "./response.js";
import "./show.js";
import "./streams/pipe.js";
import { ByteLengthQueuingStrategy, CountQueuingStrategy } from "./streams/queue.js";
import { ReadableStream, ReadableStreamDefaultController,
  ReadableStreamDefaultReader } from "./streams/readable.js";
import {
  TextDecoderStream, TextEncoderStream, TransformStream, TransformStreamDefaultController,
} from "./streams/transform.js";
import { WritableStream, WritableStreamDefaultController, WritableStreamDefaultWriter } from "./streams/writable.js";
import { navigator, performance, random, scheduler } from "./time.js";
import { structuredClone } from "./structured-clone.js";
import { clearTimeout, setInterval, setTimeout } from "./timers.js";
import { URL, URLSearchParams } from "./url.js";

const globals = {
  AbortController, AbortSignal, atob, Blob, btoa, ByteLengthQueuingStrategy, clearInterval: clearTimeout,
  clearTimeout, CloseEvent, console, CountQueuingStrategy, Crypto, crypto, CryptoKey, CustomEvent, Date, DOMException,
  ErrorEvent, Event, EventTarget, fetch, File, FormData, Headers, MessageEvent, navigator, performance,
  ReadableStream, ReadableStreamDefaultController, ReadableStreamDefaultReader, reportError, Request, Response,
  scheduler, self: globalThis, setInterval, setTimeout, structuredClone, SubtleCrypto, TextDecoder, TextDecoderStream,
  TextEncoder, TextEncoderStream, TransformStream, TransformStreamDefaultController, URL, URLSearchParams,
  WritableStream, WritableStreamDefaultController, WritableStreamDefaultWriter,
};
for (const [name, value] of Object.entries(globals)) {
  Object.defineProperty(globalThis, name, { value, writable: true, enumerable: false, configurable: true });
}
Object.defineProperty(Math, "random", { value: random, writable: true, enumerable: false, configurable: true });
