//! Tests with real processes: what customers and administrators see.

mod common;

use common::Setup;

#[tokio::test]
async fn order_is_placed_once_for_its_key_and_watched_to_its_end() {
    let setup = Setup::new().await;
    let replica = setup.replica("one", &[]).await;
    let at = [replica.address];
    let place = || {
        setup
            .customer(&at, "bob", &["place", "pear", "3", "monday"])
            .output()
    };
    for _ in 0..2 {
        let (lines, status) = place().await;
        assert!(status.success());
        assert_eq!(lines[0], "1 bob monday pear 3 Placed");
        let metadata = lines[1..].join("\n");
        assert!(metadata.contains("server-version: "), "{metadata}");
        assert!(metadata.contains("calls-left: "), "{metadata}");
    }

    let mut watching = setup.customer(&at, "bob", &["watch", "1"]);
    assert_eq!(watching.line_after("1 bob monday pear 3 ").await, "Placed");
    for (state, shown) in [("packed", "Packed"), ("shipped", "Shipped")] {
        let (_, status) = setup
            .customer(&at, "ada", &["advance", "1", state])
            .output()
            .await;
        assert!(status.success());
        assert_eq!(watching.line_after("1 bob monday pear 3 ").await, shown);
    }
    assert!(watching.ended().await.success());
    replica.stop().await;
}
