//! When a cron is due. Owns how expressions and time zones are read, what becomes of hours that a change of clocks leaves
//! out or repeats, and how a time is written.
//!
//! Invariant: every expression that was read has planned times, and the next one is after the time that was asked for.
//! Pure: it does not know what time it is, or who waits.
//!
//! An expression that names its hours is due once at each time that it names: if a change of clocks leaves the time out,
//! at the first moment after the gap, and if the time comes twice, at the first of both. An expression for every hour
//! (`*`) goes on by real time: it skips what does not exist, and is due in both of two equal hours.

use crate::limits::fixed::CRON_SCHEDULE_BYTES_MAX;
use chrono::{DateTime, MappedLocalTime, NaiveDate, SecondsFormat, TimeZone, Utc};
use chrono_tz::{GapInfo, TZ_VARIANTS, Tz};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

/// The planned times of a cron.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    cron: Cron,
    zone: Tz,
    hours: PlannedHours,
}

/// The hours of a day that an expression names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PlannedHours {
    /// All of them, with `*`.
    Every,
    /// Those that it lists.
    Named,
}

/// The reason why an expression or a time zone is invalid, as a sentence that says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScheduleError(String);

/// A field of an expression.
struct Field {
    name: &'static str,
    /// The values that it may have, in words.
    values: &'static str,
    /// The names of values.
    names: &'static [&'static str],
    /// Letters that stand for the last or the nearest day, alone or behind a value.
    marks: &'static [char],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", values: "0 to 59", names: &[], marks: &[] },
    Field { name: "hour", values: "0 to 23", names: &[], marks: &[] },
    Field {
        name: "day of the month",
        values: "1 to 31, or L for the last one",
        names: &[],
        marks: &['L', 'W'],
    },
    Field {
        name: "month",
        values: "1 to 12, or JAN to DEC",
        names: &[
            "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
        ],
        marks: &[],
    },
    Field {
        name: "day of the week",
        values: "0 to 7, where 0 and 7 are Sunday, or SUN to SAT",
        names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
        marks: &['L'],
    },
];

/// Short names, with their expressions.
const NICKNAMES: [(&str, &str); 5] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
];

/// Returns a time in milliseconds since 1970 as RFC 3339 writes it, in UTC. Times after the year 9999 are written as its end.
pub fn rfc3339(at_ms: u64) -> String {
    const LAST_MS: i64 = 253_402_300_799_999;
    let at_ms = i64::try_from(at_ms).unwrap_or(LAST_MS).min(LAST_MS);
    let time = DateTime::<Utc>::from_timestamp_millis(at_ms).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

impl Schedule {
    /// Reads an expression of five fields (minute, hour, day of the month, month, day of the week), and the name of a
    /// time zone.
    ///
    /// # Errors
    /// [`ScheduleError`]: one of them is invalid, or the expression names no date that exists.
    pub fn parse(expression: &str, zone: &str) -> Result<Self, ScheduleError> {
        let wrong = |why: String| Err(ScheduleError(why));
        if expression.len() > CRON_SCHEDULE_BYTES_MAX {
            return wrong(format!(
                "the schedule has {} bytes, at most {CRON_SCHEDULE_BYTES_MAX} are allowed",
                expression.len()
            ));
        }
        let zone = parse_zone(zone)?;
        let plain = written_out(expression)?;
        let fields: Vec<&str> = plain.split_whitespace().collect();
        if fields.len() != FIELDS.len() {
            return wrong(format!(
                "the schedule {expression:?} has {} fields: write five, for minute, hour, day of the month, month and \
                 day of the week, as in \"0 3 * * *\"",
                fields.len()
            ));
        }
        for (at, (field, text)) in FIELDS.iter().zip(&fields).enumerate() {
            if !field.allows(at, text) {
                return wrong(format!(
                    "the {} {text:?} of the schedule {expression:?} is invalid: write {}, a list such as 1,5, a range \
                     such as 1-5, a step such as */5, or *",
                    field.name, field.values
                ));
            }
        }
        let every = fields[1] == "*";
        let hours = if every { PlannedHours::Every } else { PlannedHours::Named };
        let cron = parser().parse(&plain).map_err(|error| {
            ScheduleError(format!("the schedule {expression:?} is invalid: {error}"))
        })?;
        match beginning().is_some_and(|begin| cron.find_next_occurrence(&begin, true).is_ok()) {
            true => Ok(Self { cron, zone, hours }),
            false => wrong(format!(
                "the schedule {expression:?} is never due: none of its months has that day"
            )),
        }
    }

    /// Returns the first planned time after this one, in milliseconds since 1970; `None` beyond the end of the calendar.
    pub fn next_after(&self, at_ms: u64) -> Option<u64> {
        let at = DateTime::from_timestamp_millis(i64::try_from(at_ms).ok()?)?;
        let at = at.with_timezone(&self.zone);
        let next = match self.hours {
            PlannedHours::Every => self.cron.find_next_occurrence(&at, false).ok()?,
            PlannedHours::Named => self.next_by_wall_clock(&at)?,
        };
        u64::try_from(next.timestamp_millis()).ok()
    }

    /// Returns the last planned time after `from_ms` and not after `until_ms`.
    pub fn last_within(&self, from_ms: u64, until_ms: u64) -> Option<u64> {
        let next = |after_ms, end_ms| self.next_after(after_ms).filter(|at_ms| *at_ms <= end_ms);
        let (mut found, mut end_ms) = (next(from_ms, until_ms)?, until_ms);
        // Nothing is planned after `end_ms`. Each step halves the rest, or ends.
        while next(found, end_ms).is_some() {
            let middle = found + (end_ms - found) / 2;
            match next(middle, end_ms) {
                Some(later) => found = later,
                None => end_ms = middle,
            }
        }
        Some(found)
    }

    /// Returns the next time that the wall clock of the zone shows.
    fn next_by_wall_clock(&self, at: &DateTime<Tz>) -> Option<DateTime<Tz>> {
        let mut wall = at.naive_local();
        loop {
            wall = self.cron.find_next_occurrence(&wall, false).ok()?;
            let moment = match self.zone.from_local_datetime(&wall) {
                MappedLocalTime::Single(moment) => moment,
                MappedLocalTime::Ambiguous(first, _) => first,
                MappedLocalTime::None => GapInfo::new(&wall, &self.zone)?.end?,
            };
            // In the second of two equal hours, the first is over.
            if moment > *at {
                return Some(moment);
            }
        }
    }
}

impl Field {
    /// Returns true if the text is valid as the field at this position.
    fn allows(&self, at: usize, text: &str) -> bool {
        let words = |item: &str| item.split(['-', '/', '#']).all(|word| self.knows(word));
        let mut alone = ["*"; FIELDS.len()];
        alone[at] = text;
        text.split(',').all(words) && parser().parse(&alone.join(" ")).is_ok()
    }

    fn knows(&self, word: &str) -> bool {
        let bare = word.trim_end_matches(self.marks);
        let is_number = !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_digit());
        let is_mark = bare.is_empty() && !word.is_empty();
        is_number || is_mark || matches!(word, "*" | "?") || self.names.contains(&bare)
    }
}

/// Returns the expression in capital letters, and that of a short name.
fn written_out(expression: &str) -> Result<String, ScheduleError> {
    let plain = expression.trim();
    if !plain.starts_with('@') {
        return Ok(plain.to_ascii_uppercase());
    }
    let known = NICKNAMES.iter().find(|(name, _)| *name == plain);
    known.map(|(_, plain)| (*plain).to_owned()).ok_or_else(|| {
        let known = NICKNAMES.map(|(name, _)| name).join(", ");
        ScheduleError(format!("the schedule {plain:?} is unknown: write {known}, or five fields"))
    })
}

fn parser() -> CronParser {
    CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build()
}

/// Returns a time from which every date that exists is found: any, as the calendar repeats itself.
fn beginning() -> Option<chrono::NaiveDateTime> {
    NaiveDate::from_ymd_opt(2024, 1, 1)?.and_hms_opt(0, 0, 0)
}

fn parse_zone(name: &str) -> Result<Tz, ScheduleError> {
    if let Ok(zone) = name.parse() {
        return Ok(zone);
    }
    let shown: String = name.chars().take(CRON_SCHEDULE_BYTES_MAX).collect();
    let city = |name: &str| {
        name.rsplit('/').next().unwrap_or_default().replace(' ', "_").to_ascii_lowercase()
    };
    let near = TZ_VARIANTS.iter().map(|zone| zone.name()).find(|known| city(known) == city(&shown));
    let advice = match near {
        Some(near) => format!("did you mean {near:?}?"),
        None => "write a name of the tz database, as in \"Europe/Berlin\"".to_owned(),
    };
    Err(ScheduleError(format!("the time zone {shown:?} is unknown: {advice}")))
}

#[cfg(test)]
mod tests;
