//! The commands of customers and administrators.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use rpc_runtime::{CallError, Client, Trust};
use serde::Deserialize;

use crate::api::{LoginClient, NewOrder, Order, OrderError, OrdersClient, State};
use crate::bearer::Bearer;
use crate::serve::Failure;

/// The time limit of a call, with all of its attempts. Imports, and the streams that watch an order, have none.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The number of calls in a row that time out at a replica before it gets no more. A replica that was killed costs that many
/// calls their time, in addition to those that were in flight.
const EJECT: u32 = 2;

/// The pause before a watcher calls again.
const PAUSE: Duration = Duration::from_millis(50);

/// The servers and how to reach them.
#[derive(Debug, Clone)]
pub struct Servers {
    /// The addresses of the replicas.
    pub addresses: Vec<String>,
    /// The certificate of the authority.
    pub authority: PathBuf,
}

/// A user who has logged in.
#[derive(Debug, Clone)]
pub struct Session {
    client: Client,
    /// The orders of the user.
    pub orders: OrdersClient,
}

impl Servers {
    /// Connects to the replicas. Returns as soon as one is connected.
    ///
    /// # Errors
    /// When no replica can be reached, or their certificates are not trusted.
    pub async fn connect(&self) -> Result<Client, Failure> {
        let client = Client::builder()
            .trust(Trust::pem_file(&self.authority)?)
            .timeout(TIMEOUT)
            .eject_after(EJECT)
            .reconnect_backoff(Duration::from_millis(20), Duration::from_secs(1))
            .connect_many(self.addresses.iter().map(String::as_str));
        Ok(client.await?)
    }

    /// Connects and logs in.
    ///
    /// # Errors
    /// When the connection or the login fails.
    pub async fn log_in(&self, user: &str, password: &str) -> Result<Session, Failure> {
        let client = self.connect().await?;
        Session::new(client, user, password).await
    }

    /// Asks the first replica for its serving state, as `rpc health` does.
    ///
    /// # Errors
    /// When the replica does not answer or is not serving.
    pub async fn health(&self) -> Result<(), Failure> {
        #[derive(Deserialize)]
        struct Answer {
            status: String,
        }
        let client = self.connect().await?;
        let answer = client.call::<Answer, _>("rpc.health", &()).await;
        client.close().await;
        let Answer { status } = answer?;
        println!("{status}");
        match &*status {
            "SERVING" => Ok(()),
            _ => Err("the replica is not serving".into()),
        }
    }
}

impl Session {
    /// Logs a user in. The sessions of several users may share a client and its connections.
    ///
    /// # Errors
    /// When the login fails.
    pub async fn new(client: Client, user: &str, password: &str) -> Result<Self, Failure> {
        let login = LoginClient::new(client.clone());
        let tokens = login.log_in(user, password).await?;
        let orders = OrdersClient::new(client.with_middleware(Bearer::new(login, tokens)));
        Ok(Self { client, orders })
    }

    /// Returns the client without the user's token, for calls by name.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Places an order, and prints it with what the server says about the call.
    ///
    /// # Errors
    /// When the order is not placed.
    pub async fn place(&self, order: NewOrder) -> Result<(), Failure> {
        let call = self.orders.place(order).with_response_metadata();
        let (placed, metadata) = call.await;
        show(&placed?);
        for (name, value) in metadata.iter() {
            println!("{name}: {value}");
        }
        Ok(())
    }

    /// Prints the orders of the user.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn list(&self) -> Result<(), Failure> {
        let mut orders = self.orders.list();
        while let Some(order) = orders.try_next().await? {
            show(&order);
        }
        Ok(())
    }

    /// Prints an order each time that its state changes, until the last state. Continues on another replica when the
    /// replica that it watches on shuts down.
    ///
    /// # Errors
    /// When the user has no such order, or no replica answers for a while.
    pub async fn watch(&self, id: u64) -> Result<(), Failure> {
        let mut shown = None;
        loop {
            let mut orders = self.orders.watch(id).no_timeout();
            let ended = loop {
                match orders.next().await {
                    // It may be repeated after a reconnect.
                    Some(Ok(order)) if shown >= Some(order.state) => {}
                    Some(Ok(order)) => {
                        show(&order);
                        shown = Some(order.state);
                    }
                    Some(Err(error)) => break Err(error),
                    None => break Ok(()),
                }
            };
            if shown == Some(State::Shipped) {
                return Ok(());
            }
            match ended {
                Ok(()) | Err(CallError::StreamEnded | CallError::Connection { .. }) => {}
                Err(CallError::Application(OrderError::Unavailable)) => {}
                Err(error) => return Err(error.into()),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Places an order for each line `KEY ITEM COUNT`.
    ///
    /// # Errors
    /// When a line or an order is not valid, or the import fails. It may be repeated.
    pub async fn import(&self, lines: &str) -> Result<(), Failure> {
        let orders: Option<Vec<NewOrder>> = lines.lines().map(parse).collect();
        let orders = orders.ok_or("a line is not KEY ITEM COUNT")?;
        let count = self
            .orders
            .import(stream::iter(orders))
            .no_timeout()
            .await?;
        println!("imported {count}");
        Ok(())
    }

    /// Moves an order to a later state.
    ///
    /// # Errors
    /// When the user is no administrator, or the order has a later state.
    pub async fn advance(&self, id: u64, state: State) -> Result<(), Failure> {
        show(&self.orders.advance(id, state).await?);
        Ok(())
    }

    /// Tells the replicas that the client ends. A process that ends without it may leave its connections open on the
    /// servers until their idle timeout.
    pub async fn close(self) {
        self.client.close().await;
    }
}

fn parse(line: &str) -> Option<NewOrder> {
    let mut words = line.split_whitespace().map(str::to_owned);
    let (key, item, count) = (words.next()?, words.next()?, words.next()?);
    let count = count.parse().ok()?;
    words
        .next()
        .is_none()
        .then_some(NewOrder { key, item, count })
}

fn show(order: &Order) {
    let Order {
        id,
        user,
        key,
        item,
        count,
        state,
    } = order;
    println!("{id} {user} {key} {item} {count} {state:?}");
}
