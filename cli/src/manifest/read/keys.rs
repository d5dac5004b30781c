//! The keys of `room.toml` and of its sections, and where keys of other tools or in other places belong.
//!
//! Owns the lists. Invariant: the schema has the same keys. It does not know values.

/// The keys of the file and of its sections.
pub(in crate::manifest) const TOP: &[&str] = &[
    "name", "parties", "assets", "serve", "fetch", "crons", "webhooks", "auth", "publish", "vars",
    "limits",
];
pub(in crate::manifest) const PARTY: &[&str] = &[
    "path",
    "script",
    "export",
    "was",
    "hibernate",
    "auto_response",
    "ttl",
    "cors",
    "request_bodies",
    "sse",
    "resume",
    "history",
    "presence",
    "auth",
];
pub(in crate::manifest) const HISTORY: &[&str] = &["keep", "for", "durable"];
pub(in crate::manifest) const PRESENCE: &[&str] = &["grace", "every", "by"];
pub(in crate::manifest) const AUTO_RESPONSE: &[&str] = &["request", "response"];
pub(in crate::manifest) const ASSETS: &[&str] = &["dir", "build", "single_page", "cache"];
pub(in crate::manifest) const CRON: &[&str] = &["schedule", "zone", "party", "room", "rooms"];
pub(in crate::manifest) const SERVE: &[&str] = &["hosts", "origins", "prefix"];
pub(in crate::manifest) const FETCH: &[&str] = &["hosts"];
pub(in crate::manifest) const PUBLISH: &[&str] = &["keys"];
pub(in crate::manifest) const WEBHOOKS: &[&str] = &["url", "events", "parties", "secret"];

/// The names of keys in other tools, and their names here.
pub(super) const FOREIGN: &[(&str, &str)] = &[
    (
        "main",
        "the code belongs to a party: `[parties.main]` with `path = \".\"`, or `script = \"src/server.ts\"`",
    ),
    ("script", "it belongs to a party: `[parties.main]`"),
    ("port", "the port is a flag: `room dev --port 8080`"),
    ("persist", "data is kept by default; `room dev --ephemeral` keeps none"),
    ("path", "it belongs to a party: `[parties.main]`"),
    ("hibernate", "it belongs to a party: `[parties.main]`"),
    ("auto_response", "it belongs to a party: `[parties.main]`"),
    ("ttl", "it belongs to a party: `[parties.main]`"),
    ("was", "it belongs to a party: `[parties.main]`"),
    ("cors", "it belongs to a party: `[parties.main]`"),
    ("request_bodies", "it belongs to a party: `[parties.main]`"),
    ("resume", "it belongs to a party: `[parties.main]`"),
    ("history", "it belongs to a party: `[parties.main]`"),
    ("presence", "it belongs to a party: `[parties.main]`"),
    ("sse", "it belongs to a party: `[parties.main]`"),
    ("dir", "it belongs to `[assets]`"),
    ("build", "the scripts of pages belong to `[assets]`; those of rooms need no command"),
    ("single_page", "it belongs to `[assets]`"),
    ("origins", "it belongs to `[serve]`"),
    ("prefix", "it belongs to `[serve]`"),
    ("env", "variables are `[vars]`"),
    ("schedule", "it belongs to a cron: `[crons.NAME]`"),
    ("url", "it belongs to `[webhooks]`"),
    ("events", "it belongs to `[webhooks]`"),
    ("secret", "it belongs to `[webhooks]` or `[auth]`, or to a key of `[publish]`"),
    ("jwks", "it belongs to `[auth]`"),
];
