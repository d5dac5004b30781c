// The package as it is installed: its size, its types, and what it brings with it.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { home, load, root } from "./packed.mjs";

const bin = (name) => fileURLToPath(new URL(`../node_modules/.bin/${name}`, import.meta.url));
const run = (command, args) => execFileSync(command, args, { cwd: home, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

/** What a page may load at first, minified and compressed by gzip: less than the 8 KiB that `CLIENT.md` states. */
const CLIENT_BYTES_MAX = 8_100;
/** The same by Brotli. */
const CLIENT_BROTLI_BYTES_MAX = 7_350;
/** What it loads besides where WebSockets do not pass. */
const POSTING_BYTES_MAX = 2_400;
/** The hooks without the client and React. */
const REACT_BYTES_MAX = 1.5 * 1024;

/** The files of a bundle by their names without a hash, and their bytes as they travel. */
function bundle(entry, name, ...args) {
  const out = join(home, `bundle-${name}`);
  run(bin("esbuild"), [join(root, entry), "--bundle", "--splitting", "--minify", "--format=esm", `--outdir=${out}`, ...args]);
  const bytes = (file) => {
    const text = readFileSync(join(out, file));
    const brotli = brotliCompressSync(text, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } });
    return { brotli: brotli.length, gzip: gzipSync(text, { level: 9 }).length };
  };
  return Object.fromEntries(readdirSync(out).map((file) => [file.replace(/-[A-Z0-9]+\.js$/, ".js"), bytes(file)]));
}

test("the client has less than 8 KiB, and loads what few pages need when they do", () => {
  const bytes = bundle("client.js", "client");
  assert.deepEqual(Object.keys(bytes).sort(), ["client.js", "posting.js"]);
  const { "client.js": client, "posting.js": posting } = bytes;
  assert.ok(client.gzip <= CLIENT_BYTES_MAX && client.brotli <= CLIENT_BROTLI_BYTES_MAX, JSON.stringify(bytes));
  assert.ok(posting.gzip <= POSTING_BYTES_MAX, JSON.stringify(bytes));
  const react = bundle("react.js", "react", "--external:react", "--external:./client.js");
  assert.ok(react["react.js"].gzip <= REACT_BYTES_MAX, JSON.stringify(react));
});

test("it has no dependencies, and each of its entries is there", async () => {
  assert.deepEqual([manifest.dependencies, manifest.optionalDependencies], [undefined, undefined]);
  for (const [name, entry] of Object.entries(manifest.exports)) {
    for (const file of Object.values(typeof entry === "string" ? { entry } : entry)) {
      assert.ok(readFileSync(join(root, file), "utf8").length > 0, `${name} is ${file}`);
    }
  }
  for (const file of ["client.js", "react.js", "backend.js"]) await load(file);
});

test("its modules import one another, React, and nothing else", () => {
  const files = ["client.js", "react.js", "backend.js", ...readdirSync(join(root, "client")).map((file) => `client/${file}`)];
  for (const file of files) {
    const text = readFileSync(join(root, file), "utf8");
    for (const [, from] of text.matchAll(/(?:from|import\()\s*"([^"]+)"/g)) {
      assert.ok(from.startsWith("./") || (from === "react" && file === "react.js"), `${file} imports ${from}`);
    }
  }
});

test("its types hold for code that uses them, and refuse code that is wrong", () => {
  const project = join(home, "typed");
  mkdirSync(project, { recursive: true });
  const compilerOptions = {
    target: "ES2022", module: "ESNext", moduleResolution: "bundler", lib: ["ES2022", "DOM", "DOM.Iterable"], types: [],
    strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, jsx: "react-jsx", noEmit: true,
  };
  writeFileSync(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions, include: ["."] }));
  const use = readFileSync(new URL("types/use.tsx", import.meta.url), "utf8");
  writeFileSync(join(project, "use.tsx"), use);
  // The examples of the guide, those that are run included.
  const guide = readFileSync(join(root, "CLIENT.md"), "utf8");
  const blocks = [...guide.matchAll(/^```(js|tsx?)\n([^]*?)^```$/gm)];
  assert.ok(blocks.length >= 10);
  writeFileSync(join(project, "show.d.ts"), "declare function show(line: unknown): void;\n");
  for (const [at, [, kind, text]] of blocks.entries()) {
    const file = join(project, `example-${at}.${kind === "tsx" ? "tsx" : "ts"}`);
    writeFileSync(file, text.replace("let lines = [];", "let lines: string[] = [];"));
  }
  // A page of partysocket, as it is and with another import.
  const page = readFileSync(new URL("types/page.ts", import.meta.url), "utf8");
  const stock = 'import PartySocket from "partysocket";';
  assert.ok(page.includes(stock));
  for (const [file, own] of [
    ["party-socket.ts", 'import PartySocket from "roomkit";'],
    ["room-client.ts", 'import { RoomClient as PartySocket } from "roomkit/client";'],
  ]) writeFileSync(join(project, file), page.replace(stock, own));
  try {
    run(bin("tsc"), ["--project", project]);
  } catch (error) {
    assert.fail(error.stdout);
  }
});
