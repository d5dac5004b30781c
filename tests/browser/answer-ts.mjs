// Two tabs read the answer of a model while it comes, and the room's code is replaced in the middle of it.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { BUILD_MS, STEP_MS, Server, edit, within } from "../server.mjs";
import { open, shoot, stats } from "./browser.mjs";

/** A model that says what the test has it say. */
class Model {
  #came = [];
  #wake = () => {};

  static async start() {
    const model = new Model();
    model.server = createServer(async (request, response) => {
      let body = "";
      for await (const piece of request) body += piece;
      response.writeHead(200, { "content-type": "text/plain; charset=utf-8" });
      response.flushHeaders();
      model.#came.push({ question: JSON.parse(body).question, response });
      model.#wake();
    });
    model.server.listen(0, "127.0.0.1");
    await once(model.server, "listening");
    model.host = `127.0.0.1:${model.server.address().port}`;
    return model;
  }

  /** The next question. */
  async asked() {
    const come = async () => {
      while (this.#came.length === 0) await new Promise((resolve) => (this.#wake = resolve));
      return this.#came.shift();
    };
    return within(STEP_MS, "question", come());
  }
}

let model, server, browser, ada, bob;
before(async () => {
  model = await Model.start();
  await edit("room.toml", 'hosts = ["127.0.0.1:8787"]', `hosts = ["${model.host}"]`);
  await edit("room.toml", "http://127.0.0.1:8787/answer", `http://${model.host}/answer`);
  server = await Server.start({ args: ["--ephemeral"] });
  browser = await open();
  [ada, bob] = [await browser.tab(server.url), await browser.tab(server.url)];
});
after(async () => {
  await browser?.close();
  await server?.stop();
  model?.server.close();
  model?.server.closeAllConnections();
});

/** Both tabs show this answer, whole or not, behind each other's. */
const bothRead = async (state, text) => {
  for (const page of [ada, bob]) {
    const answer = page.locator(`#log li[data-state="${state}"] .answer`).last();
    await answer.filter({ hasText: text }).waitFor();
    if (state === "whole") assert.equal(await answer.textContent(), text);
  }
};
const ask = async (page, text) => {
  await page.fill("#text", text);
  await page.press("#text", "Enter");
};

test("everyone reads an answer while it comes", async () => {
  await ask(ada, "What is a room?");
  const { question, response } = await model.asked();
  assert.equal(question, "What is a room?");
  response.write("It is small ");
  await bothRead("open", "It is small ");
  // A character that comes in two parts.
  const [first, second] = [Buffer.from("– ").subarray(0, 2), Buffer.from("– ").subarray(2)];
  response.write(first);
  response.write(second);
  await bothRead("open", "It is small – ");
  await shoot(ada, "answer-ts");
  response.end("and live.");
  await bothRead("whole", "It is small – and live.");
});

test("an answer goes on when the code is replaced in its middle", async () => {
  await ask(bob, "And now?");
  const { response } = await model.asked();
  response.write("Before the save, ");
  await bothRead("open", "Before the save, ");
  await edit("src/server.ts", "const TALKS_MAX = 20;", "const TALKS_MAX = 21;");
  await server.line(/2 sockets kept/, BUILD_MS);
  response.write("and behind it");
  await bothRead("open", "Before the save, and behind it");
  response.end(".");
  await bothRead("whole", "Before the save, and behind it.");
  for (const page of [ada, bob]) assert.deepEqual(await stats(page), { opens: 1, closes: 0 });
});

test("a model that breaks off is a problem that the page shows", async () => {
  await ask(ada, "Last one?");
  const { response } = await model.asked();
  response.write("It was ");
  await bothRead("open", "It was ");
  response.destroy();
  await ada.locator('#log li[data-state="failed"] .problem').filter({ hasText: /\w/ }).waitFor();
  const late = await browser.tab(server.url);
  assert.equal(await late.locator("#log li").count(), 3);
});

test("no page logged an error", () => assert.deepEqual(browser.errors, []));
