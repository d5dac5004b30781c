// An editor of the document in `docs.ts`, in an engine of its own. What the server sends comes as bytes, and what goes to
// the server leaves as bytes. A text is what its user does.

import * as decoding from "lib0/decoding";
import * as encoding from "lib0/encoding";
import { type Connection, Server, type WSMessage } from "partyserver";
import * as awarenessProtocol from "y-protocols/awareness";
import * as syncProtocol from "y-protocols/sync";
import * as Y from "yjs";

const SYNC = 0;
const AWARENESS = 1;

export default class Editor extends Server {
  readonly doc = new Y.Doc();
  readonly awareness = new awarenessProtocol.Awareness(this.doc);
  readonly text = this.doc.getText("text");
  wire: Connection | null = null;

  override onStart() {
    this.doc.on("update", (update: Uint8Array, origin: unknown) => {
      if (origin !== this) this.#send(SYNC, (encoder) => syncProtocol.writeUpdate(encoder, update));
    });
    this.awareness.on("update", ({ added, updated, removed }: Record<string, number[]>, origin: unknown) => {
      if (origin === this) return;
      const changed = [...added!, ...updated!, ...removed!];
      const bytes = awarenessProtocol.encodeAwarenessUpdate(this.awareness, changed);
      this.#send(AWARENESS, (encoder) => encoding.writeVarUint8Array(encoder, bytes));
    });
  }

  override onConnect(connection: Connection) {
    this.wire = connection;
    this.#send(SYNC, (encoder) => syncProtocol.writeSyncStep1(encoder, this.doc));
  }

  override onMessage(_: Connection, message: WSMessage) {
    if (typeof message === "string") return this.#act(message);
    const decoder = decoding.createDecoder(new Uint8Array(message as ArrayBuffer));
    const encoder = encoding.createEncoder();
    switch (decoding.readVarUint(decoder)) {
      case SYNC:
        encoding.writeVarUint(encoder, SYNC);
        syncProtocol.readSyncMessage(decoder, encoder, this.doc, this);
        if (encoding.length(encoder) > 1) this.wire!.send(encoding.toUint8Array(encoder));
        break;
      case AWARENESS:
        awarenessProtocol.applyAwarenessUpdate(this.awareness, decoding.readVarUint8Array(decoder), this);
    }
  }

  #act(action: string) {
    const [what, at, words = ""] = action.split("|");
    if (what === "insert") this.text.insert(Number(at), words);
    if (what === "delete") this.text.delete(Number(at), Number(words));
    if (what === "name") this.awareness.setLocalStateField("name", words);
  }

  #send(kind: number, write: (encoder: encoding.Encoder) => void) {
    const encoder = encoding.createEncoder();
    encoding.writeVarUint(encoder, kind);
    write(encoder);
    this.wire?.send(encoding.toUint8Array(encoder));
  }

  override onRequest() {
    const names = [...this.awareness.getStates().values()].map(({ name }) => name).filter(Boolean);
    return Response.json({ text: this.text.toString(), names: names.sort() });
  }
}
