// A Hono app in a room, and one in front of rooms with the middleware of hono-party.

import { Hono } from "hono";
import { cors } from "hono/cors";
import { getCookie, setCookie } from "hono/cookie";
import { HTTPException } from "hono/http-exception";
import { partyserverMiddleware } from "hono-party";
import { Server } from "partyserver";

interface Env {
  Todos: unknown;
}

type Variables = { started: number };

export class Todos extends Server<Env> {
  readonly app = new Hono<{ Variables: Variables }>().basePath("/parties/todos/:room");

  constructor(ctx: never, env: Env) {
    super(ctx, env);
    const { kv } = this.ctx.storage;
    this.app.use("*", async (c, next) => {
      c.set("started", 1);
      await next();
      c.header("x-steps", String(c.get("started")));
    });
    this.app.get("/todos", (c) => c.json([...kv.list({ prefix: "todo:" })].map(([, todo]) => todo)));
    this.app.post("/todos", async (c) => {
      const { title } = await c.req.json<{ title?: string }>();
      if (!title) throw new HTTPException(422, { message: "a todo has a title" });
      const todo = { id: 1 + [...kv.list({ prefix: "todo:" })].length, title, room: c.req.param("room") };
      kv.put(`todo:${todo.id}`, todo);
      return c.json(todo, 201);
    });
    this.app.get("/todos/:id{[0-9]+}", (c) => {
      const todo = kv.get(`todo:${c.req.param("id")}`);
      return todo === undefined ? c.notFound() : c.json(todo);
    });
    this.app.get("/visit", (c) => {
      const visits = 1 + Number(getCookie(c, "visits") ?? 0);
      setCookie(c, "visits", String(visits), { httpOnly: true, path: "/" });
      return c.html(`<p>visit ${visits} with ${c.req.query("by")}</p>`);
    });
    this.app.get("/stream", (c) => {
      const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
      const writer = writable.getWriter();
      void writer.write(new TextEncoder().encode("in ")).then(() => writer.write(new TextEncoder().encode("pieces"))).then(() => writer.close());
      return c.body(readable);
    });
    this.app.get("/broken", () => {
      throw new Error("a secret of the author");
    });
    this.app.onError((error, c) => {
      if (error instanceof HTTPException) return error.getResponse();
      return c.text("something failed", 500);
    });
  }

  override onRequest(request: Request) {
    return this.app.fetch(request);
  }
}

const front = new Hono();
front.use("/parties/*", cors());
front.use(
  "*",
  partyserverMiddleware({
    options: {
      onBeforeRequest: (request: Request) =>
        request.headers.get("authorization") === "closed" ? new Response("no entry", { status: 403 }) : undefined,
    },
  } as object),
);
front.get("/about", (c) => c.text("about the app"));

export default front;
