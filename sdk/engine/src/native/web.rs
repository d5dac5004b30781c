//! Text, URLs, randomness and memory, for the library.
//!
//! Owns what the web's globals are made of that is better done in Rust. Invariant: nothing here reaches the host but for
//! randomness. It does not know the classes made of it.

use rquickjs::{Ctx, Object, Result};
use url::Url;

use super::natives;
use crate::mode::running;
use crate::values::{Bytes, Text, failed, refuse, type_error};

/// The most random bytes of one call, as WebCrypto has it.
const RANDOM_BYTES_MAX: u32 = 65_536;

natives! {
    "utf8Encode" => utf8_encode,
    "utf8Decode" => utf8_decode,
    "urlParse" => url_parse,
    "urlSet" => url_set,
    "random" => random,
}

fn utf8_encode(text: Text) -> Bytes {
    Bytes(text.0.into_bytes())
}

fn utf8_decode(ctx: Ctx<'_>, bytes: Bytes, fatal: bool, ignore_bom: bool) -> Result<String> {
    let mut bytes = bytes.0;
    if !ignore_bom && bytes.starts_with(b"\xEF\xBB\xBF") {
        bytes.drain(..3);
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(_) if fatal => Err(type_error(&ctx, "the bytes are not valid UTF-8")),
        Err(bad) => Ok(String::from_utf8_lossy(bad.as_bytes()).into_owned()),
    }
}

fn parts<'js>(ctx: &Ctx<'js>, url: &Url) -> Result<Object<'js>> {
    use url::quirks;
    let object = Object::new(ctx.clone())?;
    object.set("href", quirks::href(url))?;
    object.set("protocol", quirks::protocol(url))?;
    object.set("username", quirks::username(url))?;
    object.set("password", quirks::password(url))?;
    object.set("host", quirks::host(url))?;
    object.set("hostname", quirks::hostname(url))?;
    object.set("port", quirks::port(url))?;
    object.set("pathname", quirks::pathname(url))?;
    object.set("search", quirks::search(url))?;
    object.set("hash", quirks::hash(url))?;
    object.set("origin", quirks::origin(url))?;
    Ok(object)
}

fn url_parse<'js>(ctx: Ctx<'js>, input: Text, base: Option<Text>) -> Result<Option<Object<'js>>> {
    let url = match base {
        Some(base) => Url::parse(&base.0).and_then(|base| base.join(&input.0)),
        None => Url::parse(&input.0),
    };
    url.ok().map(|url| parts(&ctx, &url)).transpose()
}

fn url_set<'js>(ctx: Ctx<'js>, href: Text, part: Text, value: Text) -> Result<Object<'js>> {
    use url::quirks;
    let mut url = Url::parse(&href.0).map_err(|error| failed(&ctx, "invalid-url", error))?;
    let value = value.0.as_str();
    // A value that does not fit leaves the URL as it is, as the standard has it.
    match part.0.as_str() {
        "href" => {
            quirks::set_href(&mut url, value).map_err(|error| failed(&ctx, "invalid-url", error))?
        }
        "protocol" => drop(quirks::set_protocol(&mut url, value)),
        "username" => drop(quirks::set_username(&mut url, value)),
        "password" => drop(quirks::set_password(&mut url, value)),
        "host" => drop(quirks::set_host(&mut url, value)),
        "hostname" => drop(quirks::set_hostname(&mut url, value)),
        "port" => drop(quirks::set_port(&mut url, value)),
        "pathname" => quirks::set_pathname(&mut url, value),
        "search" => quirks::set_search(&mut url, value),
        "hash" => quirks::set_hash(&mut url, value),
        other => return Err(refuse(&ctx, "invalid-part", &format!("a URL has no part {other:?}"))),
    }
    parts(&ctx, &url)
}

fn random(ctx: Ctx<'_>, count: u32) -> Result<Bytes> {
    running(&ctx)?;
    if count > RANDOM_BYTES_MAX {
        let text = format!(
            "one call gives at most {RANDOM_BYTES_MAX} random bytes, and {count} were asked for"
        );
        return Err(refuse(&ctx, "quota-exceeded", &text));
    }
    let mut bytes = vec![0; usize::try_from(count).unwrap_or_default()];
    getrandom::fill(&mut bytes).map_err(|error| failed(&ctx, "unavailable", error))?;
    Ok(Bytes(bytes))
}
