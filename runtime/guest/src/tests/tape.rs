//! Sources of samples that note what they give, and that give what was noted. Owns the tape between both.
//!
//! Invariant: a player gives the samples in the order in which they were recorded, and nothing else. It does not
//! know what a guest does with them.

use crate::samples::SampleSource;
use room_core::lock::lock;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One answer of a [`SampleSource`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Sample {
    Wall(Duration),
    Monotonic(Duration),
    Random(Vec<u8>),
}

/// Samples in the order in which a source gives them. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Tape(Arc<Mutex<VecDeque<Sample>>>);

impl Tape {
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut VecDeque<Sample>) -> T) -> T {
        act(&mut lock(&self.0))
    }

    pub(super) fn take(&self) -> Vec<Sample> {
        self.with(|samples| samples.drain(..).collect())
    }
}

/// A source that notes the samples of another one.
pub(super) struct Recorder {
    pub(super) source: Box<dyn SampleSource>,
    pub(super) tape: Tape,
}

impl Recorder {
    fn note(&self, sample: Sample) {
        self.tape.with(|samples| samples.push_back(sample));
    }
}

impl SampleSource for Recorder {
    fn wall(&mut self) -> Duration {
        let wall = self.source.wall();
        self.note(Sample::Wall(wall));
        wall
    }

    fn monotonic(&mut self) -> Duration {
        let monotonic = self.source.monotonic();
        self.note(Sample::Monotonic(monotonic));
        monotonic
    }

    fn random(&mut self, bytes: &mut [u8]) {
        self.source.random(bytes);
        self.note(Sample::Random(bytes.to_vec()));
    }
}

/// A source that gives the noted samples, and nothing else.
pub(super) struct Player(pub(super) Tape);

impl SampleSource for Player {
    fn wall(&mut self) -> Duration {
        match self.0.with(VecDeque::pop_front) {
            Some(Sample::Wall(wall)) => wall,
            other => panic!("the wall clock was read, and recorded was {other:?}"),
        }
    }

    fn monotonic(&mut self) -> Duration {
        match self.0.with(VecDeque::pop_front) {
            Some(Sample::Monotonic(monotonic)) => monotonic,
            other => panic!("the monotonic clock was read, and recorded was {other:?}"),
        }
    }

    fn random(&mut self, bytes: &mut [u8]) {
        match self.0.with(VecDeque::pop_front) {
            Some(Sample::Random(random)) => bytes.copy_from_slice(&random),
            other => panic!("random bytes were asked for, and recorded was {other:?}"),
        }
    }
}
