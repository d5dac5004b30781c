//! The component that runs tests of rooms in scripts.
//!
//! Owns its exports and imports. Invariant: it holds one file of tests, and its caller runs them one by one, so that a test
//! that breaks the engine leaves the others to a new instance. It does not know what a test does.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::{Bounds, Outside, Settings, Tester};
use crate::{Positions, Script};

#[expect(unsafe_code, reason = "what the macro makes")]
mod bindings {
    wit_bindgen::generate!({
        inline: "
            package room:engine@0.1.0;

            /// What a runner of tests calls.
            world testing {
                /// A test said something on its console.
                import said: func(text: string);
                /// It is this time for the rooms now, in milliseconds since 1970: the wall clock has to show it.
                import clock: func(now: u64);
                /// Evaluates a file of tests, and returns their names. The scripts of the parties: party, source, name
                /// of the export that is the room, table of positions. The variables of the project. The bounds:
                /// milliseconds of a test and of a turn, bytes of a heap. The file: source and table of positions.
                export load: func(
                    scripts: list<tuple<string, string, string, list<u8>>>,
                    vars: list<tuple<string, string>>,
                    bounds: tuple<u32, u32, u32>,
                    file: tuple<string, list<u8>>,
                ) -> result<list<string>, string>;
                /// Runs a test; the error is why it failed.
                export test: func(index: u32) -> result<_, string>;
            }
        ",
    });
    pub(super) struct Component;
    export!(Component);
}

thread_local! {
    static TESTER: RefCell<Option<Rc<Tester>>> = const { RefCell::new(None) };
}

/// The imports.
struct Host;

impl Outside for Host {
    fn said(&self, text: &str) {
        bindings::said(text);
    }

    fn clock(&self, now_ms: u64) {
        bindings::clock(now_ms);
    }
}

fn positions(table: &[u8]) -> Result<Positions, String> {
    Positions::decode(table).ok_or_else(|| "the table of positions is not one".to_owned())
}

impl bindings::Guest for bindings::Component {
    fn load(
        scripts: Vec<(String, String, String, Vec<u8>)>,
        vars: Vec<(String, String)>,
        (test_ms, turn_ms, heap_bytes): (u32, u32, u32),
        (source, table): (String, Vec<u8>),
    ) -> Result<Vec<String>, String> {
        let script = |(party, source, export, table): (String, String, String, Vec<u8>)| {
            Ok((party, Script { source, export, positions: positions(&table)? }))
        };
        let settings = Settings {
            scripts: scripts.into_iter().map(script).collect::<Result<_, String>>()?,
            vars,
            bounds: Bounds {
                test: Duration::from_millis(test_ms.into()),
                turn: Duration::from_millis(turn_ms.into()),
                heap_bytes: usize::try_from(heap_bytes).unwrap_or(usize::MAX),
            },
        };
        let tester = Tester::load(settings, source, positions(&table)?, Rc::new(Host));
        let tester = tester.map_err(|error| format!("{error:#}"))?;
        let names = tester.names().to_vec();
        TESTER.set(Some(Rc::new(tester)));
        Ok(names)
    }

    fn test(index: u32) -> Result<(), String> {
        let tester = TESTER.with_borrow(Clone::clone);
        tester.ok_or("no file of tests was loaded")?.run(index)
    }
}
