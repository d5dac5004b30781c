//! The crons of a project. Owns the setting, and which crons are valid.
//!
//! Invariant: a [`Cron`] is due at some time, calls a party of its project, and has a name that no other one has. It
//! does not know who calls the rooms.

use crate::id::{PartyName, RoomId};
use crate::limits::fixed::{CRON_NAME_BYTES_MAX, CRON_SCHEDULE_BYTES_MAX};
use crate::limits::{Limits, size};
use crate::schedule::Schedule;
use serde::{Deserialize, Serialize};

/// One cron, as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CronSetting {
    /// Its name.
    pub name: String,
    /// When it is due, as [`Schedule::parse`] reads it.
    pub schedule: String,
    /// The time zone of the schedule.
    pub zone: String,
    /// The party whose rooms it calls.
    pub party: String,
    /// The room that it calls. Without one, it calls each stored room of the party.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
}

/// One cron, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    /// As it is written.
    pub setting: CronSetting,
    /// When it is due.
    pub schedule: Schedule,
    /// The party whose rooms it calls.
    pub party: PartyName,
    /// The room that it calls; `None` stands for each stored room of the party.
    pub room: Option<RoomId>,
}

/// The reason why a cron is invalid, as a sentence that says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CronError(String);

impl CronSetting {
    /// The time zone of a cron that names none.
    pub const ZONE: &str = "UTC";
    /// The party of a cron that names none.
    pub const PARTY: &str = "main";

    /// Returns the cron that has nothing but a schedule: in UTC, it calls a room with its own name of the party `main`.
    pub fn new(name: &str, schedule: &str) -> Self {
        let [name, schedule, zone, party] =
            [name, schedule, Self::ZONE, Self::PARTY].map(str::to_owned);
        Self { room: Some(name.clone()), name, schedule, zone, party }
    }

    /// Checks the cron by itself.
    ///
    /// # Errors
    /// [`CronError`], which names the cron.
    pub fn check(&self, limits: &Limits) -> Result<Cron, CronError> {
        self.checked(limits).map_err(|why| CronError(format!("the cron {:?}: {why}", self.shown())))
    }

    fn checked(&self, limits: &Limits) -> Result<Cron, String> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let length = self.name.len();
        if !(1..=CRON_NAME_BYTES_MAX).contains(&length) || !self.name.bytes().all(allowed) {
            return Err(format!(
                "the name of a cron must have 1 to {CRON_NAME_BYTES_MAX} letters, digits, `-` and `_`, as in \"prune\""
            ));
        }
        if self.zone.len() > CRON_SCHEDULE_BYTES_MAX {
            return Err(
                "the name of its time zone is too long: write it as \"Europe/Berlin\"".to_owned()
            );
        }
        let schedule = Schedule::parse(&self.schedule, &self.zone).map_err(|e| e.to_string())?;
        let party = PartyName::parse(&self.party).map_err(|error| error.to_string())?;
        let room_max = size(limits.room_name_bytes_max);
        let room = self.room.as_ref().map(|name| RoomId::new(party.clone(), name, room_max));
        let room = room.transpose().map_err(|error| error.to_string())?;
        Ok(Cron { setting: self.clone(), schedule, party, room })
    }

    /// Returns the start of its name.
    fn shown(&self) -> String {
        self.name.chars().take(CRON_NAME_BYTES_MAX).collect()
    }
}

impl Cron {
    /// Checks the crons of a project with these parties.
    ///
    /// # Errors
    /// [`CronError`]: a cron is invalid, two have one name, a party does not exist, or there are more than
    /// [`Limits::crons_max`].
    pub fn parse_all(
        settings: &[CronSetting],
        parties: &[PartyName],
        limits: &Limits,
    ) -> Result<Vec<Self>, CronError> {
        if settings.len() > size(limits.crons_max) {
            return Err(too_many_crons(settings.len(), limits));
        }
        let mut crons: Vec<Self> = Vec::with_capacity(settings.len());
        for setting in settings {
            let cron = setting.check(limits)?;
            if crons.iter().any(|other| other.setting.name == setting.name) {
                let name = &setting.name;
                return Err(CronError(format!("two crons are named {name:?}: rename one of them")));
            }
            if !parties.contains(&cron.party) {
                return Err(cron.without_party(parties));
            }
            crons.push(cron);
        }
        Ok(crons)
    }

    /// Returns the error about a cron whose party the project does not have.
    pub fn without_party(&self, parties: &[PartyName]) -> CronError {
        let known: Vec<&str> = parties.iter().map(PartyName::as_str).collect();
        CronError(format!(
            "the cron {:?} names the party {}, and the project has {}",
            self.setting.name,
            self.party,
            known.join(", ")
        ))
    }

    /// Returns the error about a cron that the code of its party has no function for.
    pub fn without_code(&self) -> CronError {
        CronError(format!(
            "the cron {:?} calls rooms of the party {}, whose code has no on_cron: build it with a room-sdk that has it, \
             or remove the cron",
            self.setting.name, self.party
        ))
    }
}

/// Returns the error about more crons than a project may have.
pub fn too_many_crons(count: usize, limits: &Limits) -> CronError {
    let max = limits.crons_max;
    CronError(format!(
        "there are {count} crons, crons_max allows {max}: remove some, or set crons_max in [limits]"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parties() -> Vec<PartyName> {
        ["main", "chat"].map(|name| PartyName::parse(name).unwrap()).to_vec()
    }

    fn parsed(settings: &[CronSetting]) -> Result<Vec<Cron>, String> {
        Cron::parse_all(settings, &parties(), &Limits::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_cron_calls_one_room_or_each_stored_one() {
        let short = CronSetting::new("prune", "0 3 * * *");
        let all = CronSetting { name: "all".to_owned(), room: None, ..short.clone() };
        let all = CronSetting { party: "Chat".to_owned(), zone: "Europe/Berlin".to_owned(), ..all };
        let crons = parsed(&[short, all]).unwrap();
        assert_eq!(crons[0].room.as_ref().unwrap().to_string(), "main/prune");
        assert_eq!((&crons[1].room, crons[1].party.as_str()), (&None, "chat"));
    }

    #[test]
    fn an_invalid_cron_is_named_with_advice() {
        let good = CronSetting::new("prune", "0 3 * * *");
        let long = "x".repeat(65);
        for (setting, parts) in [
            (CronSetting::new("a b", "0 3 * * *"), ["\"a b\"", "1 to 64 letters"]),
            (CronSetting::new("", "0 3 * * *"), ["\"\"", "1 to 64 letters"]),
            (CronSetting::new(&long, "0 3 * * *"), ["xxx", "1 to 64 letters"]),
            (CronSetting::new("prune", "0 24 * * *"), ["\"prune\"", "0 to 23"]),
            (CronSetting { zone: "Berlin".to_owned(), ..good.clone() }, ["prune", "Europe/Berlin"]),
            (CronSetting { zone: "x".repeat(300), ..good.clone() }, ["prune", "too long"]),
            (CronSetting { party: "mian".to_owned(), ..good.clone() }, ["mian", "main, chat"]),
            (CronSetting { party: "a b".to_owned(), ..good.clone() }, ["prune", "' '"]),
            (CronSetting { room: Some(String::new()), ..good.clone() }, ["prune", "empty"]),
            (CronSetting { room: Some("x".repeat(300)), ..good.clone() }, ["prune", "256"]),
        ] {
            let error = parsed(&[setting]).unwrap_err();
            assert!(parts.iter().all(|part| error.contains(part)), "{parts:?}: {error}");
        }
        let twice = parsed(&[good.clone(), good.clone()]).unwrap_err();
        assert_eq!(twice, "two crons are named \"prune\": rename one of them");
        let many: Vec<_> = (0..65).map(|n| CronSetting::new(&format!("c{n}"), "@daily")).collect();
        assert!(parsed(&many[..64]).is_ok());
        assert!(parsed(&many).unwrap_err().contains("crons_max allows 64"));
    }
}
