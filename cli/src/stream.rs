//! A server's stream: its events, as they come. Owns the chunks and blocks they come in.
//!
//! Invariant: an event is whole or an error, and an end that the server announced is distinguished from one that it
//! did not. It does not know what the events say.

use std::io::{self, BufRead, BufReader, Read};

/// The longest line of an event, in bytes: far longer than a server keeps.
const LINE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The longest line before a chunk, in bytes.
const CHUNK_HEAD_BYTES_MAX: u64 = 256;

/// The events of an answer.
pub(crate) struct Events(BufReader<Chunks>);

/// An event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its number, after which a stream continues.
    pub(crate) id: Option<u64>,
    /// Its name; `None` for a plain one.
    pub(crate) name: Option<String>,
    /// Its data; `None` if it only has a number, or shows that the server is alive.
    pub(crate) data: Option<String>,
}

impl Events {
    /// Returns the events of a chunked body.
    pub(crate) fn new(body: Box<dyn BufRead>) -> Self {
        Self(BufReader::new(Chunks { from: body, left: Some(0), begun: false }))
    }

    /// Returns the next one; `None` if the server announced the end.
    ///
    /// # Errors
    /// The connection broke off, was silent for too long, or sent something else than an event.
    pub(crate) fn next(&mut self) -> io::Result<Option<Event>> {
        let mut event = Event::default();
        loop {
            let mut line = String::new();
            let read = self.0.by_ref().take(LINE_BYTES_MAX).read_line(&mut line)?;
            let Some(line) = line.strip_suffix('\n') else {
                // A block that is only started is not an event.
                let end = if read == 0 { Ok(None) } else { Err(wrong("a line has no end")) };
                return end;
            };
            let line = line.strip_suffix('\r').unwrap_or(line);
            if line.is_empty() {
                return Ok(Some(event));
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => event.id = value.parse().ok(),
                "event" => event.name = Some(value.to_owned()),
                "data" => event.data = Some(value.to_owned()),
                // A comment, or a field for browsers.
                _ => {}
            }
        }
    }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// A chunked body.
struct Chunks {
    from: Box<dyn BufRead>,
    /// The unread bytes of the chunk; `None` after the last one.
    left: Option<u64>,
    /// False until the first chunk, which has no line end before it.
    begun: bool,
}

impl Chunks {
    /// Reads the line before a chunk: its size.
    fn head(&mut self) -> io::Result<u64> {
        if std::mem::replace(&mut self.begun, true) {
            let mut end = [0; 2];
            self.from.read_exact(&mut end)?;
        }
        let mut line = String::new();
        self.from.by_ref().take(CHUNK_HEAD_BYTES_MAX).read_line(&mut line)?;
        if line.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let size = line.trim_end().split(';').next().unwrap_or_default();
        u64::from_str_radix(size, 16).map_err(|_| wrong("the answer is not valid chunked encoding"))
    }
}

impl Read for Chunks {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.left == Some(0) {
            self.left = Some(self.head()?).filter(|size| *size > 0);
        }
        let Some(left) = self.left else { return Ok(0) };
        let read = self.from.by_ref().take(left).read(into)?;
        if read == 0 && !into.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left = Some(left - read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "retry: 1000\nid: 6\n\nid: 7\ndata: {\"a\": 1}\n\n: alive\nid: 9\n\n\
                        event: missed\r\ndata: x: y\r\n\r\n";

    fn event(id: Option<u64>, name: Option<&str>, data: Option<&str>) -> Event {
        Event { id, name: name.map(str::to_owned), data: data.map(str::to_owned) }
    }

    fn expected() -> [Event; 4] {
        [
            event(Some(6), None, None),
            event(Some(7), None, Some("{\"a\": 1}")),
            event(Some(9), None, None),
            event(None, Some("missed"), Some("x: y")),
        ]
    }

    /// Returns the text in chunks of these sizes, and the rest in one more.
    fn chunked(sizes: &[usize]) -> String {
        let (mut out, mut rest) = (String::new(), TEXT);
        for size in sizes.iter().chain([&TEXT.len()]) {
            let (chunk, more) = rest.split_at((*size).min(rest.len()));
            if !chunk.is_empty() {
                out.push_str(&format!("{:x};x=y\r\n{chunk}\r\n", chunk.len()));
            }
            rest = more;
        }
        out
    }

    fn read(bytes: String) -> (Vec<Event>, io::Result<()>) {
        let mut stream = Events::new(Box::new(io::Cursor::new(bytes)));
        let mut events = Vec::new();
        loop {
            match stream.next() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => return (events, Ok(())),
                Err(err) => return (events, Err(err)),
            }
        }
    }

    proptest! {
        #[test]
        fn splitting_a_stream_anywhere_yields_the_same_events(sizes in prop::collection::vec(1usize..20, 0..20)) {
            let (events, end) = read(chunked(&sizes) + "0\r\n\r\n");
            prop_assert!(end.is_ok());
            prop_assert_eq!(events, expected());
        }

        #[test]
        fn a_truncated_stream_is_an_error(at in 0usize..1_000) {
            let whole = chunked(&[10, 30]);
            let cut = whole[..at.min(whole.len())].to_owned();
            let (events, end) = read(cut);
            prop_assert!(end.is_err());
            prop_assert!(expected().starts_with(&events));
        }

        #[test]
        fn parsing_any_stream_ends(text in "[0-9a-f\r\n:; id]{0,60}") {
            let _ = read(text);
        }
    }
}
