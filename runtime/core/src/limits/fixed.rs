//! Bounds that nobody configures. Owns their values, and the texts with which `room limits` lists them.
//!
//! Invariant: a constant that an operator or the author of a room can run into is a row here. Only constants of
//! protocols, of the layout of memory and of the length of messages are beside their code. It does not know who reads
//! the rows.

use super::{KIB, LimitRow, Limits, MIB};

macro_rules! fixed {
    ($($name:ident as $shown:literal: $kind:ty, $unit:literal = $value:expr, $what:literal, $at_bound:literal;)*) => {
        $(
            #[doc = concat!($what, ", in ", $unit, ". At the bound: ", $at_bound, ".")]
            pub const $name: $kind = $value;
        )*

        impl Limits {
            /// The table of the bounds that nobody configures.
            pub const FIXED: &'static [LimitRow] = &[$(LimitRow {
                name: $shown,
                unit: $unit,
                default: $name as u64,
                what: $what,
                at_bound: $at_bound,
            },)*];
        }
    };
}

fixed! {
    // A server and its operators.
    PROJECTS_MAX as "projects_max": usize, "projects" = 1_000, "Projects of a server", "a deployment of a further one is refused";
    TOKENS_MAX as "tokens_max": usize, "tokens" = 1_000, "Tokens of a server", "a further one is refused";
    VERSIONS_MAX as "versions_max": usize, "versions" = 50, "Versions of a project that are kept for rollbacks", "the oldest is dropped";
    VARIABLES_MAX as "variables_max": usize, "variables" = 1_000, "Variables of a project that `room env` sets", "a further one is refused";
    VARIABLE_BYTES_MAX as "variable_bytes_max": usize, "bytes" = 64 * KIB as usize, "Length of the value of such a variable", "it is refused";
    ASSETS_MAX as "assets_max": usize, "files" = 20_000, "Static files of a release", "the release is refused";
    ASSET_PATH_BYTES_MAX as "asset_path_bytes_max": usize, "bytes" = 1_024, "Length of a static file's path", "the release is refused";
    ASSET_CACHE_MAX as "asset_cache_max": usize, "patterns" = 64, "Patterns of `[assets.cache]`", "the project is refused";
    ASSET_VARIANTS_BYTES_MAX as "asset_variants_bytes_max": u64, "bytes" = 16 * MIB, "Compressed static files that a project keeps in memory", "further files are sent uncompressed";
    ASSET_VARIANT_SOURCE_BYTES_MAX as "asset_variant_source_bytes_max": u64, "bytes" = 4 * MIB, "Size of a static file that is compressed", "it is sent uncompressed";
    OPERATOR_BODY_BYTES_MAX as "operator_body_bytes_max": usize, "bytes" = 8 * MIB as usize, "Size of an operator's request to a server, except blobs and imports", "413";
    AUDIT_BYTES_MAX as "audit_bytes_max": u64, "bytes" = 16 * MIB, "Size of `audit.log`", "it becomes `audit.log.old`, which replaces the previous one";
    BLOB_UNUSED_MS_MAX as "blob_unused_ms_max": u64, "ms" = 86_400_000, "Time for which an uploaded module or file that no version needs is kept", "it is removed with the next deployment";
    DAMAGED_BLOBS_MAX as "damaged_blobs_max": usize, "files" = 8, "Damaged modules and files of a server that are kept for inspection", "the oldest is dropped";

    // The records of a cluster.
    RECORD_CONNECTIONS_MAX as "record_connections_max": usize, "connections" = 4, "Connections of a node to the cluster's database for projects, tokens and the audit log, beside those of rooms", "a further one is waited for";
    RECORD_CHANGES_MAX as "record_changes_max": usize, "changes" = 2, "Changes of projects that one node makes in the cluster's database at the same time", "a further one is answered 503";
    BLOB_PIECE_BYTES as "blob_piece_bytes": usize, "bytes" = MIB as usize, "Size of a piece in which a module or file is written to the cluster's database", "the rest is in the next piece";
    PURGED_ROWS_MAX as "purged_rows_max": usize, "rows" = 10_000, "Rows of a deleted project that one statement removes from the cluster's database", "the next statement removes the rest";
    CLUSTER_AUDIT_LINES_MAX as "cluster_audit_lines_max": usize, "lines" = 100_000, "Lines of the audit log in a cluster's database", "the oldest is dropped";

    PEERS_MAX as "peers_max": usize, "nodes" = 64, "Other nodes that a server of a space knows", "it does not start";
    NODE_NAME_BYTES_MAX as "node_name_bytes_max": usize, "bytes" = 64, "Length of a node's name", "it is refused";
    NODE_FIGURES_BYTES_MAX as "node_figures_bytes_max": usize, "bytes" = 4 * KIB as usize, "Figures that a node shows to the others of its cluster", "it shows none";
    NODE_LEFT_S_MAX as "node_left_s_max": u64, "seconds" = 86_400, "Time for which a cluster's database keeps the row of a node that left", "the row is removed";
    FORWARD_HOPS_MAX as "forward_hops_max": usize, "nodes" = 2, "Nodes of a cluster that forward one request, one after the other", "503";
    HOOK_CACHE_KEY_BYTES_MAX as "hook_cache_key_bytes_max": usize, "bytes" = 256, "Length of the key of a response that hooks keep", "the request fails";
    FETCH_ADDRESSES_MAX as "fetch_addresses_max": usize, "addresses" = 8, "Addresses of another server's name that are tried", "further ones are not tried";
    FORWARD_BUFFER_BYTES as "forward_buffer_bytes": usize, "bytes" = 8 * KIB as usize, "Buffer of each direction of a forwarded WebSocket", "the rest is read when these bytes are written";

    DEPARTED_MAX as "departed_max": usize, "connections" = 64, "Connections without a socket of a room that ended, and whose clients still learn that from a POST", "a client of an older one is answered 403 and not 410";
    IDEMPOTENCY_KEY_BYTES_MAX as "idempotency_key_bytes_max": usize, "bytes" = 256, "Length of the idempotency key of a publication", "400";
    PUBLISH_PARALLEL_MAX as "publish_parallel_max": usize, "rooms" = 16, "Rooms that one batch of publications reaches at the same time", "the rest follow as soon as one has answered";
    PUBLISH_ANSWER_BYTES_MAX as "publish_answer_bytes_max": usize, "bytes" = 4 * KIB as usize, "Answer of another node to one message of a batch", "its text is left out";
    PUBLISH_KEYS_MAX as "publish_keys_max": usize, "keys" = 32, "Keys of `[publish]`", "the project is refused";
    PUBLISH_KEY_BYTES_MIN as "publish_key_bytes_min": usize, "bytes" = 16, "Shortest key of publishers", "the project is refused";

    DATABASE_KEY_BYTES_MAX as "database_key_bytes_max": usize, "bytes" = 2_600, "Length of a key in the cluster's database, with its room's name", "the commit is lost, and its room breaks";
    DATABASE_ROW_US_MAX as "database_row_us_max": u64, "us" = 200, "Time for each row, beyond `database_answer_ms_max`, that the cluster's database has for a group of commits with more than 10,000 rows, as when a large room is deleted", "the group is lost, as without an answer";
    NOTE_TRIES_MAX as "note_tries_max": usize, "tries" = 16, "Tries to change a note that other nodes of the cluster change at the same time", "the change fails";

    // A room's author.
    CRON_NAME_BYTES_MAX as "cron_name_bytes_max": usize, "bytes" = 64, "Length of a cron's name", "the project is refused";
    CRON_SCHEDULE_BYTES_MAX as "cron_schedule_bytes_max": usize, "bytes" = 256, "Length of a cron's schedule", "the project is refused";
    CRON_ERROR_BYTES_MAX as "cron_error_bytes_max": usize, "bytes" = 1_024, "Length of the last error of a cron that is kept", "it is cut";
    WEBHOOK_URL_BYTES_MAX as "webhook_url_bytes_max": usize, "bytes" = 2_048, "Length of the URL of webhooks", "the project is refused";
    WEBHOOK_URI_BYTES_MAX as "webhook_uri_bytes_max": usize, "bytes" = 1_024, "Length of a connection's URL in a webhook, without its query", "the URL is left out";
    WEBHOOK_ERROR_BYTES_MAX as "webhook_error_bytes_max": usize, "bytes" = 512, "Length of the last error of a webhook that is kept", "it is cut";
    WEBHOOK_SECRET_BYTES_MIN as "webhook_secret_bytes_min": usize, "bytes" = 16, "Shortest secret of webhooks", "the project is refused";
    AUTH_KEYS_MAX as "auth_keys_max": usize, "keys" = 16, "Public keys that `[auth]` lists", "the project is refused";
    AUTH_AUDIENCES_MAX as "auth_audiences_max": usize, "audiences" = 16, "Audiences that `[auth]` lists", "the project is refused";
    AUTH_SKEW_S_MAX as "auth_skew_s_max": u64, "seconds" = 600, "Difference of clocks that `[auth]` allows", "the project is refused";
    AUTH_TEXT_BYTES_MAX as "auth_text_bytes_max": usize, "bytes" = 2_048, "Length of an issuer, an audience and the URL of keys", "the project is refused";
    AUTH_NAME_BYTES_MAX as "auth_name_bytes_max": usize, "bytes" = 64, "Length of the names of a cookie and of a parameter with tokens", "the project is refused";
    AUTH_SECRET_BYTES_MIN as "auth_secret_bytes_min": usize, "bytes" = 32, "Shortest secret of HS256 and of tickets", "the project is refused";
    RSA_BITS_MIN as "rsa_bits_min": usize, "bits" = 2_048, "Shortest RSA key of a token", "the project is refused; such a key of an issuer is left out";
    JWKS_KEYS_MAX as "jwks_keys_max": usize, "keys" = 64, "Keys that an issuer publishes", "further ones are left out";
    PARTY_BYTES_MAX as "party_bytes_max": usize, "bytes" = 64, "Length of a party's name", "it is refused";
    RESPONSE_HEADERS_MAX as "response_headers_max": usize, "headers" = 256, "Headers of a room's response", "the turn fails, and the client is answered 500";
    ADDED_HEADERS_MAX as "added_headers_max": usize, "headers" = 64, "Headers that a hook adds to one answer", "the hook fails: its client is closed with 1011, or answered 500";
    ADDED_HEADERS_BYTES_MAX as "added_headers_bytes_max": usize, "bytes" = 16 * KIB as usize, "Names and values of the headers that a hook adds to one answer", "the hook fails: its client is closed with 1011, or answered 500";
    FUNCTION_CACHE_BYTES_MAX as "function_cache_bytes_max": usize, "bytes" = 64 * MIB as usize, "Compiled functions that `room dev` keeps for the next build", "the cache is emptied, and the next build compiles them again";
    TABLE_ELEMENTS_MAX as "table_elements_max": usize, "entries" = 20_000, "Entries in a guest's table of functions", "the module is refused, or its table does not grow";
    HISTORY_FORGOTTEN_MAX as "history_forgotten_max": usize, "messages" = 64, "Old messages of a durable history that one commit deletes, besides two for each one that it adds", "the next commits delete the rest, which nobody can read any more";
    OUTCALL_RETRY_MS_MAX as "outcall_retry_ms_max": u64, "ms" = 60_000, "Pause between two attempts of a request to another server or room", "it is tried again";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bound_is_both_fixed_and_configurable() {
        for row in Limits::FIXED {
            assert_eq!(Limits::default().value_of(row.name), None, "{}", row.name);
            assert!(row.default > 0, "{}", row.name);
        }
    }
}
