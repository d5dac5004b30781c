// A client of the room, in this page: connects, sends text, shows what comes back.
//
// Invariant: it goes where the server said that clients come, and shows the token to nobody.

import { segment, session } from "./api.js";
import { button, el, field, panel, say } from "./dom.js";
import { Lines } from "./lines.js";

export function client(party, room, signal) {
  const address = () => `${base()}/parties/${segment(party)}/${segment(room)}`;
  const lines = new Lines("messages of this client", make, ({ text }) => text);
  const id = el("input", {
    placeholder: "made up",
    autocomplete: "off",
    spellcheck: "false",
    size: "12",
  });
  const words = el("input", {
    class: "words",
    placeholder: "Text to send",
    "aria-label": "Text to send",
    autocomplete: "off",
    spellcheck: "false",
    disabled: true,
  });
  const submit = el("button", { type: "submit", class: "primary", disabled: true }, "Send");
  const toggle = button("Connect", () => (socket ? socket.close(1000) : connect()));
  const where = el("p", { class: "hint mono" }, address());
  let socket = null;

  function connect() {
    const query = id.value ? `?_pk=${encodeURIComponent(id.value)}` : "";
    let mine;
    try {
      mine = new WebSocket(`${address()}${query}`);
    } catch (error) {
      // A page that came by TLS may not connect without it.
      return lines.add({ kind: "note", text: error.message });
    }
    mine.binaryType = "arraybuffer";
    socket = mine;
    lines.tell("waiting", "connecting");
    say(toggle, "Disconnect");
    let opened = false;
    mine.addEventListener("open", () => {
      opened = true;
      lines.tell("open", "connected");
      words.disabled = submit.disabled = false;
      words.focus();
    });
    mine.addEventListener("message", ({ data }) =>
      lines.add({ kind: "in", text: typeof data === "string" ? data : `${data.byteLength} bytes` }),
    );
    mine.addEventListener("close", ({ code, reason }) => {
      if (socket !== mine) return;
      socket = null;
      words.disabled = submit.disabled = true;
      say(toggle, "Connect");
      lines.tell(opened ? "over" : "refused", opened ? "closed" : "not connected");
      lines.add({ kind: "note", text: ending(code, reason, opened) });
    });
  }

  signal.addEventListener("abort", () => socket?.close(1000));
  const form = el(
    "form",
    {
      class: "send",
      on: {
        submit: (event) => {
          event.preventDefault();
          if (socket?.readyState !== WebSocket.OPEN) return;
          socket.send(words.value);
          lines.add({ kind: "out", text: words.value });
          words.value = "";
        },
      },
    },
    words,
    submit,
  );
  return panel(
    "Client",
    [lines.state, field("Id", id), toggle],
    where,
    otherName(),
    lines.list,
    form,
  );
}

/** Where clients come: this page's own host, or what a server told. */
function base() {
  if (session.sockets) return session.sockets;
  return `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}`;
}

/** Why it is over, in words that say what to do. */
function ending(code, reason, opened) {
  const said = `closed with ${code}${reason ? `: ${reason}` : ""}`;
  if (code === 4403 && reason.includes("origins"))
    return `${said}. Add ${location.origin} to origins under [serve] in room.toml and deploy, to connect from here.`;
  if (code === 1006 && !opened)
    return `${said}. Nobody answers at ${base()}, or the server refused the handshake: its log says why.`;
  return said;
}

/** A project that lists its hosts is reached by one of them: the page must be allowed to go there. */
function otherName() {
  const hosts = session.projects.find(({ name }) => name === session.project)?.hosts ?? [];
  const here = session.sockets && new URL(session.sockets).hostname;
  if (hosts.length === 0 || hosts.some((host) => covers(host, here))) return null;
  const name = el("input", {
    value: hosts[0].replace(/^\*/, "www"),
    autocomplete: "off",
    spellcheck: "false",
  });
  return el(
    "form",
    {
      class: "filters",
      on: {
        submit: (event) => {
          event.preventDefault();
          location.search = `?host=${encodeURIComponent(name.value)}`;
        },
      },
    },
    el("p", { class: "hint" }, `This project answers to ${hosts.join(", ")}.`),
    field("Connect by", name),
    el("button", { type: "submit" }, "Use this name"),
  );
}

const covers = (host, name) =>
  host.startsWith("*") ? name.endsWith(host.slice(1)) : host === name;

const ARROWS = { in: "←", out: "→", note: "·" };

function make({ kind, text }) {
  return el(
    "li",
    { class: `passed ${kind}` },
    el("span", { class: "arrow", role: "img", "aria-label": kind }, ARROWS[kind]),
    el("span", { class: "said" }, text),
  );
}
