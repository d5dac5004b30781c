//! The facts about a component that are known without running it. Owns that reading.
//!
//! Invariant: it only reads. It does not know whether a component can be served: the runtime decides that.

use anyhow::Context as _;
use wasmparser::{Parser, Payload};

/// Returns the names a component imports, in its order.
///
/// # Errors
/// The bytes are not a component.
pub(crate) fn imports(bytes: &[u8]) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.context("cargo's output is not a component")? {
            // Nested parts import from their surroundings, not from the host.
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    names.push(import?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_not_a_component_are_an_error() {
        assert!(imports(b"not wasm").is_err());
    }
}
