// Headers: the expected values are those of Node.
import { equal, test, throws } from "room:test";

test("headers are made of records, pairs and headers", () => {
  equal([...new Headers({ B: " x ", a: 1 })], [["a", "1"], ["b", "x"]]);
  equal([...new Headers([["a", "1"], ["A", "2"]])], [["a", "1, 2"]]);
  equal([...new Headers(new Headers({ q: "r" }))], [["q", "r"]]);
  equal([...new Headers(new Map([["m", "n"]]))], [["m", "n"]]);
  throws(() => new Headers([["a"]]), TypeError);
  throws(() => new Headers(null), TypeError);
  throws(() => new Headers({ "a b": "1" }), TypeError);
  throws(() => new Headers({ a: "1\n2" }), TypeError);
  throws(() => new Headers({ a: "€" }), TypeError);
  equal(new Headers({ a: "é" }).get("a"), "é");
});

test("headers are read and changed", () => {
  const headers = new Headers();
  headers.append("X-A", "1");
  headers.append("x-a", "2");
  equal([headers.get("X-a"), headers.has("X-A"), headers.get("y"), headers.has("y")], ["1, 2", true, null, false]);
  headers.set("x-A", "3");
  equal(headers.get("x-a"), "3");
  headers.delete("X-A");
  equal([...headers], []);
  headers.set("empty", "");
  equal(headers.get("empty"), "");
  throws(() => headers.get("a b"), TypeError);
  throws(() => headers.set("", "x"), TypeError);
});

test("cookies stay apart, and names come in order", () => {
  const headers = new Headers([["set-cookie", "b=1"], ["a", "1"], ["Set-Cookie", "a=2"], ["z", "2"]]);
  equal(headers.getSetCookie(), ["b=1", "a=2"]);
  equal(headers.get("set-cookie"), "b=1, a=2");
  equal([...headers], [["a", "1"], ["set-cookie", "b=1"], ["set-cookie", "a=2"], ["z", "2"]]);
  equal([...headers.keys()], ["a", "set-cookie", "set-cookie", "z"]);
  const seen = [];
  headers.forEach((value, name) => seen.push(`${name}=${value}`));
  equal(seen.length, 4);
});

test("an iteration sees what changes", () => {
  const headers = new Headers({ a: "1", b: "2" });
  const seen = [];
  for (const [name] of headers) {
    seen.push(name);
    if (name === "a") headers.set("c", "3");
  }
  equal(seen, ["a", "b", "c"]);
});

test("headers that the host gave, or a redirect has, cannot be changed", () => {
  throws(() => Response.redirect("http://h/").headers.set("a", "b"), TypeError);
  throws(() => Response.error().headers.append("a", "b"), TypeError);
  const copy = new Headers(Response.redirect("http://h/").headers);
  copy.set("a", "b");
  equal(copy.get("location"), "http://h/");
});
