//! What clients heard against what was said. Owns the verdict.
//!
//! Invariant: a client that heard each message that was for it, once and in order, and nothing else, passes. Nobody else
//! does. It does not know servers.

use room_tests::Dice;
use serde_json::{Value, json};
use std::fmt;

/// The tag of every third client.
pub(crate) const TAG: &str = "thirds";

/// A message, and whom it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Saying {
    pub(crate) number: u64,
    pub(crate) to: To,
    /// Whether it is the last one, for all.
    pub(crate) is_last: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum To {
    All,
    One(usize),
    AllBut(usize),
    Thirds,
}

/// Something that a client heard that it should not, or the other way round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    client: usize,
    text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {}: {}", self.client, self.text)
    }
}

/// Returns the id of a client.
pub(crate) fn name(client: usize) -> String {
    format!("c{client}")
}

impl Saying {
    /// Draws the next message.
    pub(crate) fn draw(number: u64, clients: usize, is_last: bool, dice: &mut Dice) -> Self {
        let to = match dice.below(8) {
            _ if is_last => To::All,
            0..2 => To::One(dice.below(clients)),
            2..4 => To::AllBut(dice.below(clients)),
            4..6 => To::Thirds,
            _ => To::All,
        };
        Self { number, to, is_last }
    }

    /// Returns what the room has to do: say it, and answer the speaker.
    pub(crate) fn script(&self) -> Value {
        let text = self.text();
        let saying = match &self.to {
            To::All => json!({"broadcast": text}),
            To::One(client) => json!({"send_to": [name(*client), text]}),
            To::AllBut(client) => json!({"broadcast_except": [text, [name(*client)]]}),
            To::Thirds => json!({"broadcast_tagged": [text, TAG]}),
        };
        json!([saying, {"say": format!("done {}", self.number)}])
    }

    /// Returns its text.
    pub(crate) fn text(&self) -> String {
        format!("{} {}", if self.is_last { "last" } else { "said" }, self.number)
    }

    /// Returns whether a client is owed it.
    fn is_for(&self, client: usize) -> Owed {
        match self.to {
            To::All => Owed::Yes,
            To::One(to) if to != client => Owed::No,
            // A client without a connection cannot be named: then it is not said to it, or said to it as to all.
            To::One(_) => Owed::IfNamed,
            To::AllBut(out) if out != client => Owed::Yes,
            To::AllBut(_) => Owed::IfNotNamed,
            To::Thirds if client.is_multiple_of(3) => Owed::Yes,
            To::Thirds => Owed::No,
        }
    }
}

/// Whether a client is owed a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owed {
    Yes,
    No,
    /// If it had a connection when the room spoke, which only the room knows.
    IfNamed,
    /// If it had none.
    IfNotNamed,
}

/// Compares what a client heard with what was said to it.
pub(crate) fn judge(
    client: usize,
    heard: &[String],
    arrivals: &[String],
    said: &[Saying],
) -> Vec<Fault> {
    let fault = |text: String| Fault { client, text };
    let mut faults = Vec::new();
    if let Some(gap) = arrivals.iter().find(|arrival| arrival.starts_with("gap")) {
        faults.push(fault(format!("was told of a {gap}, and the log forgets nothing")));
    }
    let mut rest = heard.iter().peekable();
    for saying in said {
        let text = saying.text();
        let is_next = rest.peek().is_some_and(|next| **next == text);
        match (saying.is_for(client), is_next) {
            (Owed::Yes, false) => {
                let next = rest.peek();
                faults.push(fault(format!("misses {saying:?}, and heard {next:?} in its place")));
                return faults;
            }
            (Owed::No, true) => faults.push(fault(format!("heard {saying:?}"))),
            (_, false) => {}
            (_, true) => drop(rest.next()),
        }
    }
    if let Some(extra) = rest.next() {
        faults.push(fault(format!("heard {extra:?} twice, or too late, or it was never said")));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said() -> Vec<Saying> {
        let to = [To::All, To::One(1), To::AllBut(2), To::Thirds, To::All];
        let numbered = to.into_iter().zip(1..);
        numbered.map(|(to, number)| Saying { number, to, is_last: number == 5 }).collect()
    }

    fn faults(client: usize, heard: &[&str]) -> Vec<Fault> {
        let heard: Vec<_> = heard.iter().map(|text| (*text).to_owned()).collect();
        judge(client, &heard, &["new".to_owned(), "continued".to_owned()], &said())
    }

    #[test]
    fn a_client_that_heard_what_it_was_owed_passes() {
        assert_eq!(faults(0, &["said 1", "said 3", "said 4", "last 5"]), []);
        assert_eq!(faults(1, &["said 1", "said 2", "said 3", "last 5"]), []);
        assert_eq!(faults(1, &["said 1", "said 3", "last 5"]), [], "it had no connection");
        assert_eq!(faults(2, &["said 1", "last 5"]), []);
        assert_eq!(faults(2, &["said 1", "said 3", "last 5"]), [], "it had no connection");
    }

    #[test]
    fn lost_doubled_swapped_foreign_and_invented_messages_are_found() {
        for (client, heard) in [
            (0, &["said 1", "said 4", "last 5"][..]),
            (0, &["said 1", "said 3", "said 4"]),
            (0, &[]),
            (0, &["said 1", "said 1", "said 3", "said 4", "last 5"]),
            (0, &["said 1", "said 3", "said 4", "last 5", "last 5"]),
            (0, &["said 3", "said 1", "said 4", "last 5"]),
            (0, &["said 1", "said 2", "said 3", "said 4", "last 5"]),
            (1, &["said 1", "said 3", "said 4", "last 5"]),
            (1, &["said 1", "said 3", "said 2", "last 5"]),
            (2, &["said 1", "said 7", "last 5"]),
        ] {
            assert!(!faults(client, heard).is_empty(), "{client}: {heard:?}");
        }
    }

    #[test]
    fn a_gap_is_a_fault_even_if_nothing_is_missing() {
        let heard: Vec<_> = ["said 1", "last 5"].map(str::to_owned).into();
        let arrivals = ["new".to_owned(), "gap too_old".to_owned()];
        assert_eq!(judge(2, &heard, &arrivals, &said()).len(), 1);
    }
}
