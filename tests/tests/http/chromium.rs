//! Chromium.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use axum::Router;
use axum::response::Html;
use axum::routing::{get, post};
use tests::packages::{Killed, required};
use tokio::sync::mpsc;

use crate::doors::{Doors, TEMPORARY};

/// A page that calls the server it comes from, and sends what it has found to `/report`.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/http-clients/page.html");

/// The maximum time until the page has reported.
const LIMIT: Duration = Duration::from_secs(60);

fn find() -> Result<PathBuf, &'static str> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let mut programs =
        std::env::split_paths(&path).flat_map(|folder| names.map(|name| folder.join(name)));
    programs
        .find(|program| program.is_file())
        .ok_or("there is no chromium")
}

/// Opens a page until what is returned is dropped.
fn open(browser: &Path, url: &str, home: &Path) -> Killed {
    let child = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .args(["--no-proxy-server", "--remote-debugging-port=0"])
        .arg(format!("--user-data-dir={}", home.display()))
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Killed(child.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn page_in_chromium_calls_its_own_server_and_no_other() {
    let Some(browser) = required(find(), "CHROMIUM") else {
        return;
    };
    let (sender, mut reports) = mpsc::unbounded_channel();
    let page = fs::read_to_string(PAGE).unwrap();
    let router = Router::new()
        .route("/page", get(async || Html(page)))
        .route(
            "/report",
            post(async move |report: String| drop(sender.send(report))),
        );
    let doors = Doors::open_beside("chromium", router).await;
    let home = Path::new(TEMPORARY).join(format!("chromium-http-{}", std::process::id()));
    let own = doors.axum_url().replace("/rpc", "/page");
    let url = format!("{own}?other={}", doors.url());
    let browser = open(&browser, &url, &home);
    let report = tokio::time::timeout(LIMIT, reports.recv()).await;
    drop(browser);
    let _ = fs::remove_dir_all(&home);
    assert_eq!(report.expect("a report in time").unwrap(), "ok");
}
