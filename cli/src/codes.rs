//! Every kind of mistake, with its code and its page. Owns the codes; `room explain` prints the pages.
//!
//! Invariant: a code never changes its meaning: a removed kind takes its code with it, and a new kind gets the next
//! one. Each kind has a page, by how the table is made. Tests check that each is used, and that the examples that
//! start with `$`, `# room.toml`, `# .env` or `// partykit.json` lead to it. It does not know where mistakes are
//! made.

use serde::Serialize;

/// The page about a kind of mistake.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Page {
    /// Its code.
    pub(crate) code: &'static str,
    /// Its title, in few words.
    pub(crate) title: &'static str,
    /// Its meaning.
    pub(crate) meaning: &'static str,
    /// An example that leads to it.
    pub(crate) example: &'static str,
    /// The way to correct it.
    pub(crate) remedy: &'static str,
}

macro_rules! codes {
    ($($name:ident $code:literal $title:literal, $meaning:literal, $example:literal, $remedy:literal;)*) => {
        /// A kind of mistake.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Code {
            $(#[doc = $title] $name,)*
        }

        /// The table, in the order of the codes.
        pub(crate) const PAGES: &[Page] = &[
            $(Page {
                code: $code, title: $title, meaning: $meaning, example: $example, remedy: $remedy,
            },)*
        ];
    };
}

impl Code {
    /// Returns the code as it is printed.
    pub(crate) fn text(self) -> &'static str {
        PAGES[self as usize].code
    }
}

codes! {
    NoProject "R0001" "there is no room.toml",
        "The command works on a project, which is a folder with a room.toml. It looked in the folder that was named, or in the current one and all above it.",
        "$ room build",
        "Change into the project, name its folder (`room build my-chat`), or make one: `room new my-chat`.";
    Unreadable "R0002" "a file cannot be read",
        "The file is there and the system does not let this user read it, or it is not text.",
        "$ mkdir lines\n$ room import lines --data data",
        "Name a file that you may read; `ls -l` shows whose it is.";
    NotToml "R0003" "a file is not valid TOML",
        "The file breaks the rules of TOML (https://toml.io), so that nothing in it can be understood.",
        "# room.toml\nname = chat",
        "The mark shows where it stopped making sense. A text stands in quotes: `name = \"chat\"`.";
    UnknownKey "R0004" "room.toml has no such key",
        "A room.toml has no such key. It is refused rather than passed over, as a key with a typing error would silently do nothing.",
        "# room.toml\nname = \"chat\"\n[limits]\nturn_ms_mx = 5",
        "Take the key that is proposed. `room schema` prints all there are, for editors to check as you type.";
    WrongType "R0005" "a value of room.toml is of the wrong kind",
        "The key is right, and its value is a text where a number is expected, or the like.",
        "# room.toml\nname = 5",
        "Write it as shown in the help.";
    WrongNumber "R0006" "a limit is not a whole number, or is too small",
        "Limits are whole numbers of at least 1; only `drain_spread_ms` may be 0. None of the others can be turned off, as each keeps the server alive.",
        "# room.toml\nname = \"chat\"\n[limits]\nturn_ms_max = 0",
        "`room limits` shows each limit's unit and default.";
    BadLimits "R0007" "limits contradict each other",
        "Each limit is fine by itself, and together they cannot be kept.",
        "# room.toml\nname = \"chat\"\n[limits]\nturn_ms_max = 100\ntick_ms = 200",
        "The message says which ones, and how they relate.";
    NoName "R0008" "the project has no name",
        "A project's name stands at the top of its room.toml; everything else has a default.",
        "# room.toml\n[vars]\nA = \"b\"",
        "Put `name = \"my-chat\"` on the first line.";
    BadProjectName "R0009" "this cannot be a project's name",
        "A name becomes a part of host names, and that of a new project in Rust a crate's name too: up to 63 lower-case letters, digits, `-` and `_`, and no word that means something in Rust.",
        "$ room new fn",
        "Take another name, such as `my-chat`.";
    BadPartyName "R0010" "this cannot be a party's name",
        "A party's name stands in URLs: 1 to 64 letters, digits, `-` and `_`.",
        "# room.toml\nname = \"chat\"\n[parties.\"a b\"]",
        "Take another name: `[parties.chat-room]`.";
    PartyTwice "R0011" "two parties have the same name",
        "Clients may spell a party's name as `ChatRoom`, `chat_room` or `chat-room`, so these are one name.",
        "# room.toml\nname = \"chat\"\n[parties.chat-room]\n[parties.ChatRoom]",
        "Remove one of them, or give it a name of its own.";
    BadAutoResponse "R0012" "an auto_response cannot be used",
        "It has a request, which is not empty, and a response, and both keep to `auto_response_bytes_max`.",
        "# room.toml\nname = \"chat\"\n[parties.main]\nauto_response = { request = \"ping\" }",
        "Write it as `auto_response = { request = \"ping\", response = \"pong\" }`.";
    BadAssets "R0013" "the section assets names no folder",
        "The section says that there are static files, and not where.",
        "# room.toml\nname = \"chat\"\n[assets]",
        "Add `dir = \"web\"`, or remove the section.";
    BadVariable "R0014" "this cannot be a variable's name",
        "The name of a variable is not empty and has no `=` in it, as nothing could read it otherwise.",
        "# room.toml\nname = \"chat\"\n[vars]\n\"A=B\" = \"c\"",
        "Take another name.";
    NoPackage "R0015" "a party has no cargo package",
        "The `path` of a party, `.` if there is none, is the folder of the cargo package with its code, and there is no Cargo.toml.",
        "# room.toml\nname = \"chat\"\n[parties.game]\npath = \"game\"",
        "Set `path` to the package's folder, relative to room.toml; or start with `room new`, and copy its Cargo.toml.";
    NoAssets "R0016" "the folder of the assets is not there",
        "The static files are served from this folder, relative to room.toml.",
        "# room.toml\nname = \"chat\"\n[assets]\ndir = \"web\"",
        "Make the folder, or build the page that belongs in it, or remove `[assets]`.";
    BadDotEnv "R0017" "a line of .env cannot be read",
        "A line is `KEY=value` or a comment; a value that has quotes around it closes them. The line is not shown, as its value may be a secret.",
        "# .env\nA=\"b",
        "The README of the command has the grammar, under Variables. Put a value with special characters in '…'.";
    NoRust "R0018" "Rust is not installed",
        "Rooms are compiled with Rust, whose `cargo` or `rustc` cannot be run.",
        "Rust is not installed, or not on this shell's PATH.",
        "Install it from https://rustup.rs, and open a new shell.";
    NoTarget "R0019" "the compiler cannot compile for rooms",
        "Rooms are compiled for the target wasm32-wasip2, which this compiler does not have. `room` adds it with rustup, which is not there or failed.",
        "The machine is not online, or Rust is a package of the system.",
        "Run `rustup target add wasm32-wasip2`, or install the target with your system's packages.";
    CargoRefuses "R0020" "cargo cannot read a package",
        "`cargo metadata` failed for the package. Its error is in the message.",
        "A Cargo.toml with a mistake in it, or a dependency whose folder is not there.",
        "Fix what cargo reports. `cargo metadata --no-deps` in the package prints it again.";
    NotAPackage "R0021" "the folder of a party is not a package",
        "Its Cargo.toml has no `[package]`: it is that of a workspace.",
        "A party whose `path` is the root of a workspace.",
        "Set `path` to the folder of one of its members.";
    NoComponent "R0022" "a package makes no component",
        "A room is a library that is compiled to a component, which cargo makes of crates of the type `cdylib`.",
        "A Cargo.toml without `[lib]`.",
        "Add to it: `[lib]` with `crate-type = [\"cdylib\", \"rlib\"]`. The second one is for the tests.";
    PortTaken "R0023" "the port is taken",
        "Another program listens on this port. A port that you choose is never replaced by another one.",
        "A second `room dev --port 1999` on one machine.",
        "Choose another one with --port, 0 for any that is free, or leave the flag out.";
    NoStart "R0024" "the server does not start",
        "The address cannot be had, or the data folder cannot be opened: its disk, its rights, another server, or a damaged file.",
        "$ room new chat --template blank\n$ cd chat\n$ room dev --host 192.0.2.1",
        "The message has the system's error, or names the file and how to go on without it. `--ephemeral` needs no data folder, --host 127.0.0.1 no network.";
    BadFilter "R0025" "this is not a log filter",
        "The filter says which lines are shown, as tracing's directives.",
        "$ room dev --log =debug=",
        "Write it as `debug`, or `warn,room=debug,room::guest=info`.";
    NotAFile "R0026" "a file is expected",
        "What is named is a folder, or nothing that could be a file.",
        "$ mkdir -p data out\n$ room backup out --data data",
        "Name a file in it: `out/all.room`.";
    NoFolder "R0027" "the folder of a file is not there",
        "The file would be made in a folder that does not exist.",
        "$ mkdir data\n$ room backup out/all.room --data data",
        "Make the folder first, or name another file.";
    Exists "R0028" "something is there already",
        "An existing file is replaced only on request, as it is somebody's work.",
        "$ mkdir chat\n$ touch chat/notes\n$ room new chat",
        "Choose another name. A file that a command makes is replaced with --force.";
    NotWritable "R0029" "a file cannot be written",
        "The disk is full, or this user may not write there.",
        "$ touch chat\n$ room new chat/room",
        "The message has the system's error. Name a place where you may write.";
    NotTheSdk "R0030" "--sdk names something else",
        "The flag takes the folder `sdk` of a checkout of room.",
        "$ room new chat --sdk .",
        "Name that folder, or leave the flag out: the SDK's source is then put into the project.";
    NoFile "R0031" "the file is not there",
        "There is no file of this name.",
        "$ room restore monday.room --data data",
        "`room backup FILE` makes one.";
    NoData "R0032" "there is no data",
        "The folder is not there, or no server has ever kept data in it.",
        "$ room export lobby --data data",
        "Run `room dev` once, or name another folder with --data.";
    HasData "R0033" "there is data already",
        "A backup is restored only into a folder without data, which would otherwise be lost.",
        "A second `room restore monday.room` into one folder.",
        "Stop the server if one runs on it, and move the folder away, or restore into another one with --data.";
    InUse "R0034" "the data is in use, and its server cannot be reached",
        "A process has the data folder open. A server announces its address in control.json in that folder, and this process has not announced one, or does not answer.",
        "A second command while `room restore` runs.",
        "Wait for the other command, or stop the process that uses the folder.";
    StoreRefused "R0035" "the data cannot be opened",
        "The folder cannot be read or written, its disk is full, or it was written by another version.",
        "A data folder of another user.",
        "The message has the reason. What is there is left as it is.";
    BadBackup "R0036" "the backup is damaged",
        "A backup is checked from its start to its end before anything is written, and this one is cut off, altered, or of another version.",
        "$ echo something > monday.room\n$ room restore monday.room --data data",
        "Take another backup. Nothing was restored.";
    BadLines "R0037" "the lines of a room cannot be read",
        "`room import` takes lines of JSON as `room export` prints them: one about the room, then one for each key. All are checked before anything is replaced.",
        "$ echo something | room import - --data data",
        "The message has the line. `room export` shows what they look like.";
    NothingStored "R0038" "nothing is stored for the room",
        "The room has never stored anything, or its name is spelled differently; names of rooms are case-sensitive.",
        "`room export Lobby` when it is `lobby`.",
        "Check the name, and the party with --party.";
    BadRoomName "R0039" "this cannot be a room's name",
        "A room's name is not empty and at most `room_name_bytes_max` long; that of its party is 1 to 64 letters, digits, `-` and `_`.",
        "$ room export lobby --party 'a b' --data data",
        "Check both names.";
    ServerBusy "R0040" "the server cannot do it now",
        "It has as much to do as its limits allow, or serves no project yet.",
        "Many backups at the same time.",
        "Try again a little later; if no project is served yet, build it first.";
    ServerRefused "R0041" "the server refuses",
        "A server runs on the data folder, and it refused the request.",
        "`room import` for a party that the project does not have.",
        "The message has the server's answer.";
    Unexplained "R0042" "there is no such code",
        "The codes of mistakes are R and four digits. Those of the compiler, as E0308, are explained by `rustc --explain`.",
        "$ room explain R9999",
        "`room explain` without a code lists all.";
    NotJson "R0043" "a file to import is not valid JSON",
        "The file breaks the rules of JSON, so that nothing in it can be understood. Comments and commas at the end are fine.",
        "// partykit.json\n{ \"name\": }",
        "The mark shows where it stopped making sense.";
    NotImported "R0044" "a file cannot be imported",
        "PartyKit has no such key, or the value of a key is of the wrong kind, or something that a room needs is missing. Nothing was written.",
        "// partykit.json\n{ \"mian\": \"src/server.ts\" }",
        "Correct it in the file, or remove the key.";
    NoServer "R0045" "no server runs on the data",
        "The command asks a server that runs, and none serves this data folder.",
        "$ room rooms --data data",
        "Start one: `room dev`, or `room serve`; --data names another server's data folder.";
    NotConfirmed "R0046" "it was not confirmed",
        "The command asks on a terminal before it does something that cannot be undone. Without a terminal it needs --yes.",
        "`room delete-room lobby` in a script.",
        "Add --yes if you mean it. Nothing was deleted.";
    BadValue "R0047" "a value to store is not JSON",
        "Rooms written with the SDK store JSON, so the command expects JSON unless --text or --file is given.",
        "`room storage set lobby title hello`",
        "Put a text in quotes, which a shell needs quotes around: `'\"hello\"'`; or store it as it is with --text.";
    BadKey "R0048" "this cannot be a key",
        "A key has at least one byte. With --encoded it is percent-encoded: each % is followed by two hexadecimal digits.",
        "`room storage get lobby --encoded %F`",
        "Write a byte as `%FF`, and a % itself as `%25`.";
    BadToken "R0049" "the server does not accept the token",
        "A request to a server needs a token, and this one is misspelled, revoked, or does not allow the request.",
        "$ room list --name chat --to http://127.0.0.1:9 --token 'no token'",
        "`room token list` shows the tokens and their scopes; `room token create` makes one. `room serve` prints the first.";
    BadUrl "R0050" "this is not a server address",
        "--to is the address where `room serve` listens for operators, or a proxy before it: http or https, a host and perhaps a port. `room bench` takes the one for clients: http, a host and a port.",
        "$ room list --name chat --to https://chat.example.com/admin --token x",
        "Write it as http://127.0.0.1:1998, or https://rooms.example.com. A server that speaks no TLS is best reached through `ssh -L 1998:localhost:1998 its-name`.";
    BadOrigin "R0051" "this cannot be an origin",
        "An origin of `[serve]`, or of the `cors` of a party, is what a browser sends for a page: a scheme, a host, and a port if it is not the scheme's default, with nothing after them. There may be at most `origins_max`.",
        "# room.toml\nname = \"chat\"\n[serve]\norigins = [\"chat.example.com\"]",
        "Write it as `https://chat.example.com`, or `https://*.example.com` for all names below; list none to let every page in. In `cors`, `true` lets every page read.";
    BadHost "R0052" "this cannot be a host name",
        "The hosts of `[serve]` are the names by which clients call the project: lower-case letters, digits and `-` between dots, without a scheme or a port.",
        "# room.toml\nname = \"chat\"\n[serve]\nhosts = [\"https://chat.example.com\"]",
        "Write it as `chat.example.com`, or `*.example.com` for all names below.";
    BadTtl "R0053" "this cannot be a ttl",
        "The `ttl` of a party is how long its rooms are kept when nobody uses them: a whole number with its unit, seconds, minutes, hours, days or weeks, from `1s` to `520w`.",
        "# room.toml\nname = \"chat\"\n[parties.main]\nttl = \"30 days\"",
        "Write it as `ttl = \"30d\"`, or remove it to keep rooms forever.";
    UntrustedServer "R0054" "the server is not trusted",
        "A server that is asked over https shows a certificate for its name, signed by an authority that this machine trusts. This server's certificate has expired, is for another name or is signed by an authority that is not trusted, or the server does not use TLS.",
        "`room rooms --to https://127.0.0.1:1998`",
        "The message says which. --ca-file names the certificate of an authority of your own, or a self-signed certificate.";
    BadCaFile "R0055" "there are no certificate authorities",
        "The authorities that sign servers' certificates are read from --ca-file, or from where this system keeps it, and no certificate in PEM was found there.",
        "$ room rooms --name chat --to https://127.0.0.1:9 --token x --ca-file nowhere.pem",
        "Name a file that has certificates between `-----BEGIN CERTIFICATE-----` lines, or install the system's, often as the package ca-certificates.";
    TwoPlaces "R0056" "two places are named",
        "A command works on the rooms of a data folder here, or of a server elsewhere, and the command line or the environment name both.",
        "$ room rooms --name chat --data data --to http://127.0.0.1:9 --token x",
        "Leave out --data, or --to. A flag goes over ROOM_TO and ROOM_DATA.";
    NotTheBench "R0057" "the room there is not the one for benchmarks",
        "`room bench` speaks the protocol of `rooms-examples/bench`, and the server at this address serves another room, or is not a room server.",
        "`room bench http://127.0.0.1:1999` while `room dev` serves a chat.",
        "Serve it with `room dev rooms-examples/bench`, or deploy that folder; --party names the party if it is not `main`.";
    NoAnswer "R0058" "no server answers at the URL",
        "No connection to the server came about, or nothing came over it.",
        "$ room bench http://127.0.0.1:9",
        "Start a server, and take the URL that it prints for clients.";
    BadLoad "R0059" "this load cannot be made",
        "More rooms than clients were asked for, more messages than a client may have on their way, or more connections than the system lets this process open.",
        "$ room bench http://127.0.0.1:9 echo --clients 10 --rooms 20",
        "The message has the numbers, and what to change.";
    PublicSources "R0060" "the static files hold the project's sources",
        "Everybody can read all files in the folder of `[assets]` that are not hidden, and this folder holds the project's room.toml or the package of a party.",
        "# room.toml\nname = \"chat\"\n[assets]\ndir = \".\"",
        "Put the pages into a folder of their own and name that: `dir = \"web\"`.";
    BadAssetCache "R0061" "a pattern of assets.cache cannot be used",
        "Each line of `[assets.cache]` has a pattern of files and the whole value of their `Cache-Control` header. There may be at most 64.",
        "# room.toml\nname = \"chat\"\n[assets]\ndir = \"web\"\n[assets.cache]\n\"*.woff2\" = \"\"",
        "Write it as `\"*.woff2\" = \"public, max-age=86400\"`. A pattern without a slash matches in every folder.";
    BadPrefix "R0062" "this cannot be the path of rooms",
        "The `prefix` of `[serve]` is a path of rooms besides `/parties`. It is not the server's own, `/_room`, and no static file is below it, because no client could read that.",
        "# room.toml\nname = \"chat\"\n[serve]\nprefix = \"/_room/x\"",
        "Choose another, such as `prefix = \"/rooms\"`, or move the files.";
    BadFetchHost "R0063" "rooms cannot fetch from this host",
        "A host of `[fetch]` is the name or the address of a server that rooms may fetch from, perhaps with a scheme and a port, and without a path. There may be at most `fetch_hosts_max`.",
        "# room.toml\nname = \"chat\"\n[fetch]\nhosts = [\"https://api.example.com/v1\"]",
        "Write it as `api.example.com`, `https://api.example.com:8443`, `*.example.com` for all names below, or `127.0.0.1:8080`. `*` is every public host.";
    BadCron "R0064" "this cannot be a cron",
        "A cron of `[crons]` has a schedule of five fields, which may be in a time zone, and calls one room or each stored room of a party. There may be at most `crons_max`.",
        "# room.toml\nname = \"chat\"\n[crons]\nprune = \"0 25 * * *\"",
        "Write it as `prune = \"0 3 * * *\"`, for 3:00 every day: minute, hour, day of the month, month, day of the week.";
    BadOldName "R0065" "a party cannot have had this name",
        "With `was`, the rooms of the old name become those of the party. The old name is not a party of the project, and at most one party has had it.",
        "# room.toml\nname = \"chat\"\n[parties.chat]\npath = \".\"\nwas = \"main\"\n[parties.main]\npath = \".\"",
        "Remove the party with the old name, or `was`.";
    BadWebhooks "R0066" "webhooks cannot be sent like this",
        "`[webhooks]` has the `url` of a receiver and a `secret`, the name of the variable with which they are signed. `events` are some of created, connected, disconnected, emptied and expired, and `parties` are some of the project's.",
        "# room.toml\nname = \"chat\"\n[webhooks]\nurl = \"https://example.com/hooks\"\nsecret = \"WEBHOOK_SECRET\"\nevents = [\"conected\"]",
        "Write it as the message says. `room env set WEBHOOK_SECRET - --secret` sets the secret on a server, and a line of `.env` sets it for `room dev`.";
    BadScript "R0067" "this cannot be the script of a party",
        "The code of a party is a cargo package at `path`, or the file `script` in TypeScript or JavaScript, of which `export` names the class that is the room.",
        "# room.toml\nname = \"chat\"\n[parties.main]\npath = \".\"\nscript = \"src/server.ts\"",
        "Write `script = \"src/server.ts\"` without `path`, and name a file that exists.";
    NoBundler "R0068" "the project's npm packages cannot be used",
        "Scripts are bundled by esbuild, which the project's package.json names and npm installs. Either package.json is missing, npm cannot be run, or it failed.",
        "$ printf 'name = \"x\"\\n[parties.main]\\nscript = \"a.ts\"\\n' > room.toml\n$ touch a.ts\n$ room build",
        "Install Node with npm (https://nodejs.org), add the bundler with `npm install --save-dev esbuild`, and start again.";
    NoEngine "R0069" "this program has no engine for scripts",
        "The engine for TypeScript and JavaScript is compiled with the program, or by a program built for development when it builds its first script. That needs clang, which was missing.",
        "`room build` in a project with a `script`, by a program that was built without clang.",
        "Install clang (`apt-get install clang`), and build the program again.";
    NoTests "R0070" "no tests were found",
        "Tests of rooms in TypeScript and JavaScript are in files of the project whose names end in .test.ts, .test.js, .test.mts, .test.tsx or .test.jsx. None was found, none declares a test, or no test has the name that the command line asks for.",
        "$ printf 'name = \"x\"\\n[parties.main]\\nscript = \"a.js\"\\n' > room.toml\n$ touch a.js\n$ room test",
        "Write `src/server.test.ts` with `import { assert, test, TestRoom } from \"roomkit/test\"`; `vendor/roomkit/TESTING.md` shows how. Or leave the name out.";
    BadAuth "R0071" "clients cannot be checked like this",
        "`[auth]` says how the tokens of clients are checked: with a `secret`, with `keys`, or with the keys that the issuer publishes at `jwks`. A party has `auth` only if the project has the section.",
        "# room.toml\nname = \"chat\"\n[auth]\nsecret = \"AUTH_SECRET\"\nalgorithms = [\"none\"]",
        "Write it as the message says. `room env set AUTH_SECRET - --secret` sets a secret on a server, and a line of `.env` sets it for `room dev`.";
    BadTicket "R0072" "this ticket cannot be made",
        "A ticket is for one room, `PARTY/ROOM`, or for every room of a party, `PARTY/*`. Its claims are a JSON object.",
        "$ room ticket lobby",
        "Write `room ticket main/lobby`, and claims as `--claims '{\"sub\":\"ann\"}'`.";
    BadRetention "R0073" "rooms cannot remember their messages like this",
        "`resume` of a party is how long a client may be away and get what it missed, and `history` is what its rooms remember for clients that ask: `keep`, a number of messages, `for`, a time, or both. With `durable = true` it outlives restarts. The limits `resume_ms_max`, `history_messages_max` and `history_bytes_max` bound them.",
        "# room.toml\nname = \"chat\"\n[parties.main]\nresume = \"2d\"",
        "Write `resume = \"2m\"` or `history = { keep = 100, for = \"24h\", durable = true }`, or raise the limit in `[limits]`.";
    BadPublish "R0074" "servers cannot publish like this",
        "`[publish]` has the `keys` of other servers that may publish to rooms. Each is the name of the variable with the key, or a table with that name as `secret`, and with the `parties` and `rooms` that it is for.",
        "# room.toml\nname = \"chat\"\n[publish]\nkeys = [{ secret = \"PUBLISH_KEY\", parties = [\"mian\"] }]",
        "Write it as the message says. `room env set PUBLISH_KEY - --secret` sets the key on a server, and a line of `.env` sets it for `room dev`.";
    BadPresence "R0075" "rooms cannot show who is there like this",
        "`presence` of a party is `true`, or a table: `grace` is how long a user without a connection is present, `every` how long changes are gathered, and `by` says who sets what a user shows, its clients or the room's code alone. The limits `presence_grace_ms_max`, `presence_every_ms_min` and `presence_every_ms_max` bound the times.",
        "# room.toml\nname = \"chat\"\n[parties.main]\npresence = { grace = \"1h\" }",
        "Write `presence = true` or `presence = { grace = \"5s\", every = \"30ms\", by = \"room\" }`, or raise the limit in `[limits]`.";
    BadCluster "R0076" "the server cannot be a node of this cluster",
        "A node needs the URL of the cluster's PostgreSQL database with a user that may use the schema `room`, a name that no other live node has, an address at which the others reach it, and the key that all nodes share.",
        "$ room serve --data data --cluster db.internal --node a --advertise 10.0.0.1:1999",
        "Write it as `room serve --data DIR --cluster postgres://room@db.internal/room --node a --advertise 10.0.0.1:1999 --cluster-key FILE`, with the password in ROOM_CLUSTER_PASSWORD or the file of --cluster-password.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Returns the sources, without tests.
    fn sources(dir: &Path) -> String {
        let mut all = String::new();
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                all += &sources(&path);
            } else if !path.ends_with("tests.rs") && !path.ends_with("codes.rs") {
                let text = std::fs::read_to_string(path).unwrap();
                all += text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            }
        }
        all
    }

    #[test]
    fn every_page_is_used_and_codes_have_no_gap() {
        let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
        let table = include_str!("codes.rs");
        for (number, page) in PAGES.iter().enumerate() {
            assert_eq!(page.code, format!("R{:04}", number + 1));
            let before = table.split(&format!(" {:?} ", page.code)).next().unwrap();
            let name = before.rsplit(' ').next().unwrap();
            let used = sources.match_indices(&format!("Code::{name}")).any(|(at, found)| {
                !sources[at + found.len()..].starts_with(|c: char| c.is_alphanumeric())
            });
            assert!(used, "nothing leads to {} {name}", page.code);
            for text in [page.meaning, page.remedy] {
                assert!(text.ends_with('.'), "{} {text}", page.code);
            }
        }
    }
}
