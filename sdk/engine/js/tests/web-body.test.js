// Requests, responses and their bodies, blobs and forms: the expected values are those of Node.
import { equal, rejects, test, throws } from "room:test";

const text = (value) => new TextEncoder().encode(value);

test("a response has what it was made of", async () => {
  const response = new Response("é", { status: 201, statusText: "Made", headers: { a: "b" } });
  equal([response.status, response.statusText, response.ok, response.type, response.url, response.bodyUsed],
    [201, "Made", true, "default", "", false]);
  equal([...response.headers], [["a", "b"], ["content-type", "text/plain;charset=UTF-8"]]);
  equal([...new Uint8Array(await response.arrayBuffer())], [195, 169]);
  equal(response.bodyUsed, true);
  await rejects(response.text(), TypeError);
});

test("a response checks its status", () => {
  throws(() => new Response("", { status: 199 }), RangeError);
  throws(() => new Response("", { status: 600 }), RangeError);
  throws(() => new Response("x", { status: 204 }), TypeError);
  equal(new Response(null, { status: 204 }).body, null);
  throws(() => new Response(null, { statusText: "a\nb" }), TypeError);
});

test("a response is made in other ways", async () => {
  const json = Response.json({ a: [1] }, { status: 202, headers: { x: "y" } });
  equal([await json.text(), json.status, json.headers.get("content-type"), json.headers.get("x")],
    ['{"a":[1]}', 202, "application/json", "y"]);
  equal(Response.json(1, { headers: { "content-type": "a/b" } }).headers.get("content-type"), "a/b");
  throws(() => Response.json(undefined), TypeError);
  throws(() => Response.json(Symbol()), TypeError);
  const redirect = Response.redirect("http://h/a b", 303);
  equal([redirect.status, redirect.headers.get("location")], [303, "http://h/a%20b"]);
  throws(() => Response.redirect("http://h/", 200), RangeError);
  equal([Response.error().status, Response.error().type, Response.error().body], [0, "error", null]);
});

test("a body is read in every form", async () => {
  const of = (body) => new Response(body);
  equal(await of("\ufeffa").text(), "a");
  equal(await of('\ufeff{"a":1}').json(), { a: 1 });
  await rejects(of("{").json(), SyntaxError);
  await rejects(of("").json(), SyntaxError);
  equal([...(await of(new Uint16Array([0x4142])).bytes?.() ?? text("BA"))], [0x42, 0x41]);
  equal(await of(new DataView(text("abc").buffer, 1)).text(), "bc");
  const blob = await new Response("x", { headers: { "content-type": "A/b" } }).blob();
  equal([blob.type, await blob.text()], ["a/b", "x"]);
  equal(await of(null).text(), "");
  equal(await of(undefined).body, null);
  equal(await of(12).text(), "12");
  const params = of(new URLSearchParams({ a: "b c" }));
  equal([params.headers.get("content-type"), await params.text()],
    ["application/x-www-form-urlencoded;charset=UTF-8", "a=b+c"]);
  equal(of(new Blob(["x"], { type: "t/u" })).headers.get("content-type"), "t/u");
  equal(of(new Uint8Array(1)).headers.get("content-type"), null);
});

test("bytes are copied when a body is made", async () => {
  const bytes = text("abc");
  const response = new Response(bytes);
  bytes[0] = 0;
  equal(await response.text(), "abc");
});

test("a body is a stream", async () => {
  const stream = new ReadableStream({
    start(controller) {
      controller.enqueue(text("a"));
      controller.enqueue(text("b"));
      controller.close();
    },
  });
  const response = new Response(stream);
  equal(response.body, stream);
  equal(await response.text(), "ab");
  equal(response.bodyUsed, true);
  throws(() => new Response(stream), TypeError);
  const words = new Response(ReadableStream.from(["a"]));
  await rejects(words.text(), TypeError);
  const reader = new Response("xyz").body.getReader();
  equal([...(await reader.read()).value], [...text("xyz")]);
  equal((await reader.read()).done, true);
  const locked = new Response("x");
  locked.body.getReader();
  await rejects(locked.text(), TypeError);
  equal(locked.bodyUsed, false);
});

test("a clone has the same body", async () => {
  const response = new Response("abc", { headers: { a: "b" } });
  const copy = response.clone();
  const mine = new Uint8Array(await response.arrayBuffer());
  mine[0] = 0;
  equal(await copy.text(), "abc");
  throws(() => response.clone(), TypeError);
  const streamed = new Response(new Response("streamed").body);
  const twin = streamed.clone();
  equal([await streamed.text(), await twin.text()], ["streamed", "streamed"]);
});

test("a request has what it was made of", async () => {
  const request = new Request("http://H/a b", { method: "post", body: "x", headers: { a: "b" } });
  equal([request.url, request.method, request.redirect, request.headers.get("content-type")],
    ["http://h/a%20b", "POST", "follow", "text/plain;charset=UTF-8"]);
  equal(new Request("http://h/", { method: "patch" }).method, "patch");
  const next = new Request(request, { headers: { c: "d" } });
  equal([next.method, next.headers.get("a"), next.headers.get("c"), await next.text(), request.bodyUsed],
    ["POST", null, "d", "x", true]);
  const other = new Request(new Request("http://h/", { headers: { q: "r" } }), { method: "PUT", body: "y" });
  equal([other.method, other.headers.get("q"), await other.text()], ["PUT", "r", "y"]);
  equal(new Request(new URL("http://h/x?y")).url, "http://h/x?y");
  const streamed = new Request("http://h/", { method: "POST", body: new Response("s").body, duplex: "half" });
  const taken = new Request(streamed);
  equal([await taken.text(), streamed.bodyUsed], ["s", true]);
});

test("an invalid request throws", () => {
  throws(() => new Request("/relative"), TypeError);
  throws(() => new Request("http://u:p@h/"), TypeError);
  throws(() => new Request("http://h/", { method: "a b" }), TypeError);
  throws(() => new Request("http://h/", { method: "TRACE" }), TypeError);
  throws(() => new Request("http://h/", { body: "x" }), TypeError);
  throws(() => new Request("http://h/", { signal: {} }), TypeError);
  throws(() => new Request("http://h/", { redirect: "x" }), TypeError);
});

test("a request's signal follows the one that it was given", () => {
  const controller = new AbortController();
  const request = new Request("http://h/", { signal: controller.signal });
  const copy = request.clone();
  equal(request.signal.aborted, false);
  controller.abort("why");
  equal([request.signal.aborted, request.signal.reason, copy.signal.reason], [true, "why", "why"]);
});

test("a blob", async () => {
  const blob = new Blob(["a", text("bc"), new Blob(["d"]), 5], { type: "Text/Plain" });
  equal([blob.size, blob.type, await blob.text()], [5, "text/plain", "abcd5"]);
  const part = blob.slice(1, -1, "x/y");
  equal([part.type, await part.text(), part.size], ["x/y", "bcd", 3]);
  equal(await new Response(blob.stream()).text(), "abcd5");
  equal(new Blob([], { type: "é" }).type, "");
  throws(() => new Blob("abc"), TypeError);
  const file = new File(["x"], "n.txt", { type: "a/b", lastModified: 5 });
  equal([file.name, file.lastModified, file.type, file instanceof Blob, file.size], ["n.txt", 5, "a/b", true, 1]);
});

test("a form has its entries", () => {
  const form = new FormData();
  form.append("a", "1");
  form.append("b", new Blob(["x"]), "f");
  form.append("a", 2);
  equal([form.get("a"), form.getAll("a"), form.get("b").name, form.has("c"), form.get("c")],
    ["1", ["1", "2"], "f", false, null]);
  form.set("a", "3");
  equal([...form.keys()], ["a", "b"]);
  form.delete("b");
  equal([...form], [["a", "3"]]);
  throws(() => form.append("a", "text", "name"), TypeError);
});

test("a form goes through a body as multipart", async () => {
  const form = new FormData();
  form.append('q"\r\n', "line\nbreak");
  form.append("file", new File([new Uint8Array([0, 13, 10, 45, 45, 255])], 'a"b.bin', { type: "x/y" }));
  form.append("empty", "");
  const response = new Response(form);
  equal(response.headers.get("content-type").startsWith("multipart/form-data; boundary="), true);
  const back = await response.formData();
  equal([...back.keys()], ['q"\r\n', "file", "empty"]);
  equal(back.get('q"\r\n'), "line\r\nbreak");
  const file = back.get("file");
  equal([file.name, file.type, [...new Uint8Array(await file.arrayBuffer())]], ['a"b.bin', "x/y", [0, 13, 10, 45, 45, 255]]);
});

test("a form is read from bodies of both types", async () => {
  const post = (body, type) => new Request("http://h/", { method: "POST", body, headers: { "content-type": type } });
  const plain = await post("a=1&b=x+y&a=%C3%A4", "application/x-www-form-urlencoded").formData();
  equal([...plain], [["a", "1"], ["b", "x y"], ["a", "ä"]]);
  const parts = '--X\r\nContent-Disposition: form-data; name="t"\r\n\r\nv\r\n--X\r\ncontent-disposition: form-data; ' +
    'name="f"; filename="n.txt"\r\nContent-Type: text/css\r\n\r\n.a{}\r\n--X--\r\n';
  const form = await post(parts, "multipart/form-data; boundary=X").formData();
  equal([form.get("t"), form.get("f").name, form.get("f").type, await form.get("f").text()],
    ["v", "n.txt", "text/css", ".a{}"]);
  for (const bad of ["", "--X", "--X\r\n", parts.slice(0, 60), parts.slice(0, -8), "--X\r\nno head\r\n\r\nv\r\n--X--"]) {
    await rejects(post(bad, "multipart/form-data; boundary=X").formData(), TypeError);
  }
  await rejects(post("a", "text/plain").formData(), TypeError);
  await rejects(post("-".repeat(9e5), `multipart/form-data; boundary=${"-".repeat(9000)}`).formData(), TypeError);
  await rejects(post(parts, "multipart/form-data").formData(), TypeError);
});
