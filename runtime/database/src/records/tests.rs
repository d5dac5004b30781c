//! The records of a cluster, against a real database.

use super::*;
use crate::testing::TestPostgres;

async fn two_nodes(server: &TestPostgres) -> [ClusterRecords; 2] {
    let (settings, limits) = (server.settings(), Limits::default());
    let open = async || ClusterRecords::open(&settings, &limits).await.unwrap();
    [open().await, open().await]
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_changes_at_once_wins_and_the_other_is_refused() {
    let server = TestPostgres::start("");
    let [a, b] = two_nodes(&server).await;
    assert_eq!(a.change().await.unwrap(), 0);
    // A first deployment: the row exists for nobody else before the commit.
    let first = a.begin("chat").await.unwrap();
    assert_eq!(first.found(), None);
    assert_eq!(b.begin("chat").await.err(), Some(RecordError::Busy));
    assert_eq!(b.project("chat").await.unwrap(), None);
    let other = b.begin("game").await.unwrap();
    let mark = first.write("v1", b"sealed", &[]).await.unwrap();
    other.leave().await;
    assert_eq!((mark.change, b.change().await.unwrap()), (1, 1));
    let found = b.project("chat").await.unwrap().unwrap();
    assert_eq!((found.mark, found.versions.as_str()), (mark, "v1"));
    assert_eq!(found.variables, b"sealed");
    // Later ones: the row is locked.
    let second = b.begin("chat").await.unwrap();
    assert_eq!(second.found().map(|found| found.mark), Some(mark));
    assert_eq!(a.begin("chat").await.err(), Some(RecordError::Busy));
    drop(second);
    // The dropped one was rolled back as soon as the server notices its end.
    let third = loop {
        match a.begin("chat").await {
            Err(RecordError::Busy) => tokio::task::yield_now().await,
            third => break third.unwrap(),
        }
    };
    assert_eq!(third.found().map(|found| found.versions.as_str()), Some("v1"));
    let later = third.write("v2", b"", &[]).await.unwrap();
    assert_eq!((later.project, later.change), (mark.project, 2));
    let listed = b.projects().await.unwrap();
    assert_eq!(listed, [("chat".to_owned(), later, RecordState::Served)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_one_node_never_take_all_connections() {
    let server = TestPostgres::start("");
    let [a, _] = two_nodes(&server).await;
    let mut changes = Vec::new();
    for number in 0..RECORD_CHANGES_MAX {
        changes.push(a.begin(&format!("p{number}")).await.unwrap());
    }
    assert_eq!(a.begin("one-more").await.err(), Some(RecordError::Full));
    assert_eq!(a.change().await.unwrap(), 0);
    for change in changes {
        change.leave().await;
    }
    a.begin("one-more").await.unwrap().leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_project_leaves_nothing_and_its_name_is_free() {
    let server = TestPostgres::start("");
    let [a, b] = two_nodes(&server).await;
    let mark = a.begin("chat").await.unwrap().write("v1", b"", &[]).await.unwrap();
    let client = a.database.client().await.unwrap();
    let rows = "INSERT INTO room.stores (project, id, openings) VALUES ('chat', '\\x00', 0); \
                INSERT INTO room.entries (store, key, value, shard) \
                SELECT store, int4send(n), '\\x01', 0 FROM room.stores, generate_series(1, 25000) n";
    client.batch_execute(rows).await.unwrap();
    a.begin("chat").await.unwrap().delete().await.unwrap();
    let found = b.project("chat").await.unwrap().unwrap();
    assert_eq!(found.state, RecordState::Deleted);
    // Any node finishes it, as often as it likes.
    b.purge("chat", mark.project).await.unwrap();
    a.purge("chat", mark.project).await.unwrap();
    let left = "SELECT (SELECT count(*) FROM room.entries) + (SELECT count(*) FROM room.stores)";
    assert_eq!(client.query_one(left, &[]).await.unwrap().get::<_, i64>(0), 0);
    let again = b.begin("chat").await.unwrap();
    assert_eq!(again.found(), None);
    let new = again.write("v1", b"", &[]).await.unwrap();
    assert!(new.project != mark.project && new.change > mark.change);
    // A node that is late with the deletion finds a project of the same name, and leaves it alone.
    let rows = "INSERT INTO room.stores (project, id, openings) VALUES ('chat', '\\x01', 0); \
                INSERT INTO room.entries (store, key, value, shard) SELECT store, '\\x01', '\\x01', 0 FROM room.stores";
    client.batch_execute(rows).await.unwrap();
    a.purge("chat", mark.project).await.unwrap();
    assert_eq!(client.query_one(left, &[]).await.unwrap().get::<_, i64>(0), 2);
    assert!(b.project("chat").await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_is_whole_or_missing_and_a_named_one_stays() {
    let server = TestPostgres::start("");
    let [a, b] = two_nodes(&server).await;
    let large: Vec<u8> = (0..BLOB_PIECES).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let [named, idle, cut] = [[1; 32], [2; 32], [3; 32]];
    a.put_blob(&named, &large[..]).await.unwrap();
    a.put_blob(&named, &large[..]).await.unwrap();
    a.put_blob(&idle, &b""[..]).await.unwrap();
    let broken = tokio::io::AsyncReadExt::chain(&b"half"[..], Broken);
    assert!(a.put_blob(&cut, broken).await.is_err());
    let all = [named, idle, cut];
    assert_eq!(b.missing_blobs(&all).await.unwrap(), [cut]);
    let mut read = Vec::new();
    for number in 0.. {
        let Some(piece) = b.blob_piece(&named, number).await.unwrap() else { break };
        read.extend(piece);
    }
    assert!(read == large, "{} bytes of {}", read.len(), large.len());
    let lacking = a.begin("chat").await.unwrap().write("v1", b"", &all).await;
    assert_eq!(lacking.err(), Some(RecordError::BlobsMissing));
    a.begin("chat").await.unwrap().write("v1", b"", &[named]).await.unwrap();
    // Both were used within the last hour, and neither a moment later.
    assert_eq!(b.collect_blobs(&[named], 3_600_000).await.unwrap(), 0);
    assert_eq!(b.collect_blobs(&[named], 0).await.unwrap(), 1);
    assert_eq!(b.missing_blobs(&all).await.unwrap(), [idle, cut]);
}

/// More than two pieces.
const BLOB_PIECES: usize = room_core::limits::fixed::BLOB_PIECE_BYTES * 2 + 7;

/// A source of bytes that fails.
struct Broken;

impl tokio::io::AsyncRead for Broken {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Err(std::io::ErrorKind::ConnectionReset.into()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_nodes_add_one_first_token_and_keep_one_seal() {
    let server = TestPostgres::start("");
    let [a, b] = two_nodes(&server).await;
    let first = async |node: &ClusterRecords, id| node.add_token((id, "t"), 1).await.unwrap();
    let (one, two) = tokio::join!(first(&a, "one"), first(&b, "two"));
    assert!(one != two, "{one} {two}");
    assert_eq!(a.tokens().await.unwrap(), ["t"]);
    assert!(a.remove_token("one").await.unwrap() != b.remove_token("two").await.unwrap());
    assert!(b.tokens().await.unwrap().is_empty() && b.change().await.unwrap() >= 3);
    assert_eq!(a.seal(b"mine").await.unwrap(), b"mine");
    assert_eq!(b.seal(b"theirs").await.unwrap(), b"mine");
    a.note("a", "line").await.unwrap();
    let client = a.database.client().await.unwrap();
    let kept = client.query_one("SELECT node, line FROM room.audit", &[]).await.unwrap();
    assert_eq!((kept.get::<_, String>(0), kept.get::<_, String>(1)), ("a".into(), "line".into()));
}
