// URL and URLSearchParams: the expected values are those of Node.
import { equal, test, throws } from "room:test";

test("a URL has its parts", () => {
  const url = new URL("HTTP://us%20er:p@EXAMPLE.com:80/a/../b c?q=1&q=2#h");
  equal([url.href, url.origin, url.protocol, url.username, url.password, url.host, url.hostname, url.port],
    ["http://us%20er:p@example.com/b%20c?q=1&q=2#h", "http://example.com", "http:", "us%20er", "p", "example.com",
      "example.com", ""]);
  equal([url.pathname, url.search, url.hash, `${url}`, JSON.stringify({ url })],
    ["/b%20c", "?q=1&q=2", "#h", url.href, `{"url":"${url.href}"}`]);
  equal(new URL("../x?y", "http://h/a/b/c").href, "http://h/a/x?y");
  equal(new URL("//other/p", "https://h/").href, "https://other/p");
});

test("an invalid URL throws", () => {
  for (const bad of ["", "/a", "http://", "http://a b/", "http://h:99999/"]) {
    throws(() => new URL(bad), "Invalid URL");
    equal(URL.canParse(bad), false);
  }
  throws(() => new URL("a", "b"), TypeError);
  equal(URL.canParse("a", "http://h/"), true);
});

test("parts are set", () => {
  const url = new URL("http://h/p?a=1#x");
  url.pathname = "/ü";
  url.search = "b=2";
  url.hash = "";
  url.port = "8080";
  url.protocol = "https";
  equal(url.href, "https://h:8080/%C3%BC?b=2");
  url.port = "nonsense";
  equal(url.port, "8080");
  url.href = "http://other/";
  equal(url.host, "other");
  throws(() => { url.href = "nonsense"; }, TypeError);
});

test("searchParams and search say the same", () => {
  const url = new URL("http://h/?a=1&b=2");
  const params = url.searchParams;
  params.append("c", "ä &=+");
  equal(url.search, "?a=1&b=2&c=%C3%A4+%26%3D%2B");
  url.search = "?x=y";
  equal([...params], [["x", "y"]]);
  params.delete("x");
  equal(url.href, "http://h/");
  equal(params === url.searchParams, true);
});

test("URLSearchParams is made of texts, pairs and records", () => {
  equal([...new URLSearchParams("?a=1&b=%zz&c=%C3%A4+x&&d&=e&f==")],
    [["a", "1"], ["b", "%zz"], ["c", "ä x"], ["d", ""], ["", "e"], ["f", "="]]);
  equal(new URLSearchParams([["a", 1], ["a", 2]]).toString(), "a=1&a=2");
  equal(new URLSearchParams({ a: "x y", "é": "~!'()*-._" }).toString(), "a=x+y&%C3%A9=%7E%21%27%28%29*-._");
  equal(new URLSearchParams(new URLSearchParams("q=1")).toString(), "q=1");
  equal(new URLSearchParams(new Map([["m", "n"]])).get("m"), "n");
  throws(() => new URLSearchParams([["a"]]), TypeError);
  throws(() => new URLSearchParams([1]), TypeError);
  equal(new URLSearchParams("a=\ud800").toString(), "a=%EF%BF%BD");
  equal(new URLSearchParams("a=%FF").get("a"), "\ufffd");
});

test("URLSearchParams is read and changed", () => {
  const params = new URLSearchParams("b=1&a=2&b=3&a=4");
  equal([params.get("b"), params.get("x"), params.getAll("a"), params.has("a", "4"), params.has("a", "5"), params.size],
    ["1", null, ["2", "4"], true, false, 4]);
  params.set("b", 9);
  equal(params.toString(), "b=9&a=2&a=4");
  params.sort();
  equal(params.toString(), "a=2&a=4&b=9");
  params.delete("a", "2");
  equal([[...params.keys()], [...params.values()]], [["a", "b"], ["4", "9"]]);
  const seen = [];
  params.forEach((value, key) => seen.push(key + value));
  equal(seen, ["a4", "b9"]);
  throws(() => params.append("a"), TypeError);
});
