//! Parties that had another name before. Owns which old names are valid.
//!
//! Invariant: an old name is no party of the project, and belongs to one party only, so that each stored room has one
//! name. It does not know where rooms are stored.

use crate::id::PartyName;

/// A party's two names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartyRename {
    /// The old name.
    pub was: PartyName,
    /// The new name.
    pub now: PartyName,
}

/// The reason why a party cannot have had this name, as a sentence that says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct OldNameError {
    /// The party with the invalid old name.
    pub party: PartyName,
    text: String,
}

impl PartyRename {
    /// Checks the parties of a project, each with its old name if it has one, and returns the renames.
    ///
    /// # Errors
    /// [`OldNameError`]: an old name is invalid, is a party of the project, or belongs to two parties.
    pub fn parse_all<'a>(
        parties: impl Iterator<Item = (PartyName, Option<&'a str>)> + Clone,
    ) -> Result<Vec<Self>, OldNameError> {
        let mut renames: Vec<Self> = Vec::new();
        for (now, was) in parties.clone() {
            let Some(was) = was else { continue };
            let wrong = |text| Err(OldNameError { party: now.clone(), text });
            let was = match PartyName::parse(was) {
                Ok(was) => was,
                Err(error) => return wrong(format!("the party {now}, `was`: {error}")),
            };
            if parties.clone().any(|(party, _)| party == was) {
                return wrong(format!(
                    "the party {now} was {was}, which is still a party of the project: remove that party, or `was`"
                ));
            }
            if let Some(other) = renames.iter().find(|other| other.was == was) {
                let other = &other.now;
                return wrong(format!(
                    "the parties {other} and {now} both have `was = \"{was}\"`: only one of them can have its rooms"
                ));
            }
            renames.push(Self { was, now });
        }
        Ok(renames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(parties: &[(&str, Option<&'static str>)]) -> Result<Vec<(String, String)>, String> {
        let parties = parties.iter().map(|(now, was)| (PartyName::parse(now).unwrap(), *was));
        let renames = PartyRename::parse_all(parties).map_err(|error| error.to_string())?;
        Ok(renames.into_iter().map(|own| (own.was.to_string(), own.now.to_string())).collect())
    }

    #[test]
    fn an_old_name_belongs_to_one_party_and_cannot_be_a_party() {
        let renamed = parsed(&[("chat", Some("Main")), ("game", None)]).unwrap();
        assert_eq!(renamed, [("main".to_owned(), "chat".to_owned())]);
        for (parties, part) in [
            (&[("chat", Some("main")), ("main", None)][..], "main, which is still a party"),
            (&[("chat", Some("chat"))], "chat, which is still a party"),
            (&[("a", Some("main")), ("b", Some("main"))], "the parties a and b both"),
            (&[("chat", Some("a b"))], "the party name has ' ' in it"),
        ] {
            let error = parsed(parties).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
