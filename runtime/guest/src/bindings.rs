//! The host's side of `sdk/wit`, generated. Owns nothing of its own.
//!
//! Invariant: this is the contract as it stands in the WIT package. It does not know what the
//! functions do.

wasmtime::component::bindgen!({
    path: "../../sdk/wit",
    world: "core",
    imports: {
        "room:runtime/room.flush": async | trappable,
        "room:runtime/fetch-now.fetch": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    ownership: Borrowing { duplicate_if_necessary: true },
});

/// The interface of `sdk/wit/fetch.wit`, which not every module exports.
pub(crate) mod project {
    wasmtime::component::bindgen!({
        path: "../../sdk/wit",
        world: "project",
        exports: { default: async },
    });
}

/// The interface of `sdk/wit/history.wit`, which not every module has.
pub(crate) mod remembering {
    wasmtime::component::bindgen!({
        path: "../../sdk/wit",
        world: "remembering",
        imports: { default: trappable },
    });
}

/// The interfaces of `sdk/wit/outcalls.wit`, which not every module has.
pub(crate) mod outcalling {
    wasmtime::component::bindgen!({
        path: "../../sdk/wit",
        world: "outcalling",
        imports: { default: trappable },
        exports: { default: async },
    });
}

/// The interface of `sdk/wit/delivery.wit`, which not every module has.
pub(crate) mod fleeting {
    wasmtime::component::bindgen!({
        path: "../../sdk/wit",
        world: "fleeting",
        imports: { default: trappable },
    });
}

/// The interface of `sdk/wit/presence.wit`, which not every module has.
pub(crate) mod presenting {
    wasmtime::component::bindgen!({
        path: "../../sdk/wit",
        world: "presenting",
        imports: { default: trappable },
    });
}
