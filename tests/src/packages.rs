//! Packages of npm and PyPI, with pinned versions, for tests with programs that share no code with this project.
//!
//! A test without its packages is skipped, unless a variable such as `RPC_REQUIRE_NODE` is set, as in `.ci/run`.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The maximum time to install packages.
const INSTALL: Duration = Duration::from_secs(180);

/// Returns what a test needs. Returns `None` if it is missing and the variable `RPC_REQUIRE_<name>` is not set.
///
/// # Panics
/// When it is missing and the variable is set.
pub fn required<T>(found: Result<T, impl fmt::Display>, name: &str) -> Option<T> {
    let variable = format!("RPC_REQUIRE_{name}");
    match found {
        Ok(found) => Some(found),
        Err(reason) if std::env::var_os(&variable).is_none() => {
            eprintln!("SKIPPED, for there is no client to test with: {reason}");
            None
        }
        Err(reason) => panic!("{variable} is set, and {reason}"),
    }
}

/// Installs the packages of `package-lock.json` in `folder`, and returns the folder with `node_modules` below `home`.
///
/// # Errors
/// Returns the reason why there is none.
pub fn npm(folder: &Path, home: &Path) -> Result<PathBuf, String> {
    let lock = read(&folder.join("package-lock.json"))?;
    install(home, &lock, |half_made| {
        for file in ["package.json", "package-lock.json"] {
            fs::copy(folder.join(file), half_made.join(file)).map_err(text)?;
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"])
            .args(["--fetch-timeout", "20000", "--fetch-retries", "1"])
            .current_dir(half_made);
        run(&mut npm, INSTALL)
    })
}

/// Installs the packages of `requirements.txt` in `folder` into a virtual environment below `home`, and returns its
/// interpreter.
///
/// # Errors
/// Returns the reason why there is none.
pub fn python(folder: &Path, home: &Path) -> Result<PathBuf, String> {
    let requirements = folder.join("requirements.txt");
    let pinned = read(&requirements)?;
    let python = home.join("bin/python");
    let mut works = Command::new(&python);
    if run(works.arg("--version"), INSTALL).is_err() {
        // The interpreter that it was made with may have been removed.
        let _ = fs::remove_file(home.join("complete"));
    }
    install(home, &pinned, |half_made| {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv"]).arg(half_made);
        run(&mut venv, INSTALL)?;
        let mut pip = Command::new(half_made.join("bin/python"));
        pip.args(["-m", "pip", "install", "--disable-pip-version-check"])
            .args(["--timeout", "20", "--retries", "1", "--requirement"])
            .arg(&requirements);
        run(&mut pip, INSTALL)
    })?;
    Ok(python)
}

/// Makes the folder `home` with `make`, unless it was made of the same list of packages before.
///
/// One thread of a process makes a folder at a time. The folder is made under a name of this process, and gets its final name when it is complete. So a folder with the final
/// name is never incomplete. If several processes make it, the first one stays. A virtual environment works under its new
/// name, since its interpreter finds packages relative to itself.
fn install(
    home: &Path,
    list: &str,
    make: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let is_complete = || fs::read_to_string(home.join("complete")).is_ok_and(|of| of == list);
    if is_complete() {
        return Ok(home.to_owned());
    }
    let half_made = home.with_extension(std::process::id().to_string());
    let _ = fs::remove_dir_all(&half_made);
    fs::create_dir_all(&half_made).map_err(text)?;
    let made =
        make(&half_made).and_then(|()| fs::write(half_made.join("complete"), list).map_err(text));
    if made.is_ok() && fs::rename(&half_made, home).is_err() && !is_complete() {
        let _ = fs::remove_dir_all(home);
        let _ = fs::rename(&half_made, home);
    }
    let _ = fs::remove_dir_all(&half_made);
    made?;
    match is_complete() {
        true => Ok(home.to_owned()),
        false => Err(format!("{} is not complete", home.display())),
    }
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn text(error: impl fmt::Display) -> String {
    error.to_string()
}

/// Runs a command to its end.
///
/// # Errors
/// Returns an error that contains the output of the command, if it fails or does not end in time.
pub fn run(command: &mut Command, limit: Duration) -> Result<(), String> {
    let name = format!("{command:?}");
    let (reader, writer) = std::io::pipe().map_err(text)?;
    let spawned = command
        .stdin(Stdio::null())
        .stdout(writer.try_clone().map_err(text)?)
        .stderr(writer)
        .spawn();
    // The `Command` keeps the writing ends open until they are replaced.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = Killed(spawned.map_err(|error| format!("{name}: {error}"))?);
    let said = thread::spawn(|| std::io::read_to_string(reader).unwrap_or_default());
    let status = wait(&mut child.0, limit);
    drop(child);
    let said = said.join().unwrap_or_default();
    match status {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(format!("{name}: {status}\n{said}")),
        None => Err(format!("{name}: not done after {limit:?}\n{said}")),
    }
}

/// Waits for a process for at most `limit`. Polls, since the standard library cannot wait with a time limit.
///
/// # Panics
/// When the operating system does not return the status.
pub fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + limit;
    while Instant::now() < end {
        if let Some(status) = child.try_wait().expect("a status") {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(10));
    }
    None
}

/// A process that is killed when dropped.
#[derive(Debug)]
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
