//! A server in this process without discovery.

use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use futures_util::{Stream, stream};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rpc_runtime::{Context, Identity, Server, ServerHandle, Trust, rpc};

use crate::program::{Ended, rpc};

#[rpc]
trait Desk {
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn tenant(&self, cx: &Context) -> Option<String>;
    async fn authorization(&self, cx: &Context) -> Option<String>;
    #[rpc(notification)]
    async fn note(&self, cx: &Context);
    async fn noted(&self) -> Option<String>;
    fn watch(&self, cx: &Context) -> impl Stream<Item = Option<String>>;
}

/// Keeps the authorization of the last notification.
#[derive(Default)]
struct Clerk(Mutex<Option<String>>);

impl Desk for Clerk {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    async fn tenant(&self, cx: &Context) -> Option<String> {
        cx.meta("tenant").map(str::to_owned)
    }

    async fn authorization(&self, cx: &Context) -> Option<String> {
        cx.meta("authorization").map(str::to_owned)
    }

    async fn note(&self, cx: &Context) {
        *self.0.lock().unwrap() = cx.meta("authorization").map(str::to_owned);
    }

    async fn noted(&self) -> Option<String> {
        self.0.lock().unwrap().clone()
    }

    fn watch(&self, cx: &Context) -> impl Stream<Item = Option<String>> {
        let item = cx.meta("authorization").map(str::to_owned);
        stream::once(async move { item })
    }
}

pub(crate) struct UndescribedServer {
    pub(crate) address: String,
    /// Its certificate, in a file.
    pub(crate) ca: String,
    pub(crate) pin: String,
    folder: String,
    handle: ServerHandle,
}

impl UndescribedServer {
    pub(crate) fn start() -> Self {
        Self::start_for(false)
    }

    /// With `only_known` it accepts only clients with the certificate of [`client_files`](Self::client_files).
    pub(crate) fn start_for(only_known: bool) -> Self {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let folder = format!(
            "{}/undescribed-{}-{count}",
            env!("CARGO_TARGET_TMPDIR"),
            std::process::id()
        );
        std::fs::create_dir_all(&folder).unwrap();
        let (sender, started) = mpsc::channel();
        let here = folder.clone();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let identity = Identity::self_signed(["localhost", "127.0.0.1"]).unwrap();
                let certificate = identity.certificate();
                let mut builder = Server::builder(identity)
                    .service(DeskServer::new(Clerk::default()))
                    .discover(false);
                if only_known {
                    builder = builder.require_client_certificate(write_client_files(&here));
                }
                let server = builder.bind("127.0.0.1:0").unwrap();
                let address = server.local_addr().unwrap();
                sender
                    .send((address, certificate, server.handle()))
                    .unwrap();
                server.run().await;
            });
        });
        let (address, certificate, handle) = started.recv_timeout(Duration::from_secs(10)).unwrap();
        let ca = format!("{folder}/server.pem");
        std::fs::write(&ca, certificate.to_pem()).unwrap();
        let pin = certificate.sha256().map(|byte| format!("{byte:02X}"));
        Self {
            address: address.to_string(),
            ca,
            pin: pin.join(":"),
            folder,
            handle,
        }
    }

    pub(crate) fn rpc(&self, arguments: &[&str]) -> Ended {
        rpc(&[&["call", &self.address, "--pin", &self.pin], arguments].concat())
    }

    /// The certificate and the key of a client.
    pub(crate) fn client_files(&self) -> [String; 2] {
        ["client.pem", "client.key"].map(|name| format!("{}/{name}", self.folder))
    }
}

impl Drop for UndescribedServer {
    fn drop(&mut self) {
        drop(self.handle.shutdown(Duration::ZERO));
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Writes the certificate and the key of a client, and returns trust in the authority that signed it.
fn write_client_files(folder: &str) -> Trust {
    let mut authority = CertificateParams::new([]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let root = authority.self_signed(&authority_key).unwrap();
    let mut client = CertificateParams::new(["client".to_owned()]).unwrap();
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let client_key = KeyPair::generate().unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let signed = client.signed_by(&client_key, &issuer).unwrap();
    std::fs::write(format!("{folder}/client.pem"), signed.pem()).unwrap();
    std::fs::write(format!("{folder}/client.key"), client_key.serialize_pem()).unwrap();
    Trust::pem(root.pem().as_bytes()).unwrap()
}
