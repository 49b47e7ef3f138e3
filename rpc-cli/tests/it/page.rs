//! `rpc describe --html`, in a browser.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

use crate::describe::SHOP;
use crate::program::{ended, rpc};

/// The folder for files of these tests.
const TEMPORARY: &str = env!("CARGO_TARGET_TMPDIR");

#[test]
fn page_in_a_browser_is_shown_without_any_request() {
    let Some(browser) = Browser::find() else {
        assert!(
            std::env::var_os("RPC_REQUIRE_CHROMIUM").is_none(),
            "there is no chromium"
        );
        eprintln!("SKIPPED, for there is no chromium to look at the page with");
        return;
    };
    // The test detects a page that runs a script and sends a request.
    let bad = "<script>nothing()</script><img src='http://outside.example/picture.png'>";
    let seen = browser.open("bad", bad);
    assert!(
        seen.errors.contains("nothing is not defined"),
        "{}",
        seen.errors
    );
    assert!(
        seen.requests
            .iter()
            .any(|line| line.contains("outside.example")),
        "{:?}",
        seen.requests
    );

    let page = rpc(&["describe", SHOP, "--html"]).assert_ok();
    let seen = browser.open("page", &page);
    assert_eq!(seen.errors, "");
    assert_eq!(seen.requests, [] as [&str; 0]);
    let document: Value = serde_json::from_slice(&fs::read(SHOP).unwrap()).unwrap();
    for method in document["methods"].as_array().unwrap() {
        let name = method["name"].as_str().unwrap();
        assert!(
            seen.dom.contains(&format!("id=\"{name}\"")),
            "{name} has no anchor"
        );
        assert!(
            seen.dom.contains(&format!("href=\"#{name}\"")),
            "nothing leads to {name}"
        );
    }
    for name in document["components"]["schemas"]
        .as_object()
        .unwrap()
        .keys()
    {
        assert!(
            seen.dom.contains(&format!("id=\"type:{name}\"")),
            "{name} has no anchor"
        );
    }
    for shown in [
        "there is no {item}",
        "deprecated</span>",
        "stream</span>",
        "text='to be or not to be'",
    ] {
        assert!(seen.dom.contains(shown), "{shown}");
    }
    let search = seen.dom.split("<input id=\"search\"").nth(1).unwrap();
    let search = search.split('>').next().unwrap();
    assert!(!search.contains("hidden"), "the script has run: {search}");

    // The page sends no request even without the policy.
    assert!(page.contains("Content-Security-Policy"));
    let seen = browser.open(
        "lawless",
        &page.replace("Content-Security-Policy", "X-Nothing"),
    );
    assert_eq!(seen.requests, [] as [&str; 0]);
    assert_eq!(seen.errors, "");
}

/// A script at the end of the page that reports on it.
const PROBE: &str = r#"<script type="module">
    const root = document.documentElement;
    document.body.dataset.overflows = root.scrollWidth > root.clientWidth;
    const search = document.getElementById("search");
    search.value = "RECEIPT cents";
    search.dispatchEvent(new Event("input"));
    const shown = [...document.querySelectorAll("main article")].filter((entry) => !entry.hidden);
    document.body.dataset.found = shown.map((entry) => entry.id).join(" ");
</script>"#;

#[test]
fn page_on_a_small_screen_fits_and_is_searchable() {
    let Some(browser) = Browser::find() else {
        return;
    };
    let page = rpc(&["describe", SHOP, "--html"]).assert_ok();
    let page = page.replace("Content-Security-Policy", "X-Nothing");
    let page = page.replace("</body>", &format!("{PROBE}</body>"));
    let seen = browser.open("probed", &page);
    assert_eq!(seen.errors, "");
    assert!(
        seen.dom.contains("data-overflows=\"false\""),
        "it is wider than the window"
    );
    assert!(
        seen.dom.contains("data-found=\"type:Receipt\""),
        "{}",
        seen.dom
    );
}

#[test]
fn page_is_written_to_a_file_or_to_standard_output() {
    let path = Path::new(TEMPORARY).join(format!("written-{}.html", std::process::id()));
    let file = path.to_str().unwrap();
    assert_eq!(
        rpc(&["describe", SHOP, "--html", "--output", file]).assert_ok(),
        ""
    );
    let printed = rpc(&["describe", SHOP, "--html"]).assert_ok();
    assert!(printed.starts_with("<!DOCTYPE html>"));
    assert_eq!(fs::read_to_string(&path).unwrap(), printed);
    let _ = fs::remove_file(&path);
    rpc(&[
        "describe",
        SHOP,
        "--html",
        "--output",
        "/no/such/folder/page",
    ])
    .assert_failed(2);
    rpc(&["describe", SHOP, "--output", file]).assert_failed(2);
}

struct Browser {
    program: PathBuf,
}

/// What a browser made of a page.
struct Seen {
    dom: String,
    /// The output of the console.
    errors: String,
    /// The requests that it sent.
    requests: Vec<String>,
}

impl Browser {
    fn find() -> Option<Self> {
        let path = std::env::var_os("PATH")?;
        let names = ["chromium", "chromium-browser", "google-chrome"];
        let mut programs =
            std::env::split_paths(&path).flat_map(|folder| names.map(|name| folder.join(name)));
        programs
            .find(|program| program.is_file())
            .map(|program| Self { program })
    }

    fn open(&self, name: &str, page: &str) -> Seen {
        let home = Path::new(TEMPORARY).join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&home).unwrap();
        let file = home.join("page.html");
        fs::write(&file, page).unwrap();
        // Every request goes to this proxy.
        let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy_address = proxy.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in proxy.incoming().flatten() {
                let mut line = String::new();
                let _ = BufReader::new(stream).read_line(&mut line);
                noted.lock().unwrap().push(line);
            }
        });
        let child = Command::new(&self.program)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ])
            .args([
                "--dump-dom",
                "--window-size=400,800",
                "--enable-logging=stderr",
                "--virtual-time-budget=2000",
            ])
            .arg(format!(
                "--user-data-dir={}",
                home.join("profile").display()
            ))
            .arg(format!("--proxy-server={proxy_address}"))
            .arg(format!("file://{}", file.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let ended = ended(child);
        let _ = fs::remove_dir_all(&home);
        assert_eq!(ended.status, 0, "{}", ended.stderr);
        let console = ended.stderr.lines().filter(|line| line.contains("CONSOLE"));
        // A new browser sends requests to its vendor.
        let is_own =
            |line: &String| line.contains(".google.com") || line.contains(".googleapis.com");
        let requests = requests.lock().unwrap();
        let requests = requests
            .iter()
            .filter(|line| !is_own(line))
            .cloned()
            .collect();
        Seen {
            errors: console.collect::<Vec<_>>().join("\n"),
            dom: ended.stdout,
            requests,
        }
    }
}
