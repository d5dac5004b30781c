//! A project's answers outside of its rooms, in tests.
//!
//! Owns how they are asked and checked. Invariant: they have no room. It does not know how a room runs.

use super::limits;
use super::runner::{FAILED, Fault, Runner, guarded};
use crate::Room;
use crate::http::{Request, Response};
use crate::project::{ProjectEnv, SocketVerdict};

impl<R: Room> Runner<R> {
    pub(super) fn fetch(&mut self, request: Request) -> Option<Response> {
        let answer = self.outside(|| match R::on_fetch(request, &ProjectEnv::new()) {
            Ok(Some(response)) => limits::check_response(&response).map(|()| Some(response)),
            Ok(None) => Ok(None),
            Err(error) => Err(error.to_string()),
        });
        answer.unwrap_or_else(|| Some(Response::text(FAILED).with_status(500)))
    }

    pub(super) fn socket(&mut self, request: Request) -> Option<SocketVerdict> {
        self.outside(|| match R::on_socket(request, &ProjectEnv::new()) {
            Ok(SocketVerdict::Respond(response)) => {
                limits::check_response(&response).map(|()| SocketVerdict::Respond(response))
            }
            Ok(SocketVerdict::Refuse { code, .. }) if !(4000..=4999).contains(&code) => {
                Err(format!("a hook may refuse with 4000 to 4999, not {code}"))
            }
            Ok(verdict) => Ok(verdict),
            Err(error) => Err(error.to_string()),
        })
    }

    fn outside<T>(&mut self, ask: impl FnOnce() -> Result<T, String>) -> Option<T> {
        match guarded(&mut self.world, ask) {
            Ok(answer) => Some(answer),
            Err(Fault::Returned(error)) => {
                self.report_fault(error);
                None
            }
            Err(Fault::Panicked(message)) => {
                self.report_fault(format!("panicked: {message}"));
                None
            }
        }
    }
}
