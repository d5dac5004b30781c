//! The heap of a component, frozen with the library or with a script in it.
//!
//! Owns the heap that a component starts with, and the exports that make it: a builder calls one of them once, takes an
//! image of the memory, and makes a component of the image. Invariant: a component has one script, that of its image or
//! the one attached to it, and says so if it has none. It does not know images.

use std::cell::RefCell;
use std::rc::Rc;

use anyhow::Context as _;
use room_sdk::Result;

use crate::engine::{Engine, LibraryHeap};
use crate::script::Script;
use crate::seal::seal;
use crate::stack::Positions;

/// What a component's image holds.
enum Frozen {
    Nothing,
    Library(LibraryHeap),
    Script(Rc<Engine>),
    /// The attached script failed.
    Failed(String),
}

thread_local! {
    static FROZEN: RefCell<Frozen> = const { RefCell::new(Frozen::Nothing) };
}

/// The heap of this component.
///
/// # Errors
/// It has no script, or the attached one fails.
pub(crate) fn engine() -> Result<Rc<Engine>> {
    match FROZEN.replace(Frozen::Nothing) {
        Frozen::Nothing => Err(anyhow::anyhow!(
            "this module is the engine without a script: build it with `room build`"
        )),
        Frozen::Library(heap) => {
            let script = attached(&room_sdk::host::attached())
                .context("this module is the engine without a script, or with a damaged one");
            let started = script.and_then(|script| Engine::start(heap, script));
            started.map(keep).inspect_err(|error| FROZEN.set(Frozen::Failed(format!("{error:#}"))))
        }
        Frozen::Script(engine) => {
            FROZEN.set(Frozen::Script(engine.clone()));
            Ok(engine)
        }
        Frozen::Failed(why) => {
            let error = anyhow::anyhow!(why.clone());
            FROZEN.set(Frozen::Failed(why));
            Err(error)
        }
    }
}

fn keep(engine: Engine) -> Rc<Engine> {
    let engine = Rc::new(engine);
    FROZEN.set(Frozen::Script(engine.clone()));
    engine
}

/// Reads a script as a builder attaches it: the lengths of export and source as little-endian 32 bits, then both, then the
/// table of positions.
fn attached(bytes: &[u8]) -> Option<Script> {
    let (export, rest) = bytes.split_first_chunk()?;
    let (source, rest) = rest.split_first_chunk()?;
    let (export, rest) = rest.split_at_checked(length(*export)?)?;
    let (source, positions) = rest.split_at_checked(length(*source)?)?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let positions = Positions::decode(positions)?;
    Some(Script { source: text(source)?, export: text(export)?, positions })
}

fn length(bytes: [u8; 4]) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(bytes)).ok()
}

#[expect(missing_docs, unsafe_code, reason = "what the macro makes")]
mod bindings {
    wit_bindgen::generate!({
        inline: "
            package room:engine@0.1.0;

            /// What a builder calls of the engine.
            world freezing {
                /// Evaluates the library alone, for a component whose script is attached.
                export warm: func() -> result<_, string>;
                /// Evaluates a script: source, name of the export that is the room, table of positions.
                export freeze: func(source: string, name: string, positions: list<u8>) -> result<_, string>;
            }
        ",
    });
    pub(super) struct Freezer;
    export!(Freezer);
}

impl bindings::Guest for bindings::Freezer {
    fn warm() -> Result<(), String> {
        let heap = LibraryHeap::boot().map_err(|error| format!("{error:#}"))?;
        seal(heap.context());
        FROZEN.set(Frozen::Library(heap));
        Ok(())
    }

    fn freeze(source: String, name: String, positions: Vec<u8>) -> Result<(), String> {
        let Some(table) = Positions::decode(&positions) else {
            return Err("the table of positions is not one".to_owned());
        };
        drop(positions);
        let script = Script { source, export: name, positions: table };
        // A builder that only checks a script calls this in an image with the library.
        let engine = match FROZEN.replace(Frozen::Nothing) {
            Frozen::Library(heap) => Engine::start(heap, script),
            _ => Engine::boot(script),
        };
        let engine = keep(engine.map_err(|error| format!("{error:#}"))?);
        seal(engine.context());
        Ok(())
    }
}
