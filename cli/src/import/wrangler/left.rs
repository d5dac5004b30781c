//! The keys of wrangler's file that have no counterpart. Owns the reason of each, and what to use instead.
//!
//! Invariant: each key of wrangler's own schema is here or is read. It does not know values.

/// Why there is no account.
const NO_ACCOUNT: &str = "there are no accounts: the server is yours";
/// Why the contract has no date.
const NO_DATE: &str = "a room keeps the contract that it was built with";
/// Why there are no options of the bundler.
const BUNDLER: &str = "the project's esbuild bundles the code by itself";
/// Where logs are.
const LOGS: &str =
    "rooms log to stderr, and any collector takes it from there; `room logs -f` follows it";
/// What stands in place of Cloudflare's services.
const SERVICE: &str =
    "it is a service of Cloudflare; ask another one with fetch, and list its host under [fetch]";
/// What stands in place of other workers.
const WORKER: &str =
    "there are no other workers: ask another server with fetch, and list its host under [fetch]";

/// The keys without a counterpart, and why.
pub(super) const LEFT: &[(&str, &str)] = &[
    ("$schema", "`room schema` prints the schema of room.toml"),
    (
        "env",
        "a project has one environment: deploy it to a server for each, and set its variables there with `room env set`",
    ),
    ("account_id", NO_ACCOUNT),
    ("compatibility_date", NO_DATE),
    ("compatibility_flags", NO_DATE),
    ("find_additional_modules", BUNDLER),
    ("preserve_file_names", BUNDLER),
    ("base_dir", BUNDLER),
    ("no_bundle", BUNDLER),
    ("minify", BUNDLER),
    ("keep_names", BUNDLER),
    ("rules", "files that end with .txt and .json can be imported, and wasm cannot"),
    ("alias", "write `paths` into tsconfig.json, which esbuild follows"),
    ("define", "write the constants into the code, or under [vars], where env has them"),
    ("build", "run the command from package.json, before `room dev` and `room deploy`"),
    ("tsconfig", "the tsconfig.json beside room.toml is used"),
    ("jsx_factory", "write `jsxFactory` into tsconfig.json"),
    ("jsx_fragment", "write `jsxFragmentFactory` into tsconfig.json"),
    ("workers_dev", "clients reach a project by the server's name"),
    ("preview_urls", "there are no previews: run a second server"),
    ("previews", "there are no previews: run a second server"),
    ("route", "list the names of the project: [serve] hosts = [\"chat.example.com\"]"),
    ("routes", "list the names of the project: [serve] hosts = [\"chat.example.com\"]"),
    (
        "migrations",
        "they are not needed: a room's storage is there from the start; for another name of a party write `was`",
    ),
    ("limits", "`room limits` lists the bounds of a turn, which [limits] changes"),
    ("first_party_worker", NO_ACCOUNT),
    ("logfwdr", LOGS),
    ("logpush", LOGS),
    ("observability", "`/_room/metrics` and the log are always there"),
    ("tail_consumers", LOGS),
    ("streaming_tail_consumers", LOGS),
    ("upload_source_maps", "errors name file and line of the source by themselves"),
    ("placement", "rooms run where you run the server"),
    ("compliance_region", "rooms run where you run the server"),
    ("python_modules", "rooms are written in TypeScript, JavaScript or Rust"),
    (
        "secrets",
        "`room env set NAME - --secret` sets a secret on a server, and .env on this machine",
    ),
    ("secrets_store_secrets", "`room env set NAME - --secret` sets a secret on a server"),
    ("workflows", "write the steps as durable timers of a room: this.schedule(when, tag, data)"),
    ("cloudchamber", SERVICE),
    ("containers", SERVICE),
    ("kv_namespaces", "keep values in the storage of a room, which every other room can call"),
    ("r2_buckets", "store files with a service that has an API, and list its host under [fetch]"),
    (
        "d1_databases",
        "there is no SQL: keep values in this.ctx.storage, under keys that share a prefix",
    ),
    ("hyperdrive", "ask the database through an HTTP API, and list its host under [fetch]"),
    ("queues", "write a durable timer, this.schedule(when, tag, data), or a call of another room"),
    (
        "send_email",
        "send it through the HTTP API of a mail service, and list its host under [fetch]",
    ),
    ("vectorize", SERVICE),
    ("ai", "ask a model with fetch, and list its host under [fetch]"),
    ("ai_search", SERVICE),
    ("ai_search_namespaces", SERVICE),
    ("browser", SERVICE),
    ("images", SERVICE),
    ("media", SERVICE),
    ("stream", SERVICE),
    ("pipelines", SERVICE),
    ("artifacts", SERVICE),
    ("flagship", SERVICE),
    (
        "analytics_engine_datasets",
        "`/_room/metrics` counts; for more, post to a service with fetch",
    ),
    ("ratelimits", "count in the state of a connection, or in a room"),
    ("services", WORKER),
    ("dispatch_namespaces", WORKER),
    ("worker_loaders", WORKER),
    ("vpc_services", WORKER),
    ("vpc_networks", WORKER),
    (
        "mtls_certificates",
        "requests have no certificate of the client: ask through a proxy of yours",
    ),
    ("version_metadata", "`room list` shows the versions on a server"),
    ("unsafe", SERVICE),
    ("unsafe_hello_world", SERVICE),
    ("pages_build_output_dir", "name the folder: [assets] dir = \"dist\""),
    ("site", "name the folder of the static files: [assets] dir = \"public\""),
    ("legacy_env", "a project has one environment"),
    ("send_metrics", "nothing is sent to anybody"),
    ("dev", "they are flags: `room dev --port`, `--host`"),
    ("wasm_modules", "wasm cannot be imported"),
    ("text_blobs", "import the text: `import text from \"./text.txt\"`"),
    ("data_blobs", "write the data into a module, as base64"),
    ("keep_vars", "what `room env set` sets holds across deployments"),
];

/// The keys of `assets` without a counterpart, and why.
pub(super) const ASSETS_LEFT: &[(&str, &str)] = &[
    ("binding", "the server sends the files itself, before it asks the code"),
    ("html_handling", "a folder's path is answered with its index.html"),
    ("run_worker_first", "files come first; take those away that the code is to answer"),
];

/// The keys of a class's binding without a counterpart, and why.
pub(super) const BINDING_LEFT: &[(&str, &str)] =
    &[("environment", "a project has one environment")];
