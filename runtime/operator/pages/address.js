// The addresses of what there is to look at.

import { session } from "./api.js";

/** The address of a view: `#/@chat/room/main/lobby`; a node's has no project in it. */
export function link(...parts) {
  const project = session.project ? [`@${session.project}`] : [];
  return `#/${[...project, ...parts].map(encodeURIComponent).join("/")}`;
}
