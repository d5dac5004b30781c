//! Mistakes that the user can correct. Owns the parts of such a message: its kind, what, where, what to do.
//!
//! Invariant: an error that holds a [`Mistake`] exits with code 1, every other one with 2. Each has a kind, but for
//! one that only holds several. It does not know how it is drawn; that is `print`.

use crate::codes::Code;
use miette::{Diagnostic, LabeledSpan, NamedSource};
use std::fmt::Display;
use std::ops::Range;
use std::sync::Arc;

/// A mistake of the user: what is wrong, where, and what to do.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{message}")]
pub(crate) struct Mistake {
    message: String,
    code: Option<Code>,
    #[help]
    help: Option<String>,
    #[source_code]
    text: Option<Arc<NamedSource<String>>>,
    #[label(collection)]
    labels: Vec<LabeledSpan>,
    /// The mistakes that this one only groups.
    held: Vec<Mistake>,
}

impl Mistake {
    /// Returns a mistake of a kind, with nothing but its sentence.
    pub(crate) fn new(code: Code, message: impl Display) -> Self {
        Self {
            message: message.to_string(),
            code: Some(code),
            help: None,
            text: None,
            labels: Vec::new(),
            held: Vec::new(),
        }
    }

    /// Adds what to do about it.
    pub(crate) fn help(mut self, help: impl Display) -> Self {
        self.help = Some(help.to_string());
        self
    }

    /// Adds its place: the bytes `span` of `text`, which is the content of `file`.
    pub(crate) fn at(mut self, file: &str, text: &str, span: Range<usize>, label: &str) -> Self {
        // Past the end means "at the end", which is where a parser notices what is missing.
        let end = span.end.min(text.len());
        let span = span.start.min(end)..end;
        self.text = Some(Arc::new(NamedSource::new(file, text.to_owned())));
        self.labels = vec![LabeledSpan::new_with_span(Some(label.to_owned()), span)];
        self
    }

    /// Returns several mistakes as one, or the only one itself.
    pub(crate) fn all(message: impl Display, mut mistakes: Vec<Mistake>) -> Self {
        if mistakes.len() == 1 {
            return mistakes.remove(0);
        }
        Self {
            message: message.to_string(),
            code: None,
            help: None,
            text: None,
            labels: Vec::new(),
            held: mistakes,
        }
    }

    /// Returns its kind; `None` if it only groups others.
    pub(crate) fn code(&self) -> Option<Code> {
        self.code
    }

    /// Returns the mistakes that it groups.
    pub(crate) fn held(&self) -> &[Mistake] {
        &self.held
    }
}
