// The frames of the subprotocol `room.1` as a socket carries them. Owns how they are written and read.
//
// Invariant: a frame is an object with a `type`; its `data` is a text or bytes, and which of both it stays.
// `PROTOCOL.md` of the SDK has the chapter. It does not know what a frame is for.

/** The name of the subprotocol. */
export const ROOM_PROTOCOL = "room.1";

/** Bytes of the head of a client's message before its id, and of the head of a room's message. */
const SENT_HEAD_BYTES = 13;
const SAID_HEAD_BYTES = 20;

/** The bytes of a message, wherever they lie. */
export function bytesOf(data) {
  return ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data);
}

/** A frame of the client, as text or bytes. */
export function encode(frame) {
  const { channel, ref = 0, id = "", data } = frame;
  if (frame.type !== "send" || typeof data === "string") return JSON.stringify(frame);
  const name = new TextEncoder().encode(id);
  const bytes = new Uint8Array(SENT_HEAD_BYTES + name.length + data.byteLength);
  const head = new DataView(bytes.buffer);
  head.setUint32(0, channel);
  head.setBigUint64(4, BigInt(ref));
  bytes[12] = name.length;
  bytes.set(name, SENT_HEAD_BYTES);
  bytes.set(bytesOf(data), SENT_HEAD_BYTES + name.length);
  return bytes;
}

/** A frame of the server: `data` is what the socket received, bytes as an `ArrayBuffer`. */
export function decode(data) {
  if (typeof data === "string") return JSON.parse(data);
  const head = new DataView(data, 0, SAID_HEAD_BYTES);
  const [epoch, seq] = [head.getBigUint64(4), head.getBigUint64(12)];
  const id = seq ? `${epoch}-${seq}` : undefined;
  return { type: "message", channel: head.getUint32(0), id, data: data.slice(SAID_HEAD_BYTES) };
}
