//! Connects to a server.

use std::env::VarError;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rpc_runtime::{Call, Client, ClientBuilder, Identity, Limits, Notification, Streaming, Trust};
use serde::Serialize;

use crate::advice::{advise, error_chain};
use crate::carrier::{Carrier, Needs};
use crate::failure::{Failure, Stop};
use crate::interrupt::{Session, until_interrupted};
use crate::reply::{CallFailed, read_result};
use crate::shell::quoted;
use crate::size::Size;
use crate::target::{Target, Url};

/// The default maximum size of a reply, an item or a description.
const MAX_REPLY: Size = Size(32 << 20);

/// The default maximum time to connect over TCP.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The name of the metadata that holds a token.
const AUTHORIZATION: &str = "authorization";

/// The maximum time to wait until the server knows that the connection is closed.
const LEAVE: Duration = Duration::from_millis(500);

/// What all commands that connect have in common.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// Limits the time to connect, and then the time of each call: `500ms`, `2s`, `1m` [default: 10s to connect and no
    /// limit for calls; 5s for `ping`; 10s for `bench`]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    /// Sends metadata with each call; may be repeated. Other users can read a command line: pass a bearer token in the
    /// environment [env: RPC_TOKEN sends `authorization=Bearer …`]
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    meta: Vec<(String, String)>,
    /// Trusts the server's certificate if its SHA-256 fingerprint is this, in hexadecimal [env: RPC_PIN, if there is
    /// neither `--pin` nor `--ca`]
    #[arg(long, value_name = "SHA256", value_parser = fingerprint)]
    pin: Option<[u8; 32]>,
    /// Trusts the authorities, or the self-signed certificates, in this PEM file instead of those of the system [env:
    /// RPC_CA, if there is neither `--pin` nor `--ca`]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Authenticates with the client certificate and its chain in this PEM file [env: RPC_CERT]
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The private key of the client certificate: a PEM file [env: RPC_KEY]
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Sets the name that the server's certificate must have, if it is not the host
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// The maximum size of a reply, an item or a description, also of a file: bytes, or `64KiB`, `64MiB`, `1GiB`
    /// [default: 32MiB, and 1MiB for `bench`]
    #[arg(long, value_name = "SIZE")]
    max_reply: Option<Size>,
    /// The defaults of the command.
    #[arg(skip)]
    default_timeout: Option<Duration>,
    #[arg(skip)]
    default_max_reply: Option<Size>,
    /// The command makes calls with items.
    #[arg(skip)]
    has_items: bool,
}

impl Connection {
    /// Connects, runs the work, and closes the connection, also after ctrl-c. Does not reconnect.
    pub(crate) async fn session<T>(
        &self,
        target: &Target,
        work: impl AsyncFnOnce(&Client) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        let builder = self.builder()?.reconnect(false);
        let _session = Session::open();
        let connected = until_interrupted(self.connect(builder, target)).await?;
        let ended = until_interrupted(work(&connected.client)).await;
        connected.leave().await;
        connected.explain(ended)
    }

    /// Does the same with several connections, which reconnect when they are lost.
    pub(crate) async fn sessions<T>(
        &self,
        target: &Target,
        count: usize,
        work: impl AsyncFnOnce(&[Client]) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        let builder = self.builder()?;
        let _session = Session::open();
        let mut connected = Vec::new();
        while connected.len() < count {
            connected.push(until_interrupted(self.connect(builder.clone(), target)).await?);
        }
        let clients: Vec<_> = connected.iter().map(|it| it.client.clone()).collect();
        let mut ended = until_interrupted(work(&clients)).await;
        for connected in &connected {
            connected.leave().await;
            if ended.is_err() {
                ended = connected.explain(ended);
            }
        }
        ended
    }

    async fn connect(&self, builder: ClientBuilder, target: &Target) -> Result<Connected, Stop> {
        match target {
            Target::Quic(address) => {
                let client = builder.connect(address.to_string()).await;
                Ok(Connected {
                    client: client.map_err(|error| advise(&error, target))?,
                    carrier: None,
                })
            }
            Target::Url(url) => {
                let needs = self.needs(url)?;
                let (client, carrier) = Carrier::connect(builder, url, needs).await?;
                Ok(Connected {
                    client,
                    carrier: Some(carrier),
                })
            }
        }
    }

    fn needs(&self, url: &Url) -> Result<Needs, Failure> {
        let of_tls = [
            ("--pin", self.pin.is_some()),
            ("--ca", self.ca.is_some()),
            ("--cert", self.cert.is_some()),
            ("--server-name", self.server_name.is_some()),
        ];
        let given = of_tls.into_iter().find(|(_, is_given)| *is_given);
        if let (false, Some((name, _))) = (url.is_tls, given) {
            let failure = Failure::usage(format!("`{name}` has no effect without TLS"));
            return Err(failure.tip("write `https://` or `wss://` for a server with TLS"));
        }
        let mut metadata = self.meta.clone();
        if let Some(token) = environment("RPC_TOKEN")?
            && !metadata.iter().any(|(name, _)| name == AUTHORIZATION)
        {
            let value = format!("Bearer {}", token.trim());
            metadata.push((AUTHORIZATION.to_owned(), value));
        }
        let timeout = self.timeout.or(self.default_timeout);
        Ok(Needs {
            max_reply: self.max_reply().0,
            has_items: self.has_items,
            connect_timeout: timeout.unwrap_or(CONNECT_TIMEOUT),
            server_name: self.server_name.clone(),
            metadata,
        })
    }

    fn builder(&self) -> Result<ClientBuilder, Failure> {
        let mut builder = Client::builder()
            .trust(self.trust()?)
            .max_response_bytes(self.max_reply().0)
            .limits(self.limits());
        if let Some(timeout) = self.timeout.or(self.default_timeout) {
            builder = builder.connect_timeout(timeout).timeout(timeout);
        }
        if let Some(name) = &self.server_name {
            builder = builder.server_name(name);
        }
        if let Some(IdentityFiles { cert, key, subject }) = self.identity_files()? {
            let identity = Identity::from_pem_files(cert, key).map_err(|error| {
                let failure = Failure::usage(error_chain(&error));
                subject.into_iter().fold(failure, Failure::of)
            })?;
            builder = builder.identity(identity);
        }
        if let Some(token) = environment("RPC_TOKEN")? {
            let value = format!("Bearer {}", token.trim());
            builder = builder.metadata(move |add| add(AUTHORIZATION, &value));
        }
        Ok(builder)
    }

    /// Returns the files of the client certificate and of its key.
    fn identity_files(&self) -> Result<Option<IdentityFiles>, Failure> {
        if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
            return Ok(Some(IdentityFiles {
                cert: cert.clone(),
                key: key.clone(),
                subject: None,
            }));
        }
        match (environment("RPC_CERT")?, environment("RPC_KEY")?) {
            (Some(cert), Some(key)) => Ok(Some(IdentityFiles {
                cert: cert.into(),
                key: key.into(),
                subject: Some("the environment variables RPC_CERT and RPC_KEY"),
            })),
            (None, None) => Ok(None),
            _ => {
                let why = "only one of the environment variables RPC_CERT and RPC_KEY is set";
                Err(Failure::usage(why).tip("set both, or neither"))
            }
        }
    }

    fn trust(&self) -> Result<Trust, Failure> {
        let (mut pin, mut ca) = (self.pin, self.ca.clone());
        // Options replace the environment, so that they never trust more than they name.
        let mut subject = None;
        if pin.is_none() && ca.is_none() {
            let named = |why| Failure::usage(format!("the environment variable RPC_PIN: {why}"));
            let digits = environment("RPC_PIN")?;
            pin = digits
                .map(|it| fingerprint(it.trim()))
                .transpose()
                .map_err(named)?;
            ca = environment("RPC_CA")?.map(PathBuf::from);
            subject = Some("the environment variable RPC_CA");
        }
        let pinned = pin.map(Trust::sha256);
        let authorities = ca.map(Trust::pem_file).transpose();
        let authorities = authorities.map_err(|error| {
            let failure = Failure::usage(error_chain(&error));
            subject.into_iter().fold(failure, Failure::of)
        })?;
        Ok(match (pinned, authorities) {
            (Some(pinned), Some(authorities)) => pinned.or(authorities),
            (Some(only), None) | (None, Some(only)) => only,
            (None, None) => Trust::system(),
        })
    }

    /// Returns the connection options of the command line, as they are typed. A token is not repeated.
    pub(crate) fn written(&self) -> String {
        let file = |path: &PathBuf| path.display().to_string();
        let time = |time| humantime::format_duration(time).to_string();
        let options = [
            ("pin", self.pin.map(|pin| hexadecimal(&pin))),
            ("ca", self.ca.as_ref().map(file)),
            ("cert", self.cert.as_ref().map(file)),
            ("key", self.key.as_ref().map(file)),
            ("server-name", self.server_name.clone()),
            ("timeout", self.timeout.map(time)),
            ("max-reply", self.max_reply.map(|size| size.0.to_string())),
        ];
        let given = options
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        let shown = self.meta.iter().filter(|(name, _)| name != AUTHORIZATION);
        let meta = shown.map(|(name, value)| ("meta", format!("{name}={value}")));
        let written = given.chain(meta);
        written
            .map(|(name, value)| format!(" --{name} {}", quoted(&value)))
            .collect()
    }

    /// Returns the maximum size of a reply, an item or a description.
    pub(crate) fn max_reply(&self) -> Size {
        let given = self.max_reply.or(self.default_max_reply);
        given.unwrap_or(MAX_REPLY)
    }

    /// Returns limits with room for the largest reply, twice: its buffer grows while it is received.
    fn limits(&self) -> Limits {
        let default = Limits::default();
        let reply = self.max_reply().0.saturating_mul(2);
        let room = default.max_memory_bytes_per_connection;
        Limits {
            max_memory_bytes_per_connection: room.saturating_add(reply),
            // The only limit is that of the connection.
            max_memory_bytes: usize::MAX,
            ..default
        }
    }

    /// Sets another default of that maximum.
    pub(crate) fn default_max_reply(&mut self, bytes: usize) {
        self.default_max_reply = Some(Size(bytes));
    }

    /// Makes calls with items possible over HTTP, where they take another form of request.
    pub(crate) fn expect_items(&mut self) {
        self.has_items = true;
    }

    /// Sets the default of the timeout.
    pub(crate) fn default_timeout(&mut self, timeout: Duration) {
        self.default_timeout = Some(timeout);
    }

    /// Calls a method and returns the result as JSON.
    pub(crate) async fn call<P>(
        &self,
        client: &Client,
        method: &str,
        params: &P,
    ) -> Result<String, CallFailed>
    where
        P: Serialize + ?Sized,
    {
        read_result(self.call_line(client, method, params).await?)
    }

    /// Calls a method, and returns the line of its response.
    pub(crate) async fn call_line<P>(
        &self,
        client: &Client,
        method: &str,
        params: &P,
    ) -> Result<Vec<u8>, CallFailed>
    where
        P: Serialize + ?Sized,
    {
        let call = self.with_meta(client.call_unparsed(method, params));
        Ok(call.await?)
    }

    /// Returns the reason why a call has no result, and how to correct it.
    pub(crate) fn explain(&self, failed: CallFailed) -> Failure {
        let is_too_large =
            matches!(&failed, CallFailed::Unanswered(error) if error.is_reply_too_large());
        let failure = Failure::from(failed);
        match is_too_large {
            true => failure.tip(self.limit_tip()),
            false => failure,
        }
    }

    /// Returns the advice for a reply that is too large.
    pub(crate) fn limit_tip(&self) -> String {
        let limit = self.max_reply();
        format!("the limit is {limit}; raise it with `--max-reply SIZE`")
    }

    /// Adds the metadata of the command line to a call.
    pub(crate) fn with_meta<C: Meta>(&self, call: C) -> C {
        self.meta
            .iter()
            .fold(call, |call, (name, value)| call.with(name, value))
    }
}

/// The files of the client certificate and of its key.
struct IdentityFiles {
    cert: PathBuf,
    key: PathBuf,
    /// The environment variables that name the files.
    subject: Option<&'static str>,
}

/// Returns an environment variable. An empty one counts as missing.
fn environment(name: &str) -> Result<Option<String>, Failure> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(Failure::usage(format!(
            "the environment variable {name} is not Unicode"
        ))),
    }
}

/// A client that is connected.
struct Connected {
    client: Client,
    /// Carries the streams of the client over HTTP or WebSocket.
    carrier: Option<Carrier>,
}

impl Connected {
    async fn leave(&self) {
        let _ = tokio::time::timeout(LEAVE, self.client.close()).await;
        if let Some(carrier) = &self.carrier {
            let _ = tokio::time::timeout(CONNECT_TIMEOUT, carrier.flush()).await;
        }
    }

    /// Replaces the reason why the work failed by that of the carrier, which knows more.
    fn explain<T>(&self, ended: Result<T, Stop>) -> Result<T, Stop> {
        let Some(carrier) = &self.carrier else {
            return ended;
        };
        let failure = match &ended {
            Ok(_) => carrier.take_refused_notification(),
            Err(Stop::Failed(_)) => carrier.take_failure(),
            Err(_) => None,
        };
        failure.map_or(ended, |failure| Err(failure.into()))
    }
}

/// A request that can carry metadata.
pub(crate) trait Meta {
    fn with(self, name: &str, value: &str) -> Self;
}

impl<T, E> Meta for Call<T, E> {
    fn with(self, name: &str, value: &str) -> Self {
        self.meta(name, value)
    }
}

impl<T, E> Meta for Streaming<T, E> {
    fn with(self, name: &str, value: &str) -> Self {
        self.meta(name, value)
    }
}

impl Meta for Notification {
    fn with(self, name: &str, value: &str) -> Self {
        self.meta(name, value)
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Reads 64 hexadecimal digits, with or without colons between pairs of them.
fn fingerprint(text: &str) -> Result<[u8; 32], String> {
    let digits: Vec<u32> = text
        .chars()
        .filter(|c| *c != ':')
        .map(|c| {
            c.to_digit(16)
                .ok_or(format!("`{c}` is not a hexadecimal digit"))
        })
        .collect::<Result<_, _>>()?;
    let bytes: Vec<u8> = digits
        .chunks(2)
        .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | *digit as u8))
        .collect();
    let count = digits.len();
    match digits.len() {
        64 => bytes.try_into().map_err(|_| String::new()),
        _ => Err(format!(
            "a SHA-256 fingerprint has 64 hexadecimal digits, but this has {count}"
        )),
    }
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_64_digits() {
        let digits = "0123456789abcdefABCDEF".to_owned() + &"0".repeat(42);
        let read = fingerprint(&digits).unwrap();
        assert_eq!(read[..4], [0x01, 0x23, 0x45, 0x67]);
        assert_eq!(read[8..11], [0xab, 0xcd, 0xef]);
        let with_colons: Vec<_> = digits.as_bytes().chunks(2).collect();
        let with_colons = with_colons.join(&b':');
        assert_eq!(
            fingerprint(std::str::from_utf8(&with_colons).unwrap()),
            Ok(read)
        );
        assert!(fingerprint("00").unwrap_err().contains("this has 2"));
        assert!(fingerprint(&"é".repeat(32)).unwrap_err().contains("`é`"));
    }
}
