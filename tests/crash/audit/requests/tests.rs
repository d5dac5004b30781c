//! The rules about requests: correct notes break none, and each wrong one breaks its own.

use super::super::{History, Witness};
use super::*;

/// Returns the history of a client that asked for a call and a fetch, and received both answers.
fn history() -> History {
    let mut witness = Witness::new("room", "a", 0, 0);
    witness.sends_request("a.call");
    witness.sends_request("a.fetch");
    witness.sends_request("a.unheard");
    for text in ["did 1 call a.call", "did 2 fetch a.fetch", "saw 3 answer a.call"] {
        witness.hears(text);
    }
    witness.hears("saw 4 answer a.fetch");
    let mut history = History::default();
    assert_eq!(history.learn(vec![witness]), []);
    history
}

fn counted(ids: &[(&str, u64)]) -> BTreeMap<String, u64> {
    ids.iter().map(|(id, count)| ((*id).to_owned(), *count)).collect()
}

fn notes() -> Notes {
    Notes {
        calls: counted(&[("a.call", 1)]),
        fetches: counted(&[("a.fetch", 1)]),
        ..Notes::default()
    }
}

fn echo() -> Echo {
    Echo { calls: counted(&[("a.call", 1)]), fetches: BTreeSet::from(["a.fetch".to_owned()]) }
}

fn kinds(problems: &[Problem]) -> Vec<Kind> {
    let kinds: BTreeSet<Kind> = problems.iter().map(|problem| problem.kind).collect();
    kinds.into_iter().collect()
}

fn audited(notes: &Notes, echo: &Echo) -> Vec<Kind> {
    let mut problems = history().audit_requests(notes, echo);
    problems.extend(notes.problems());
    kinds(&problems)
}

#[test]
fn correct_notes_break_no_rule() {
    assert_eq!(audited(&notes(), &echo()), []);
    assert_eq!((notes().turns(), notes().unanswered().count()), (4, 0));
    // What was asked for and not acknowledged may be there or not, heard or not.
    let mut more = notes();
    more.calls.insert("a.unheard".to_owned(), 0);
    assert_eq!(audited(&more, &echo()), []);
    assert_eq!(more.unanswered().collect::<Vec<_>>(), ["a.unheard"]);
    let mut heard = echo();
    heard.calls.insert("a.unheard".to_owned(), 1);
    assert_eq!(audited(&more, &heard), []);
    // One that was given up waits for nothing, and may have been heard.
    more.gave_up.insert("a.unheard".to_owned());
    assert_eq!((audited(&more, &heard), more.unanswered().count()), (vec![], 0));
}

#[test]
fn a_request_without_a_note_is_lost_or_early() {
    let gone = Notes { calls: BTreeMap::new(), ..notes() };
    assert_eq!(
        audited(&gone, &Echo { calls: BTreeMap::new(), ..echo() }),
        [Kind::Lost, Kind::Early]
    );
    let mut witness = Witness::new("room", "b", 0, 0);
    witness.hears("saw 1 call a.unheard");
    let mut history = history();
    assert_eq!(history.learn(vec![witness]), []);
    assert_eq!(kinds(&history.audit_requests(&notes(), &echo())), [Kind::Early]);
    // What was read once must stay.
    let mut history = History::default();
    let mut asked = Witness::new("room", "a", 0, 0);
    asked.sends_request("a.call");
    asked.sends_request("a.fetch");
    history.learn(vec![asked]);
    assert_eq!(history.audit_requests(&notes(), &echo()), []);
    let gone = (Notes::default(), Echo { calls: echo().calls, ..Echo::default() });
    assert_eq!(kinds(&history.audit_requests(&gone.0, &gone.1)), [Kind::Early]);
}

#[test]
fn a_request_that_was_heard_before_its_turn_was_durable_is_early() {
    let mut called = echo();
    called.calls.insert("a.unheard".to_owned(), 1);
    assert_eq!(audited(&notes(), &called), [Kind::Early]);
    for id in ["a.unheard", "ghost"] {
        let mut fetched = echo();
        fetched.fetches.insert(id.to_owned());
        assert_eq!(audited(&notes(), &fetched), [Kind::Early]);
    }
}

#[test]
fn an_answered_request_that_nobody_heard_is_lost() {
    assert_eq!(audited(&notes(), &Echo { calls: BTreeMap::new(), ..echo() }), [Kind::Lost]);
    assert_eq!(audited(&notes(), &Echo { fetches: BTreeSet::new(), ..echo() }), [Kind::Lost]);
    // The mirror must not forget, either.
    let mut history = history();
    let mut waiting = notes();
    waiting.calls.insert("a.unheard".to_owned(), 0);
    let mut heard = echo();
    heard.calls.insert("a.unheard".to_owned(), 1);
    assert_eq!(history.audit_requests(&waiting, &heard), []);
    assert_eq!(kinds(&history.audit_requests(&waiting, &echo())), [Kind::Lost]);
}

#[test]
fn a_request_that_is_heard_or_answered_twice_is_reported() {
    let heard = Notes { heard: counted(&[("a.call", 2)]), ..Notes::default() };
    assert_eq!(kinds(&heard.problems()), [Kind::Twice]);
    let answered = Notes { calls: counted(&[("a.call", 2)]), ..notes() };
    assert_eq!(audited(&answered, &echo()), [Kind::Twice]);
    let mut again = Witness::new("room", "b", 0, 0);
    again.hears("saw 9 answer a.call");
    assert_eq!(kinds(&history().learn(vec![again])), [Kind::Twice]);
}

#[test]
fn an_answer_that_clients_saw_has_its_turn() {
    let unanswered = Notes { calls: counted(&[("a.call", 0)]), ..notes() };
    assert_eq!(audited(&unanswered, &echo()), [Kind::Early]);
}

#[test]
fn a_request_that_nobody_asked_for_or_that_was_given_up_has_no_answer() {
    let mut forged = notes();
    forged.fetches.insert("b.other".to_owned(), 0);
    assert_eq!(audited(&forged, &echo()), [Kind::Forged]);
    let given_up = Notes { gave_up: BTreeSet::from(["a.call".to_owned()]), ..notes() };
    assert_eq!(audited(&given_up, &echo()), [Kind::Forged]);
    let failed = BTreeMap::from([("a.call".to_owned(), "expired".to_owned())]);
    assert_eq!(audited(&Notes { failed, ..notes() }, &echo()), [Kind::Broken]);
}

#[test]
fn each_fetch_has_one_key_of_its_own() {
    let receipt = |id: &str, key: &str| {
        let key = Some(key.to_owned()).filter(|key| !key.is_empty());
        Receipt { room: "room".to_owned(), id: id.to_owned(), key }
    };
    let keys = |receipts: &[Receipt]| kinds(&audit_keys(receipts));
    assert_eq!(keys(&[receipt("a", "s.1"), receipt("b", "s.2"), receipt("a", "s.1")]), []);
    assert_eq!(keys(&[receipt("a", "s.1"), receipt("a", "s.2")]), [Kind::Twice]);
    assert_eq!(keys(&[receipt("a", "s.1"), receipt("b", "s.1")]), [Kind::Twice]);
    assert_eq!(keys(&[receipt("a", "s.1"), receipt("b", "other.2")]), [Kind::Twice]);
    assert_eq!(keys(&[receipt("a", "")]), [Kind::Twice]);
    let elsewhere = Receipt { room: "other".to_owned(), ..receipt("a", "s.1") };
    assert_eq!(keys(&[receipt("a", "s.1"), elsewhere]), [Kind::Twice]);
}
