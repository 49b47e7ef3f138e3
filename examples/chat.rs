//! Makes calls in both directions: a chat room keeps the clients of its guests, and calls them when a guest speaks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rpc_runtime::{CallError, Client, Context, Identity, RpcError, Server, Trust, rpc};

/// The service of the server.
#[rpc(namespace = "room")]
trait Room {
    /// Enters the room. The guest leaves the room when its connection ends.
    async fn enter(&self, cx: &Context, name: &str) -> Result<(), RoomError>;
    /// Speaks to all other guests. Returns the number of guests that heard it.
    async fn speak(&self, name: &str, line: &str) -> Result<usize, RoomError>;
}

/// The service of the server's clients.
#[rpc(namespace = "guest")]
trait Guest {
    /// Receives a line.
    async fn hear(&self, from: &str, line: &str);
}

#[derive(Debug, PartialEq, thiserror::Error, RpcError)]
enum RoomError {
    #[error("there is a {name} already")]
    #[rpc(code = 1)]
    NameTaken { name: String },
    #[error("no guest called {name} is here")]
    #[rpc(code = 2)]
    NotHere { name: String },
}

#[derive(Clone, Default)]
struct Lounge(Arc<Mutex<BTreeMap<String, GuestClient>>>);

impl Lounge {
    fn guests(&self) -> MutexGuard<'_, BTreeMap<String, GuestClient>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room for Lounge {
    async fn enter(&self, cx: &Context, name: &str) -> Result<(), RoomError> {
        let name = name.to_owned();
        let mut guests = self.guests();
        if guests.contains_key(&name) {
            return Err(RoomError::NameTaken { name });
        }
        guests.insert(name.clone(), cx.client());
        // Waits for the end of the guest's connection. Neither of the two clients keeps the connection open.
        let (lounge, connection) = (self.clone(), cx.client::<Client>());
        tokio::spawn(async move {
            let why = connection.closed().await;
            println!("{name} has left: {why}");
            lounge.guests().remove(&name);
        });
        Ok(())
    }

    async fn speak(&self, name: &str, line: &str) -> Result<usize, RoomError> {
        let guests = self.guests().clone();
        if !guests.contains_key(name) {
            return Err(RoomError::NotHere { name: name.into() });
        }
        let others = guests.iter().filter(|(guest, _)| *guest != name);
        // Calls are futures that borrow nothing, so that all guests are called at once.
        let calls: tokio::task::JoinSet<_> =
            others.map(|(_, guest)| guest.hear(name, line)).collect();
        let heard = calls.join_all().await;
        Ok(heard.iter().filter(|heard| heard.is_ok()).count())
    }
}

/// A guest, which prints what it hears.
struct Listener(&'static str);

impl Guest for Listener {
    async fn hear(&self, from: &str, line: &str) {
        println!("{} hears {from}: {line}", self.0);
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let identity = Identity::self_signed(["localhost", "127.0.0.1"])?;
    let trust = Trust::certificate(identity.certificate());
    let server = Server::builder(identity)
        .service(RoomServer::new(Lounge::default()))
        .bind("127.0.0.1:0")?;
    let (address, handle) = (server.local_addr()?, server.handle());
    tokio::spawn(server.run());

    let mut guests = Vec::new();
    for name in ["ada", "grace", "edsger"] {
        let client = Client::builder()
            .trust(trust.clone())
            .service(GuestServer::new(Listener(name)))
            .connect(address)
            .await?;
        let room = RoomClient::new(client.clone());
        room.enter(name).await?;
        guests.push((room, client));
    }
    let ada = guests[0].0.clone();
    println!("{} have heard it", ada.speak("ada", "good evening").await?);
    match ada.enter("grace").await {
        Err(CallError::Application(taken)) => println!("ada cannot be grace: {taken}"),
        other => println!("unexpected: {other:?}"),
    }

    guests[2].1.close().await;
    println!("{} has heard it", ada.speak("ada", "who is here?").await?);
    handle.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
