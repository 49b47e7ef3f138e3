//! Runs a server, a device, a watcher, or all of them: see `README.md`.

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use rpc_runtime::Server;
use telemetry::api::TelemetryServer;
use telemetry::demo::demo;
use telemetry::device::{Device, Event};
use telemetry::link::{Folder, connect};
use telemetry::server::Station;
use telemetry::store::Store;
use telemetry::watch::watch;

const USAGE: &str = "usage:
  telemetry demo [--seconds N]
  telemetry server [--listen ADDRESS] [--data FOLDER]
  telemetry device NAME [--rate N] [--count N] [--server ADDRESS] [--certificate FILE]
  telemetry watch [--server ADDRESS] [--certificate FILE]";

/// The default address of the server.
const ADDRESS: &str = "127.0.0.1:4455";

/// The default folder of the server's files.
const FOLDER: &str = "telemetry-data";

/// The time that the server has at shutdown to acknowledge the readings that it has received.
const DRAIN: Duration = Duration::from_secs(10);

/// The options after the command: names, each with a value.
struct Options(HashMap<String, String>);

impl Options {
    fn parse(
        mut arguments: impl Iterator<Item = String>,
        known: &[&str],
    ) -> Result<Self, Box<dyn Error>> {
        let mut options = HashMap::new();
        while let Some(name) = arguments.next() {
            let name = name.strip_prefix("--").filter(|name| known.contains(name));
            let name = name.ok_or(USAGE)?.to_owned();
            options.insert(name, arguments.next().ok_or(USAGE)?);
        }
        Ok(Self(options))
    }

    fn get<T: FromStr<Err: Error + 'static>>(&self, name: &str) -> Result<Option<T>, T::Err> {
        self.0.get(name).map(|value| value.parse()).transpose()
    }

    fn text(&self, name: &str, default: &str) -> String {
        self.0.get(name).map_or(default, String::as_str).to_owned()
    }

    fn certificate(&self) -> PathBuf {
        let default = Folder(FOLDER.into()).certificate();
        self.0.get("certificate").map_or(default, PathBuf::from)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("demo") => {
            let options = Options::parse(arguments, &["seconds"])?;
            demo(options.get("seconds")?.unwrap_or(30)).await
        }
        Some("server") => serve(Options::parse(arguments, &["listen", "data"])?).await,
        Some("device") => {
            let name = arguments.next().ok_or(USAGE)?;
            let known = ["rate", "count", "server", "certificate"];
            report(name, Options::parse(arguments, &known)?).await
        }
        Some("watch") => show(Options::parse(arguments, &["server", "certificate"])?).await,
        _ => Err(USAGE.into()),
    }
}

async fn serve(options: Options) -> Result<(), Box<dyn Error>> {
    let folder = Folder(options.text("data", FOLDER).into());
    let identity = folder.identity()?;
    let (station, stop, recording) = Station::new(Store::open(&folder.database())?);
    let server = Server::builder(identity)
        .service(TelemetryServer::new(station))
        .bind(options.text("listen", ADDRESS))?;
    let (address, handle) = (server.local_addr()?, server.handle());
    let told_to_stop = stop_signal()?;
    println!("listening on {address}");

    let serving = tokio::spawn(server.run());
    let mut recording = tokio::spawn(recording);
    tokio::select! {
        () = told_to_stop => {}
        // Without its database the server has nothing to do.
        failed = &mut recording => return Ok(failed??),
    }
    // The shutdown rejects new calls first; then the running calls are asked to finish.
    let (finished, ()) = tokio::join!(handle.shutdown(DRAIN), async { stop.stop() });
    serving.await?;
    recording.await??;
    match finished {
        true => Ok(()),
        false => Err("some calls were cut off".into()),
    }
}

async fn report(name: String, options: Options) -> Result<(), Box<dyn Error>> {
    let device = Device {
        name,
        rate: options.get("rate")?.unwrap_or(20.0),
        count: options.get("count")?,
    };
    let address = options.text("server", ADDRESS);
    let telemetry = connect(&address, &options.certificate()).await?;
    let reported = device.run(&telemetry, |event| match event {
        Event::Acknowledged(number) => println!("acknowledged {number}"),
        Event::CutOff(error) => eprintln!("cut off: {error}"),
    });
    Ok(reported.await?)
}

async fn show(options: Options) -> Result<(), Box<dyn Error>> {
    let address = options.text("server", ADDRESS);
    let telemetry = connect(&address, &options.certificate()).await?;
    let title = format!("telemetry of {address}");
    tokio::select! {
        watched = watch(&telemetry, &title) => watched,
        () = stop_signal()? => Ok(()),
    }
}

/// Resolves at ctrl-c or SIGTERM.
#[cfg(unix)]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Resolves at ctrl-c.
#[cfg(windows)]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        interrupt.recv().await;
    })
}
