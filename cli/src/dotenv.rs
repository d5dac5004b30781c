//! `.env` and `.env.local`: variables that are not for the repository. Owns their grammar and which file wins.
//!
//! Invariant: every line is understood or reported by its number, and no value is ever shown, not even in messages:
//! they are secrets. It does not know what the variables are for.
//!
//! A line is `KEY=value`, with or without `export ` before it, or a comment. A bare value ends before ` #`. A value
//! in '…' or `…` is taken literally, over several lines too. A value in "…" knows \n \r \t \" \\ \$. `$NAME` is not
//! replaced.

#[cfg(test)]
mod tests;

use crate::codes::Code;
use crate::mistake::Mistake;
use crate::project::shown;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

/// The files. A later one overrides an earlier one.
pub(crate) const FILES: [&str; 2] = [".env", ".env.local"];
/// The longest such file; a longer one is refused, as it is something else.
const BYTES_MAX: u64 = 256 * 1024;

/// The variables of a project's files. The type has no way to print them.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct DotEnv {
    vars: BTreeMap<String, String>,
    files: Vec<&'static str>,
}

impl DotEnv {
    /// Reads the files that are there.
    ///
    /// # Errors
    /// All mistakes of both at once, each with its file and line.
    pub(crate) fn read(root: &Path) -> Result<Self, Mistake> {
        let (mut all, mut mistakes) = (Self::default(), Vec::new());
        for file in FILES {
            let path = root.join(file);
            // A folder of this name is a virtual environment of Python's.
            if !path.is_file() {
                continue;
            }
            let name = shown(&path);
            match text(&path)
                .map_err(|why| vec![Mistake::new(Code::BadDotEnv, format_args!("{name} {why}"))])
            {
                Ok(text) => match parse(&name, &text) {
                    Ok(vars) => {
                        all.vars.extend(vars);
                        all.files.push(file);
                    }
                    Err(found) => mistakes.extend(found),
                },
                Err(found) => mistakes.extend(found),
            }
        }
        if mistakes.is_empty() {
            return Ok(all);
        }
        Err(Mistake::all(format_args!("there are {} mistakes", mistakes.len()), mistakes))
    }

    /// Returns the variables, each with its value.
    pub(crate) fn vars(&self) -> &BTreeMap<String, String> {
        &self.vars
    }

    /// Returns the files that were there.
    pub(crate) fn files(&self) -> &[&'static str] {
        &self.files
    }
}

/// Returns the content of a file, or what is wrong with it.
fn text(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|err| format!("cannot be read: {err}"))?;
    let mut bytes = Vec::new();
    let read = file.take(BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|err| format!("cannot be read: {err}"))?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(format!("is longer than {BYTES_MAX} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())
}

/// The reason why a line is invalid, and what to do.
type Wrong = (String, &'static str);

/// Returns the variables in a text; `file` is how messages call it.
fn parse(file: &str, text: &str) -> Result<BTreeMap<String, String>, Vec<Mistake>> {
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let whole = rest;
    let (mut vars, mut mistakes) = (BTreeMap::new(), Vec::new());
    let mut first: BTreeMap<String, usize> = BTreeMap::new();
    while !rest.is_empty() {
        let line = 1 + whole[..whole.len() - rest.len()].matches('\n').count();
        let found = entry(&mut rest).and_then(|found| match found {
            Some((key, _)) if first.contains_key(key) => {
                let message = format!("{key} is listed twice, first on line {}", first[key]);
                Err((message, "remove one of the two lines"))
            }
            found => Ok(found),
        });
        match found {
            Ok(Some((key, value))) => {
                first.insert(key.to_owned(), line);
                vars.insert(key.to_owned(), value);
            }
            Ok(None) => {}
            Err((problem, help)) => {
                let message = format!("{file}:{line}: {problem}");
                mistakes.push(Mistake::new(Code::BadDotEnv, message).help(help));
            }
        }
    }
    if mistakes.is_empty() { Ok(vars) } else { Err(mistakes) }
}

/// Takes the next entry, or an invalid line, from the front of the text.
fn entry<'t>(rest: &mut &'t str) -> Result<Option<(&'t str, String)>, Wrong> {
    let text = *rest;
    let (line, after) = text.split_once('\n').unwrap_or((text, ""));
    // Whatever is wrong with this line, the next one starts after it.
    *rest = after;
    let bare = line.trim();
    if bare.is_empty() || bare.starts_with('#') {
        return Ok(None);
    }
    let bare = bare.strip_prefix("export ").map_or(bare, str::trim_start);
    let Some((key, _)) = bare.split_once('=') else {
        return Err(("this line has no `=`".to_owned(), "write it as KEY=value"));
    };
    let key = key.trim_end();
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if key.is_empty() || !key.chars().all(allowed) || key.starts_with(|c: char| c.is_ascii_digit())
    {
        let help = "a name has letters, digits, `_`, `-` and `.`, and starts with no digit";
        return Err(("the text before `=` is not a name".to_owned(), help));
    }
    let at = line.find('=').map_or(line.len(), |at| at + 1);
    let value = text[at..].trim_start_matches([' ', '\t']);
    let value = match value.chars().next() {
        Some(quote @ ('"' | '\'' | '`')) => {
            *rest = &value[1..];
            quoted(key, quote, rest)?
        }
        _ => unquoted(&line[at..]),
    };
    if value.contains('\0') {
        return Err((format!("the value of {key} has a NUL in it"), "remove it"));
    }
    Ok(Some((key, value)))
}

/// Returns a value without quotes: to the end of the line, or to a comment.
fn unquoted(text: &str) -> String {
    let comment = text.match_indices('#').find(|(at, _)| {
        text[..*at].ends_with(|c: char| c.is_ascii_whitespace()) || text[..*at].trim().is_empty()
    });
    text[..comment.map_or(text.len(), |(at, _)| at)].trim().to_owned()
}

/// Takes a value up to its closing quote, with the rest of that line, from the front of the text. Nothing behind an
/// unclosed quote counts as a line: it may be a part of the value.
fn quoted(key: &str, quote: char, rest: &mut &str) -> Result<String, Wrong> {
    let text = std::mem::take(rest);
    let mut value = String::new();
    let mut wrong = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => {
                let after = &text[at + 1..];
                let (line, after) = after.split_once('\n').unwrap_or((after, ""));
                *rest = after;
                let line = line.trim();
                if !line.is_empty() && !line.starts_with('#') {
                    let help = "put the whole value in quotes, and a comment after a `#`";
                    return Err((format!("something follows the value of {key}"), help));
                }
                return wrong.map_or(Ok(value), Err);
            }
            '\\' if quote == '"' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 'r')) => value.push('\r'),
                Some((_, 't')) => value.push('\t'),
                Some((_, c @ ('"' | '\\' | '$'))) => value.push(c),
                _ => {
                    let help = "put the value in '…', where a `\\` is only that, or write `\\\\`";
                    let message = format!("the value of {key} has a `\\` that means nothing");
                    wrong = Some((message, help));
                }
            },
            // Lines end with \n, whatever the editor wrote.
            '\r' if text[at..].starts_with("\r\n") => {}
            c => value.push(c),
        }
    }
    Err((format!("the value of {key} has no closing {quote}"), "close it on its last line"))
}
