// What the operator may ask. Owns the token, and the paths of a node and of a server.
//
// Invariant: the token leaves this tab in one header and nowhere else. It does not know what is shown.

const KEPT = "room-token";
const SCOPES = ["read", "deploy", "admin"];

/** A request that was not answered as hoped. */
export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

/** Where things are, and what the token is good for. */
export const session = {
  mode: "node",
  /** Where WebSockets go, if not to this page's own host. */
  sockets: null,
  scope: "admin",
  version: "",
  /** The project that is looked at; on a node there is one, without a name. */
  project: null,
  projects: [],
  token: sessionStorage.getItem(KEPT),
  /** Called when the token is no longer valid. */
  onExpired: () => {},
};

/**
 * Takes a token over from the address, or the code of a link that is exchanged for one, and out of it. Returns why
 * that failed; nothing if it did not.
 */
export async function takeTokenFromAddress() {
  const [, kind, value] = /^#(token|link)=([^&]*)/.exec(location.hash) ?? [];
  if (kind === undefined) return undefined;
  history.replaceState(null, "", location.pathname + location.search);
  if (kind === "token") keepToken(decodeURIComponent(value));
  return kind === "link" ? redeem(decodeURIComponent(value)) : undefined;
}

/** Exchanges the code of a link. A tab that has signed in before needs none. */
async function redeem(code) {
  const headers = { "content-type": "application/json" };
  try {
    const answer = await fetch("sign-in", { method: "POST", headers, body: JSON.stringify({ code }) });
    const said = await answer.json();
    if (answer.ok) keepToken(said.token);
    return answer.ok || session.token ? undefined : said.error;
  } catch {
    return "The server does not answer.";
  }
}

export function keepToken(token) {
  session.token = token;
  if (token) sessionStorage.setItem(KEPT, token);
  else sessionStorage.removeItem(KEPT);
}

/** True if the token is good for what needs this scope. */
export const may = (scope) => SCOPES.indexOf(session.scope) >= SCOPES.indexOf(scope);

/** What a button has if the token must be good for more than it may be. */
export const needs = (scope) =>
  may(scope) ? {} : { disabled: true, title: `This needs a token with the scope ${scope}` };

/** Learns what this page belongs to, which needs no token. */
export async function learnPlace() {
  const place = await fetch(`dashboard.json${location.search}`);
  const { mode, sockets } = await place.json();
  Object.assign(session, { mode, sockets });
}

/** Learns what the token is good for; throws if it is good for nothing. */
export async function signIn() {
  if (session.mode === "node") {
    const overview = await get("admin/overview");
    Object.assign(session, { scope: "admin", version: overview.version });
    return;
  }
  const server = await get("admin/server");
  Object.assign(session, { scope: server.token.scope, version: server.version });
  await learnProjects();
}

export async function learnProjects() {
  session.projects = await get("admin/projects");
  const names = session.projects.map((project) => project.name);
  if (!names.includes(session.project)) session.project = names[0] ?? null;
}

/** The path of something that a node answers. */
export function node(path) {
  if (session.mode === "node") return `admin/${path}`;
  return `admin/projects/${encodeURIComponent(session.project)}/node/${path}`;
}

/** The path of a room. */
export const roomPath = (party, room, rest = "") =>
  node(`rooms/${segment(party)}/${segment(room)}${rest}`);

/** One segment of a path. A dot, or two, would be taken for a step. */
export const segment = (text) =>
  /^\.\.?$/.test(text) ? text.replaceAll(".", "%2E") : encodeURIComponent(text);

export const get = async (path) => parse(await (await ask("GET", path)).text());
export const text = async (path) => (await ask("GET", path)).text();
export const send = async (method, path, body) =>
  parse(await (await ask(method, path, body)).text());

/** Asks, and throws what is not 2xx. */
export async function ask(method, path, body, { signal, accept } = {}) {
  const headers = { authorization: `Bearer ${session.token}` };
  if (accept) headers.accept = accept;
  let answer;
  try {
    answer = await fetch(path, { method, headers, body, signal, cache: "no-store" });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Refused(0, "the server does not answer");
  }
  if (answer.ok) return answer;
  const said = await answer.text();
  if (answer.status === 401) session.onExpired();
  throw new Refused(answer.status, sentence(said) || `the server answered ${answer.status}`);
}

function sentence(said) {
  try {
    return JSON.parse(said).error ?? said;
  } catch {
    return said.trim();
  }
}

/** JSON, with numbers that JavaScript cannot hold kept as they are written, where the browser can. */
export function parse(text) {
  if (!JSON.rawJSON) return JSON.parse(text);
  const exact = (_, value, { source } = {}) =>
    typeof value === "number" && source && String(value) !== source && !/[.eE]/.test(source)
      ? JSON.rawJSON(source)
      : value;
  return JSON.parse(text, exact);
}
