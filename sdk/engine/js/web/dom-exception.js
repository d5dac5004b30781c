/**
 * `DOMException`: the errors of the web's interfaces, told apart by their name.
 *
 * Invariant: `code` is the number that the name had before names were used, or 0. It does not know who throws.
 */
import { expose } from "./webidl.js";

const CODES = {
  IndexSizeError: 1, HierarchyRequestError: 3, WrongDocumentError: 4, InvalidCharacterError: 5,
  NoModificationAllowedError: 7, NotFoundError: 8, NotSupportedError: 9, InUseAttributeError: 10,
  InvalidStateError: 11, SyntaxError: 12, InvalidModificationError: 13, NamespaceError: 14, InvalidAccessError: 15,
  TypeMismatchError: 17, SecurityError: 18, NetworkError: 19, AbortError: 20, URLMismatchError: 21,
  QuotaExceededError: 22, TimeoutError: 23, InvalidNodeTypeError: 24, DataCloneError: 25,
};

export class DOMException extends Error {
  #name;

  constructor(message = "", options = "Error") {
    const record = options !== null && typeof options === "object";
    super(`${message}`, record && "cause" in options ? { cause: options.cause } : undefined);
    this.#name = record ? `${options.name ?? "Error"}` : `${options}`;
  }

  get name() {
    return this.#name;
  }

  get code() {
    return Object.hasOwn(CODES, this.#name) ? CODES[this.#name] : 0;
  }
}

expose(DOMException, "DOMException", ["name", "code"]);
for (const [name, code] of Object.entries(CODES)) {
  const words = name.replace(/Error$/, "").replace(/URL/, "Url").match(/[A-Z][a-z]+/g);
  const constant = `${words.join("_").toUpperCase()}_ERR`.replace("IN_USE_", "INUSE_");
  const property = { value: code, enumerable: true };
  Object.defineProperty(DOMException, constant, property);
  Object.defineProperty(DOMException.prototype, constant, property);
}
