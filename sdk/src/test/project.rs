//! Several rooms of one project under test, which call each other.
//!
//! Owns the way of a call from one room to another and back. Invariant: a call is carried out once, and rooms take turns in
//! the order in which they were added. It does not know how a room runs.

use std::cell::RefCell;
use std::rc::Rc;

use super::outcalls::{CallPayload, GivenAnswer, PendingCall};
use super::runner::Runner;
use super::{Builder, TestRoom};
use crate::Room;
use crate::host::RoomAddress;
use crate::outcall::{Call, OutcallFailure};

/// After so many calls, rooms that call each other again and again fail the test.
const CALLS_MAX: usize = 10_000;

/// The rooms of one project in a test.
///
/// ```
/// use room_sdk::prelude::*;
/// use room_sdk::test::TestProject;
///
/// #[derive(Default)]
/// struct Lobby;
///
/// impl Room for Lobby {
///     fn on_call(&mut self, ctx: &Context, call: Call) -> Result<Reply> {
///         ctx.storage().put(call.room(), &call.data::<u32>()?)?;
///         Ok(Reply::done())
///     }
/// }
///
/// #[derive(Default)]
/// struct Chat;
///
/// impl Room for Chat {
///     fn on_connect(&mut self, ctx: &Context, _: &Connection, _: &Request) -> Result {
///         ctx.room("lobby", "index").call(&ctx.connections().len());
///         Ok(())
///     }
/// }
///
/// let mut project = TestProject::new();
/// let lobby = project.room::<Lobby>("lobby", "index");
/// let chat = project.room::<Chat>("chat", "rust");
/// let _ada = chat.connect("ada");
/// project.settle();
/// assert_eq!(lobby.storage().get::<u32>("rust"), Some(1));
/// ```
#[derive(Default)]
pub struct TestProject {
    members: Vec<Rc<dyn Member>>,
}

impl std::fmt::Debug for TestProject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestProject").field("rooms", &self.members.len()).finish()
    }
}

/// A room of the project, whatever its type.
trait Member {
    fn address(&self) -> RoomAddress;
    fn calls(&self) -> Vec<PendingCall>;
    fn know(&self, other: &RoomAddress);
    fn carry_out(&self, from: RoomAddress, call: &PendingCall) -> GivenAnswer;
    fn answer(&self, call: &PendingCall, answer: GivenAnswer);
}

impl<R: Room> Member for RefCell<Runner<R>> {
    fn address(&self) -> RoomAddress {
        let runner = self.borrow();
        RoomAddress { party: runner.world.party.clone(), room: runner.world.name.clone() }
    }

    fn calls(&self) -> Vec<PendingCall> {
        self.borrow().world.pending_calls()
    }

    fn know(&self, other: &RoomAddress) {
        let RoomAddress { party, room } = other.clone();
        self.borrow_mut().world.others.insert((party, room));
    }

    fn carry_out(&self, from: RoomAddress, call: &PendingCall) -> GivenAnswer {
        let mut runner = self.borrow_mut();
        match &call.asked {
            CallPayload::Data(data) => {
                let call = Call { id: call.id(), from, data: data.clone() };
                GivenAnswer::Returned(runner.called(call))
            }
            CallPayload::Request(request) => {
                let response = runner.requested(request.clone(), None);
                runner.settle();
                let nothing = || OutcallFailure::new("failed", "the room returned nothing");
                GivenAnswer::Response(response.ok_or_else(nothing))
            }
        }
    }

    fn answer(&self, call: &PendingCall, answer: GivenAnswer) {
        self.borrow_mut().answered(call.number, answer);
    }
}

impl TestProject {
    /// A project without rooms.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a room with this party and name, and an empty storage.
    pub fn room<R: Room>(&mut self, party: &str, name: &str) -> TestRoom<R> {
        self.add(TestRoom::<R>::builder(name).party(party))
    }

    /// Adds a room as the builder has it.
    pub fn add<R: Room>(&mut self, builder: Builder<R>) -> TestRoom<R> {
        let room = builder.build();
        self.members.push(room.runner.clone());
        let addresses: Vec<_> = self.members.iter().map(|member| member.address()).collect();
        for member in &self.members {
            addresses.iter().for_each(|other| member.know(other));
        }
        room
    }

    /// Carries out the calls between the rooms, and delivers the answers, until none is left. A call of a room that the
    /// project does not have waits for the test's answer, as [`TestRoom::answer`] gives it.
    ///
    /// # Panics
    /// If the rooms call each other without an end.
    #[track_caller]
    pub fn settle(&self) {
        let mut carried_out = 0;
        while let Some((caller, call, callee)) = self.next_call() {
            carried_out += 1;
            assert!(carried_out < CALLS_MAX, "the rooms call each other again and again");
            let answer = callee.carry_out(caller.address(), &call);
            caller.answer(&call, answer);
        }
    }

    fn next_call(&self) -> Option<(&dyn Member, PendingCall, &dyn Member)> {
        self.members.iter().find_map(|caller| {
            let call_here = |call: PendingCall| {
                let callee = self.members.iter().find(|member| member.address() == call.to)?;
                Some((&**caller, call, &**callee))
            };
            caller.calls().into_iter().find_map(call_here)
        })
    }
}

impl<R: Room> TestRoom<R> {
    /// Calls the room, as another room does.
    ///
    /// # Errors
    /// The failure that the other room gets: `refused`, with the error that `on_call` returned.
    pub fn call(
        &self,
        (party, room): (&str, &str),
        data: impl Into<Vec<u8>>,
    ) -> Result<Vec<u8>, OutcallFailure> {
        let from = RoomAddress { party: party.to_owned(), room: room.to_owned() };
        let mut runner = self.runner.borrow_mut();
        runner.world.calls_made += 1;
        let id = format!("1-{}-0", runner.world.calls_made);
        runner.called(Call { id, from, data: data.into() })
    }
}
