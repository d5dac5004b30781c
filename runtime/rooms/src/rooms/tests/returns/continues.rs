//! Clients whose connections are over, in a party that stores what its rooms send.

use super::*;

async fn node() -> TestNode {
    with(Limits::default(), |party| party.retention = stored()).await
}

fn stored() -> Option<Retention> {
    let history = HistorySetting { keep: Some(8), keep_for: None, durable: true };
    let resume = Some("1m".parse().unwrap());
    RetentionSettings { resume, history: Some(history) }.parse(&Limits::default()).unwrap()
}

impl TestNode {
    /// Ends the connection of a client that is away.
    async fn end(&self, id: &str) {
        self.say(&format!(r#"[{{"close_other":["{id}",4000,"out"]}}]"#)).await;
        self.noted(&format!("close {id}")).await;
    }

    async fn deploy_with(&self, retention: Option<Retention>) {
        let mut parties = self.parties();
        parties.values_mut().for_each(|party| party.retention = retention);
        within(self.rooms.deploy(parties)).await.unwrap();
    }
}

#[tokio::test]
async fn a_client_whose_connection_is_over_continues_with_a_new_one_and_misses_nothing() {
    let node = node().await;
    let (a, mut card) = node.meet("a").await;
    drop(a);
    settle().await;
    node.say(r#"[{"broadcast":"1"},{"send_to":["a","2"]}]"#).await;
    node.end("a").await;
    node.say(r#"[{"broadcast":"3"}]"#).await;
    let (a, arrival) = node.back("a", card).await;
    assert_eq!(arrival, ClientArrival::Continued);
    node.say(r#"[{"broadcast":"4"},{"send_to":["a","5"]}]"#).await;
    assert_eq!(read(&a, 5, &mut card).await, ["1", "2", "3", "4", "5"]);
    // It is a connection as any other: the next loss only suspends it.
    drop(a);
    settle().await;
    node.say(r#"[{"broadcast":"6"}]"#).await;
    let (a, arrival) = node.back("a", card).await;
    assert_eq!(arrival, ClientArrival::Resumed);
    assert_eq!(read(&a, 1, &mut card).await, ["6"]);
}

#[tokio::test]
async fn a_client_gets_what_it_missed_before_anything_that_on_connect_sends() {
    let node = node().await;
    let (a, card) = node.meet("a").await;
    drop(a);
    settle().await;
    node.say(r#"[{"broadcast":"missed"}]"#).await;
    node.end("a").await;
    let mut back = returning("a", Some(card.secret), card.since);
    back.request.uri = format!("{}?hello=hello", back.request.uri);
    let a = node.arrive(back).await;
    assert_eq!(welcome(&a).await.arrival, ClientArrival::Continued);
    let mut card = card;
    assert_eq!(read(&a, 2, &mut card).await, ["missed", "hello"]);
}

#[tokio::test]
async fn a_secret_alone_does_not_open_the_messages_of_another_client() {
    let node = node().await;
    let who = |subject: &str| {
        let claims = format!(r#"{{"sub":"{subject}"}}"#);
        Some(Identity::new(claims, Capabilities::ALL, None))
    };
    let first = node.arrive(ConnectingClient { identity: who("ada"), ..new("a") }).await;
    let Welcome { secret, at, .. } = welcome(&first).await;
    drop(first);
    settle().await;
    node.say(r#"[{"send_to":["a","for ada"]},{"broadcast":"for all"}]"#).await;
    node.end("a").await;
    let back = async |identity| {
        let client = returning("a", Some(secret), at.unwrap());
        let client = node.arrive(ConnectingClient { identity, ..client }).await;
        assert_eq!(welcome(&client).await.arrival, ClientArrival::Continued);
        client
    };
    let card = Card { secret, since: at.unwrap() };
    let eve = back(who("eve")).await;
    assert_eq!(read(&eve, 1, &mut card.clone()).await, ["for all"]);
    settle().await;
    assert_eq!(eve.take(9), []);
    let ada = back(who("ada")).await;
    assert_eq!(read(&ada, 2, &mut card.clone()).await, ["for ada", "for all"]);
}

#[tokio::test]
async fn a_deployment_makes_a_log_durable_from_then_on_and_takes_that_back() {
    let node = super::node().await;
    let (a, mut card) = node.meet("a").await;
    node.say(r#"[{"broadcast":"1"}]"#).await;
    assert_eq!(read(&a, 1, &mut card).await, ["1"]);
    node.deploy_with(stored()).await;
    drop(a);
    settle().await;
    node.say(r#"[{"send_to":["a","2"]}]"#).await;
    node.end("a").await;
    let (a, arrival) = node.back("a", card).await;
    assert_eq!(arrival, ClientArrival::Continued);
    assert_eq!(read(&a, 1, &mut card).await, ["2"]);
    let facts = async || node.rooms.0.parts.store.facts(&lobby()).await.unwrap().unwrap().outbound;
    assert!(facts().await.is_some_and(|facts| facts.entries > 0));
    node.deploy_with(settings(&Limits::default(), "1m")).await;
    node.say(r#"[{"broadcast":"3"}]"#).await;
    assert_eq!(read(&a, 1, &mut card).await, ["3"]);
    assert_eq!(facts().await, None, "the first turn deletes what would have a hole");
    drop(a);
    settle().await;
    node.end("a").await;
    let (_a, arrival) = node.back("a", card).await;
    assert_eq!(arrival, ClientArrival::Gap(Gap::UnknownConnection));
}

#[tokio::test]
async fn a_turn_of_a_party_that_stores_nothing_commits_only_its_writes() {
    let commits = |retention| async move {
        let node = with(Limits::default(), |party| party.retention = retention).await;
        let (a, mut card) = node.meet("a").await;
        let store = node.rooms.0.parts.store.clone();
        store.facts(&lobby()).await.unwrap();
        let turns = async || store.facts(&lobby()).await.unwrap().map_or(0, |facts| facts.turns);
        let before = turns().await;
        for text in ["1", "2", "3"] {
            tell(&a, text).await;
            assert_eq!(read(&a, 1, &mut card).await, [text]);
        }
        turns().await - before
    };
    assert_eq!(commits(settings(&Limits::default(), "1m")).await, 0);
    assert_eq!(commits(stored()).await, 3, "a turn that only sends is a commit, too");
}

#[tokio::test]
async fn the_turn_of_the_first_client_stores_where_the_log_begins() {
    let node = node().await;
    let facts = async || node.rooms.0.parts.store.facts(&lobby()).await.unwrap();
    let (_a, card) = node.meet("a").await;
    let begun = facts().await.unwrap().outbound.unwrap();
    assert_eq!((begun.floor, begun.entries), (card.since, 0));
}
