//! The command line: see `README.md`.

use std::collections::HashMap;
use std::path::Path;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use orders::api::{NewOrder, State};
use orders::client::{Servers, Session};
use orders::files::{Accounts, Folder, ROUNDS};
use orders::load::load;
use orders::serve::{Failure, Replica, ledger, serve};
use orders::tokens::Principal;
use tracing::Level;

const USAGE: &str = "usage:
  orders init [--folder FOLDER]
  orders renew [--folder FOLDER]
  orders account USER [--folder FOLDER] [--admin yes]
  orders ledger [--folder FOLDER] [--listen ADDRESS]
  orders serve --name NAME --ledger ADDRESS [--folder FOLDER] [--listen ADDRESS] [--metrics ADDRESS]
      [--announce-ms N] [--token-ms N] [--quota N] [--connections N]
  orders health | place ITEM COUNT KEY | list | watch ID | import FILE | advance ID packed|shipped | load PREFIX [COUNT]
      --servers ADDRESS,... --user USER [--authority FILE]
The environment variable ORDERS_PASSWORD has the password of the user.";

/// The arguments: words, and options with a value each.
struct Arguments {
    words: Vec<String>,
    options: HashMap<String, String>,
}

impl Arguments {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let (mut words, mut options) = (Vec::new(), HashMap::new());
        while let Some(argument) = arguments.next() {
            match argument.strip_prefix("--") {
                Some(name) => {
                    options.insert(name.to_owned(), arguments.next().ok_or(USAGE)?);
                }
                None => words.push(argument),
            }
        }
        Ok(Self { words, options })
    }

    /// Takes an option.
    fn text(&mut self, name: &str, default: &str) -> String {
        let option = self.options.remove(name);
        option.unwrap_or_else(|| default.to_owned())
    }

    fn required(&mut self, name: &str) -> Result<String, Failure> {
        Ok(self.options.remove(name).ok_or(USAGE)?)
    }

    fn number<T: FromStr>(&mut self, name: &str, default: T) -> Result<T, Failure> {
        match self.options.remove(name) {
            Some(text) => text.parse().map_err(|_| format!("--{name} {text}").into()),
            None => Ok(default),
        }
    }

    fn folder(&mut self) -> Folder {
        Folder(self.text("folder", "orders-data").into())
    }

    /// Fails if there are options that were not taken.
    fn end(&self) -> Result<(), Failure> {
        match self.options.is_empty() {
            true => Ok(()),
            false => Err(USAGE.into()),
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    // What the libraries and this program log, such as limits that were reached and handshakes that failed.
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_max_level(Level::WARN)
        .init();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Failure> {
    let mut arguments = Arguments::parse(std::env::args().skip(1))?;
    let words = std::mem::take(&mut arguments.words);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["init"] => {
            let folder = arguments.folder();
            arguments.end()?;
            Ok(folder.create()?)
        }
        ["renew"] => {
            let folder = arguments.folder();
            arguments.end()?;
            Ok(folder.renew_certificate()?)
        }
        ["account", user] => account(user, arguments),
        ["ledger"] => {
            let folder = arguments.folder();
            let listen = arguments.text("listen", "127.0.0.1:4460");
            arguments.end()?;
            ledger(folder, &listen).await
        }
        ["serve"] => serve(replica(arguments)?).await,
        ["health"] => {
            let servers = servers(&mut arguments)?;
            arguments.end()?;
            servers.health().await
        }
        _ => customer(&words, arguments).await,
    }
}

fn password() -> Result<String, Failure> {
    // Not an argument, which other users of the machine can read.
    Ok(std::env::var("ORDERS_PASSWORD").map_err(|_| "ORDERS_PASSWORD is not set")?)
}

fn account(user: &str, mut arguments: Arguments) -> Result<(), Failure> {
    let file = arguments.folder().accounts();
    let is_admin = arguments.text("admin", "no") == "yes";
    arguments.end()?;
    let mut accounts = Accounts::from_file(&file)?;
    let user = user.to_owned();
    accounts.add(Principal { user, is_admin }, &password()?, ROUNDS);
    Ok(accounts.write(&file)?)
}

fn replica(mut arguments: Arguments) -> Result<Replica, Failure> {
    let replica = Replica {
        folder: arguments.folder(),
        name: arguments.required("name")?,
        listen: arguments.text("listen", "127.0.0.1:0"),
        metrics: arguments.text("metrics", "127.0.0.1:0"),
        ledger: arguments.required("ledger")?,
        announce: Duration::from_millis(arguments.number("announce-ms", 0)?),
        lifetime: Duration::from_millis(arguments.number("token-ms", 300_000)?),
        quota: arguments.number("quota", 6_000)?,
        connections: arguments.number("connections", 64)?,
    };
    arguments.end()?;
    Ok(replica)
}

fn servers(arguments: &mut Arguments) -> Result<Servers, Failure> {
    let addresses = arguments.required("servers")?;
    let default = Folder("orders-data".into()).authority();
    let authority = arguments.options.remove("authority");
    Ok(Servers {
        addresses: addresses.split(',').map(str::to_owned).collect(),
        authority: authority.map_or(default, |file| Path::new(&file).to_owned()),
    })
}

/// Runs a command of a user. The client is closed however the command ends.
async fn customer(command: &[&str], mut arguments: Arguments) -> Result<(), Failure> {
    let servers = servers(&mut arguments)?;
    let user = arguments.required("user")?;
    arguments.end()?;
    let session = servers.log_in(&user, &password()?).await?;
    let done = act(&session, command).await;
    session.close().await;
    done
}

async fn act(session: &Session, command: &[&str]) -> Result<(), Failure> {
    match *command {
        ["place", item, count, key] => {
            let order = NewOrder {
                key: key.to_owned(),
                item: item.to_owned(),
                count: count.parse()?,
            };
            session.place(order).await
        }
        ["list"] => session.list().await,
        ["watch", id] => session.watch(id.parse()?).await,
        ["import", file] => session.import(&std::fs::read_to_string(file)?).await,
        ["advance", id, "packed"] => session.advance(id.parse()?, State::Packed).await,
        ["advance", id, "shipped"] => session.advance(id.parse()?, State::Shipped).await,
        ["load", prefix] => load(session, prefix, u64::MAX).await,
        ["load", prefix, count] => load(session, prefix, count.parse()?).await,
        _ => Err(USAGE.into()),
    }
}
