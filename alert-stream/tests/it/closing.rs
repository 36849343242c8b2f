//! Streams end with the service and with their credential.

use std::time::{Duration, Instant, SystemTime};

use crate::client::SseClient;
use crate::test_stream::{ADMIN, TestStream, alerts, reader};

#[tokio::test]
async fn a_stop_sends_a_last_comment_and_closes() {
    let test = TestStream::new();
    let replica = test.replica(&[]).await;
    let mut client = SseClient::listen(replica.address, ADMIN).await;
    test.publish(alerts(0..3)).await;
    assert_eq!(client.numbers(3).await, [0, 1, 2]);
    replica.ask_to_stop();
    let last = client.next().await.unwrap();
    assert!(last.comment.unwrap().starts_with("shutting down"));
    assert_eq!(client.next().await, None);
    replica.ended().await;
}

#[tokio::test]
async fn a_stream_ends_within_five_seconds_of_its_credential() {
    let test = TestStream::new();
    test.accounts.add("revoked", reader("alice", None));
    let soon = SystemTime::now() + Duration::from_secs(2);
    test.accounts.add("brief", reader("bob", Some(soon)));
    let replica = test.replica(&[]).await;
    let mut lasting = SseClient::listen(replica.address, ADMIN).await;
    for token in ["revoked", "brief"] {
        let mut client = SseClient::listen(replica.address, token).await;
        test.accounts.remove(if token == "brief" { "nobody" } else { token });
        let started = Instant::now();
        let last = client.next().await.unwrap();
        assert_eq!(last.comment.as_deref(), Some("the credential ended"));
        assert_eq!(client.next().await, None);
        assert!(started.elapsed() < Duration::from_secs(5 + 2), "{token}: {:?}", started.elapsed());
    }
    test.publish(alerts(0..1)).await;
    assert_eq!(lasting.numbers(1).await, [0], "other streams continue");
    replica.stop().await;
}
