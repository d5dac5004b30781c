//! The JSON schema of `room.toml`, for editors. Owns the keys and their descriptions.
//!
//! Invariant: `read` knows the same keys; a test compares them. The types are never made: they are the schema. It does not
//! know how a text is read.

use room_runtime::{CronSetting, Limits};
use schemars::{JsonSchema, Schema, json_schema};
use std::collections::BTreeMap;

/// A project of rooms.
#[derive(JsonSchema)]
#[schemars(title = "room.toml", deny_unknown_fields)]
#[expect(dead_code, reason = "the type is the schema, and is never made")]
struct ManifestKeys {
    /// The project's name: lower-case letters, digits, `-` and `_`.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9][a-z0-9_-]*$"))]
    name: String,
    /// The kinds of rooms, by their name in URLs. Without this section: `main`, whose package is the
    /// project's folder.
    #[schemars(default)]
    parties: BTreeMap<String, PartyKeys>,
    /// The static files, served next to the rooms.
    #[schemars(default, with = "AssetsKeys", skip_serializing_if = "Option::is_none")]
    assets: Option<AssetsKeys>,
    /// The clients that are served.
    #[schemars(default, with = "ServeKeys", skip_serializing_if = "Option::is_none")]
    serve: Option<ServeKeys>,
    /// The servers that rooms may fetch from.
    #[schemars(default, with = "FetchKeys", skip_serializing_if = "Option::is_none")]
    fetch: Option<FetchKeys>,
    /// What calls rooms at planned times, by its name: a schedule, which stands for a call of the room with that name of
    /// the party `main` by UTC, or a section with more.
    #[schemars(default)]
    crons: BTreeMap<String, CronKey>,
    /// The receiver of what happens to rooms.
    #[schemars(default, with = "WebhooksKeys", skip_serializing_if = "Option::is_none")]
    webhooks: Option<WebhooksKeys>,
    /// Who may enter the rooms. Without it, everybody may, unless a hook refuses.
    #[schemars(default, with = "AuthKeys", skip_serializing_if = "Option::is_none")]
    auth: Option<AuthKeys>,
    /// The servers that may publish to rooms by HTTP.
    #[schemars(default, with = "PublishKeys", skip_serializing_if = "Option::is_none")]
    publish: Option<PublishKeys>,
    /// The environment that the rooms see (`std::env::var`).
    #[schemars(default)]
    vars: BTreeMap<String, String>,
    /// Bounds that differ from the defaults; `room limits` explains each.
    #[schemars(default, schema_with = "limits_schema")]
    limits: (),
}

/// One kind of room.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "the type is the schema, and is never made")]
struct PartyKeys {
    /// The folder of its cargo package.
    #[schemars(default = "here")]
    path: String,
    /// The file of its code in TypeScript or JavaScript, in place of a cargo package.
    #[schemars(default, with = "String", skip_serializing_if = "Option::is_none")]
    script: Option<String>,
    /// The export of the script that is the room; `default` if it is not named.
    #[schemars(default, with = "String", skip_serializing_if = "Option::is_none")]
    export: Option<String>,
    /// The name that the party had before. Its rooms get the new name, with everything that they store.
    #[schemars(default, with = "String", skip_serializing_if = "Option::is_none")]
    was: Option<String>,
    /// Whether a quiet room leaves memory although sockets are open. The sockets stay.
    #[schemars(default)]
    hibernate: bool,
    /// A text message that is answered without waking the room, as a sign of life.
    #[schemars(default, with = "AutoResponseKeys", skip_serializing_if = "Option::is_none")]
    auto_response: Option<AutoResponseKeys>,
    /// A room that nobody has used for this time is deleted, after `on_expire`: a whole number with `s`, `m`, `h`, `d`
    /// or `w`. A connection, a message, a request and an alarm or timer that is due are uses. Without it, rooms are kept
    /// forever.
    #[schemars(
        default,
        with = "String",
        regex(pattern = "^[0-9]+[smhdw]$"),
        skip_serializing_if = "Option::is_none"
    )]
    ttl: Option<String>,
    /// The pages of other sites that may read its rooms' responses: `true` for every page, without the user's cookies,
    /// or a list of origins, whose pages may send cookies, too.
    #[schemars(default, with = "CorsKey", skip_serializing_if = "Option::is_none")]
    cors: Option<CorsKey>,
    /// How bodies of requests reach its rooms: `"whole"`, with the request, or in `"pieces"`, each with an `on_body`.
    #[schemars(default, with = "BodiesKey", skip_serializing_if = "Option::is_none")]
    request_bodies: Option<BodiesKey>,
    /// How long a client may be away: a whole number with `s`, `m`, `h`, `d` or `w`. Its connection stays, and when it
    /// comes back in time it gets what it missed.
    #[schemars(
        default,
        with = "String",
        regex(pattern = "^[0-9]+[smhdw]$"),
        skip_serializing_if = "Option::is_none"
    )]
    resume: Option<String>,
    /// The messages that its rooms remember, for clients that ask for them when they connect.
    #[schemars(default, with = "HistoryKeys", skip_serializing_if = "Option::is_none")]
    history: Option<HistoryKeys>,
    /// Whether its rooms show who is there, with what each user shows: `true`, or a table with times.
    #[schemars(default, with = "PresenceKeys", skip_serializing_if = "Option::is_none")]
    presence: Option<PresenceKeys>,
    /// What it asks of its clients, in place of `required` of `[auth]`: a token or a ticket (`"required"`), a valid one if
    /// they have any (`"optional"`), or nothing (`"off"`).
    #[schemars(default, with = "AuthModeKey", skip_serializing_if = "Option::is_none")]
    auth: Option<AuthModeKey>,
    /// Whether clients may connect to its rooms by server-sent events, and, with `resume`, by long polling, besides
    /// WebSockets.
    #[schemars(default)]
    sse: bool,
}

/// The messages that rooms remember: their number, the time for which each is kept, or both.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "the type is the schema, and is never made")]
struct HistoryKeys {
    /// The number of messages.
    #[schemars(default, with = "u64", range(min = 1), skip_serializing_if = "Option::is_none")]
    keep: Option<u64>,
    /// The time for which each is kept: a whole number with `s`, `m`, `h`, `d` or `w`.
    #[schemars(
        default,
        rename = "for",
        with = "String",
        regex(pattern = "^[0-9]+[smhdw]$"),
        skip_serializing_if = "Option::is_none"
    )]
    keep_for: Option<String>,
    /// Whether they are stored with the turns that send them, and outlive a restart. Then every turn that sends is a
    /// commit.
    #[schemars(default, with = "bool", skip_serializing_if = "Option::is_none")]
    durable: Option<bool>,
}

/// How rooms show who is there: `true`, or a table.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "the type is the schema, and is never made")]
enum PresenceKeys {
    Switch(bool),
    Times(PresenceTable),
}

/// How rooms show who is there.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "the type is the schema, and is never made")]
struct PresenceTable {
    /// How long a user is present without a connection, so that a page that loads again does not leave: a whole number
    /// with `ms`, `s` or `m`; `5s` by default.
    #[schemars(
        default,
        with = "String",
        regex(pattern = "^[0-9]+(ms|s|m)$"),
        skip_serializing_if = "Option::is_none"
    )]
    grace: Option<String>,
    /// How long changes are gathered before clients get them; `30ms` by default.
    #[schemars(
        default,
        with = "String",
        regex(pattern = "^[0-9]+(ms|s|m)$"),
        skip_serializing_if = "Option::is_none"
    )]
    every: Option<String>,
    /// Who sets what a user shows: its clients and the room's code (`"client"`), or the room's code alone (`"room"`).
    #[schemars(default, with = "PresentByKey", skip_serializing_if = "Option::is_none")]
    by: Option<PresentByKey>,
}

/// Who sets what a user shows.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
#[expect(dead_code, reason = "the type is the schema, and is never made")]
enum PresentByKey {
    Client,
    Room,
}

/// What a party asks of its clients.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
#[expect(dead_code, reason = "the type is the schema, and is never made")]
enum AuthModeKey {
    Required,
    Optional,
    Off,
}

/// Who may enter the rooms. With no key at all, clients need a ticket.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "the type is the schema, and is never made")]
struct AuthKeys {
    /// The algorithms that a token may be signed with. Without it: those that the keys have.
    #[schemars(default)]
    algorithms: Vec<AuthAlgorithmKey>,
    /// The claim `iss` that a token must have.
    #[schemars(default, with = "String", skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    /// The audience, a text or a list. A token must have one of them in its claim `aud`. Without this key, every token is accepted.
    #[schemars(default, with = "AudienceKey", skip_serializing_if = "Option::is_none")]
    audience: Option<AudienceKey>,
    /// By how many seconds the clocks of the issuer and of the server may differ.
    #[schemars(default = "skew", range(max = 600))]
    skew_s: u64,
    /// The variable with the secret of HS256, of at least 32 bytes, which `room env set NAME - --secret` sets.
    #[schemars(default, with = "String", skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    /// Public keys: each a PEM block `PUBLIC KEY`, or a JSON Web Key.
    #[schemars(default)]
    keys: Vec<String>,
    /// The URL of the issuer's keys, a JSON Web Key Set. An address that is not public has to be written as an address, or
    /// as `localhost`, unless `[fetch] hosts` lists it.
    #[schemars(default, with = "String", skip_serializing_if = "Option::is_none")]
    jwks: Option<String>,
    /// Whether a client needs a token or a ticket. A party says otherwise with its own `auth`.
    #[schemars(default = "yes")]
    required: bool,
    /// The cookie that may have the token. Pages of other sites cannot use it, unless `[serve] origins` lists them.
    #[schemars(default, with = "String", skip_serializing_if = "Option::is_none")]
    cookie: Option<String>,
    /// The parameter of the URL that may have the token, or `false` for none.
    #[schemars(default = "token", with = "TokenQueryKey")]
    query: String,
    /// The variable with the secret of tickets. Without it, each server has a key of its own: servers of one space need it.
    #[schemars(default, with = "String", skip_serializing_if = "Option::is_none")]
    ticket_secret: Option<String>,
}

/// An algorithm that signs tokens.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "the type is the schema, and is never made")]
enum AuthAlgorithmKey {
    #[schemars(rename = "HS256")]
    Hs256,
    #[schemars(rename = "RS256")]
    Rs256,
    #[schemars(rename = "ES256")]
    Es256,
    #[schemars(rename = "EdDSA")]
    EdDsa,
}

/// The audience of tokens.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "the type is the schema, and is never made")]
enum AudienceKey {
    /// One.
    One(String),
    /// A list. A token must have one of them.
    Several(Vec<String>),
}

/// The parameter that may have the token.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "the type is the schema, and is never made")]
enum TokenQueryKey {
    /// `false`: none.
    No(bool),
    /// Its name.
    Name(String),
}

/// How bodies of requests reach rooms.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
#[expect(dead_code, reason = "the type is the schema, and is never made")]
enum BodiesKey {
    Whole,
    Pieces,
}

/// The pages of other sites that may read the responses.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "the type is the schema, and is never made")]
enum CorsKey {
    /// `true`: every page may, without the user's cookies.
    Every(bool),
    /// The pages of these origins may, with the user's cookies.
    Origins(Vec<String>),
}

/// What calls rooms at planned times.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "the type is the schema, and is never made")]
enum CronKey {
    /// The schedule alone: `"0 3 * * *"`.
    Schedule(String),
    /// The schedule with more.
    Section(CronKeys),
}

/// What calls rooms at planned times.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "the type is the schema, and is never made")]
struct CronKeys {
    /// Minute, hour, day of the month, month and day of the week, such as `0 3 * * MON-FRI`, or `@hourly`, `@daily`,
    /// `@weekly`, `@monthly` or `@yearly`.
    schedule: String,
    /// The time zone of the schedule, such as `Europe/Berlin`.
    #[schemars(default = "utc")]
    zone: String,
    /// The party whose rooms are called.
    #[schemars(default = "main")]
    party: String,
    /// The room that is called. Without it and `rooms`: the one with the cron's name.
    #[schemars(default, with = "String", skip_serializing_if = "Option::is_none")]
    room: Option<String>,
    /// `all`: each stored room of the party is called.
    #[schemars(
        default,
        with = "String",
        regex(pattern = "^all$"),
        skip_serializing_if = "Option::is_none"
    )]
    rooms: Option<String>,
}

/// A text message that is answered without waking the room. The room never receives it.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "the type is the schema, and is never made")]
struct AutoResponseKeys {
    /// The whole text of the message; `auto_response_bytes_max` bounds it.
    #[schemars(length(min = 1))]
    request: String,
    /// The whole text of the answer; `auto_response_bytes_max` bounds it.
    response: String,
}

/// The static files.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "the type is the schema, and is never made")]
struct AssetsKeys {
    /// Their folder.
    dir: String,
    /// The scripts of pages, in TypeScript or JavaScript: one, or a list. Each is bundled with all that it imports into
    /// `dist` of the folder: `src/client.tsx` becomes `/dist/client.js`.
    #[schemars(default, with = "PageScriptsKey", skip_serializing_if = "Option::is_none")]
    build: Option<PageScriptsKey>,
    /// Whether a page that does not exist is answered with `index.html`: for applications that read the URL themselves.
    #[schemars(default)]
    single_page: bool,
    /// `Cache-Control` by a pattern of paths, such as `"img/**" = "max-age=3600"`; the first that matches applies.
    /// Other files are kept for a year if a hash of their content is in their names, and are asked for each time if not.
    #[schemars(default)]
    cache: BTreeMap<String, String>,
}

/// The scripts of pages.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "the type is the schema, and is never made")]
enum PageScriptsKey {
    /// One file.
    One(String),
    /// Several files.
    Several(Vec<String>),
}

/// The clients that are served.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "the type is the schema, and is never made")]
struct ServeKeys {
    /// The host names by which clients call the project if a server has several: `chat.example.com`, or
    /// `*.example.com`. Without any, it answers to every name that no other project has.
    #[schemars(default)]
    hosts: Vec<String>,
    /// The origins whose pages may open WebSockets, such as `https://chat.example.com`, or
    /// `https://*.example.com` for every name below `example.com`. Without any, every page may; the server's
    /// own pages always may. `origins_max` bounds how many there are.
    #[schemars(default)]
    origins: Vec<String>,
    /// A path of rooms besides `/parties`, such as `/api/rooms`: a room is at `/api/rooms/:party/:room`, too.
    #[schemars(default, with = "String", skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
}

/// The servers that rooms may fetch from.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "the type is the schema, and is never made")]
struct FetchKeys {
    /// The hosts: `api.example.com`, `*.example.com` for every name below, `*` for every public host. A host may have a
    /// scheme and a port. Addresses that are not public have to be listed themselves: `127.0.0.1:8080`. Without any,
    /// rooms fetch from nobody. `fetch_hosts_max` bounds how many there are.
    #[schemars(default)]
    hosts: Vec<String>,
}

/// The receiver of what happens to rooms.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "the type is the schema, and is never made")]
struct WebhooksKeys {
    /// The URL that gets a `POST` for each event. An address that is not public has to be written as an address, or as
    /// `localhost`, unless `[fetch] hosts` lists it.
    url: String,
    /// The variable with the secret that signs them, which `room env set NAME - --secret` sets: `whsec_` and base64, or any
    /// text of at least 16 bytes.
    #[schemars(length(min = 1))]
    secret: String,
    /// The events that are sent. Without it: all.
    #[schemars(default, with = "Vec<WebhookEventKey>", skip_serializing_if = "Option::is_none")]
    events: Option<Vec<WebhookEventKey>>,
    /// The parties whose rooms they are sent of. Without it: all.
    #[schemars(default, with = "Vec<String>", skip_serializing_if = "Option::is_none")]
    parties: Option<Vec<String>>,
}

/// The servers that may publish to rooms by HTTP.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "the type is the schema, and is never made")]
struct PublishKeys {
    /// Their keys: each is the name of the variable that has it, or a section with more.
    #[schemars(length(min = 1, max = 32))]
    keys: Vec<PublisherKey>,
}

/// A key of a server that may publish.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "the type is the schema, and is never made")]
enum PublisherKey {
    /// The name of the variable with the key, which is for all rooms.
    Name(String),
    /// A key for some rooms.
    Scoped(ScopedKeys),
}

/// A key for some rooms.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "the type is the schema, and is never made")]
struct ScopedKeys {
    /// The name of the variable with the key, which `room env set NAME - --secret` sets: at least 16 bytes.
    #[schemars(length(min = 1))]
    secret: String,
    /// The parties to whose rooms it may publish. Without it: all.
    #[schemars(default, with = "Vec<String>", skip_serializing_if = "Option::is_none")]
    parties: Option<Vec<String>>,
    /// The names of the rooms, where a `*` at the end stands for any rest. Without it: all.
    #[schemars(default, with = "Vec<String>", skip_serializing_if = "Option::is_none")]
    rooms: Option<Vec<String>>,
}

/// What can happen to a room.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
#[expect(dead_code, reason = "the type is the schema, and is never made")]
enum WebhookEventKey {
    Created,
    Connected,
    Disconnected,
    Emptied,
    Expired,
}

fn yes() -> bool {
    true
}

fn skew() -> u64 {
    30
}

fn token() -> String {
    "token".to_owned()
}

fn here() -> String {
    ".".to_owned()
}

fn utc() -> String {
    CronSetting::ZONE.to_owned()
}

fn main() -> String {
    CronSetting::PARTY.to_owned()
}

fn limits_schema(_: &mut schemars::SchemaGenerator) -> Schema {
    let rows = Limits::TABLE.iter().map(|row| {
        let text = format!("{}, in {}. At the bound: {}.", row.what, row.unit, row.at_bound);
        let value = serde_json::json!({
            "type": "integer", "minimum": row.min(), "default": row.default, "description": text,
        });
        (row.name.to_owned(), value)
    });
    json_schema!({
        "type": "object",
        "description": "Bounds that differ from the defaults; `room limits` explains each.",
        "additionalProperties": false,
        "properties": rows.collect::<serde_json::Map<_, _>>(),
    })
}

/// Returns the JSON schema of the file.
pub(crate) fn schema() -> Schema {
    schemars::schema_for!(ManifestKeys)
}
