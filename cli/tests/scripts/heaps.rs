//! The heaps of deployed scripts. Each room starts with what the script made at its top level, and shares it with the other
//! rooms until it writes to it.
//!
//! Invariant: what the top level made stays, whatever a room leaves behind. It does not know pages or reloads.

use super::dev::room;
use super::project::Place;
use super::served::Served;
use super::socket::Socket;

/// A room whose garbage has cycles, and refers to everything that its top level made.
const SCRIPT: &str = r#"import { Server } from "roomkit/server";

class Base {
  #hidden = 1;
  get hidden() { return this.#hidden; }
  set hidden(value) { this.#hidden = value; }
  static made = 0;
  static count() { return ++Base.made; }
}
class Derived extends Base {
  constructor(other) { super(); Base.count(); this.other = other; }
  toString() { return `derived ${super.hidden}`; }
}
const shared = { list: [1, 2, 3], by: new Map([["key", { deep: ["first"] }]]), symbol: Symbol("shared") };
const kept = new WeakMap();
const closure = (() => { let n = 0; return { next: () => ++n, get n() { return n; } }; })();
function* numbers() { let n = 0; for (;;) yield n++; }
const counter = numbers();
const bound = shared.list.map.bind(shared.list);
const settled = Promise.resolve("settled");
const prototypes = [Object.create(Derived.prototype), Object.create(shared), Object.create(null)];
let latest;

/** Makes rings of objects that nothing refers to afterwards. */
async function waste(rings) {
  for (let ring = 0; ring < rings; ring++) {
    const own = new Derived();
    const other = Object.create(prototypes[ring % 3], { [shared.symbol]: { value: own, enumerable: true } });
    own.other = other;
    own.self = () => [own, other, shared, closure, Derived, String(ring)];
    own.later = settled.then((text) => [text, own]);
    own.filling = new Array(500).fill(other);
    const all = new Map([[own, other], [shared, own]]);
    own.all = all;
    kept.set(own, all);
    counter.next();
    closure.next();
    await own.later;
  }
}

export default class Heaps extends Server {
  async onMessage(connection, message) {
    const rings = Number(message);
    await waste(rings);
    shared.by.get("key").deep.push(message);
    latest = { before: latest?.rings, rings, shared };
    connection.send(JSON.stringify({
      text: String(new Derived()),
      made: Base.made,
      next: counter.next().value,
      closed: closure.n,
      bound: bound((n) => n * 2),
      deep: shared.by.get("key").deep.length,
      before: latest.before ?? 0,
      settled: await settled,
      protos: prototypes.map((one) => one instanceof Derived),
    }));
  }
}
"#;

#[test]
fn a_room_collects_its_garbage_and_keeps_what_its_script_made() {
    let place = Place::take();
    let project = place.path().join("heaps");
    let made = room(place.path(), &["new", "heaps", "--template", "javascript"]).output();
    let made = made.expect("the command was built with this test");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    std::fs::write(project.join("src/server.js"), SCRIPT).expect("the folder is ours");
    let mut served = Served::start(place.path());
    served.first_token();
    served.good(&project, &["deploy"]);
    let port = served.clients.rsplit(':').next().and_then(|port| port.parse().ok());
    let port = port.expect("its address has a port");
    let rings = 500;
    for name in ["one", "two"] {
        let mut socket = Socket::open(port, &format!("/parties/main/{name}"));
        // Each message leaves about three MiB of garbage behind, and a room may have 64 MiB.
        for round in 1..=60 {
            socket.send(&rings.to_string());
            let heard = socket.until("\"text\"");
            let made = round * rings + round;
            let expected = format!(
                r#"{{"text":"derived 1","made":{made},"next":{},"closed":{},"bound":[2,4,6],"deep":{},"before":{},"settled":"settled","protos":[true,false,false]}}"#,
                made - 1,
                round * rings,
                round + 1,
                if round == 1 { 0 } else { rings },
            );
            assert_eq!(heard, expected, "{name}, round {round}");
        }
    }
    assert_eq!(served.stop(), Some(0));
}
