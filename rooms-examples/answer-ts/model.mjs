// Stands for the server of a language model: it answers a question word by word. `node model.mjs` listens on 8787.

import { createServer } from "node:http";

const PAUSE_MS = 90;

const answer = (question) =>
  `You asked: “${question}” I am a small program, so I do not know. But look at how this text comes: each word is a ` +
  "part of one response, which the room reads with fetch. Each part is a turn of the room. It is stored, and everyone " +
  "who is here sees it at the same time. Save the code of the room while I write: nothing of this is lost.";

const server = createServer(async (request, response) => {
  if (request.method !== "POST" || request.url !== "/answer") return response.writeHead(404).end();
  let body = "";
  for await (const piece of request) body += piece;
  response.writeHead(200, { "content-type": "text/plain; charset=utf-8" });
  for (const word of answer(JSON.parse(body).question).split(/(?<= )/)) {
    response.write(word);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  response.end();
});

server.listen(8787, "127.0.0.1", () => console.log("answers at http://127.0.0.1:8787/answer"));
