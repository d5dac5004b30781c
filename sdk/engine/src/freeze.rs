//! The heap of a component, frozen with a script in it.
//!
//! Owns the heap that a component starts with, and the export that makes it: a builder calls `freeze` once, takes an image
//! of the memory, and makes a component of the image. Invariant: a component that was not frozen has no script, and says
//! so. It does not know images.

use std::cell::RefCell;
use std::rc::Rc;

use room_sdk::Result;

use crate::engine::Engine;
use crate::script::Script;
use crate::stack::Positions;

thread_local! {
    static FROZEN: RefCell<Option<Rc<Engine>>> = const { RefCell::new(None) };
}

/// The heap of this component.
///
/// # Errors
/// No script was frozen into it.
pub(crate) fn engine() -> Result<Rc<Engine>> {
    FROZEN.with_borrow(Option::clone).ok_or_else(|| {
        anyhow::anyhow!("this module is the engine without a script: build it with `room build`")
    })
}

#[expect(missing_docs, unsafe_code, reason = "what the macro makes")]
mod bindings {
    wit_bindgen::generate!({
        inline: "
            package room:engine@0.1.0;

            /// What a builder calls of the engine.
            world freezing {
                /// Evaluates a script: source, name of the export that is the room, table of positions.
                export freeze: func(source: string, name: string, positions: list<u8>) -> result<_, string>;
            }
        ",
    });
    pub(super) struct Freezer;
    export!(Freezer);
}

impl bindings::Guest for bindings::Freezer {
    fn freeze(source: String, name: String, positions: Vec<u8>) -> Result<(), String> {
        let Some(positions) = Positions::decode(&positions) else {
            return Err("the table of positions is not one".to_owned());
        };
        let engine = Engine::boot(Script { source, export: name, positions });
        let engine = engine.map_err(|error| format!("{error:#}"))?;
        FROZEN.set(Some(Rc::new(engine)));
        Ok(())
    }
}
