//! The authorities of the operating system, which a process reads once.
//!
//! Reading and parsing them takes milliseconds to seconds, so a client reads them on a thread for blocking work.

use std::sync::Arc;

use rustls::RootCertStore;
use tokio::sync::OnceCell;

/// The authorities, once they have been read and some were found.
static SYSTEM: OnceCell<Arc<RootCertStore>> = OnceCell::const_new();

/// Returns the authorities. Reads them on another thread if no client or server has read them yet.
pub(super) async fn load() -> Arc<RootCertStore> {
    let read = || async {
        // The task fails if the runtime shuts down, or if reading panics.
        let read = tokio::task::spawn_blocking(read).await;
        some(read.unwrap_or_else(|_| none()))
    };
    let found = SYSTEM.get_or_try_init(read).await;
    found.map_or_else(|()| none(), Arc::clone)
}

#[cfg(feature = "server")]
/// Returns the authorities. Reads them on this thread if no client or server has read them yet.
pub(super) fn load_blocking() -> Arc<RootCertStore> {
    if let Some(found) = SYSTEM.get() {
        return Arc::clone(found);
    }
    let found = read();
    if let Ok(found) = some(Arc::clone(&found)) {
        // Fails if another thread has read them meanwhile.
        let _ = SYSTEM.set(found);
    }
    found
}

/// Returns an error if there are none, so that they are read again, since they may be installed later.
fn some(found: Arc<RootCertStore>) -> Result<Arc<RootCertStore>, ()> {
    match found.is_empty() {
        true => Err(()),
        false => Ok(found),
    }
}

/// Returns no authorities.
pub(super) fn none() -> Arc<RootCertStore> {
    Arc::new(RootCertStore::empty())
}

fn read() -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Arc::new(roots)
}

#[cfg(all(test, feature = "server"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn authorities_are_read_once() {
        let first = load().await;
        // Without authorities there is nothing to keep.
        if !first.is_empty() {
            assert!(Arc::ptr_eq(&first, &load().await));
            assert!(Arc::ptr_eq(&first, &load_blocking()));
        }
    }
}
