//! `rpc describe`: shows the services of a server to people.

mod method;
mod overview;
mod text;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use clap::Args;

use crate::connect::Connection;
#[cfg(test)]
use crate::document::Document;
use crate::failure::{Failure, Stop};
use crate::output::Output;
use crate::page;
use crate::source::Source;

/// Prints the methods of a server, their types and docs
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The address of the server, `HOST:PORT`, a file with its description, or `-` to read that from standard input
    target: Source,
    /// Prints all details of this method
    method: Option<String>,
    /// Prints the OpenRPC document as it was received
    #[arg(long, conflicts_with_all = ["html", "method"])]
    json: bool,
    /// Writes one HTML page, which loads no other resources
    #[arg(long, conflicts_with = "method")]
    html: bool,
    /// Writes the page to this file instead of standard output
    #[arg(long, short, value_name = "FILE", requires = "html")]
    output: Option<PathBuf>,
    #[command(flatten)]
    connection: Connection,
}

impl Options {
    pub(crate) async fn run(self, output: &mut Output) -> Result<(), Stop> {
        let found = self.target.read(&self.connection).await?;
        if self.json {
            return Ok(output.json(found.text())?);
        }
        let document = self.target.document(found)?;
        let target = match &self.target {
            Source::Server(address) => format!("{address}{}", self.connection.written()),
            Source::File(_) | Source::Input => "HOST:PORT".into(),
        };
        match (&self.method, self.html, self.output) {
            (Some(name), ..) => {
                let method = document.find(name)?;
                Ok(output.buffered(|out| method::write(out, &document, method, &target))?)
            }
            (None, true, Some(path)) => {
                let written = File::create(&path).and_then(|file| {
                    let mut out = BufWriter::new(file);
                    page::write(&mut out, &document)?;
                    out.flush()
                });
                Ok(written
                    .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?)
            }
            (None, true, None) => Ok(output.buffered(|out| page::write(out, &document))?),
            (None, false, _) => Ok(output.buffered(|out| overview::write(out, &document))?),
        }
    }
}

/// Returns all outputs for a document.
#[cfg(test)]
pub(crate) fn outputs(document: &Document) -> impl Iterator<Item = String> {
    let mut tree = Vec::new();
    overview::write(&mut tree, document).unwrap();
    let methods = document.methods().map(|method| {
        let mut shown = Vec::new();
        method::write(&mut shown, document, method, "HOST:PORT").unwrap();
        shown
    });
    let all = [tree].into_iter().chain(methods);
    all.map(|shown| String::from_utf8(shown).unwrap())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::document::grown::SHAPES;

    #[test]
    fn any_document_can_be_shown() {
        for document in crate::document::mutated::documents() {
            let mut shown = Vec::new();
            overview::write(&mut shown, &document).unwrap();
            for of_it in document.methods() {
                method::write(&mut shown, &document, of_it, "HOST:PORT").unwrap();
            }
            page::write(&mut shown, &document).unwrap();
            assert!(shown.ends_with(b"</html>"));
        }
    }

    /// Returns the number of values that were read and of bytes that were written.
    fn work(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> u64 {
        let mut shown = Vec::new();
        let (written, looked_at) = crate::json::work::of(|| write(&mut shown));
        written.unwrap();
        looked_at + shown.len() as u64
    }

    #[test]
    fn work_grows_with_the_size_of_a_document_and_not_with_its_square() {
        for shape in &SHAPES {
            let all = [200, 800].map(|size| {
                let (document, _) = shape.pair(size);
                let bytes = document.json().text().len() as u64;
                let first = document.methods().next().unwrap();
                let work = [
                    work(|out| overview::write(out, &document)),
                    work(|out| method::write(out, &document, first, "HOST:PORT")),
                    work(|out| page::write(out, &document)),
                ];
                let most = 100_000 + 64 * bytes;
                assert!(
                    work.iter().all(|work| *work < most),
                    "{}: {work:?}",
                    shape.name
                );
                work
            });
            let [small, large] = all;
            for (small, large) in small.into_iter().zip(large) {
                let is_linear = large < small * 9 / 2;
                assert!(
                    is_linear,
                    "{}: {small}, and {large} for four times as much",
                    shape.name
                );
            }
        }
    }

    #[test]
    fn types_may_lead_to_others_without_end() {
        let document = crate::document::mutated::chain(20_000, "string");
        let mut shown = Vec::new();
        let first = document.methods().next().unwrap();
        method::write(&mut shown, &document, first, "HOST:PORT").unwrap();
        let shown = String::from_utf8(shown).unwrap();
        let shown = anstream::adapter::strip_str(&shown).to_string();
        assert!(shown.contains("T20000 = string"));
    }
}
