//! Handlers from mockall: `#[rpc]` stands above `#[automock]`.

use futures_util::{TryStreamExt, stream};
use mockall::{automock, mock};
use rpc_runtime::{Client, Context, ErrorObject, Stream, code, rpc};

#[rpc]
#[automock]
trait Desk {
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn peer(&self, cx: &Context) -> bool;
    async fn bytes(&self, of: &[u8]) -> Result<usize, ErrorObject>;
    #[rpc(blocking, name = "shout")]
    fn louder(&self, #[rpc(default)] text: String) -> String;
    fn count(&self) -> impl Stream<Item = u8>;
}

#[tokio::test]
async fn mock_of_automock_below_rpc_is_served() {
    let mut mock = MockDesk::new();
    mock.expect_add()
        .returning(|a, b| Box::pin(async move { a + b }));
    mock.expect_peer().returning(|cx| {
        let has_peer = cx.peer().is_some();
        Box::pin(async move { has_peer })
    });
    mock.expect_bytes().returning(|of| {
        let length = of.len();
        Box::pin(async move { Ok(length) })
    });
    mock.expect_louder().returning(|text| text.to_uppercase());
    mock.expect_count()
        .returning(|| Box::pin(stream::iter([1, 2])));
    let desk = DeskClient::new(Client::local(DeskServer::new(mock)));
    assert_eq!(desk.add(1, 2).await.unwrap(), 3);
    assert!(!desk.peer().await.unwrap());
    assert_eq!(desk.bytes(b"abc").await.unwrap(), 3);
    assert_eq!(desk.louder("a".to_owned()).await.unwrap(), "A");
    assert_eq!(desk.count().try_collect::<Vec<_>>().await.unwrap(), [1, 2]);
}

#[tokio::test]
async fn call_without_an_expectation_is_an_internal_error() {
    let desk = DeskClient::new(Client::local(DeskServer::new(MockDesk::new())));
    let failed = desk.add(1, 2).await.unwrap_err();
    assert_eq!(failed.code(), Some(code::INTERNAL_ERROR));
}

#[rpc]
trait Plain {
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn length(&self, of: &str) -> usize;
}

mock! {
    PlainDesk {}
    impl Plain for PlainDesk {
        async fn add(&self, a: i64, b: i64) -> i64;
        async fn length(&self, of: &str) -> usize;
    }
}

#[tokio::test]
async fn mock_of_the_macro_is_served() {
    let mut mock = MockPlainDesk::new();
    mock.expect_add().returning(|a, b| a + b);
    mock.expect_length().returning(str::len);
    let desk = PlainClient::new(Client::local(PlainServer::new(mock)));
    assert_eq!(desk.add(1, 2).await.unwrap(), 3);
    assert_eq!(desk.length("abc").await.unwrap(), 3);
}
