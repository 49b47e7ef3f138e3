//! Tests with real processes: devices, a watcher, and a server that is killed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use futures_util::{TryStreamExt, stream};
use rpc_runtime::CallError;
use telemetry::api::{Reading, TelemetryClient, TelemetryError};
use telemetry::device::value;
use telemetry::link::{Folder, connect};
use telemetry::store::Store;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::watch;

/// The devices, and the number of readings per second that each makes.
const DEVICES: [(&str, u64); 3] = [("boiler", 500), ("cellar", 250), ("roof", 350)];

/// The number of readings that each device makes.
const COUNT: u64 = 1_000;

/// Fails the test if `future` takes more than 60 seconds.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .expect("this should not take long")
}

/// A process of the program, killed when it is dropped.
struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_telemetry"))
            .args(arguments)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }
}

/// A folder for one test, removed when it is dropped.
struct Setup(Folder);

impl Setup {
    fn new(name: &str) -> Self {
        let name = format!("{name}-{}", std::process::id());
        Self(Folder(
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name),
        ))
    }

    /// Starts a server. Returns its process and its address.
    async fn serve(&self, listen: &str) -> (Process, String) {
        let folder = self.0.0.to_str().unwrap();
        let mut server = Process::start(&["server", "--listen", listen, "--data", folder]);
        let line = soon(server.lines.next_line()).await.unwrap().unwrap();
        let address = line.strip_prefix("listening on ").expect("an address");
        (server, address.to_owned())
    }

    fn start(&self, arguments: &[&str], address: &str) -> Process {
        let certificate = self.0.certificate();
        let certificate = certificate.to_str().unwrap();
        let server = ["--server", address, "--certificate", certificate];
        Process::start(&[arguments, &server].concat())
    }

    async fn client(&self, address: &str) -> TelemetryClient {
        soon(connect(address, &self.0.certificate())).await.unwrap()
    }

    /// Returns the readings of a device in the database of a server that has ended.
    fn stored(&self, device: &str) -> Vec<Reading> {
        let store = Store::open(&self.0.database()).unwrap();
        store.readings(device, 0..=u64::MAX, usize::MAX).unwrap()
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0.0);
    }
}

/// The process of a device, and the number of its last reading that was acknowledged.
struct Device {
    name: &'static str,
    process: Child,
    acknowledged: watch::Receiver<u64>,
}

impl Device {
    fn start(setup: &Setup, address: &str, name: &'static str, rate: u64) -> Self {
        let (rate, count) = (rate.to_string(), COUNT.to_string());
        let arguments = ["device", name, "--rate", &rate, "--count", &count];
        let Process { child, mut lines } = setup.start(&arguments, address);
        let (sender, acknowledged) = watch::channel(0);
        tokio::spawn(async move {
            while let Some(line) = lines.next_line().await.unwrap() {
                let number = line.strip_prefix("acknowledged ").expect("a number");
                sender.send_replace(number.parse().unwrap());
            }
        });
        Self {
            name,
            process: child,
            acknowledged,
        }
    }

    async fn has_acknowledged(&mut self, number: u64) {
        let acknowledged = self.acknowledged.wait_for(|last| *last >= number);
        soon(acknowledged).await.unwrap();
    }
}

/// Checks that no reading is missing, stored twice, or different.
fn assert_whole(device: &str, stored: &[Reading], at_least: u64) {
    let count = stored.len() as u64;
    assert!(count >= at_least, "{device}: {count} of {at_least}");
    for (number, reading) in (1..).zip(stored) {
        assert_eq!(reading.number, number, "{device}");
        assert_eq!(reading.value, value(device, number), "{device}");
    }
}

#[tokio::test]
async fn a_server_that_is_killed_has_everything_that_it_acknowledged_once() {
    let setup = Setup::new("killed");
    let (mut server, address) = setup.serve("127.0.0.1:0").await;
    let mut devices = DEVICES.map(|(name, rate)| Device::start(&setup, &address, name, rate));
    let mut watcher = setup.start(&["watch"], &address);

    for kill in 1..=2 {
        for device in &mut devices {
            device.has_acknowledged(kill * COUNT / 4).await;
        }
        server.child.kill().await.unwrap();
        for device in &devices {
            let acknowledged = *device.acknowledged.borrow();
            assert_whole(device.name, &setup.stored(device.name), acknowledged);
        }
        let is_over = |device: &Device| *device.acknowledged.borrow() == COUNT;
        assert!(!devices.iter().all(is_over), "not in the middle");
        (server, _) = setup.serve(&address).await;
    }

    // A device fails if the server has lost what it acknowledged.
    for device in &mut devices {
        let ended = soon(device.process.wait()).await.unwrap();
        assert!(ended.success(), "{}: {ended}", device.name);
        device.has_acknowledged(COUNT).await;
    }

    // The watcher has counted every reading, too. A window grows, so that its last version counts.
    let all = COUNT * DEVICES.len() as u64;
    let mut windows = BTreeMap::new();
    let counted = async {
        while windows.values().sum::<u64>() < all {
            let line = watcher.lines.next_line().await.unwrap().unwrap();
            let mut words = line.split(' ').map(str::to_owned);
            let window = (words.next().unwrap(), words.next().unwrap());
            windows.insert(window, words.next().unwrap().parse::<u64>().unwrap());
        }
    };
    soon(counted).await;

    server.child.kill().await.unwrap();
    for (device, _) in DEVICES {
        let stored = setup.stored(device);
        assert_eq!(stored.len() as u64, COUNT);
        assert_whole(device, &stored, COUNT);
    }
    let stored = Store::open(&setup.0.database())
        .unwrap()
        .windows(0)
        .unwrap();
    let stored = stored
        .into_iter()
        .map(|window| ((window.device, window.start.to_string()), window.count));
    assert_eq!(stored.collect::<BTreeMap<_, _>>(), windows);
}

#[cfg(unix)]
#[tokio::test]
async fn a_server_that_is_told_to_stop_acknowledges_what_it_took_and_ends() {
    let setup = Setup::new("stopped");
    let (mut server, address) = setup.serve("127.0.0.1:0").await;
    let mut device = Device::start(&setup, &address, "boiler", 400);
    let mut watcher = setup.start(&["watch"], &address);
    let line = soon(watcher.lines.next_line()).await.unwrap();
    assert!(line.is_some_and(|line| line.starts_with("boiler ")));
    device.has_acknowledged(100).await;

    let pid = server.child.id().unwrap().to_string();
    let told = Command::new("kill").arg(pid).status().await.unwrap();
    assert!(told.success());
    let ended = soon(server.child.wait()).await.unwrap();
    assert!(ended.success(), "{ended}");
    let acknowledged = *device.acknowledged.borrow();
    assert_whole(device.name, &setup.stored(device.name), acknowledged);

    let (_server, _) = setup.serve(&address).await;
    assert!(soon(device.process.wait()).await.unwrap().success());
    let telemetry = setup.client(&address).await;
    let history: Vec<_> = soon(telemetry.history("boiler", 3, 1_000).try_collect())
        .await
        .unwrap();
    assert!(history.iter().map(|reading| reading.number).eq(3..=1_000));
}

#[tokio::test]
async fn what_was_sent_twice_is_stored_once_and_what_is_missing_is_asked_for() {
    let setup = Setup::new("refused");
    let (_server, address) = setup.serve("127.0.0.1:0").await;
    let telemetry = setup.client(&address).await;
    let report = |device: &str, numbers: [u64; 2]| {
        let readings = numbers.map(|number| Reading {
            number,
            at: 0,
            value: 0.5,
        });
        let answers = telemetry.report(device, stream::iter(readings));
        soon(answers.try_collect::<Vec<u64>>())
    };
    match report("no such name", [1, 2]).await {
        Err(CallError::Application(TelemetryError::Name)) => {}
        other => panic!("{other:?}"),
    }
    match report("boiler", [1, 3]).await {
        Err(CallError::Application(TelemetryError::Gap { expected: 2 })) => {}
        other => panic!("{other:?}"),
    }
    let answers = report("roof", [1, 2]).await.unwrap();
    assert_eq!(answers.first(), Some(&0), "the first comes at once");
    assert_eq!(answers.last(), Some(&2));
    let again = report("roof", [2, 3]).await.unwrap();
    assert_eq!((again.first(), again.last()), (Some(&2), Some(&3)));
    assert_eq!(soon(telemetry.stored("roof")).await.unwrap(), 3);
    let mut windows = telemetry.live(0);
    let window = loop {
        let window = soon(windows.try_next()).await.unwrap().unwrap();
        if window.device == "roof" {
            break window;
        }
    };
    assert_eq!((window.count, window.sum), (3, 1.5));
}
