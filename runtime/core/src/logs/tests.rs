//! Which lines are kept, which are missed, and what watchers read.

use super::*;
use crate::id::PartyName;
use crate::report;
use proptest::prelude::*;
use std::time::Duration;

const START: Duration = Duration::from_secs(1_700_000_000);

fn logs(limits: &Limits) -> Logs {
    Logs::new(limits, Clock::at(START))
}

/// Returns the number of the log's first line.
fn first(logs: &Logs) -> u64 {
    let first = logs.ring().first();
    assert!(first >= 1_700_000_000_000_000, "{first}");
    first
}

fn small(log_ring_lines: u64) -> Limits {
    Limits { log_ring_lines, ..Limits::default() }
}

fn room(party: &str, name: &str) -> RoomId {
    RoomId::new(PartyName::parse(party).unwrap(), name, 256).unwrap()
}

fn watch(logs: &Logs, begin: WatchStart) -> Watcher {
    logs.watch(begin, LogFilter::default()).unwrap()
}

/// Returns what a watcher reads now, as words.
fn seen(watcher: &mut Watcher) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(batch) = watcher.read() {
        all.extend(batch.iter().map(|seen| match seen {
            WatchedLines::Restarted => "restarted".to_owned(),
            WatchedLines::Missed { count, .. } => format!("missed {count}"),
            WatchedLines::Line(line) => line.text.to_string(),
        }));
    }
    all
}

fn write(logs: &Logs, texts: impl IntoIterator<Item = u32>) {
    for text in texts {
        logs.node(LogLevel::Info, &text.to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_watcher_reads_exactly_how_many_lines_it_missed() {
    let logs = logs(&small(3));
    let mut slow = watch(&logs, WatchStart::Oldest);
    let mut quick = watch(&logs, WatchStart::Oldest);
    write(&logs, 1..=2);
    assert_eq!(seen(&mut quick), ["1", "2"]);
    write(&logs, 3..=5);
    assert_eq!(seen(&mut quick), ["3", "4", "5"]);
    assert_eq!(seen(&mut slow), ["missed 2", "3", "4", "5"]);
    assert_eq!(seen(&mut slow), [""; 0]);
    write(&logs, 6..=6);
    assert_eq!(seen(&mut slow), ["6"]);
}

#[tokio::test(start_paused = true)]
async fn a_returning_watcher_resumes_at_its_last_line() {
    let logs = logs(&small(3));
    let first = first(&logs);
    write(&logs, 1..=2);
    let mut watcher = watch(&logs, WatchStart::Oldest);
    assert_eq!(seen(&mut watcher), ["1", "2"]);
    let last = watcher.last();
    assert_eq!(last, first + 1);
    assert_eq!(seen(&mut watch(&logs, WatchStart::After(last))), [""; 0]);
    write(&logs, 3..=4);
    assert_eq!(seen(&mut watch(&logs, WatchStart::After(last))), ["3", "4"]);
    write(&logs, 5..=9);
    assert_eq!(seen(&mut watch(&logs, WatchStart::After(last))), ["missed 4", "7", "8", "9"]);
    // A watcher from before the first line, and a watcher that has read everything.
    let expected = ["missed 6", "7", "8", "9"];
    assert_eq!(seen(&mut watch(&logs, WatchStart::After(first - 1))), expected);
    assert_eq!(seen(&mut watch(&logs, WatchStart::After(first + 8))), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_watcher_of_an_earlier_start_is_notified_and_restarts() {
    let logs = logs(&small(3));
    write(&logs, 1..=4);
    let restarted = ["restarted", "missed 1", "2", "3", "4"];
    let first_number = first(&logs);
    for elsewhere in [0, 7, first_number - 2, first_number + 4, u64::MAX] {
        assert_eq!(seen(&mut watch(&logs, WatchStart::After(elsewhere))), restarted, "{elsewhere}");
    }
    let empty = self::logs(&small(3));
    let mut watcher = watch(&empty, WatchStart::After(7));
    assert_eq!(seen(&mut watcher), ["restarted"]);
    assert_eq!(watcher.last(), first(&empty) - 1);
}

#[tokio::test(start_paused = true)]
async fn the_bytes_of_the_ring_and_of_a_batch_are_bounded() {
    let line = 1_000;
    let limits = Limits { log_ring_bytes: 10_500, log_batch_bytes: 2_500, ..Limits::default() };
    let logs = logs(&limits);
    let overhead = size_of::<LogLine>();
    for _ in 0..100 {
        logs.node(LogLevel::Info, &"x".repeat(line - overhead));
    }
    let mut watcher = watch(&logs, WatchStart::Oldest);
    let mut batches = Vec::new();
    while let Some(batch) = watcher.read() {
        batches.push(batch.len());
    }
    assert_eq!(batches, [2; 5]);
    // A line larger than the whole ring is missed at once, with all lines that it pushed out.
    logs.node(LogLevel::Info, &"x".repeat(11_000));
    assert_eq!(seen(&mut watcher), ["missed 1"]);
    // A line larger than a batch is read alone.
    logs.node(LogLevel::Info, &"y".repeat(3_000));
    assert_eq!(seen(&mut watcher), ["y".repeat(3_000)]);
}

#[tokio::test(start_paused = true)]
async fn a_filter_passes_lines_that_meet_all_its_conditions() {
    let logs = logs(&Limits::default());
    logs.of_room(&room("game", "game-1")).guest(LogLevel::Warn, "low on cards");
    logs.of_room(&room("game", "game-1")).guest(LogLevel::Info, "dealt");
    logs.of_room(&room("main", "game-2")).guest(LogLevel::Error, "no cards");
    let lobby = room("game", "lobby");
    report!(debug, logs.of_room(&lobby), [], "activated");
    logs.node(LogLevel::Error, "no cards at all");
    let through = |filter: LogFilter| seen(&mut logs.watch(WatchStart::Oldest, filter).unwrap());
    let all = LogFilter::default();
    assert_eq!(through(all.clone()).len(), 5);
    let games = LogFilter { room: Some(Glob::new("game-*")), ..all.clone() };
    assert_eq!(through(games.clone()), ["low on cards", "dealt", "no cards"]);
    let party = Some(PartyName::parse("Game").unwrap());
    assert_eq!(through(LogFilter { party: party.clone(), ..all.clone() }).len(), 3);
    assert_eq!(through(LogFilter { party, ..games.clone() }), ["low on cards", "dealt"]);
    let level = Some(LogLevel::Warn);
    assert_eq!(through(LogFilter { level, ..games.clone() }), ["low on cards", "no cards"]);
    let grep = Some("no cards".to_owned());
    assert_eq!(through(LogFilter { grep: grep.clone(), ..all }), ["no cards", "no cards at all"]);
    assert_eq!(through(LogFilter { grep, level, ..games }), ["no cards"]);
}

#[tokio::test(start_paused = true)]
async fn a_tail_is_the_last_lines_that_pass_the_filter() {
    let logs = logs(&Limits::default());
    write(&logs, 10..=29);
    let tail = |count, grep: &str| {
        let filter = LogFilter { grep: Some(grep.to_owned()), ..LogFilter::default() };
        seen(&mut logs.watch(WatchStart::Tail(count), filter).unwrap())
    };
    assert_eq!(tail(2, ""), ["28", "29"]);
    assert_eq!(tail(2, "1"), ["19", "21"]);
    assert_eq!(tail(99, "9"), ["19", "29"]);
    assert_eq!(tail(0, ""), [""; 0]);
    assert_eq!(tail(1, "none"), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_watcher_slot_is_free_again_after_its_watcher_left() {
    let logs = logs(&Limits { log_watchers_max: 1, ..Limits::default() });
    let first = watch(&logs, WatchStart::Oldest);
    let refused = logs.watch(WatchStart::Oldest, LogFilter::default()).err();
    assert_eq!(refused, Some(TooMany(1)));
    drop(first);
    watch(&logs, WatchStart::Oldest);
}

#[tokio::test(start_paused = true)]
async fn a_watcher_wakes_for_each_line_and_at_the_end() {
    let logs = logs(&Limits::default());
    let mut watcher = watch(&logs, WatchStart::Oldest);
    let watching = tokio::spawn(async move {
        let mut all = Vec::new();
        while watcher.wait().await {
            all.extend(seen(&mut watcher));
        }
        all
    });
    for number in 1..=3 {
        tokio::task::yield_now().await;
        write(&logs, [number]);
    }
    // Lines that were unread when the log ended are read all the same.
    write(&logs, [4]);
    logs.close();
    assert_eq!(watching.await.unwrap(), ["1", "2", "3", "4"]);
}

#[tokio::test(start_paused = true)]
async fn a_line_and_its_json_have_the_same_fields() {
    let logs = logs(&Limits::default());
    logs.of_room(&room("main", "lobby")).guest(LogLevel::Warn, "\"a\"\nb");
    logs.node(LogLevel::Info, "one\ntwo");
    let mut watcher = watch(&logs, WatchStart::Oldest);
    let json: Vec<serde_json::Value> = watcher
        .read()
        .unwrap()
        .into_iter()
        .map(|seen| match seen {
            WatchedLines::Line(line) => serde_json::to_value(&*line).unwrap(),
            seen => panic!("{seen:?}"),
        })
        .collect();
    let time_ms = json[0]["time_ms"].as_u64().unwrap();
    assert!(time_ms >= 1_700_000_000_000);
    assert_eq!(
        json[0],
        serde_json::json!({"seq": first(&logs), "time_ms": time_ms, "level": "warn", "kind": "guest",
            "party": "main", "room": "lobby", "text": "\"a\"\\nb"})
    );
    assert_eq!(json[1]["text"], "one\ntwo");
    assert_eq!((&json[1]["kind"], &json[1]["room"]), (&"platform".into(), &().into()));
}

/// One step in the life of a log.
#[derive(Clone, Debug)]
enum Step {
    /// A line with this number of bytes more than an empty one, and whether the filter lets it through.
    Write(usize, bool),
    /// A watcher reads once.
    Read(usize),
    /// A watcher leaves, and a new one resumes after the last line that it read.
    Resume(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0usize..300, any::<bool>()).prop_map(|(bytes, through)| Step::Write(bytes, through)),
        2 => (0usize..3).prop_map(Step::Read),
        1 => (0usize..3).prop_map(Step::Resume),
    ]
}

/// The position of a watcher in a plain list of all lines ever written.
#[derive(Default)]
struct Model {
    next: usize,
    missed: u64,
    texts: Vec<String>,
}

impl Model {
    /// Checks that a batch has exactly the next lines of the list, and advances.
    fn see(
        &mut self,
        batch: Vec<WatchedLines>,
        all: &[(String, bool)],
        (first, oldest): (u64, usize),
        filters: bool,
    ) {
        for seen in batch {
            match seen {
                WatchedLines::Restarted => panic!("it is one start"),
                WatchedLines::Missed { count, last } => {
                    assert_eq!(last + 1, first + oldest as u64);
                    assert_eq!(self.next + usize::try_from(count).unwrap(), oldest);
                    (self.next, self.missed) = (oldest, self.missed + count);
                }
                WatchedLines::Line(line) => {
                    let at = usize::try_from(line.seq - first).unwrap();
                    let between = &all[self.next..at];
                    assert!(between.iter().all(|(_, through)| filters && !through));
                    assert_eq!(*line.text, all[at].0);
                    self.texts.push(line.text.to_string());
                    self.next = at + 1;
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn every_line_is_read_or_missed_once_and_in_order(
        steps in prop::collection::vec(step(), 0..120),
        lines_max in 1u64..12,
        bytes_max in 200u64..3_000,
        batch in 1u64..1_000,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _context = runtime.enter();
        let logs = logs(&Limits {
            log_ring_lines: lines_max, log_ring_bytes: bytes_max, log_batch_bytes: batch,
            ..Limits::default()
        });
        let first = first(&logs);
        // The second and the third watcher have a filter.
        let filter = |who: usize| LogFilter {
            grep: (who > 0).then(|| "yes".to_owned()), ..LogFilter::default()
        };
        let mut watchers: Vec<Watcher> = (0..3)
            .map(|who| logs.watch(WatchStart::Oldest, filter(who)).unwrap()).collect();
        let mut models: Vec<Model> = (0..3).map(|_| Model::default()).collect();
        let mut all: Vec<(String, bool)> = Vec::new();
        let reads = (0..3).cycle().take(3 * 120).map(Step::Read);
        for step in steps.into_iter().chain(reads) {
            // The lines that may still be kept, from the newest on.
            let mut bytes = 0;
            let kept = all.iter().rev().take_while(|(text, _)| {
                bytes += size_of::<LogLine>() + text.len();
                bytes as u64 <= bytes_max
            }).take(usize::try_from(lines_max).unwrap()).count();
            let oldest = all.len() - kept;
            match step {
                Step::Write(bytes, through) => {
                    let word = if through { "yes" } else { "no" };
                    let text = format!("{word}{}", "x".repeat(bytes));
                    logs.node(LogLevel::Info, &text);
                    all.push((text, through));
                }
                Step::Read(who) => {
                    if let Some(batch) = watchers[who].read() {
                        models[who].see(batch, &all, (first, oldest), who > 0);
                    } else {
                        prop_assert_eq!(watchers[who].last() + 1, first + all.len() as u64);
                    }
                    let upto = usize::try_from(watchers[who].last() + 1 - first).unwrap();
                    prop_assert!(models[who].next <= upto);
                    // The watcher has also passed the lines that the filter dropped.
                    let skipped = &all[models[who].next..upto];
                    prop_assert!(skipped.iter().all(|(_, through)| who > 0 && !through));
                    models[who].next = upto;
                }
                Step::Resume(who) => {
                    let last = watchers[who].last();
                    watchers[who] = logs.watch(WatchStart::After(last), filter(who)).unwrap();
                }
            }
        }
        // A watcher that reads everything has read or missed every line.
        prop_assert_eq!(models[0].texts.len() as u64 + models[0].missed, all.len() as u64);
    }
}
