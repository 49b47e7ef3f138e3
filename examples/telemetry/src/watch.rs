//! A watcher, which shows the last seconds of every device in a terminal or prints lines.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use rpc_runtime::CallError;
use tokio::time::MissedTickBehavior;

use crate::api::{TelemetryClient, TelemetryError, WINDOW, Window, now};
use crate::link::PAUSE;

/// The number of windows that are shown of each device.
const SHOWN: usize = 40;

/// The age of the oldest window that a watcher asks for, also after a disconnection, in milliseconds. It is more than what
/// is shown, so that late readings appear in their place.
const SINCE: u64 = 120_000;

/// The interval at which the picture is drawn.
const FRAME: Duration = Duration::from_millis(100);

/// The time without a window after which the server counts as silent: it is out of reach, or has no devices.
const SILENT_AFTER: Duration = Duration::from_millis(1_500);

/// The known windows of the devices.
#[derive(Debug, Default)]
pub struct Picture {
    devices: BTreeMap<String, BTreeMap<u64, Window>>,
    heard: Option<Instant>,
}

impl Picture {
    /// Stores a window unless this version of it or a later version is known. Returns `true` if it was stored.
    pub fn take(&mut self, window: Window) -> bool {
        self.heard = Some(Instant::now());
        let windows = self.devices.entry(window.device.clone()).or_default();
        let is_news = windows
            .get(&window.start)
            .is_none_or(|known| known.count < window.count);
        if is_news {
            windows.insert(window.start, window);
            while windows.len() > (SINCE / WINDOW) as usize {
                windows.pop_first();
            }
        }
        is_news
    }

    /// Returns the picture as lines for a terminal with colours.
    pub fn draw(&self, title: &str, now: u64) -> String {
        let rate: u64 = self
            .devices
            .values()
            .map(|windows| rate(windows, now))
            .sum();
        let silent = self.heard.map(|heard| heard.elapsed());
        let state = match silent {
            Some(silent) if silent < SILENT_AFTER => "\x1b[32m● live\x1b[0m".to_owned(),
            Some(silent) => format!("\x1b[33m○ silent for {} s\x1b[0m", silent.as_secs()),
            None => "\x1b[33m○ waiting\x1b[0m".to_owned(),
        };
        let mut text = format!(
            "\n  \x1b[1m{title}\x1b[0m   {state}   {} devices, {rate} readings/s\n\n",
            self.devices.len()
        );
        let head = format!("{:<14}{:<SHOWN$}", "device", format!("last {SHOWN} s"));
        let _ = writeln!(
            text,
            "  \x1b[2m{head}{:>8}{:>8}{:>8}\x1b[0m",
            "mean", "min", "max"
        );
        for (device, windows) in &self.devices {
            draw_device(&mut text, device, windows, now);
        }
        text
    }
}

/// Returns the number of readings in the last full second.
fn rate(windows: &BTreeMap<u64, Window>, now: u64) -> u64 {
    let start = (now - now % WINDOW).saturating_sub(WINDOW);
    windows.get(&start).map_or(0, |window| window.count)
}

fn draw_device(text: &mut String, device: &str, windows: &BTreeMap<u64, Window>, now: u64) {
    let last = now - now % WINDOW;
    let starts = (0..SHOWN as u64)
        .rev()
        .map(|ago| last.saturating_sub(ago * WINDOW));
    let shown: Vec<_> = starts.map(|start| windows.get(&start)).collect();
    let known = || shown.iter().flatten();
    let least = known()
        .map(|window| window.min)
        .fold(f64::INFINITY, f64::min);
    let most = known()
        .map(|window| window.max)
        .fold(f64::NEG_INFINITY, f64::max);
    let _ = write!(text, "  {device:<13.13} ");
    for window in &shown {
        match window {
            Some(window) => spark(text, (window.mean() - least) / (most - least)),
            None => text.push_str("\x1b[2m·"),
        }
        text.push_str("\x1b[0m");
    }
    match known().last() {
        Some(window) => {
            let mean = window.mean();
            let _ = writeln!(text, "\x1b[1m{mean:>8.1}\x1b[0m{least:>8.1}{most:>8.1}");
        }
        None => text.push('\n'),
    }
}

/// Draws one bar, from blue at 0 to red at 1.
fn spark(text: &mut String, share: f64) {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const COLOURS: [u8; 8] = [33, 38, 43, 48, 154, 220, 208, 203];
    let level = ((share * 8.0) as usize).min(7);
    let _ = write!(text, "\x1b[38;5;{}m{}", COLOURS[level], BARS[level]);
}

/// Shows the devices until it is dropped: a picture in a terminal, or a line for each window that changes.
///
/// # Errors
/// When the output fails, or a call fails for another reason than a lost connection or a slow watcher.
pub async fn watch(
    telemetry: &TelemetryClient,
    title: &str,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut screen = io::stdout().is_terminal().then(Screen::open).transpose()?;
    let mut frames = tokio::time::interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut picture = Picture::default();
    loop {
        let mut windows = telemetry.live(now().saturating_sub(SINCE));
        loop {
            tokio::select! {
                window = windows.next() => match window {
                    Some(Ok(window)) if screen.is_some() => {
                        picture.take(window);
                    }
                    Some(Ok(window)) => print(&mut picture, window)?,
                    Some(Err(error)) => {
                        must_go_on(error)?;
                        break;
                    }
                    None => break,
                },
                _ = frames.tick() => {
                    if let Some(screen) = &mut screen {
                        screen.show(&picture.draw(title, now()))?;
                    }
                }
            }
        }
        // The watcher was disconnected or too slow. A new call returns all windows as they are now.
        tokio::time::sleep(PAUSE).await;
    }
}

fn must_go_on(error: CallError<TelemetryError>) -> Result<(), CallError<TelemetryError>> {
    match error {
        CallError::Connection { .. } | CallError::Application(TelemetryError::Lagged(_)) => Ok(()),
        other => Err(other),
    }
}

fn print(picture: &mut Picture, window: Window) -> io::Result<()> {
    let Window {
        device,
        start,
        count,
        min,
        max,
        ..
    } = &window;
    let line = format!("{device} {start} {count} {min} {:.2} {max}", window.mean());
    match picture.take(window) {
        true => writeln!(io::stdout(), "{line}"),
        false => Ok(()),
    }
}

/// A terminal that shows one picture after the other in the same place. Dropping it restores the previous content.
struct Screen(io::Stdout);

impl Screen {
    fn open() -> io::Result<Self> {
        let mut terminal = io::stdout();
        // Switches to the alternate screen, and hides the cursor.
        write!(terminal, "\x1b[?1049h\x1b[?25l\x1b[2J")?;
        Ok(Self(terminal))
    }

    fn show(&mut self, picture: &str) -> io::Result<()> {
        // Moves to the top, overwrites every line, and clears what is below the last.
        let picture = picture.replace('\n', "\x1b[K\n");
        write!(self.0, "\x1b[H{picture}\x1b[J")?;
        self.0.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = write!(self.0, "\x1b[?25h\x1b[?1049l");
        let _ = self.0.flush();
    }
}
