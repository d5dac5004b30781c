//! Expressions, time zones, and the two days a year that are not 24 hours long.

use super::*;
use proptest::prelude::*;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

fn of(expression: &str, zone: &str) -> Schedule {
    Schedule::parse(expression, zone).unwrap()
}

/// Returns a time in milliseconds since 1970.
fn ms(text: &str) -> u64 {
    let time = DateTime::parse_from_rfc3339(text).unwrap();
    u64::try_from(time.timestamp_millis()).unwrap()
}

/// Returns the first planned times after this one, as their zone writes them.
fn times(schedule: &Schedule, after: &str, count: usize) -> Vec<String> {
    let mut at_ms = ms(after);
    let next = |_| {
        at_ms = schedule.next_after(at_ms).unwrap();
        let at = DateTime::from_timestamp_millis(i64::try_from(at_ms).unwrap()).unwrap();
        at.with_timezone(&schedule.zone).format("%m-%dT%H:%M%:z").to_string()
    };
    (0..count).map(next).collect()
}

#[test]
fn a_schedule_is_due_by_the_clock_of_its_zone() {
    let berlin = of("30 3 * * MON", "Europe/Berlin");
    assert_eq!(
        times(&berlin, "2026-03-20T00:00:00Z", 3),
        ["03-23T03:30+01:00", "03-30T03:30+02:00", "04-06T03:30+02:00"]
    );
    assert_eq!(times(&of("@monthly", "UTC"), "2026-01-31T00:00:00Z", 1), ["02-01T00:00+00:00"]);
    assert_eq!(times(&of("0 0 29 2 *", "UTC"), "2026-01-01T00:00:00Z", 1), ["02-29T00:00+00:00"]);
    assert_eq!(
        times(&of("0 9 L * *", "Asia/Kolkata"), "2026-02-01T00:00:00Z", 1),
        ["02-28T09:00+05:30"]
    );
    // Lower case, and more space than needed.
    assert_eq!(of(" 5  1 * jan sun ", "UTC"), of("5 1 * JAN SUN", "UTC"));
}

#[test]
fn a_planned_time_is_after_the_time_that_was_asked_for() {
    let schedule = of("*/5 * * * *", "UTC");
    let at = ms("2026-05-01T10:05:00Z");
    for (after, wanted) in [(at - 1, at), (at, at + 5 * MINUTE), (at + 999, at + 5 * MINUTE)] {
        assert_eq!(schedule.next_after(after), Some(wanted));
    }
    assert_eq!(schedule.next_after(u64::MAX), None);
}

/// Berlin, 29 March 2026: 01:59 is followed by 03:00.
#[test]
fn an_hour_that_does_not_exist_is_due_once_after_it() {
    let before = "2026-03-29T00:30:00+01:00";
    let berlin = |expression| times(&of(expression, "Europe/Berlin"), before, 2);
    assert_eq!(berlin("30 2 * * *"), ["03-29T03:00+02:00", "03-30T02:30+02:00"]);
    // Several times in the gap are due once, and hours that exist are not moved.
    assert_eq!(berlin("0,15,30 2 * * *"), ["03-29T03:00+02:00", "03-30T02:00+02:00"]);
    assert_eq!(berlin("0 2,3 * * *"), ["03-29T03:00+02:00", "03-30T02:00+02:00"]);
    assert_eq!(berlin("0 */2 * * *"), ["03-29T03:00+02:00", "03-29T04:00+02:00"]);
    // Every hour goes on by real time.
    assert_eq!(berlin("30 * * * *"), ["03-29T01:30+01:00", "03-29T03:30+02:00"]);
    // Samoa left out a whole day.
    let samoa = times(&of("0 12 * * *", "Pacific/Apia"), "2011-12-29T20:00:00-10:00", 2);
    assert_eq!(samoa, ["12-31T00:00+14:00", "12-31T12:00+14:00"]);
}

/// Berlin, 25 October 2026: 02:59 is followed by 02:00.
#[test]
fn an_hour_that_comes_twice_is_due_once() {
    let before = "2026-10-25T00:30:00+02:00";
    let berlin = |expression, count| times(&of(expression, "Europe/Berlin"), before, count);
    assert_eq!(berlin("30 2 * * *", 2), ["10-25T02:30+02:00", "10-26T02:30+01:00"]);
    assert_eq!(
        berlin("0,30 2,3 * * *", 4),
        ["10-25T02:00+02:00", "10-25T02:30+02:00", "10-25T03:00+01:00", "10-25T03:30+01:00"]
    );
    // Every hour goes on by real time.
    assert_eq!(
        berlin("30 * * * *", 4),
        ["10-25T01:30+02:00", "10-25T02:30+02:00", "10-25T02:30+01:00", "10-25T03:30+01:00"]
    );
    // Asked in the second of the two hours, the first is over.
    let schedule = of("30 2 * * *", "Europe/Berlin");
    assert_eq!(times(&schedule, "2026-10-25T02:10:00+01:00", 1), ["10-26T02:30+01:00"]);
}

#[test]
fn the_last_planned_time_of_a_long_stop_is_found_in_few_steps() {
    let now = ms("2026-06-15T10:30:30Z");
    for (expression, wanted) in [
        ("* * * * *", now - 30_000),
        ("0 3 * * *", ms("2026-06-15T03:00:00Z")),
        ("0 0 1 1 *", ms("2026-01-01T00:00:00Z")),
        // Every minute of a third of each month.
        ("* * 1-10 * *", ms("2026-06-10T23:59:00Z")),
    ] {
        let schedule = of(expression, "UTC");
        assert_eq!(schedule.last_within(0, now), Some(wanted), "{expression}");
        assert_eq!(schedule.last_within(wanted - 1, now), Some(wanted), "{expression}");
        assert_eq!(schedule.last_within(wanted, now), None, "{expression}");
        assert_eq!(schedule.last_within(now, now - DAY), None, "{expression}");
    }
}

#[test]
fn a_typo_is_named_with_its_field_and_advice() {
    for (expression, zone, parts) in [
        ("0 25 * * *", "UTC", ["the hour \"25\"", "0 to 23"]),
        ("61 * * * *", "UTC", ["the minute \"61\"", "0 to 59"]),
        ("0 3 32 * *", "UTC", ["the day of the month \"32\"", "1 to 31"]),
        ("0 3 * JNA *", "UTC", ["the month \"JNA\"", "JAN to DEC"]),
        ("0 3 * * 8", "UTC", ["the day of the week \"8\"", "SUN to SAT"]),
        ("0 3 * * MNO", "UTC", ["the day of the week \"MNO\"", "SUN to SAT"]),
        ("MON 3 * * *", "UTC", ["the minute \"MON\"", "0 to 59"]),
        ("0 1,,2 * * *", "UTC", ["the hour \"1,,2\"", "a list such as 1,5"]),
        ("0 , * * *", "UTC", ["the hour \",\"", "0 to 23"]),
        ("*/0 * * * *", "UTC", ["the minute \"*/0\"", "a step"]),
        ("5-1 * * * *", "UTC", ["the minute \"5-1\"", "a range"]),
        ("0 3 * *", "UTC", ["has 4 fields", "write five"]),
        ("0 0 3 * * *", "UTC", ["has 6 fields", "\"0 3 * * *\""]),
        ("", "UTC", ["has 0 fields", "write five"]),
        ("@dayly", "UTC", ["\"@dayly\" is unknown", "@daily"]),
        ("0 0 30 2 *", "UTC", ["is never due", "\"0 0 30 2 *\""]),
        ("0 3 * * *", "europe/berlin", ["unknown", "did you mean \"Europe/Berlin\"?"]),
        ("0 3 * * *", "New York", ["unknown", "did you mean \"America/New_York\"?"]),
        ("0 3 * * *", "Atlantis", ["unknown", "a name of the tz database"]),
        ("0 3 * * *", "", ["unknown", "a name of the tz database"]),
    ] {
        let error = Schedule::parse(expression, zone).unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{expression} {zone}: {error}");
    }
    let long = format!("{} * * * *", vec!["1"; 200].join(","));
    assert!(Schedule::parse(&long, "UTC").unwrap_err().to_string().contains("at most 256"));
}

proptest! {
    #[test]
    fn any_text_is_a_schedule_with_planned_times_or_an_error(
        fields in prop::collection::vec("[0-9*/,A-Z#?-]{1,4}", 4..7),
        at_ms in 0..4_000_000_000_000_u64,
    ) {
        if let Ok(schedule) = Schedule::parse(&fields.join(" "), "America/New_York") {
            let next = schedule.next_after(at_ms).unwrap();
            prop_assert!(next > at_ms);
            prop_assert_eq!(schedule.last_within(at_ms, next), Some(next));
            prop_assert_eq!(schedule.last_within(at_ms, next - 1), None);
            let later = schedule.next_after(next).unwrap();
            prop_assert_eq!(schedule.last_within(at_ms, later), Some(later));
        }
    }

    #[test]
    fn any_bytes_are_refused_in_words(text in "\\PC{0,40}", zone in "\\PC{0,20}") {
        if let Err(error) = Schedule::parse(&text, &zone) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
