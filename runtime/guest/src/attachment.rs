//! What a builder puts behind a module's code. Owns where it stands in a module, and the guest's way to read it.
//!
//! Invariant: code and attachment together are the module's bytes, but for the head of the attachment's section. It does
//! not know what an attachment means.

use crate::host::HostState;
use wasmparser::BinaryReader;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

/// The interface by which a guest reads it.
const ATTACHMENT: &str = "room:runtime/attachment@0.1.0";

/// The name of the custom section that holds it.
const SECTION: &str = "room:attachment";

/// The bytes of a component before its first section.
const PREAMBLE_BYTES: usize = 8;

/// Returns a component's code, and the attachment behind it, which is empty if the last section is another one. Bytes
/// that are not a component are all code.
pub(super) fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    last_section(bytes).unwrap_or((bytes, &[]))
}

fn last_section(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut sections = BinaryReader::new(bytes, 0);
    sections.read_bytes(PREAMBLE_BYTES).ok()?;
    let mut last = None;
    while !sections.eof() {
        let start = sections.current_position();
        let id = sections.read_u8().ok()?;
        let size = sections.read_var_u32().ok()?;
        last = Some((start, id, sections.read_bytes(usize::try_from(size).ok()?).ok()?));
    }
    let (start, id, contents) = last?;
    let mut section = BinaryReader::new(contents, 0);
    if id != 0 || section.read_string().ok()? != SECTION {
        return None;
    }
    Some((&bytes[..start], &contents[section.current_position()..]))
}

/// Gives guests the interface.
pub(super) fn add_to_linker(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker
        .instance(ATTACHMENT)?
        .func_wrap("read", |store: StoreContextMut<'_, HostState>, (): ()| {
            Ok((store.data().attachment.to_vec(),))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a component of sections: an id, and the contents.
    fn component(sections: &[(u8, &[u8])]) -> Vec<u8> {
        let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
        for (id, contents) in sections {
            let size = u8::try_from(contents.len()).unwrap();
            assert!(size < 0x80, "the size takes one byte");
            bytes.extend([*id, size]);
            bytes.extend(*contents);
        }
        bytes
    }

    #[test]
    fn the_attachment_is_the_last_section_alone() {
        let own: &[u8] = b"\x0froom:attachmentscript";
        let plain = component(&[(1, b"code"), (0, b"\x04name1")]);
        assert_eq!(split(&plain), (plain.as_slice(), b"".as_slice()));
        let with = component(&[(1, b"code"), (0, b"\x04name1"), (0, own)]);
        assert_eq!(split(&with), (plain.as_slice(), b"script".as_slice()));
        let between = component(&[(0, own), (1, b"code")]);
        assert_eq!(split(&between), (between.as_slice(), b"".as_slice()));
    }

    #[test]
    fn bytes_that_end_early_are_all_code() {
        let whole = component(&[(1, b"code"), (0, b"\x0froom:attachmentscript")]);
        for end in 0..whole.len() - 1 {
            let cut = &whole[..end];
            let (code, attachment) = split(cut);
            assert!(code.len() == cut.len() && attachment.is_empty(), "cut after {end}");
        }
    }
}
