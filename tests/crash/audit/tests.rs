//! The rules themselves: correct histories break no rule, and each wrong one breaks its own.

use super::*;
use crate::layout::{PARTS, part, part_bytes, stamp_of};

/// Returns the history of one client that counted to 3 and set its parts twice, and received all answers.
fn history() -> History {
    let mut history = History::default();
    let mut witness = Witness::new("room", "a", 0, 0);
    (0..4).for_each(|_| witness.sends_count());
    (0..2).for_each(|_| witness.sends_set());
    for text in ["did 1 inc a 1", "did 2 set a 1", "did 3 inc a 2", "did 4 set a 2"] {
        assert_eq!(witness.hears(text), Heard::Answer);
    }
    assert_eq!(witness.hears("did 5 inc a 3"), Heard::Answer);
    assert_eq!(history.learn(vec![witness]), []);
    history
}

fn set(who: &str, stamp: u64) -> Vec<(String, u64, Option<u64>)> {
    let there = (0..PARTS).filter(|index| part_bytes(stamp, *index).is_some());
    there.map(|index| (who.to_owned(), index, Some(stamp))).collect()
}

fn state() -> State {
    State {
        turn: 5,
        counts: BTreeMap::from([("a".to_owned(), 3)]),
        stamps: BTreeMap::from([("a".to_owned(), 2)]),
        parts: set("a", 2),
        ..State::default()
    }
}

fn kinds(problems: &[Problem]) -> Vec<Kind> {
    let kinds: BTreeSet<Kind> = problems.iter().map(|problem| problem.kind).collect();
    kinds.into_iter().collect()
}

#[test]
fn a_correct_history_breaks_no_rule() {
    assert_eq!(history().audit(&state()), []);
    // The fourth count was sent and never answered: it may be stored or not.
    let mut more = state();
    (more.turn, more.counts) = (6, BTreeMap::from([("a".to_owned(), 4)]));
    let mut history = history();
    assert_eq!(history.audit(&more), []);
    // Once it was read, it must stay.
    assert_eq!(kinds(&history.audit(&state())), [Kind::Early]);
}

#[test]
fn a_missing_acknowledged_count_is_lost() {
    let mut state = state();
    (state.turn, state.counts) = (4, BTreeMap::from([("a".to_owned(), 2)]));
    assert_eq!(kinds(&history().audit(&state)), [Kind::Lost]);
    assert_eq!(kinds(&history().audit(&State::default())), [Kind::Lost]);
}

#[test]
fn a_missing_turn_that_others_saw_was_sent_early() {
    let mut history = history();
    let mut other = Witness::new("room", "b", 0, 0);
    assert_eq!(other.hears("saw 5 inc a 3"), Heard::News);
    other.hears("saw 6 inc a 4");
    assert_eq!(history.learn(vec![other]), []);
    assert_eq!(kinds(&history.audit(&state())), [Kind::Early]);
}

#[test]
fn a_set_written_by_two_turns_is_torn() {
    let mut mixed = state();
    mixed.parts = set("a", 1);
    assert_eq!(kinds(&history().audit(&mixed)), [Kind::Torn]);
    let mut missing = state();
    missing.parts.pop();
    assert_eq!(kinds(&history().audit(&missing)), [Kind::Torn]);
    let mut damaged = state();
    damaged.parts[0].2 = None;
    assert_eq!(kinds(&history().audit(&damaged)), [Kind::Torn]);
    let mut stray = state();
    stray.parts.extend(set("b", 1));
    assert_eq!(kinds(&history().audit(&stray)), [Kind::Torn]);
}

#[test]
fn a_missing_turn_before_a_present_one_is_torn() {
    let mut state = state();
    state.turn = 6;
    assert_eq!(kinds(&history().audit(&state)), [Kind::Torn]);
}

#[test]
fn a_turn_that_no_client_requested_is_forged() {
    let mut state = state();
    (state.turn, state.counts) = (7, BTreeMap::from([("a".to_owned(), 5)]));
    assert_eq!(kinds(&history().audit(&state)), [Kind::Forged]);
}

#[test]
fn a_lost_turn_that_any_client_saw_was_sent_early() {
    let mut haunted = state();
    haunted.ghosts = vec!["/a".to_owned()];
    assert_eq!(kinds(&history().audit(&haunted)), [Kind::Early]);
    let mut witness = Witness::new("room", "a", 0, 0);
    witness.hears("ghost");
    assert_eq!(kinds(&witness.problems), [Kind::Early]);
}

#[test]
fn reordered_messages_are_reported() {
    let heard = |texts: [&str; 2]| {
        let mut witness = Witness::new("room", "a", 0, 0);
        for text in texts {
            witness.hears(text);
        }
        kinds(&witness.problems)
    };
    assert_eq!(heard(["did 1 inc a 1", "saw 2 inc b 1"]), []);
    assert_eq!(heard(["did 1 inc a 1", "saw 3 inc b 1"]), [Kind::Order]);
    assert_eq!(heard(["did 1 inc a 1", "saw 1 inc b 1"]), [Kind::Order]);
    assert_eq!(heard(["did 1 inc a 1", "did 2 inc a 1"]), [Kind::Order]);
    assert_eq!(heard(["did 1 inc a 1", "nonsense"]), [Kind::Forged]);
}

/// Returns a client that was promised an alarm 1 s from now, at 1,000, and the problems of its history.
fn alarmed(then: &[&str]) -> (History, Vec<Problem>) {
    let mut history = History::default();
    let mut witness = Witness::new("room", "a", 0, 0);
    witness.sends_alarm("a.1", Duration::from_secs(1));
    witness.hears("did 1 alarm a.1 1000");
    for text in then {
        witness.hears(text);
    }
    let problems = history.learn(vec![witness]);
    (history, problems)
}

fn waiting() -> State {
    let pending = vec![("a.1".to_owned(), 1_000)];
    State { turn: 1, asked: 1, pending, alarm: Some(1_000), ..State::default() }
}

fn rung() -> State {
    State { turn: 2, asked: 1, rings: 1, rang: vec!["a.1".to_owned()], ..State::default() }
}

#[test]
fn an_alarm_is_pending_or_has_rung() {
    assert_eq!(alarmed(&[]).0.audit(&waiting()), []);
    assert_eq!(alarmed(&[]).0.audit(&rung()), []);
    let gone = State { turn: 1, asked: 1, ..State::default() };
    assert_eq!(kinds(&alarmed(&[]).0.audit(&gone)), [Kind::Lost, Kind::Torn]);
    let unset = State { alarm: None, ..waiting() };
    assert_eq!(kinds(&alarmed(&[]).0.audit(&unset)), [Kind::Torn]);
    let stray = State { rang: vec!["b.1".to_owned()], ..rung() };
    assert_eq!(kinds(&alarmed(&[]).0.audit(&stray)), [Kind::Lost, Kind::Forged]);
}

#[test]
fn an_alarm_that_a_client_saw_has_rung_and_not_before_its_time() {
    let ring = ["saw 2 ring 1000 a.1 1000"];
    // No clock has moved since the client asked for it.
    assert_eq!(kinds(&alarmed(&ring).1), [Kind::Alarm]);
    assert_eq!(kinds(&alarmed(&ring).0.audit(&waiting())), [Kind::Early]);
    assert_eq!(alarmed(&ring).0.audit(&rung()), []);
    let soon = ["saw 2 ring 999 a.1 1000"];
    assert_eq!(kinds(&alarmed(&soon).1), [Kind::Alarm]);
    assert_eq!(kinds(&alarmed(&["saw 2 ring 999 b.7 900"]).1), [Kind::Forged]);
    let early = State { early: 1, ..rung() };
    assert_eq!(kinds(&alarmed(&[]).0.audit(&early)), [Kind::Alarm]);
}

#[test]
fn a_part_is_whole_or_has_no_stamp() {
    let mut cut = 0;
    for (stamp, index) in (1..40).flat_map(|stamp| (0..PARTS).map(move |index| (stamp, index))) {
        let Some(mut bytes) = part(stamp, index) else { continue };
        assert_eq!(stamp_of(&bytes, index), Some(stamp));
        assert!(!bytes.contains(&0));
        cut += usize::from(bytes.len() > 40_000);
        let at = bytes.len() - 1;
        bytes[at] ^= 2;
        assert_eq!(stamp_of(&bytes, index), None);
        assert_eq!(stamp_of(&bytes[..at], index), None);
    }
    assert!(cut > 5, "only {cut} large parts");
}
