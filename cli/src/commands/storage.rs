//! `room storage`. Owns how keys and values are given and printed.
//!
//! Invariant: a value is sent as it is given, byte for byte, but for JSON, which is written as rooms write theirs. It
//! does not know where the room runs.

use crate::args::operate::{
    StorageArgs, StorageCommand, StorageKeyArgs, StorageListArgs, StorageSetArgs,
};
use crate::codes::Code;
use crate::mistake::Mistake;
use crate::operator::{Operator, key, word};
use crate::print::{self, DIM, styled};
use serde_json::Value;
use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

/// Does the requested work on a room's storage.
pub(crate) fn run(args: &StorageArgs) -> anyhow::Result<ExitCode> {
    match &args.what {
        StorageCommand::List(args) => list(args)?,
        StorageCommand::Get(args) => get(args)?,
        StorageCommand::Set(args) => set(args)?,
        StorageCommand::Delete(args) => delete(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(args: &StorageListArgs) -> anyhow::Result<()> {
    let operator = Operator::find(&args.server)?;
    let room = operator.room(&args.room)?;
    let prefix = word("prefix", args.prefix.as_deref());
    // It is encoded already.
    let start = args.after.as_ref().map(|after| format!("&start={after}")).unwrap_or_default();
    let query = format!("storage?limit={}{prefix}{start}", args.limit);
    let page = operator.about(&room, ("GET", &query), &[])?;
    operator.print(&page, |page| {
        let entries = page["entries"].as_array().into_iter().flatten();
        entries.map(entry).collect::<Vec<_>>().join("\n")
    })?;
    if let Some(next) = page["next"].as_str() {
        print::talk(styled(DIM, format_args!("there are more: --after {next}")));
    }
    Ok(())
}

fn get(args: &StorageKeyArgs) -> anyhow::Result<()> {
    let operator = Operator::find(&args.server)?;
    let room = operator.room(&args.room)?;
    let path = format!("storage/{}", key(&args.key)?);
    let answer = operator.about(&room, ("GET", &path), &[])?;
    operator.print(&answer, value)
}

fn set(args: &StorageSetArgs) -> anyhow::Result<()> {
    let operator = Operator::find(&args.server)?;
    let room = operator.room(&args.room)?;
    let path = format!("storage/{}", key(&args.key)?);
    let answer = operator.about(&room, ("PUT", &path), &given(args)?)?;
    operator.print(&answer, |answer| {
        let what = if answer["was_there"] == true { "replaced" } else { "set" };
        format!("{what} {} of {}", named(answer), room.name)
    })
}

fn delete(args: &StorageKeyArgs) -> anyhow::Result<()> {
    let operator = Operator::find(&args.server)?;
    let room = operator.room(&args.room)?;
    let path = format!("storage/{}", key(&args.key)?);
    let answer = operator.about(&room, ("DELETE", &path), &[])?;
    operator.print(&answer, |answer| {
        let what = if answer["was_there"] == true { "deleted" } else { "there was no" };
        format!("{what} {} of {}", named(answer), room.name)
    })
}

/// Returns the value that the command line gives.
fn given(args: &StorageSetArgs) -> anyhow::Result<Vec<u8>> {
    if let Some(text) = &args.text {
        return Ok(text.clone().into_bytes());
    }
    if let Some(file) = &args.file {
        let mut bytes = Vec::new();
        let read = match file == Path::new("-") {
            true => std::io::stdin().read_to_end(&mut bytes),
            false => std::fs::File::open(file).and_then(|mut file| file.read_to_end(&mut bytes)),
        };
        read.map_err(|err| {
            Mistake::new(Code::Unreadable, format_args!("{} cannot be read: {err}", file.display()))
        })?;
        return Ok(bytes);
    }
    let json = args.value.as_deref().unwrap_or_default();
    let value: Value = serde_json::from_str(json).map_err(|err| {
        Mistake::new(Code::BadValue, format_args!("the value is not JSON: {err}"))
            .help("a text in JSON has quotes: '\"hello\"'; --text stores it without them")
    })?;
    Ok(value.to_string().into_bytes())
}

fn entry(entry: &Value) -> String {
    let bytes = styled(DIM, format_args!("({})", print::counted(&entry["bytes"], "byte")));
    format!("{} = {}  {bytes}", named(entry), value(entry))
}

/// Returns the key of an entry.
fn named(entry: &Value) -> String {
    match entry["key"].as_str() {
        Some(key) => key.to_owned(),
        None => format!("base64:{}", entry["key_base64"].as_str().unwrap_or_default()),
    }
}

/// Returns the value of an entry.
fn value(entry: &Value) -> String {
    match (entry.get("json"), entry["text"].as_str(), entry["base64"].as_str()) {
        (Some(json), ..) => json.to_string(),
        (None, Some(text), _) => text.to_owned(),
        (None, None, base64) => format!("base64:{}", base64.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_printed_by_the_kind_of_their_value() {
        let told = |entry: Value| format!("{} = {}", named(&entry), value(&entry));
        let json = serde_json::json!({"key": "n", "json": null});
        assert_eq!(told(json), "n = null");
        let text = serde_json::json!({"key": "n", "text": "a b"});
        assert_eq!(told(text), "n = a b");
        let bytes = serde_json::json!({"key_base64": "/w==", "base64": "AP8="});
        assert_eq!(told(bytes), "base64:/w== = base64:AP8=");
    }
}
