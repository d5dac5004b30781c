//! What clients sent to counting rooms and saw of them, and the judge of it. Pure: owns the notes, and the rules.
//!
//! A room counts increments. Each is a turn with a number, and the room shows every turn to all of its clients: who
//! counted, and how far. Invariant: in a history without a problem, no acknowledged increment is lost and no
//! increment is counted twice. All clients see one order, and a room has one owner at a time. Nothing that a client saw is
//! missing at the end.

use std::collections::{BTreeMap, BTreeSet};

/// A turn as a client saw it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn {
    pub(crate) number: u64,
    /// Who counted.
    pub(crate) who: String,
    /// How far.
    pub(crate) count: u64,
}

/// One connection of a client, and what came over it, in order.
#[derive(Clone, Debug)]
struct Connection {
    room: String,
    client: String,
    seen: Vec<Turn>,
}

/// What a room has stored at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) turn: u64,
    pub(crate) counts: BTreeMap<String, u64>,
}

/// The notes of all clients.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// Increments that each client sent to each room.
    sent: BTreeMap<(String, String), u64>,
    connections: Vec<Connection>,
}

impl History {
    /// Notes a new connection, and returns its number.
    pub(crate) fn connected(&mut self, room: &str, client: &str) -> usize {
        let (room, client) = (room.to_owned(), client.to_owned());
        self.connections.push(Connection { room, client, seen: Vec::new() });
        self.connections.len() - 1
    }

    /// Notes that an increment is sent over a connection.
    pub(crate) fn sent(&mut self, connection: usize) {
        let Connection { room, client, .. } = &self.connections[connection];
        *self.sent.entry((room.clone(), client.clone())).or_default() += 1;
    }

    /// Notes a turn that came over a connection.
    pub(crate) fn saw(&mut self, connection: usize, turn: Turn) {
        self.connections[connection].seen.push(turn);
    }

    /// Returns how many increments were acknowledged: those that their own client saw.
    pub(crate) fn acknowledged(&self) -> usize {
        self.connections.iter().map(Connection::acknowledged).sum()
    }

    /// Returns the rooms.
    pub(crate) fn rooms(&self) -> BTreeSet<&str> {
        self.connections.iter().map(|connection| connection.room.as_str()).collect()
    }

    /// Returns what is wrong, given what each room has stored at the end.
    pub(crate) fn problems(&self, stored: &BTreeMap<String, Stored>) -> Vec<String> {
        let mut problems = Vec::new();
        for connection in &self.connections {
            problems.extend(connection.gaps());
        }
        for room in self.rooms() {
            let nothing = Stored::default();
            let end = stored.get(room).unwrap_or(&nothing);
            let turns = self.turns_of(room, &mut problems);
            problems.extend(in_order(room, &turns));
            problems.extend(lost(room, &turns, end));
            problems.extend(self.doubled(room, end));
        }
        problems
    }

    /// Returns the turns of a room that anybody saw, by number. Two that differ under one number are two owners', or one of
    /// them was shown and never stored.
    fn turns_of(&self, room: &str, problems: &mut Vec<String>) -> BTreeMap<u64, Turn> {
        let mut turns: BTreeMap<u64, Turn> = BTreeMap::new();
        let seen = self.connections.iter().filter(|connection| connection.room == room);
        for turn in seen.flat_map(|connection| &connection.seen) {
            match turns.get(&turn.number) {
                Some(other) if other != turn => {
                    problems.push(format!("two owners in {room}: {other:?} and {turn:?}"));
                }
                Some(_) => {}
                None => drop(turns.insert(turn.number, turn.clone())),
            }
        }
        turns
    }

    /// Returns what a room counted although nobody sent it.
    fn doubled(&self, room: &str, end: &Stored) -> Vec<String> {
        let sent = |who: &str| self.sent.get(&(room.to_owned(), who.to_owned())).copied();
        let more = end.counts.iter().filter(|(who, count)| **count > sent(who).unwrap_or(0));
        let mut problems: Vec<String> = more
            .map(|(who, count)| {
                let sent = sent(who).unwrap_or(0);
                format!("doubled in {room}: {who} sent {sent}, and {count} were counted")
            })
            .collect();
        let sum: u64 = end.counts.values().sum();
        if sum != end.turn {
            problems.push(format!("torn in {room}: {} turns, and {sum} increments", end.turn));
        }
        problems
    }
}

impl Connection {
    fn acknowledged(&self) -> usize {
        self.seen.iter().filter(|turn| turn.who == self.client).count()
    }

    /// Returns where the turns that came over this connection do not follow each other.
    fn gaps(&self) -> Vec<String> {
        let pairs = self.seen.windows(2);
        let wrong = pairs.filter(|pair| pair[1].number != pair[0].number + 1);
        wrong
            .map(|pair| {
                let (room, client) = (&self.room, &self.client);
                format!("out of order in {room}: {client} saw {:?} and then {:?}", pair[0], pair[1])
            })
            .collect()
    }
}

/// Returns where the counts of a client do not follow the room's turns.
fn in_order(room: &str, turns: &BTreeMap<u64, Turn>) -> Vec<String> {
    let mut last: BTreeMap<&str, &Turn> = BTreeMap::new();
    let mut problems = Vec::new();
    for turn in turns.values() {
        if let Some(before) = last.insert(&turn.who, turn)
            && before.count >= turn.count
        {
            problems.push(format!("counted twice in {room}: {before:?} and then {turn:?}"));
        }
    }
    problems
}

/// Returns what somebody saw and the room has not stored.
fn lost(room: &str, turns: &BTreeMap<u64, Turn>, end: &Stored) -> Vec<String> {
    let count = |who: &str| end.counts.get(who).copied().unwrap_or(0);
    let missing =
        turns.values().filter(|turn| turn.number > end.turn || turn.count > count(&turn.who));
    missing.map(|turn| format!("lost in {room}: {turn:?}, of {} turns", end.turn)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use room_tests::Dice;

    /// Returns a history in which everything is right, drawn by a seed, and what the room has stored.
    fn right(seed: u64) -> (History, BTreeMap<String, Stored>) {
        let mut dice = Dice(seed);
        let (mut history, mut end) = (History::default(), Stored::default());
        let names = ["ada", "bob", "eve"];
        let mut open = names.map(|name| history.connected("lobby", name));
        for number in 1..=60 {
            let at = dice.below(3);
            history.sent(open[at]);
            let count = end.counts.entry(names[at].to_owned()).or_default();
            *count += 1;
            let turn = Turn { number, who: names[at].to_owned(), count: *count };
            end.turn = number;
            for connection in open {
                history.saw(connection, turn.clone());
            }
            if dice.below(30) == 0 {
                // A client loses its connection with what it last sent, which may have been counted or not.
                history.sent(open[at]);
                open[at] = history.connected("lobby", names[at]);
            }
        }
        (history, [("lobby".to_owned(), end)].into())
    }

    /// Returns the first words of the problems, each once.
    fn kinds(history: &History, stored: &BTreeMap<String, Stored>) -> BTreeSet<String> {
        let problems = history.problems(stored);
        problems.iter().filter_map(|text| Some(text.split(" in ").next()?.to_owned())).collect()
    }

    /// Returns the connection that saw the most turns.
    fn longest(history: &History) -> usize {
        let seen = |at: &usize| history.connections[*at].seen.len();
        (0..history.connections.len()).max_by_key(seen).unwrap()
    }

    fn lobby(stored: &mut BTreeMap<String, Stored>) -> &mut Stored {
        stored.get_mut("lobby").unwrap()
    }

    #[test]
    fn a_right_history_has_no_problem() {
        for seed in 0..50 {
            let (history, stored) = right(seed);
            assert_eq!(history.problems(&stored), [""; 0], "seed {seed}");
            assert!(history.acknowledged() > 0);
        }
    }

    #[test]
    fn a_lost_increment_is_found() {
        for seed in 0..50 {
            let (history, mut stored) = right(seed);
            let end = lobby(&mut stored);
            let who = history.connections[0].seen.last().unwrap().who.clone();
            *end.counts.get_mut(&who).unwrap() -= 1;
            end.turn -= 1;
            assert!(kinds(&history, &stored).contains("lost"), "seed {seed}");
        }
    }

    #[test]
    fn a_doubled_increment_is_found() {
        for seed in 0..50 {
            let (history, mut stored) = right(seed);
            let end = lobby(&mut stored);
            *end.counts.get_mut("ada").unwrap() += 60;
            end.turn += 60;
            assert_eq!(kinds(&history, &stored), ["doubled".to_owned()].into(), "seed {seed}");
            // One that was counted twice under two numbers.
            let (mut history, stored) = right(seed);
            let again = history.connections[0].seen[0].clone();
            let last = history.connections[0].seen.last().unwrap().number;
            history.saw(0, Turn { number: last + 1, ..again });
            assert!(kinds(&history, &stored).contains("counted twice"), "seed {seed}");
        }
    }

    #[test]
    fn a_torn_turn_is_found() {
        let (history, mut stored) = right(1);
        lobby(&mut stored).turn += 1;
        assert_eq!(kinds(&history, &stored), ["torn".to_owned()].into());
    }

    #[test]
    fn two_owners_are_found() {
        for seed in 0..50 {
            let (mut history, stored) = right(seed);
            // The second owner goes on from an older state, and its clients see another turn under a known number.
            let other = history.connected("lobby", "zoe");
            let known = history.connections[longest(&history)].seen[5].clone();
            history.saw(other, Turn { who: "zoe".to_owned(), count: 1, ..known });
            assert!(kinds(&history, &stored).contains("two owners"), "seed {seed}");
        }
    }

    #[test]
    fn a_turn_that_was_shown_too_early_is_found() {
        for seed in 0..50 {
            let (mut history, stored) = right(seed);
            let early = history.connected("lobby", "ada");
            history.sent(early);
            let count = stored["lobby"].counts["ada"] + 1;
            let number = stored["lobby"].turn + 1;
            history.saw(early, Turn { number, who: "ada".to_owned(), count });
            assert_eq!(kinds(&history, &stored), ["lost".to_owned()].into(), "seed {seed}");
        }
    }

    #[test]
    fn a_gap_and_a_swap_are_found() {
        for seed in 0..50 {
            let (mut history, stored) = right(seed);
            let longest = longest(&history);
            let mut other = history.clone();
            history.connections[longest].seen.remove(2);
            assert_eq!(kinds(&history, &stored), ["out of order".to_owned()].into(), "seed {seed}");
            other.connections[longest].seen.swap(2, 3);
            assert_eq!(kinds(&other, &stored), ["out of order".to_owned()].into(), "seed {seed}");
        }
    }
}
