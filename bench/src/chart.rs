//! The picture: calls per second as bars, in SVG that is readable on light and dark backgrounds.

use std::fmt::Write;

use crate::contender::Contender;
use crate::matrix::{Cell, Runs};
use crate::table::thousands;
use crate::work::Workload::{Add, Batch, Record, Text};

/// The width of the picture, which has two columns of panels.
const WIDTH: usize = 960;
const PANEL: usize = WIDTH / 2;
const MARGIN: usize = 20;
/// The width of the column of names. The bars begin behind it.
const NAMES: usize = 185;
/// The length of the longest bar, which leaves room for its figure.
const BARS: usize = PANEL - MARGIN - NAMES - 100;
const ROW: usize = 19;
const HEAD: usize = 50;
const TOP: usize = 64;

const PANELS: [(Cell, &str); 5] = [
    (Cell::new(Add, 1, 64), "add(i64, i64), 64 in flight"),
    (Cell::new(Add, 1, 512), "add(i64, i64), 512 in flight"),
    (
        Cell::new(Record, 1, 64),
        "order of 1.2 KB echoed, 64 in flight",
    ),
    (Cell::new(Batch, 1, 8), "batch of 64 KB, 8 in flight"),
    (Cell::new(Text, 1, 8), "text of 100 KB, 8 in flight"),
];

const STYLE: &str = "\
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.ground { fill: #ffffff }
.title { font-size: 18px; font-weight: 600 }
.panel { font-size: 14px; font-weight: 600 }
.name, .rate { font-variant-numeric: tabular-nums }
.quiet { fill: #59636e }
.ours { fill: #c2410c }
.peer { fill: #6b8fb8 }
.limit { fill: #b4b9bf }
.strong { font-weight: 600 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .ground { fill: #0d1117 }
  .quiet { fill: #9198a1 }
  .ours { fill: #f97316 }
  .peer { fill: #5b83b0 }
  .limit { fill: #4d555e }
}
";

pub(crate) fn chart(runs: &Runs) -> String {
    let mut drawing = Drawing::default();
    drawing.text(MARGIN, 30, "title", "Calls per second over one connection");
    let note =
        "Ours is encrypted. Peers marked ○ are plaintext. Grey: the transport alone, the limit.";
    drawing.text(MARGIN, 50, "quiet", note);
    let mut below = [TOP; 2];
    for (number, (cell, title)) in PANELS.into_iter().enumerate() {
        let column = number % 2;
        let top = below[column];
        below[column] = drawing.panel(runs, cell, title, column * PANEL + MARGIN, top);
    }
    drawing.finish(below.into_iter().max().unwrap_or(TOP) + MARGIN)
}

#[derive(Default)]
struct Drawing(String);

impl Drawing {
    /// Draws one panel. Returns the position of its bottom edge.
    fn panel(&mut self, runs: &Runs, cell: Cell, title: &str, left: usize, top: usize) -> usize {
        self.text(left, top + 32, "panel", title);
        let contenders = runs.contenders(cell).into_iter();
        let rate = |contender| {
            Some((
                contender,
                runs.figures(cell, contender)?.median.calls_per_second,
            ))
        };
        let mut rates: Vec<(Contender, f64)> = contenders.filter_map(rate).collect();
        rates.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        // The raw transports are out of proportion: the scale of the bars is that of the frameworks.
        let frameworks = rates.iter().filter(|(contender, _)| !contender.is_limit());
        let full = frameworks.map(|(_, rate)| *rate).fold(1.0, f64::max);
        let mut baseline = top + HEAD;
        for (contender, rate) in rates {
            self.bar(left, baseline, contender, rate, rate / full);
            baseline += ROW;
        }
        baseline
    }

    fn bar(&mut self, left: usize, top: usize, contender: Contender, rate: f64, part: f64) {
        let kind = match contender {
            Contender::Ours | Contender::OursOwned => "ours",
            limit if limit.is_limit() => "limit",
            _ => "peer",
        };
        let strong = if contender == Contender::Ours {
            " strong"
        } else {
            ""
        };
        let mark = if contender.is_encrypted() { "" } else { " ○" };
        let name = format!("{}{mark}", contender.label());
        let length = (part.min(1.0) * BARS as f64).max(1.0);
        let beyond = if part > 1.0 { " →" } else { "" };
        let bars = left + NAMES;
        self.text(left, top + 13, &format!("name{strong}"), &name);
        // Writing into memory does not fail.
        let _ = writeln!(
            self.0,
            r#"<rect class="{kind}" x="{bars}" y="{}" width="{length:.1}" height="{}" rx="2"/>"#,
            top + 2,
            ROW - 5
        );
        let figure = format!("{}{beyond}", thousands(rate));
        self.text(
            bars + length as usize + 6,
            top + 13,
            &format!("rate{strong}"),
            &figure,
        );
    }

    fn text(&mut self, x: usize, y: usize, class: &str, text: &str) {
        let _ = writeln!(
            self.0,
            r#"<text class="{class}" x="{x}" y="{y}">{text}</text>"#
        );
    }

    fn finish(self, height: usize) -> String {
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img">
<title>Calls per second of RPC frameworks</title>
<style>
{STYLE}</style>
<rect class="ground" width="{WIDTH}" height="{height}" rx="8"/>
{}</svg>
"#,
            self.0
        )
    }
}
