//! Runs everything at once: a server that is killed twice, devices that continue to measure, and a watcher.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::device::Device;
use crate::link::{Folder, connect};
use crate::store::Store;
use crate::watch::watch;

const DEVICES: [(&str, f64); 5] = [
    ("boiler", 50.0),
    ("cellar", 5.0),
    ("greenhouse", 20.0),
    ("roof", 10.0),
    ("turbine", 200.0),
];

/// The time for which the server is down after each kill.
const AWAY: Duration = Duration::from_secs(3);

type Failure = Box<dyn std::error::Error>;

/// Runs for about `seconds` seconds, and then prints what is in the database.
///
/// # Errors
/// When something does not start, and when a reading is missing.
pub async fn demo(seconds: u64) -> Result<(), Failure> {
    // Removed when dropped.
    let path = tempfile::tempdir()?;
    let folder = Folder(path.path().to_owned());
    play(&folder, Duration::from_secs(seconds)).await
}

async fn play(folder: &Folder, length: Duration) -> Result<(), Failure> {
    let (mut server, address) = start_server(folder, "127.0.0.1:0").await?;
    let certificate = folder.certificate();
    let mut devices = JoinSet::new();
    for (name, rate) in DEVICES {
        let telemetry = connect(&address, &certificate).await?;
        let count = Some((rate * length.as_secs_f64()) as u64);
        let name = name.to_owned();
        devices.spawn(async move { Device { name, rate, count }.run(&telemetry, |_| {}).await });
    }
    let telemetry = connect(&address, &certificate).await?;
    let everything = async {
        for _ in 0..2 {
            tokio::time::sleep(length.saturating_sub(2 * AWAY) / 3).await;
            server.kill().await?;
            tokio::time::sleep(AWAY).await;
            (server, _) = start_server(folder, &address).await?;
        }
        while let Some(device) = devices.join_next().await {
            device??;
        }
        Ok::<_, Failure>(())
    };
    tokio::select! {
        watched = watch(&telemetry, "telemetry: the server is killed twice") => watched?,
        played = everything => played?,
        _ = tokio::signal::ctrl_c() => return Ok(()),
    }
    server.kill().await?;
    check(&folder.database(), length)
}

/// Starts a server in its own process. Returns the process and the server's address.
async fn start_server(folder: &Folder, listen: &str) -> Result<(Child, String), Failure> {
    let mut server = Command::new(std::env::current_exe()?)
        .args(["server", "--listen", listen, "--data"])
        .arg(&folder.0)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let output = server.stdout.take().ok_or("the server has no output")?;
    let line = BufReader::new(output).lines().next_line().await?;
    let line = line.ok_or("the server did not start")?;
    let address = line
        .strip_prefix("listening on ")
        .ok_or("the server says something else")?;
    Ok((server, address.to_owned()))
}

/// Counts the readings in the database of a server that has ended.
fn check(database: &Path, length: Duration) -> Result<(), Failure> {
    let store = Store::open(database)?;
    let windows = store.windows(0)?;
    println!("The server was killed twice, and once more at the end. In its database:");
    for (name, rate) in DEVICES {
        let made = (rate * length.as_secs_f64()) as u64;
        let stored = store.readings(name, 0..=u64::MAX, usize::MAX)?.len() as u64;
        let own = windows.iter().filter(|window| window.device == name);
        let counted: u64 = own.map(|window| window.count).sum();
        println!("  {name:<12} {made:>6} made, {stored:>6} stored, {counted:>6} in windows");
        if (stored, counted) != (made, made) {
            return Err("readings are missing".into());
        }
    }
    Ok(())
}
