//! Streams end with the service and with their credential.

use std::time::{Duration, Instant, SystemTime};

use crate::client::Client;
use crate::world::{ADMIN, World, alerts, reader};

#[tokio::test]
async fn a_stop_says_goodbye_and_closes_cleanly() {
    let world = World::new();
    let replica = world.replica(&[]).await;
    let mut client = Client::listen(replica.address, ADMIN).await;
    world.publish(alerts(0..3)).await;
    assert_eq!(client.numbers(3).await, [0, 1, 2]);
    replica.ask_to_stop();
    let last = client.next().await.unwrap();
    assert!(last.comment.unwrap().starts_with("closing"));
    assert_eq!(client.next().await, None);
    replica.ended().await;
}

#[tokio::test]
async fn a_stream_ends_within_five_seconds_of_its_credential() {
    let world = World::new();
    world.doorman.admit("taken-back", reader("alice", None));
    let soon = SystemTime::now() + Duration::from_secs(2);
    world.doorman.admit("brief", reader("bob", Some(soon)));
    let replica = world.replica(&[]).await;
    let mut lasting = Client::listen(replica.address, ADMIN).await;
    for token in ["taken-back", "brief"] {
        let mut client = Client::listen(replica.address, token).await;
        world.doorman.forget(if token == "brief" { "nobody" } else { token });
        let begun = Instant::now();
        let last = client.next().await.unwrap();
        assert_eq!(last.comment.as_deref(), Some("the credential ended"));
        assert_eq!(client.next().await, None);
        assert!(begun.elapsed() < Duration::from_secs(5 + 2), "{token}: {:?}", begun.elapsed());
    }
    world.publish(alerts(0..1)).await;
    assert_eq!(lasting.numbers(1).await, [0], "others go on");
    replica.stop().await;
}
