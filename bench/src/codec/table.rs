//! The tables, in Markdown.

use std::fmt::Write;

use clap::ValueEnum;

use super::contender::Contender;
use super::figures::Figures;
use super::message::{Message, Method};
use crate::figures::Ratio;
use crate::table::short;

pub(crate) fn times(times: &[Figures], allocations: &[Figures]) -> String {
    [
        aims("Time", times),
        grid("Nanoseconds a message", times),
        grid("Allocations and reallocations a message", allocations),
    ]
    .concat()
}

pub(crate) fn instructions(instructions: &[Figures]) -> String {
    [
        aims("Instructions", instructions),
        grid("Instructions a message", instructions),
    ]
    .concat()
}

/// Returns a table of this framework's ratios to the other contenders, and their targets.
fn aims(what: &str, figures: &[Figures]) -> String {
    let mut table = format!(
        "\
### {what}, ours in units of the other's

| message | jsonrpsee | wanted | serde_json, the better of the two | wanted |
|---|--:|---|--:|---|
"
    );
    for ours in of(figures, Contender::Ours) {
        let message = ours.message;
        let peer = |contender| of(figures, contender).find(|peer| peer.message == message);
        let typed = [Contender::SerdeJson, Contender::SerdeJsonForeseen].map(peer);
        let better = typed
            .into_iter()
            .flatten()
            .min_by(|a, b| a.median().total_cmp(&b.median()));
        // Writing into memory does not fail.
        let _ = writeln!(
            table,
            "| {} | {} | {} |",
            message.name(),
            aimed(ours, peer(Contender::Jsonrpsee), most_of_jsonrpsee(message)),
            aimed(ours, better, Some(most_of_serde_json(message))),
        );
    }
    table + "\n"
}

fn most_of_jsonrpsee(message: Message) -> Option<f64> {
    (message.method == Method::Add).then_some(0.2)
}

fn most_of_serde_json(message: Message) -> f64 {
    match message.method {
        Method::Add => 0.5,
        _ => 0.6,
    }
}

/// Returns two columns: the ratio and its target.
fn aimed(ours: &Figures, peer: Option<&Figures>, most: Option<f64>) -> String {
    let Some(ratio) = peer.map(|peer| ours.ratio(peer)) else {
        return "– | ".to_owned();
    };
    let wanted = match most {
        Some(most) if ratio.median <= most => format!("at most {most}×: reached"),
        Some(most) => format!("at most {most}×: **not reached**"),
        None => String::new(),
    };
    format!("{} | {wanted}", spread(&ratio))
}

/// Writes a ratio. A count has no spread.
fn spread(ratio: &Ratio) -> String {
    match ratio.least == ratio.most {
        true => format!("{:.2}×", ratio.median),
        false => ratio.to_string(),
    }
}

/// Returns a table with a row for each message and a column for each contender.
fn grid(title: &str, figures: &[Figures]) -> String {
    let labels = Contender::value_variants().iter().map(|one| one.label());
    let labels: Vec<_> = labels.collect();
    let columns = "--:|".repeat(labels.len());
    let mut table = format!(
        "### {title}\n\n| message | {} |\n|---|{columns}\n",
        labels.join(" | ")
    );
    for of_message in figures.chunk_by(|a, b| a.message == b.message) {
        let cells = of_message.iter().map(cell).collect::<Vec<_>>().join(" | ");
        let message = of_message.first().map(|one| one.message.name());
        let _ = writeln!(table, "| {} | {cells} |", message.unwrap_or_default());
    }
    table + "\n"
}

fn cell(figures: &Figures) -> String {
    let median = short(figures.median());
    match figures.rounds.len() {
        1 => median,
        _ => format!(
            "{median} ({}–{})",
            short(figures.least()),
            short(figures.most())
        ),
    }
}

fn of(figures: &[Figures], contender: Contender) -> impl Iterator<Item = &Figures> {
    let is_its = move |figures: &&Figures| figures.contender == contender;
    figures.iter().filter(is_its)
}
