//! Renders documentation as HTML. It is written by the server, so nothing in it may run.

use maud::{Markup, PreEscaped};
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};

/// The maximum length of a text that is rendered as Markdown, in bytes. Its events take many times the memory.
const LONGEST: usize = 256 << 10;

/// The maximum number of table cells for each byte of the text. Short rows are filled up with empty cells.
const CELLS: usize = 4;

/// Renders Markdown as HTML in which nothing runs, nothing is fetched, and no heading is larger than those of the page.
pub(super) fn render(markdown: &str) -> Markup {
    if markdown.len() > LONGEST {
        return maud::html! { p { (markdown) } };
    }
    let mut options = Options::ENABLE_STRIKETHROUGH;
    let columns = markdown.lines().map(|line| line.matches('|').count());
    let cells = markdown.lines().count() * columns.max().unwrap_or_default();
    options.set(Options::ENABLE_TABLES, cells <= CELLS * markdown.len());
    let mut links = Vec::new();
    let events = Parser::new_ext(markdown, options).filter_map(|event| harmless(event, &mut links));
    let mut rendered = String::new();
    html::push_html(&mut rendered, events);
    PreEscaped(rendered)
}

/// Filters an event. `links` says for each open link whether it is kept.
fn harmless<'a>(event: Event<'a>, links: &mut Vec<bool>) -> Option<Event<'a>> {
    match event {
        Event::Html(text) | Event::InlineHtml(text) => Some(Event::Text(text)),
        Event::Start(Tag::Heading { level, .. }) => Some(Event::Start(Tag::Heading {
            level: below(level),
            id: None,
            classes: Vec::new(),
            attrs: Vec::new(),
        })),
        Event::End(TagEnd::Heading(level)) => Some(Event::End(TagEnd::Heading(below(level)))),
        // An image would be fetched.
        Event::Start(
            Tag::Link {
                link_type,
                dest_url,
                title,
                id,
            }
            | Tag::Image {
                link_type,
                dest_url,
                title,
                id,
            },
        ) => {
            links.push(leads_away(&dest_url));
            leads_away(&dest_url).then_some(Event::Start(Tag::Link {
                link_type,
                dest_url,
                title,
                id,
            }))
        }
        Event::End(TagEnd::Link | TagEnd::Image) => links
            .pop()
            .unwrap_or_default()
            .then_some(Event::End(TagEnd::Link)),
        other => Some(other),
    }
}

/// Returns `true` for an address on the web. A relative address leads nowhere from this page, and a script must not
/// run.
fn leads_away(url: &str) -> bool {
    let url = url.to_ascii_lowercase();
    ["https://", "http://", "mailto:"]
        .iter()
        .any(|scheme| url.starts_with(scheme))
}

fn below(level: HeadingLevel) -> HeadingLevel {
    match level {
        HeadingLevel::H1 => HeadingLevel::H4,
        HeadingLevel::H2 => HeadingLevel::H5,
        _ => HeadingLevel::H6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_is_shown() {
        let cases = [
            ("a *b* `c`", "<p>a <em>b</em> <code>c</code></p>\n"),
            ("- one\n- two", "<ul>\n<li>one</li>\n<li>two</li>\n</ul>\n"),
            ("# Title", "<h4>Title</h4>\n"),
            (
                "[there](https://example.org/)",
                "<p><a href=\"https://example.org/\">there</a></p>\n",
            ),
        ];
        for (markdown, expected) in cases {
            assert_eq!(render(markdown).0, expected);
        }
    }

    #[test]
    fn tables_are_shown_and_others_make_no_more_than_the_text_is_long() {
        let table = render("| a | b |\n|---|---|\n| 1 | 2 |\n").0;
        assert!(table.contains("<td>1</td>"), "{table}");
        let wide = format!(
            "{}\n{}\n{}",
            "|a".repeat(400),
            "|-".repeat(400),
            "|\n".repeat(400)
        );
        let rendered = render(&wide).0;
        assert!(rendered.len() < 4 * wide.len(), "{}", rendered.len());
        let long = "*a* ".repeat(LONGEST);
        assert_eq!(render(&long).0, format!("<p>{long}</p>"));
    }

    #[test]
    fn nothing_in_it_runs_or_is_fetched() {
        let harmful = [
            "<script>alert(1)</script>",
            "a <img src=x onerror=alert(1)> b",
            "[a](javascript:alert(1))",
            "[a](JaVaScRiPt:alert(1))",
            "[a](java&#10;script:alert(1))",
            "[a](data:text/html,<script>alert(1)</script>)",
            "[a][r]\n\n[r]: javascript:alert(1)",
            "<javascript:alert(1)>",
            "![a](https://example.org/a.png)",
            "![a [b](javascript:alert(1))](javascript:alert(2))",
            "[a](https://example.org/\"onclick=\"alert(1))",
            "# a {onclick=alert(1)}",
            "<svg/onload=alert(1)>\n\n<style>*{}</style>",
        ];
        for markdown in harmful {
            let html = render(markdown).0;
            for tag in html
                .split('<')
                .skip(1)
                .map(|tag| tag.split('>').next().unwrap())
            {
                let name = tag.trim_start_matches('/').split(' ').next().unwrap();
                assert!(["p", "a", "h4"].contains(&name), "{markdown}: {html}");
                let link = tag
                    .strip_prefix("a href=\"")
                    .and_then(|tag| tag.strip_suffix('"'));
                let is_fine = !tag.contains(' ')
                    || link.is_some_and(|link| link.starts_with("https://") && !link.contains('"'));
                assert!(is_fine, "{markdown}: {html}");
            }
        }
    }
}
