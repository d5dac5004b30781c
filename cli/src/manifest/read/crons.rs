//! `[crons]` of a manifest. Owns the messages about its mistakes.
//!
//! Invariant: as of the reader whose part it is. It does not know when a cron is due.

use super::{CRON, ManifestReader, Value};
use crate::codes::Code;
use crate::manifest::Party;
use room_runtime::config::{Cron, too_many_crons};
use room_runtime::{CronSetting, Limits, PartyName};
use std::ops::Range;

/// The two forms of a cron.
const FORMS: &str = "write it as `prune = \"0 3 * * *\"`, or as `prune = { schedule = \"0 3 * * *\", \
                     zone = \"Europe/Berlin\", party = \"main\", room = \"index\" }`";

/// A cron, and its place in the file.
pub(super) type WrittenCron = (Range<usize>, CronSetting);

impl ManifestReader<'_> {
    pub(super) fn crons(&mut self, value: &Value<'_>) -> Vec<WrittenCron> {
        let mut crons = Vec::new();
        let Some(table) = self.table("crons", value) else {
            return crons;
        };
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let setting = match value.get_ref().as_str() {
                Some(schedule) => Some(CronSetting::new(name, schedule)),
                None => self.cron(name, value),
            };
            crons.extend(setting.map(|setting| (value.span(), setting)));
        }
        crons
    }

    fn cron(&mut self, name: &str, value: &Value<'_>) -> Option<CronSetting> {
        let place = format!("crons.{name}");
        let Some(table) = value.get_ref().as_table() else {
            self.wrong_type(&place, "a schedule in quotes, or a section", value);
            self.help_last(FORMS);
            return None;
        };
        let mut setting = CronSetting::new(name, "");
        let (mut schedule, mut room, mut all) = (None, None, None);
        for (key, value) in table {
            let key_name = key.get_ref().as_ref();
            if !CRON.contains(&key_name) {
                self.unknown(key, &format!("[{place}]"), CRON);
                continue;
            }
            let text = self.string(&format!("{place}.{key_name}"), value)?;
            match key_name {
                "schedule" => schedule = Some(text),
                "zone" => setting.zone = text,
                "party" => setting.party = text,
                "room" => room = Some(text),
                _ => all = Some((text, value.span())),
            }
        }
        if let Some((text, span)) = all.as_ref().filter(|(text, _)| text != "all") {
            let message = format!("`{place}.rooms` must be \"all\", not {text:?}");
            self.complain(Code::BadCron, &message, span.clone(), "here").help_last(
                "`rooms = \"all\"` calls each stored room; one room is `room = \"index\"`",
            );
            return None;
        }
        if let (Some(_), Some((_, span))) = (&room, &all) {
            let message = format!("`{place}` has both `room` and `rooms`");
            self.complain(Code::BadCron, &message, span.clone(), "the second one")
                .help_last("remove one of them");
            return None;
        }
        let Some(schedule) = schedule else {
            let message = format!("the cron {name:?} has no schedule");
            self.complain(Code::BadCron, &message, value.span(), "this cron").help_last(FORMS);
            return None;
        };
        setting.schedule = schedule;
        if all.is_some() {
            setting.room = None;
        } else if room.is_some() {
            setting.room = room;
        }
        Some(setting)
    }

    /// Reports invalid crons, and too many of them, when all keys are read.
    pub(super) fn checked_crons(
        &mut self,
        crons: Vec<WrittenCron>,
        parties: &[Party],
        limits: &Limits,
    ) -> Vec<CronSetting> {
        let names: Vec<PartyName> = parties.iter().map(|party| party.name.clone()).collect();
        let count = crons.len();
        let mut settings = Vec::with_capacity(count);
        for (span, setting) in crons {
            let checked: Result<Cron, _> = setting.check(limits);
            let problem = match &checked {
                Err(error) => Some(error.to_string()),
                Ok(cron) if !names.contains(&cron.party) => {
                    Some(cron.without_party(&names).to_string())
                }
                Ok(_) => None,
            };
            if let Some(problem) = problem {
                self.complain(Code::BadCron, &problem, span.clone(), "this cron");
            }
            if settings.len() as u64 == limits.crons_max {
                let message = too_many_crons(count, limits).to_string();
                self.complain(Code::BadCron, &message, span, "the first that is too many");
            }
            settings.push(setting);
        }
        settings
    }
}
