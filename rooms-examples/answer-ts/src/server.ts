// A room that asks a language model, and shows its answer to everyone while it comes.
import { Server, type Chunk, type Connection, type Failure, type WSMessage } from "roomkit/server";
import type { Talk, ToClient } from "./messages";

const QUESTION_LENGTH_MAX = 500;
const TALKS_MAX = 20;

export default class Answer extends Server<{ MODEL_URL: string }> {
  /** What decodes the bytes of each answer: a character may come in two parts. */
  private decoders = new Map<string, TextDecoder>();

  onConnect(connection: Connection) {
    const message: ToClient = { type: "talks", talks: this.talks() };
    connection.send(JSON.stringify(message));
  }

  async onMessage(_: Connection, data: WSMessage) {
    const question = typeof data === "string" ? data.trim().slice(0, QUESTION_LENGTH_MAX) : "";
    if (question === "") return;
    const id = this.ask(question);
    try {
      const response = await fetch(this.env.MODEL_URL, {
        method: "POST",
        body: JSON.stringify({ question }),
        room: { tag: id, stream: true },
      });
      if (!response.ok || response.body === null) throw new Error(`the model answers ${response.status}`);
      // Each part comes in a turn of its own. Between two of them other people's events run.
      for await (const bytes of response.body) this.add(id, bytes);
      this.end(id, "whole");
    } catch (error) {
      this.end(id, "failed", error instanceof Error ? error.message : String(error));
    }
  }

  /** New code has taken over from the code that waited: the rest of the answer comes here. */
  onChunk({ tag, offset, bytes }: Chunk) {
    if (offset === 0) this.forget(tag);
    this.add(tag, bytes);
  }

  /** The end of such an answer. */
  onResponse(tag: string, response: Response | Failure) {
    if (response instanceof Response) this.end(tag, "whole");
    else this.end(tag, "failed", response.message);
  }

  /** Stores a question, and drops the oldest one beyond the limit. */
  private ask(question: string): string {
    const { kv } = this.ctx.storage;
    const number = kv.get<number>("next") ?? 0;
    kv.put("next", number + 1);
    const talk: Talk = { id: `talk:${String(number).padStart(9, "0")}`, question, answer: "", state: "open" };
    kv.put(talk.id, talk);
    for (const old of this.talks().slice(0, -TALKS_MAX)) kv.delete(old.id);
    this.tellAll({ type: "asked", talk });
    return talk.id;
  }

  private add(id: string, bytes: Uint8Array) {
    const decoder = this.decoders.get(id) ?? new TextDecoder();
    this.decoders.set(id, decoder);
    const text = decoder.decode(bytes, { stream: true });
    const talk = this.ctx.storage.kv.get<Talk>(id);
    if (talk === undefined) return;
    this.ctx.storage.kv.put<Talk>(id, { ...talk, answer: talk.answer + text });
    this.tellAll({ type: "piece", id, from: talk.answer.length, text });
  }

  /** The model starts again from the beginning, as after a crash of the server. */
  private forget(id: string) {
    this.decoders.delete(id);
    const talk = this.ctx.storage.kv.get<Talk>(id);
    if (talk !== undefined) this.ctx.storage.kv.put<Talk>(id, { ...talk, answer: "" });
  }

  private end(id: string, state: Talk["state"], problem?: string) {
    this.decoders.delete(id);
    const talk = this.ctx.storage.kv.get<Talk>(id);
    if (talk !== undefined) this.ctx.storage.kv.put<Talk>(id, { ...talk, state });
    this.tellAll({ type: "ended", id, state, ...(problem === undefined ? {} : { problem }) });
  }

  private talks(): Talk[] {
    return [...this.ctx.storage.kv.list<Talk>({ prefix: "talk:" })].map(([, talk]) => talk);
  }

  private tellAll(message: ToClient) {
    this.broadcast(JSON.stringify(message));
  }
}
