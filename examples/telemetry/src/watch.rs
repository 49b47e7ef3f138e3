//! A watcher: the last seconds of every device, in a terminal or as lines.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use rpc_runtime::CallError;
use tokio::time::MissedTickBehavior;

use crate::api::{TelemetryClient, TelemetryError, WINDOW, Window, now};
use crate::link::PAUSE;

/// Windows that are shown of each device.
const SHOWN: usize = 40;

/// How far back a watcher looks, also after it was cut off. Longer than it shows: what comes late stands in its place.
const SINCE: u64 = 120_000;

/// How often the picture is drawn.
const FRAME: Duration = Duration::from_millis(100);

/// A server that says nothing for so long is out of reach, or has no devices.
const SILENCE: Duration = Duration::from_millis(1_500);

/// What is known of the devices.
#[derive(Debug, Default)]
pub struct Picture {
    devices: BTreeMap<String, BTreeMap<u64, Window>>,
    heard: Option<Instant>,
}

impl Picture {
    /// Takes a window, unless a later state of it is known; returns whether it was news.
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

    /// The picture as lines for a terminal with colours.
    pub fn draw(&self, title: &str, now: u64) -> String {
        let rate: u64 = self
            .devices
            .values()
            .map(|windows| rate(windows, now))
            .sum();
        let silent = self.heard.map(|heard| heard.elapsed());
        let state = match silent {
            Some(silent) if silent < SILENCE => "\x1b[32m● live\x1b[0m".to_owned(),
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

/// Readings in the last full second.
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

/// One bar, from blue at 0 to red at 1.
fn spark(text: &mut String, share: f64) {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const COLOURS: [u8; 8] = [33, 38, 43, 48, 154, 220, 208, 203];
    let level = ((share * 8.0) as usize).min(7);
    let _ = write!(text, "\x1b[38;5;{}m{}", COLOURS[level], BARS[level]);
}

/// Shows the devices until it is dropped: a picture in a terminal, or a line for each window that changes.
///
/// # Errors
/// When nobody takes what it prints, or the server refuses.
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
        // Cut off, or too slow: once more from the start, which brings all windows as they are now.
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

/// A terminal that shows one picture after the other in the same place. What was there before comes back at the end.
struct Screen(io::Stdout);

impl Screen {
    fn open() -> io::Result<Self> {
        let mut terminal = io::stdout();
        // Another screen, and no cursor.
        write!(terminal, "\x1b[?1049h\x1b[?25l\x1b[2J")?;
        Ok(Self(terminal))
    }

    fn show(&mut self, picture: &str) -> io::Result<()> {
        // To the top; every line over the one before; nothing below the last.
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
