//! What a hook at the door answers. Owns its decision, and the guest's way to add a header to what its client gets.
//!
//! Invariant: headers are added only while a hook before a room runs. It does not know what the client gets.

use crate::bindings::exports::room::runtime::door;
use crate::host::HostState;
use room_core::event::{AddedHeaders, CloseFrame, Request, Response};
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

/// The interface by which a hook adds them.
const ANSWER: &str = "room:runtime/answer@0.1.0";

/// The decision of a hook.
#[derive(Debug)]
pub enum HookVerdict {
    /// The room gets this request.
    Forward(Request),
    /// The client gets this response; the room gets nothing.
    Respond(Response),
    /// The client's WebSocket closes with this frame; the room gets nothing.
    Refuse(CloseFrame),
}

/// What a hook decides, and adds to its client's answer.
#[derive(Debug)]
pub struct HookAnswer {
    /// The decision.
    pub verdict: HookVerdict,
    /// The headers that the client gets besides.
    pub added: AddedHeaders,
}

/// Gives guests the interface.
pub(super) fn add_to_linker(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.instance(ANSWER)?.func_wrap(
        "add-header",
        |mut store: StoreContextMut<'_, HostState>, (name, value): (String, Vec<u8>)| {
            add(store.data_mut().added.as_mut(), name, value)
        },
    )
}

fn add(added: Option<&mut AddedHeaders>, name: String, value: Vec<u8>) -> wasmtime::Result<()> {
    let Some(added) = added else {
        wasmtime::bail!("only on_before_connect and on_before_request add headers to an answer");
    };
    added.add(name, value).map_err(wasmtime::Error::msg)
}

impl From<door::Verdict> for HookVerdict {
    fn from(verdict: door::Verdict) -> Self {
        match verdict {
            door::Verdict::Forward(request) => Self::Forward(Request {
                method: request.method,
                uri: request.uri,
                headers: request.headers,
                body: request.body.into(),
            }),
            door::Verdict::Respond(response) => Self::Respond(response.into()),
            door::Verdict::Refuse(frame) => Self::Refuse(frame.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hooks_before_a_room_add_headers() {
        let header = || ("set-cookie".to_owned(), b"a=1".to_vec());
        let (name, value) = header();
        let error = add(None, name, value).unwrap_err().to_string();
        assert!(error.contains("only on_before_connect and on_before_request"), "{error}");
        let mut added = AddedHeaders::default();
        let (name, value) = header();
        add(Some(&mut added), name, value).unwrap();
        assert_eq!(added.into_iter().collect::<Vec<_>>(), [header()]);
    }
}
