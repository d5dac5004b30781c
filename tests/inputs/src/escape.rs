//! The form of inputs in a file: a line each, in quotes, escaped as a byte string of Rust.
//!
//! Invariant: any bytes are written as one line, and read back unchanged.

/// Returns the inputs of a file: the content of its lines that start with a quote.
///
/// # Panics
/// If such a line does not end with a quote, or has an unknown escape.
pub(crate) fn inputs(text: &[u8]) -> Vec<Vec<u8>> {
    let lines = text.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"\""));
    lines.map(|line| plain(line.trim_ascii_end())).collect()
}

/// Returns an input as a line.
pub(crate) fn line(input: &[u8]) -> String {
    format!("\"{}\"", input.escape_ascii())
}

fn plain(line: &[u8]) -> Vec<u8> {
    let shown = || String::from_utf8_lossy(line).into_owned();
    let Some(mut rest) = line.strip_suffix(b"\"") else {
        panic!("this line has no closing quote: {}", shown())
    };
    let mut plain = Vec::new();
    while let Some((byte, behind)) = rest.split_first() {
        let (byte, behind) = match (byte, behind) {
            (b'\\', [b'x', high, low, behind @ ..]) => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).ok();
                let Some(byte) = digits.and_then(|text| u8::from_str_radix(text, 16).ok()) else {
                    panic!("this line has an invalid \\x: {}", shown())
                };
                (byte, behind)
            }
            (b'\\', [b'n', behind @ ..]) => (b'\n', behind),
            (b'\\', [b'r', behind @ ..]) => (b'\r', behind),
            (b'\\', [b't', behind @ ..]) => (b'\t', behind),
            (b'\\', [byte @ (b'\\' | b'"' | b'\''), behind @ ..]) => (*byte, behind),
            (b'\\', _) => panic!("this line has an invalid escape: {}", shown()),
            (byte, behind) => (*byte, behind),
        };
        plain.push(byte);
        rest = behind;
    }
    plain
}
