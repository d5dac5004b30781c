// A document of Yjs that its clients share: the server of y-partyserver, with the storage of a room.

import { type Connection, type ConnectionContext } from "partyserver";
import { YServer } from "y-partyserver";
import * as Y from "yjs";

export default class Docs extends YServer {
  static override callbackOptions = { debounceWait: 1_000, debounceMaxWait: 5_000 };

  override async onLoad() {
    const saved = await this.ctx.storage.get<Uint8Array>("document");
    if (saved) Y.applyUpdate(this.document, saved);
  }

  override async onSave() {
    await this.ctx.storage.put("document", Y.encodeStateAsUpdate(this.document));
  }

  override onConnect(connection: Connection, context: ConnectionContext) {
    if (context.request.url.includes("readonly")) connection.setState({ readOnly: true });
    super.onConnect(connection as never, context as never);
  }

  override isReadOnly(connection: Connection) {
    return (connection.state as { readOnly?: boolean } | null)?.readOnly === true;
  }

  override onCustomMessage(connection: Connection, message: string) {
    this.broadcastCustomMessage(`${connection.id}: ${message}`, connection as never);
  }

  override onRequest() {
    return Response.json({ text: this.document.getText("text").toString(), awake: this.document.awareness.getStates().size });
  }
}
