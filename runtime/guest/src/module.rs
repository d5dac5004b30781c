//! A guest's code, compiled and checked. Owns the requirements on a module.
//!
//! Invariant: a [`Module`] exports our world and imports nothing that we do not provide, so that
//! instantiating it can fail only for lack of space or by its own initialisers. It does not know rooms.

use crate::attachment;
use crate::bindings::CoreIndices;
use crate::bindings::project::ProjectIndices;
use crate::budget::GuestMemory;
use crate::engine::Engine;
use crate::host::HostState;
use room_auth::TicketMint;
use room_core::config::ModuleSource;
use room_core::id::ModuleHash;
use room_core::jobs::OutcallAnswer;
use room_core::limits::size;
use std::sync::Arc;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre};

/// The contract's package, without its version.
const PACKAGE: &str = "room:runtime/";
/// The version that this runtime speaks: the package version in `sdk/wit/room.wit`.
const VERSION: &str = "0.1.0";
/// The exports that a module must have.
const EXPORTS: [&str; 2] = ["room:runtime/events@0.1.0", "room:runtime/door@0.1.0"];
/// The exports that a module may have besides.
const EXPIRY: &str = "room:runtime/expiry@0.1.0";
const FETCH: &str = "room:runtime/fetch@0.1.0";
const BATCH: &str = "room:runtime/batch@0.1.0";
const OUTCALL_EVENTS: &str = "room:runtime/outcall-events@0.1.0";
const TIMER_EVENTS: &str = "room:runtime/timer-events@0.1.0";
const STREAM_EVENTS: &str = "room:runtime/stream-events@0.1.0";
const CRON_EVENTS: &str = "room:runtime/cron-events@0.1.0";
const PUBLISH_EVENTS: &str = "room:runtime/publish-events@0.1.0";
/// The parts of WASI 0.2 that are linked. Sockets and HTTP are not among them.
const WASI: [&str; 5] =
    ["wasi:cli/", "wasi:clocks/", "wasi:random/", "wasi:io/", "wasi:filesystem/"];
/// The prefix of WASI's versions that are compatible with the linked one.
const WASI_VERSION: &str = "@0.2.";

/// The reason why a module was refused. The server continues with the code before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// It is not a WebAssembly component.
    #[error("{0}")]
    NotAComponent(&'static str),
    /// It does not compile.
    #[error("the module does not compile: {0}")]
    Compile(String),
    /// It was built for another version of the contract.
    #[error(
        "the module was built for version {found} of the room contract, this runtime speaks {wanted}; build it with a matching room-sdk"
    )]
    WorldVersion {
        /// The version that the module names.
        found: String,
        /// The version that this runtime speaks.
        wanted: &'static str,
    },
    /// It lacks an export that a room must have.
    #[error(
        "the module does not export {0}: it is not a room. With the Rust SDK, call `room_sdk::export!`"
    )]
    MissingExport(&'static str),
    /// It imports something that rooms do not get.
    #[error(
        "the module imports {name}, which rooms are not given: they have no files, sockets or processes"
    )]
    ForbiddenImport {
        /// The import's name.
        name: String,
    },
    /// Its functions do not match the contract.
    #[error("the module does not fit the room contract: {0}")]
    Interface(String),
    /// Its first instance could not be made.
    #[error("the module cannot be instantiated: {0}")]
    Start(String),
    /// Its bytes cannot be read.
    #[error("the module cannot be read: {0}")]
    Unreadable(String),
    /// It is too large.
    #[error("the module has {bytes} bytes, module_bytes_max allows {max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: u64,
    },
}

/// A compiled module, ready to be instantiated by one project. Cheap to clone.
#[derive(Clone)]
pub struct Module {
    pub(super) compiled: Arc<CompiledModule>,
    pub(super) engine: Engine,
}

/// The part of a module that all projects of the process share.
pub(super) struct CompiledModule {
    pub(super) code: Arc<CompiledCode>,
    /// What the builder put behind the code.
    pub(super) attachment: Arc<[u8]>,
    hash: ModuleHash,
}

/// The part that modules share which differ in their attachments alone.
pub(super) struct CompiledCode {
    pub(super) pre: InstancePre<HostState>,
    /// The indices of the contract's exports.
    pub(super) exports: CoreIndices,
    /// The indices of the exports that older modules do not have.
    pub(super) optional: OptionalExports<ComponentExportIndex>,
    /// The indices of the callbacks about requests to other servers and rooms.
    pub(super) outcalls: OutcallExports<ComponentExportIndex>,
    /// The indices of `on-fetch` and `on-socket`, if the module has them.
    pub(super) project: Option<ProjectIndices>,
}

/// The callbacks of a room that a module may do without.
pub(super) struct OptionalExports<F, G = F, C = F, H = F, I = F, J = F, K = F> {
    pub(super) on_expire: Option<F>,
    pub(super) on_tick: Option<F>,
    pub(super) on_timer: Option<G>,
    pub(super) on_cron: Option<C>,
    /// `batch.run`, which takes several messages.
    pub(super) run: Option<H>,
    pub(super) on_body: Option<I>,
    pub(super) on_stream_close: Option<J>,
    pub(super) on_publish: Option<K>,
}

/// The callbacks about requests to other servers and rooms, which a module may do without.
pub(super) struct OutcallExports<R, A = R, C = R, P = R> {
    pub(super) on_response: Option<R>,
    pub(super) on_answer: Option<A>,
    pub(super) on_call: Option<C>,
    pub(super) on_chunk: Option<P>,
}

/// The code of a party: a module and the environment that its rooms see.
#[derive(Clone, Debug)]
pub struct Code {
    /// The module.
    pub module: Module,
    /// Names with values.
    pub vars: Arc<[(String, String)]>,
    /// What makes its rooms' tickets; `None` in a project without `[auth]`.
    pub mint: Option<TicketMint>,
}

impl Code {
    /// Returns the count of the guest memory of this node's rooms.
    pub fn memory(&self) -> &GuestMemory {
        self.module.engine.memory()
    }

    /// Returns true if both have the same bytes and the same environment.
    pub fn is(&self, other: &Self) -> bool {
        self.module.hash() == other.module.hash()
            && self.vars == other.vars
            && self.mint == other.mint
    }
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Module({})", self.hash())
    }
}

impl Module {
    pub(super) fn load(engine: &Engine, source: &ModuleSource) -> Result<Self, LoadError> {
        let (bytes, max) = (source.bytes(), engine.limits().module_bytes_max);
        if bytes > max {
            return Err(LoadError::TooLarge { bytes: size(bytes), max });
        }
        let hash = source.hash();
        let compiled = engine.modules().get(hash, || {
            let bytes = source.read().map_err(LoadError::Unreadable)?;
            check_preamble(&bytes)?;
            let (code, attachment) = attachment::split(&bytes);
            let own = ModuleHash::of(code);
            let code = engine.codes().get(own, || CompiledCode::new(engine, code))?;
            Ok(CompiledModule { code, attachment: attachment.into(), hash })
        })?;
        Ok(Self { compiled, engine: engine.clone() })
    }

    /// Returns true if it handles timers.
    pub fn handles_timers(&self) -> bool {
        self.compiled.code.optional.on_timer.is_some()
    }

    /// Returns true if it handles calls of other rooms.
    pub fn handles_calls(&self) -> bool {
        self.compiled.code.outcalls.on_call.is_some()
    }

    /// Returns true if it handles this answer to a request of its own.
    pub fn handles_answer(&self, answer: &OutcallAnswer) -> bool {
        match answer {
            OutcallAnswer::Response(_) | OutcallAnswer::NoResponse(_) => {
                self.compiled.code.outcalls.on_response.is_some()
            }
            OutcallAnswer::Returned(_) | OutcallAnswer::NotReturned(_) => {
                self.compiled.code.outcalls.on_answer.is_some()
            }
        }
    }

    /// Returns true if it takes request bodies in pieces.
    pub fn takes_pieces(&self) -> bool {
        self.compiled.code.optional.on_body.is_some()
    }

    /// Returns true if it handles crons.
    pub fn handles_crons(&self) -> bool {
        self.compiled.code.optional.on_cron.is_some()
    }

    /// Returns true if it handles publications of other servers.
    pub fn handles_publications(&self) -> bool {
        self.compiled.code.optional.on_publish.is_some()
    }

    /// Returns true if it answers outside of rooms.
    pub fn has_fetch(&self) -> bool {
        self.compiled.code.project.is_some()
    }

    /// Returns the hash of its bytes.
    pub fn hash(&self) -> ModuleHash {
        self.compiled.hash
    }
}

impl CompiledCode {
    fn new(engine: &Engine, bytes: &[u8]) -> Result<Self, LoadError> {
        let component = Component::from_binary(engine.inner(), bytes)
            .map_err(|error| LoadError::Compile(format!("{error:#}")))?;
        check_world(engine, &component)?;
        let pre = engine
            .linker()
            .instantiate_pre(&component)
            .map_err(|error| LoadError::Interface(format!("{error:#}")))?;
        let exports = CoreIndices::new(&pre);
        let exports = exports.map_err(|error| LoadError::Interface(format!("{error:#}")))?;
        let optional = OptionalExports {
            on_expire: export(&component, EXPIRY, "on-expire"),
            on_timer: export(&component, TIMER_EVENTS, "on-timer"),
            on_cron: export(&component, CRON_EVENTS, "on-cron"),
            on_tick: export(&component, TIMER_EVENTS, "on-tick"),
            run: export(&component, BATCH, "run"),
            on_body: export(&component, STREAM_EVENTS, "on-body"),
            on_stream_close: export(&component, STREAM_EVENTS, "on-stream-close"),
            on_publish: export(&component, PUBLISH_EVENTS, "on-publish"),
        };
        let outcalls = OutcallExports {
            on_response: export(&component, OUTCALL_EVENTS, "on-response"),
            on_answer: export(&component, OUTCALL_EVENTS, "on-answer"),
            on_call: export(&component, OUTCALL_EVENTS, "on-call"),
            on_chunk: export(&component, OUTCALL_EVENTS, "on-chunk"),
        };
        let has_fetch = component.get_export_index(None, FETCH).is_some();
        let project = has_fetch.then(|| ProjectIndices::new(&pre)).transpose();
        let project = project.map_err(|error| LoadError::Interface(format!("{error:#}")))?;
        Ok(Self { pre, exports, optional, outcalls, project })
    }
}

/// Returns the index of a function of an exported interface.
fn export(component: &Component, interface: &str, name: &str) -> Option<ComponentExportIndex> {
    let interface = component.get_export_index(None, interface)?;
    component.get_export_index(Some(&interface), name)
}

/// Distinguishes a component from files that people pass by mistake. Every binary starts with `\0asm`; then a
/// core module has version 1 and layer 0, a component layer 1.
fn check_preamble(bytes: &[u8]) -> Result<(), LoadError> {
    match bytes {
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', ..] => Err(LoadError::NotAComponent(
            "this is a core WebAssembly module, not a component: build it with `--target wasm32-wasip2`",
        )),
        _ => {
            Err(LoadError::NotAComponent("this is not WebAssembly: it does not start with \\0asm"))
        }
    }
}

fn check_world(engine: &Engine, component: &Component) -> Result<(), LoadError> {
    let world = component.component_type();
    for (name, _) in world.imports(engine.inner()) {
        check_import(name)?;
    }
    let exports: Vec<&str> = world.exports(engine.inner()).map(|(name, _)| name).collect();
    for wanted in EXPORTS {
        if !exports.contains(&wanted) {
            exports.iter().try_for_each(|found| check_version(found))?;
            return Err(LoadError::MissingExport(wanted));
        }
    }
    Ok(())
}

fn check_import(name: &str) -> Result<(), LoadError> {
    if name.starts_with(PACKAGE) {
        return check_version(name);
    }
    let ours = WASI.iter().any(|prefix| name.starts_with(prefix)) && name.contains(WASI_VERSION);
    if ours { Ok(()) } else { Err(LoadError::ForbiddenImport { name: name.to_owned() }) }
}

fn check_version(name: &str) -> Result<(), LoadError> {
    match name.strip_prefix(PACKAGE).and_then(|rest| rest.split_once('@')) {
        Some((_, found)) if found != VERSION => {
            Err(LoadError::WorldVersion { found: found.to_owned(), wanted: VERSION })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
