// Pages of another origin than the server's. Owns the small server that has one.
//
// Invariant: a site answers every request with its page, and ends when it is stopped. It does not know what the page does.
import { once } from "node:events";
import { createServer } from "node:http";

/** Serves a page with these further headers on a free port, and returns its URL and what stops it. */
export async function serve(page, headers = {}) {
  const server = createServer((_, response) => {
    response.writeHead(200, { "content-type": "text/html", ...headers });
    response.end(page);
  });
  server.listen(0, "localhost");
  await once(server, "listening");
  return { url: `http://localhost:${server.address().port}/`, stop: () => server.close() };
}
