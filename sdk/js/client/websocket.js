// The way to a server by a WebSocket. Owns how a socket says and hears the frames of `room.1`, and that one without the
// subprotocol looks the same to the rest of the client.
//
// A carrier is made with `at`, which makes a URL of a query, the query, and `heard`, which has `opened(can)`,
// `frame(frame)`, `error(error)`, `ended(code, reason, wasClean)` and `life()`, a sign of life. It has `write(frame)`,
// `close(code, reason)`, which says goodbye, and `drop()`, which does not. `socket` has `readyState`, `url`,
// `bufferedAmount` and what else a socket has. `can` says what the carrier can: `rooms` for several of them, `acks` for
// acknowledgements, and `ids` by which a message is known again.
//
// Invariant: a carrier reports `opened` at most once and `ended` at most once, and nothing after that. It does not know
// which rooms there are, what their messages mean, or when it is opened again.

import { ROOM_PROTOCOL, decode, encode } from "./frames.js";

/** The code of a connection that was lost, or was never made. */
export const LOST = 1006;
/** The close code of a client that means to come back, or takes the server for gone. */
export const AWAY = 3001;

/** A WebSocket: with `room.1` if it is a session's and the server chose it, and the room's own messages otherwise. */
export function overWebSocket({ at, query, protocols, session, Socket, heard }) {
  const url = at(query);
  const socket = protocols?.length ? new Socket(url, protocols) : new Socket(url);
  socket.binaryType = "arraybuffer";
  let over = false;
  let isSession = false;
  const listen = (type, then) => socket.addEventListener(type, (event) => { if (!over) then(event); });
  listen("open", () => {
    isSession = Boolean(session) && socket.protocol === ROOM_PROTOCOL;
    heard.opened({ rooms: isSession, acks: isSession, ids: isSession });
    if (!isSession) heard.frame({ type: "joined", channel: 0, arrival: "new" });
  });
  listen("message", ({ data }) => {
    heard.life();
    heard.frame(isSession ? decode(data) : { type: "message", channel: 0, data });
  });
  listen("error", (event) => heard.error(event.error ?? new Error(event.message || "the connection failed")));
  listen("close", ({ code, reason, wasClean }) => {
    over = true;
    heard.ended(code, reason, wasClean);
  });
  return {
    socket,
    write(frame) {
      if (isSession) socket.send(encode(frame));
      else if (frame.type === "send") socket.send(frame.data);
    },
    close(code, reason) {
      // First, as it throws if they are invalid.
      socket.close(code, reason);
      over = true;
    },
    drop() {
      over = true;
      // What the package ws has, and browsers have not, sends no close frame.
      if (socket.terminate) socket.terminate();
      else if (socket.readyState < 2) socket.close(socket.readyState === 1 ? AWAY : undefined);
    },
  };
}
