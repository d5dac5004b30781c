// A room that people meet in. It tells the lobby how many they are, and shows what the lobby announces.
import { getServerByName, Server, type Connection } from "roomkit/server";
import { ALL, type Env, type ToClient } from "./messages";

export class Meeting extends Server<Env> {
  async onConnect() {
    await this.report();
  }

  onMessage(connection: Connection) {
    this.tellAll({ type: "wave", from: connection.id });
  }

  async onClose() {
    await this.report();
  }

  /** The lobby calls this. */
  announce(text: string) {
    this.tellAll({ type: "notice", text });
  }

  /** Counts, and reports. Calls arrive exactly once and in their order, so the last count is the one that holds. */
  private async report() {
    const people = [...this.getConnections()].length;
    this.tellAll({ type: "people", people });
    const lobby = await getServerByName(this.env.Lobby, ALL);
    await lobby.count(this.name, people);
  }

  private tellAll(message: ToClient) {
    this.broadcast(JSON.stringify(message));
  }
}
