//! Takes servers from tower's `Discover`.

use std::future::poll_fn;
use std::pin::pin;

use rpc_runtime::balance::Endpoints;
use rpc_runtime::{Address, ConnectionState};
use tower::discover::{Change, Discover};

/// Passes the servers that `discover` finds to a client, as they are inserted and removed. Any stream of [`Change`]s is
/// a `Discover`. The future resolves when the client is closed or when the stream ends; the client then keeps its
/// current servers.
///
/// ```no_run
/// use std::convert::Infallible;
/// use futures_util::stream;
/// use rpc_discovery::apply;
/// use tower::discover::Change;
///
/// # async fn example(endpoints: rpc_runtime::balance::Endpoints) -> Result<(), Box<dyn std::error::Error>> {
/// let changes: [Result<_, Infallible>; 2] = [
///     Ok(Change::Insert("one", "10.0.0.1:4433".parse()?)),
///     Ok(Change::Insert("two", "10.0.0.2:4433".parse()?)),
/// ];
/// apply(endpoints, stream::iter(changes)).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Returns the error of the stream. The client keeps its servers.
///
/// # Cancel safety
/// Cancel safe: every change that was taken from `discover` has been applied, and no further change is taken.
pub async fn apply<D>(endpoints: Endpoints, discover: D) -> Result<(), D::Error>
where
    D: Discover<Service = Address>,
{
    let mut discover = pin!(discover);
    let mut states = endpoints.watch_state();
    let mut found: Vec<(D::Key, Address)> = Vec::new();
    loop {
        let change = tokio::select! {
            biased;
            changed = states.changed() => match changed {
                None | Some(ConnectionState::Closed(_)) => return Ok(()),
                Some(_) => continue,
            },
            change = poll_fn(|cx| discover.as_mut().poll_discover(cx)) => change,
        };
        match change.transpose()? {
            Some(Change::Insert(key, address)) => {
                found.retain(|(known, _)| *known != key);
                found.push((key, address));
            }
            Some(Change::Remove(key)) => found.retain(|(known, _)| *known != key),
            None => return Ok(()),
        }
        endpoints.set(found.iter().map(|(_, address)| address.clone()));
    }
}
