//! Turns what a terminal is sent, colours included, into a picture: `pictures/draw` uses it.

use std::io::{self, Read, Write};

use anstyle::RgbColor;
use anstyle_svg::{Palette, Term};

const BACKGROUND: RgbColor = RgbColor(20, 24, 29);
const FOREGROUND: RgbColor = RgbColor(227, 232, 237);

/// The eight colours, and the same again for bright ones.
const PALETTE: Palette = Palette([
    BACKGROUND,
    RgbColor(240, 113, 120),
    RgbColor(140, 207, 143),
    RgbColor(229, 181, 103),
    RgbColor(120, 182, 245),
    RgbColor(199, 146, 234),
    RgbColor(111, 201, 196),
    FOREGROUND,
    RgbColor(154, 166, 178),
    RgbColor(240, 113, 120),
    RgbColor(140, 207, 143),
    RgbColor(229, 181, 103),
    RgbColor(120, 182, 245),
    RgbColor(199, 146, 234),
    RgbColor(111, 201, 196),
    FOREGROUND,
]);

fn main() -> io::Result<()> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    let term = Term::new()
        .palette(PALETTE)
        .fg_color(FOREGROUND.into())
        .bg_color(BACKGROUND.into());
    let picture = term.render_svg(text.trim_end());
    // What is faint must still be read.
    let picture = picture.replace(".dimmed { opacity: 0.4; }", ".dimmed { opacity: 0.65; }");
    io::stdout().write_all(picture.as_bytes())
}
