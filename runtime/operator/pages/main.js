// The page: who is signed in, what is looked at. Owns the address and the bar.

import { link } from "./address.js";
import { keepToken, learnPlace, may, session, signIn, takeTokenFromAddress } from "./api.js";
import { button, choice, el, field } from "./dom.js";
import { logs } from "./logs.js";
import { overview } from "./overview.js";
import { room } from "./room.js";
import { rooms } from "./rooms.js";
import { versions } from "./versions.js";

/** What there is to look at. */
const VIEWS = { overview, rooms, room, logs, versions };
const TABS = [
  ["overview", "Overview"],
  ["rooms", "Rooms"],
  ["logs", "Logs"],
  ["versions", "Versions"],
];

const bar = document.getElementById("bar");
const main = document.getElementById("main");

/** Told when what is looked at goes. */
let leaving = new AbortController();

/** What the address asks for; a project in it becomes the one that is looked at. */
function asked() {
  let parts = location.hash.replace(/^#\/?/, "").split("/").filter(Boolean).map(decoded);
  if (parts[0]?.startsWith("@")) {
    const project = parts.shift().slice(1);
    if (session.projects.some(({ name }) => name === project)) session.project = project;
  }
  const [view = "overview", ...rest] = parts;
  return VIEWS[view] ? [view, rest] : ["overview", []];
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function show() {
  leaving.abort();
  leaving = new AbortController();
  const [view, rest] = asked();
  drawBar(view);
  main.className = view;
  main.replaceChildren();
  document.title = `${[...rest].reverse().join(" · ") || view} – ${session.project ?? "room"}`;
  if (session.mode === "server" && !session.project) {
    main.append(
      el(
        "p",
        { class: "empty" },
        "Nothing is deployed yet: room deploy --to this address puts a project here.",
      ),
    );
  } else if (broken()) {
    main.append(el("p", { class: "empty" }, `The project cannot be served: ${broken()}`));
  } else {
    VIEWS[view](main, leaving.signal, ...rest);
  }
}

const broken = () => session.projects.find(({ name }) => name === session.project)?.broken;

function drawBar(view) {
  const tabs = TABS.filter(([name]) => name !== "versions" || session.mode === "server");
  const here = view === "room" ? "rooms" : view;
  const projects = session.projects.map(({ name }) => [name, name]);
  const project = choice("project", projects, () => {
    session.project = project.value;
    location.hash = link(here);
  });
  project.value = session.project;
  bar.replaceChildren(
    el(
      "a",
      { class: "brand", href: link("overview") },
      el("img", { src: "dashboard/icon.svg", alt: "", width: "20", height: "20" }),
      "room",
    ),
    session.mode === "server" ? field("Project", project) : "",
    el(
      "nav",
      { "aria-label": "Views" },
      tabs.map(([name, text]) =>
        el("a", { href: link(name), "aria-current": name === here && "page" }, text),
      ),
    ),
    el(
      "span",
      { class: "who" },
      may("admin")
        ? ""
        : el(
            "span",
            { class: "badge", title: "Changes need a token with a larger scope" },
            `${session.scope} token`,
          ),
      el("small", { class: "version" }, session.version),
      button("Sign out", () => signOut("")),
    ),
  );
}

function signOut(why) {
  keepToken(null);
  askForToken(why);
}

/** Asks who is there. */
function askForToken(why) {
  leaving.abort();
  bar.replaceChildren(
    el(
      "span",
      { class: "brand" },
      el("img", { src: "dashboard/icon.svg", alt: "", width: "20", height: "20" }),
      "room",
    ),
  );
  main.className = "sign-in";
  document.title = "Sign in – room";
  const token = el("input", {
    type: "password",
    autocomplete: "off",
    spellcheck: "false",
    required: true,
  });
  const problem = el("p", { class: "problem", role: "alert", hidden: !why }, why);
  const where =
    session.mode === "node"
      ? "room dev prints a link that opens this page, once; its key d opens another one. The token itself stands in control.json in the project's folder .room/state."
      : "room token create makes one; room serve prints the first one when it starts.";
  main.replaceChildren(
    el(
      "form",
      {
        on: {
          submit: (event) => {
            event.preventDefault();
            keepToken(token.value.trim());
            start();
          },
        },
      },
      el("h1", {}, "This needs a token"),
      field("Token", token),
      problem,
      el("button", { type: "submit", class: "primary" }, "Sign in"),
      el("p", { class: "hint" }, where),
    ),
  );
  token.focus();
}

/** Signs in with the token that is kept, and shows what the address asks for. */
async function start(problem = "") {
  if (!session.token) return askForToken(problem);
  try {
    await signIn();
  } catch (error) {
    return error.status === 401
      ? askForToken("The server does not know this token.")
      : askForToken(error.message);
  }
  show();
}

session.onExpired = () => signOut("The server does not know this token.");
addEventListener("hashchange", () => session.token && show());
const problem = await takeTokenFromAddress();
await learnPlace();
await start(problem);
