/**
 * Shows values as text for people, in the form of Node's `util.inspect`.
 *
 * Invariant: it ends for every value (depth, list and text lengths are bounded), runs no getter of the author's but
 * an error's name and message, and never throws. It does not know the log.
 */

/** How deep objects in objects are shown. */
const DEPTH = 2;
/** How many items of a list, and how many keys, are shown. */
const ITEMS_MAX = 100;
/** How many characters of one string are shown. */
const STRING_MAX = 10_000;
/** How many characters all the text has at most. */
const TEXT_MAX = 65_536;
const LINE = 80;
const KEY = /^[a-zA-Z_][a-zA-Z_0-9]*$/;

const sizeOfMap = Object.getOwnPropertyDescriptor(Map.prototype, "size").get;
const sizeOfSet = Object.getOwnPropertyDescriptor(Set.prototype, "size").get;
const TypedArray = Object.getPrototypeOf(Uint8Array);
/** Where the engine has the stack. */
const inheritedStack = Object.getOwnPropertyDescriptor(Error.prototype, "stack")?.get;
const typedName = Object.getOwnPropertyDescriptor(TypedArray.prototype, Symbol.toStringTag).get;

/** Whether the function takes this value: how a built-in object shows what it is. */
function brand(method, value) {
  try {
    method.call(value);
    return true;
  } catch {
    return false;
  }
}

const isMap = (value) => value instanceof Map && brand(sizeOfMap, value);
const isSet = (value) => value instanceof Set && brand(sizeOfSet, value);

/** Returns the text of a value. @param {{depth?: number|null}} options */
export function inspect(value, options = {}) {
  const depth = options.depth === undefined ? DEPTH : options.depth === null ? Infinity : options.depth;
  const context = { depth, seen: [], circular: new Map(), left: TEXT_MAX, indent: 0, deepest: 0 };
  try {
    const text = format(context, value, 0);
    return text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}... (cut)` : text;
  } catch (error) {
    return `[a value that cannot be shown: ${error?.message}]`;
  }
}

/** Control characters, backslashes and lone surrogates. */
const ESCAPED =
  /[\x00-\x1f\\\x7f-\x9f]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

function escape(character) {
  const code = character.charCodeAt(0).toString(16);
  return NAMED[character] ?? (character > "\xff" ? `\\u${code}` : `\\x${code.toUpperCase().padStart(2, "0")}`);
}

function quote(text) {
  const mark = !text.includes("'") ? "'" : !text.includes('"') ? '"' : !/[`]|\$\{/.test(text) ? "`" : "'";
  const escaped = text.replace(ESCAPED, escape);
  return mark + (mark === "'" ? escaped.replaceAll("'", "\\'") : escaped) + mark;
}
const NAMED = { "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", "\\": "\\\\" };

function primitive(value) {
  if (typeof value === "string") {
    const cut = value.length > STRING_MAX ? value.slice(0, STRING_MAX) : value;
    const more = value.length - cut.length;
    return quote(cut) + (more > 0 ? `... ${more} more character${more > 1 ? "s" : ""}` : "");
  }
  if (typeof value === "number") return Object.is(value, -0) ? "-0" : `${value}`;
  if (typeof value === "bigint") return `${value}n`;
  return String(value);
}

function format(context, value, depth) {
  if (value === null || (typeof value !== "object" && typeof value !== "function")) {
    const text = primitive(value);
    context.left -= text.length;
    return text;
  }
  if (context.left <= 0) return "...";
  if (context.seen.includes(value)) {
    if (!context.circular.has(value)) context.circular.set(value, context.circular.size + 1);
    return `[Circular *${context.circular.get(value)}]`;
  }
  return formatObject(context, value, depth);
}

/** Returns the name of the object's class; null for one without a prototype. */
function className(value) {
  for (let at = value; at !== null && at !== undefined; at = Object.getPrototypeOf(at)) {
    const constructor = Object.getOwnPropertyDescriptor(at, "constructor")?.value;
    if (typeof constructor === "function" && constructor.name !== "" && value instanceof constructor) {
      return constructor.name;
    }
  }
  return null;
}

function prefix(name, tag, fallback, size) {
  const shown = name === null ? `[${fallback}${size}: null prototype] ` : `${name}${size} `;
  return tag !== "" && tag !== name ? `${shown}[${tag}] ` : shown;
}

/** Returns what an object looks like: `base` before the braces, entries between them. */
function shape(context, value) {
  const name = className(value);
  let tag = "";
  const own = lookup(value, Symbol.toStringTag);
  // A tag that is one of the keys is shown among them.
  const isKey = Object.prototype.propertyIsEnumerable.call(value, Symbol.toStringTag);
  if (typeof own === "string" && !isKey) tag = own;
  if (Array.isArray(value)) {
    const plain = name === "Array" && tag === "";
    return { braces: [`${plain ? "" : prefix(name, tag, "Array", `(${value.length})`)}[`, "]"], list: true };
  }
  if (ArrayBuffer.isView(value) && !(value instanceof DataView)) {
    const kind = typedName.call(value);
    return { braces: [`${prefix(name, tag, kind, `(${value.length})`)}[`, "]"], list: true };
  }
  if (isMap(value)) return { braces: [`${prefix(name, tag, "Map", `(${sizeOfMap.call(value)})`)}{`, "}"] };
  if (isSet(value)) return { braces: [`${prefix(name, tag, "Set", `(${sizeOfSet.call(value)})`)}{`, "}"] };
  if (typeof value === "function") return { base: functionBase(value, name, tag), braces: ["{", "}"] };
  if (value instanceof Error) return { base: errorBase(context, value), braces: ["{", "}"], error: true };
  if (value instanceof RegExp) return { base: RegExp.prototype.toString.call(value), braces: ["{", "}"] };
  if (value instanceof Date && brand(Date.prototype.getTime, value)) {
    const time = Date.prototype.getTime.call(value);
    return { base: Number.isNaN(time) ? "Invalid Date" : Date.prototype.toISOString.call(value), braces: ["{", "}"] };
  }
  const boxed = unbox(value);
  if (boxed !== undefined) return { base: boxed, braces: ["{", "}"], boxed: true };
  const plain = name === "Object" && tag === "";
  return { braces: [`${plain ? "" : prefix(name, tag, "Object", "")}{`, "}"] };
}

function lookup(value, key) {
  for (let at = value; at !== null; at = Object.getPrototypeOf(at)) {
    const property = Object.getOwnPropertyDescriptor(at, key);
    if (property !== undefined) return property.value;
  }
  return undefined;
}

function functionBase(value, name, tag) {
  const isClass = /^class\b/.test(Function.prototype.toString.call(value));
  const own = Object.getOwnPropertyDescriptor(value, "name")?.value;
  const shown = typeof own === "string" && own !== "" ? own : null;
  if (isClass) {
    const parent = Object.getPrototypeOf(value)?.name;
    return `[class ${shown ?? "(anonymous)"}${parent ? ` extends ${parent}` : ""}]`;
  }
  const kind = name ?? "Function";
  return `[${kind}${shown === null ? " (anonymous)" : `: ${shown}`}]${tag !== "" && tag !== kind ? ` [${tag}]` : ""}`;
}

/** The engine's stacks have only the frames: the name and the message go before them. */
function errorBase(context, value) {
  const name = typeof value.name === "string" && value.name !== "" ? value.name : className(value) ?? "Error";
  const message = typeof value.message === "string" ? value.message : "";
  const head = message === "" ? name : `${name}: ${message}`;
  const own = Object.getOwnPropertyDescriptor(value, "stack");
  const stack = own === undefined ? inheritedStack?.call(value) : own.value;
  if (typeof stack !== "string" || stack === "") return `[${head}]`;
  const frames = stack.startsWith(head) ? stack.slice(head.length) : `\n${stack}`;
  const text = `${head}${frames.trimEnd()}`;
  return context.indent === 0 ? text : text.replaceAll("\n", `\n${" ".repeat(context.indent)}`);
}

const BOXES = [[Number, "Number"], [String, "String"], [Boolean, "Boolean"], [BigInt, "BigInt"], [Symbol, "Symbol"]];

function unbox(value) {
  for (const [type, name] of BOXES) {
    if (!(value instanceof type)) continue;
    const { valueOf } = type.prototype;
    if (brand(valueOf, value)) return `[${name}: ${primitive(valueOf.call(value))}]`;
  }
  return undefined;
}

function keysOf(value, it) {
  let keys = Object.keys(value);
  if (it.list || value instanceof String) keys = keys.filter((key) => !/^(0|[1-9]\d*)$/.test(key));
  if (it.error) {
    for (const key of ["cause", "errors"]) {
      if (Object.hasOwn(value, key) && !keys.includes(key)) keys.push(key);
    }
    keys = keys.filter((key) => !["name", "message", "stack"].includes(key));
  }
  const symbols = Object.getOwnPropertySymbols(value);
  return [...keys, ...symbols.filter((key) => Object.prototype.propertyIsEnumerable.call(value, key))];
}

function formatObject(context, value, depth) {
  const it = shape(context, value);
  const keys = keysOf(value, it);
  const special = contents(value);
  const base = it.base ?? "";
  if (keys.length === 0 && special === null) {
    if (it.base !== undefined) return it.base;
    if (!it.list || value.length === 0) return `${it.braces[0]}${it.braces[1]}`;
  }
  if (depth > context.depth) {
    const name = Array.isArray(value) ? "Array" : className(value) ?? "Object: null prototype";
    return `[${name}]`;
  }
  context.seen.push(value);
  context.deepest = depth;
  const output = it.list ? formatList(context, value, depth) : special === null ? [] : special(context, depth);
  for (const key of keys.slice(0, ITEMS_MAX)) output.push(formatProperty(context, value, key, depth));
  if (keys.length > ITEMS_MAX) output.push(more(keys.length - ITEMS_MAX, "key"));
  context.seen.pop();
  const braces = [...it.braces];
  const number = context.circular.get(value);
  let head = base;
  if (number !== undefined) {
    if (head === "") braces[0] = `<ref *${number}> ${braces[0]}`;
    else head = `<ref *${number}> ${head}`;
  }
  return join(context, output, head, braces, depth);
}

/** What is shown of a value besides its keys. Returns null for objects that have only keys. */
function contents(value) {
  if (isMap(value)) return sizeOfMap.call(value) === 0 ? null : (context, depth) => formatMap(context, value, depth);
  if (isSet(value)) return sizeOfSet.call(value) === 0 ? null : (context, depth) => formatSet(context, value, depth);
  if (value instanceof ArrayBuffer) {
    return () => [`byteLength: ${value.byteLength}`];
  }
  if (value instanceof Promise) return () => ["<promise>"];
  const entries = shownEntries(value);
  return entries === null ? null : (context, depth) => indented(context, () => entries.map(([key, item]) =>
    `${KEY.test(key) ? key : quote(key)}: ${format(context, item, depth + 1)}`));
}

/** @type {((value: object) => [string, unknown][]|null)[]} How objects of the web are shown: set by `showAs`. */
const shows = [];

/** Adds a function that returns what to show of an object, or null if it does not know it. */
export function showAs(show) {
  shows.push(show);
}

function shownEntries(value) {
  for (const show of shows) {
    const entries = show(value);
    if (entries !== null) return entries;
  }
  return null;
}

function indented(context, work) {
  context.indent += 2;
  const result = work();
  context.indent -= 2;
  return result;
}

const more = (count, what) => `... ${count} more ${what}${count > 1 ? "s" : ""}`;

function formatList(context, value, depth) {
  const output = [];
  let at = 0;
  let shown = 0;
  for (; at < value.length && shown < ITEMS_MAX; shown++) {
    if (Object.hasOwn(value, at)) {
      output.push(formatProperty(context, value, at++, depth, true));
      continue;
    }
    const start = at;
    while (at < value.length && at - start < 1_000_000 && !Object.hasOwn(value, at)) at++;
    output.push(`<${at - start} empty item${at - start > 1 ? "s" : ""}>`);
  }
  if (at < value.length) output.push(more(value.length - at, "item"));
  return output;
}

function formatMap(context, map, depth) {
  return indented(context, () => {
    const output = [];
    for (const [key, item] of Map.prototype.entries.call(map)) {
      if (output.length === ITEMS_MAX) {
        output.push(more(sizeOfMap.call(map) - ITEMS_MAX, "item"));
        break;
      }
      output.push(`${format(context, key, depth + 1)} => ${format(context, item, depth + 1)}`);
    }
    return output;
  });
}

function formatSet(context, set, depth) {
  return indented(context, () => {
    const output = [];
    for (const item of Set.prototype.values.call(set)) {
      if (output.length === ITEMS_MAX) {
        output.push(more(sizeOfSet.call(set) - ITEMS_MAX, "item"));
        break;
      }
      output.push(format(context, item, depth + 1));
    }
    return output;
  });
}

function formatProperty(context, value, key, depth, item = false) {
  const property = Object.getOwnPropertyDescriptor(value, key) ?? { value: value[key], enumerable: true };
  let text;
  if ("value" in property) text = indented(context, () => format(context, property.value, depth + 1));
  else if (property.get === undefined) text = "[Setter]";
  else text = property.set === undefined ? "[Getter]" : "[Getter/Setter]";
  if (item) return text;
  let name;
  if (typeof key === "symbol") name = `[${String(key)}]`;
  else if (!property.enumerable) name = `[${key}]`;
  else name = KEY.test(key) ? key : quote(key);
  return `${name}: ${text}`;
}

/** Puts the entries on one line if they fit, else each on its own. */
function join(context, output, base, braces, depth) {
  const start = output.length + context.indent + braces[0].length + base.length + 10;
  const before = base === "" ? "" : `${base} `;
  if (context.deepest - depth < 3) {
    const length = output.reduce((sum, entry) => sum + entry.length, output.length + start);
    if (length <= LINE && !base.includes("\n") && !output.some((entry) => entry.includes("\n"))) {
      return `${before}${braces[0]} ${output.join(", ")} ${braces[1]}`;
    }
  }
  const indent = `\n${" ".repeat(context.indent)}`;
  return `${before}${braces[0]}${indent}  ${output.join(`,${indent}  `)}${indent}${braces[1]}`;
}
