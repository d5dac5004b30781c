// The package `roomkit` as `npm pack` makes it, installed in a temporary folder. The tests of this folder know no other.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const SOURCE = fileURLToPath(new URL("../../sdk/js", import.meta.url));
/** What else the tests use of npm. */
const PACKAGES = fileURLToPath(new URL("../node_modules", import.meta.url));

const npm = (args, cwd) => execFileSync("npm", args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });

/** A project that has installed the package, until this process ends. */
export const home = mkdtempSync(join(tmpdir(), "roomkit-"));
process.on("exit", () => rmSync(home, { recursive: true, force: true }));

npm(["pack", SOURCE, "--pack-destination", home, "--silent"], home);
const [archive] = readdirSync(home).filter((name) => name.endsWith(".tgz"));
writeFileSync(join(home, "package.json"), JSON.stringify({ name: "home", private: true, type: "module" }));
npm(["install", `./${archive}`, "--no-audit", "--no-fund", "--offline", "--legacy-peer-deps"], home);
for (const name of ["react", "react-dom", "react-test-renderer", "react-is", "scheduler", "@types", "csstype"]) {
  symlinkSync(join(PACKAGES, name), join(home, "node_modules", name));
}

/** Where the package is. */
export const root = join(home, "node_modules/roomkit");

/** Imports a file of the package, also one that is not an entry. */
export const load = (file) => import(pathToFileURL(join(root, file)));
