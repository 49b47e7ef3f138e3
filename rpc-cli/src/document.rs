//! What `rpc.discover` answers: an OpenRPC document, as far as it is used here.

#[cfg(test)]
pub(crate) mod mutated;

use std::path::Path;

use rpc_runtime::{Address, CallError, Client, ErrorObject};
use serde::Deserialize;
use serde_json::Value;

use crate::connect::Connection;
use crate::failure::{Failure, Status, Stop};
use crate::schema::{self, reference};

/// The services of a server.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Document {
    pub(crate) info: Info,
    pub(crate) methods: Vec<Method>,
    pub(crate) components: Components,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Info {
    pub(crate) title: String,
    pub(crate) version: String,
    pub(crate) description: Option<String>,
}

/// Types that have names.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Components {
    pub(crate) schemas: serde_json::Map<String, Value>,
}

/// A method.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Method {
    pub(crate) name: String,
    pub(crate) summary: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) tags: Vec<Tag>,
    pub(crate) deprecated: bool,
    #[serde(rename = "paramStructure")]
    pub(crate) param_structure: Option<String>,
    pub(crate) params: Vec<Parameter>,
    pub(crate) result: Option<Typed>,
    pub(crate) errors: Vec<ErrorDescription>,
    pub(crate) examples: Vec<Example>,
    #[serde(rename = "x-aliases")]
    pub(crate) aliases: Vec<String>,
    #[serde(rename = "x-idempotent")]
    pub(crate) idempotent: bool,
    #[serde(rename = "x-notification")]
    pub(crate) notification: bool,
    #[serde(rename = "x-unreliable")]
    pub(crate) unreliable: bool,
    #[serde(rename = "x-params")]
    pub(crate) entire_params: Option<Typed>,
    #[serde(rename = "x-items")]
    pub(crate) items: Option<Typed>,
    #[serde(rename = "x-upload")]
    pub(crate) upload: Option<Typed>,
}

impl Method {
    pub(crate) fn answers_to(&self, name: &str) -> bool {
        self.name == name || self.aliases.iter().any(|alias| alias == name)
    }

    /// What there is to know of it besides its types.
    pub(crate) fn marks(&self) -> Vec<&'static str> {
        let marks = [
            (self.deprecated, "deprecated"),
            (self.notification, "notification"),
            (self.unreliable, "unreliable"),
            (self.items.is_some(), "stream"),
            (self.upload.is_some(), "upload"),
            (self.idempotent, "idempotent"),
        ];
        let marks = marks.into_iter().filter(|(holds, _)| *holds);
        marks.map(|(_, mark)| mark).collect()
    }
}

impl Parameter {
    pub(crate) fn docs(&self) -> Option<&str> {
        let docs = self.description.as_deref();
        docs.or_else(|| schema::docs(&self.typed.schema))
    }
}

/// A service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Tag {
    pub(crate) name: String,
    pub(crate) description: Option<String>,
}

/// A value's type.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Typed {
    pub(crate) schema: Value,
    #[serde(rename = "x-rust-type")]
    pub(crate) rust_type: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) required: bool,
    #[serde(flatten)]
    pub(crate) typed: Typed,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ErrorDescription {
    pub(crate) code: i64,
    pub(crate) message: String,
    /// The schema of the data.
    pub(crate) data: Option<Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Example {
    pub(crate) name: String,
    pub(crate) params: Vec<Named>,
    pub(crate) result: Option<Named>,
}

/// A value of an example.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) value: Value,
}

/// Where a document comes from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Server(Address),
    File(std::path::PathBuf),
}

impl std::str::FromStr for Source {
    type Err = String;

    /// What exists is a file, and what looks like an address is one.
    fn from_str(text: &str) -> Result<Self, String> {
        if Path::new(text).exists() {
            return Ok(Self::File(text.into()));
        }
        text.parse()
            .map(Self::Server)
            .map_err(|error: rpc_runtime::AddressError| format!("{error}, or the name of a file"))
    }
}

impl Source {
    /// The document as it stands.
    pub(crate) async fn read(&self, connection: &Connection) -> Result<Value, Stop> {
        match self {
            Self::Server(target) => {
                let discover = async |client: &Client| Ok(discover(connection, client).await?);
                connection.session(target, discover).await
            }
            Self::File(path) => {
                let unreadable = |why: String| Failure::usage(format!("{}: {why}", path.display()));
                let bytes = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
                Ok(
                    serde_json::from_slice(&bytes)
                        .map_err(|error| unreadable(error.to_string()))?,
                )
            }
        }
    }
}

/// Asks a server what it serves.
async fn discover(connection: &Connection, client: &Client) -> Result<Value, Failure> {
    let asked = ask(connection, client).await?;
    asked.map_err(|refused| Failure::answered(&refused).tip("this server does not describe itself"))
}

/// What can be done where a server cannot be read.
pub(crate) const WITHOUT: &str = "`--undescribed` does without";

/// What the server tells of itself; nothing if it does not. `tip` is for when that cannot be read.
pub(crate) async fn describe(
    connection: &Connection,
    client: &Client,
    tip: &str,
) -> Result<Option<Document>, Failure> {
    let asked = ask(connection, client).await?;
    let document = asked.ok().map(Document::new).transpose();
    document.map_err(|failure| failure.tip(tip))
}

async fn ask(
    connection: &Connection,
    client: &Client,
) -> Result<Result<Value, ErrorObject>, Failure> {
    match connection.with_meta(client.call("rpc.discover", &())).await {
        Ok(document) => Ok(Ok(document)),
        Err(CallError::Remote(refused) | CallError::Application(refused)) => Ok(Err(refused)),
        Err(error) => Err(Failure::call(error)),
    }
}

impl Document {
    pub(crate) fn new(document: Value) -> Result<Self, Failure> {
        let unusable = |why: &str| {
            Failure::new(
                Status::Unusable,
                format!("this is no OpenRPC document: {why}"),
            )
        };
        if !document["methods"].is_array() {
            return Err(unusable("it has no `methods`"));
        }
        serde_json::from_value(document).map_err(|error| unusable(&error.to_string()))
    }

    /// The methods by their service, in their order.
    pub(crate) fn services(&self) -> Vec<(&Tag, Vec<&Method>)> {
        static UNTAGGED: Tag = Tag {
            name: String::new(),
            description: None,
        };
        let mut services: Vec<(&Tag, Vec<&Method>)> = Vec::new();
        for method in &self.methods {
            let tag = method.tags.first().unwrap_or(&UNTAGGED);
            match services
                .iter_mut()
                .find(|(other, _)| other.name == tag.name)
            {
                Some((_, methods)) => methods.push(method),
                None => services.push((tag, vec![method])),
            }
        }
        services
    }

    /// The method of this name or alias.
    pub(crate) fn method(&self, name: &str) -> Option<&Method> {
        self.methods
            .iter()
            .find(|method| method.name == name)
            .or_else(|| {
                self.methods
                    .iter()
                    .find(|method| method.aliases.iter().any(|alias| alias == name))
            })
    }

    /// Names like this one, the nearest first.
    pub(crate) fn similar(&self, name: &str) -> Vec<&str> {
        let names = self.methods.iter().flat_map(|method| {
            std::iter::once(&method.name)
                .chain(&method.aliases)
                .map(String::as_str)
        });
        nearest(name, names)
    }

    /// The method of this name or alias; a failure that tells similar ones, if there is none.
    pub(crate) fn find(&self, name: &str) -> Result<&Method, Failure> {
        self.method(name).ok_or_else(|| {
            let failure = Failure::usage(format!("there is no method `{name}`"));
            match self.similar(name).as_slice() {
                [] => failure,
                names => failure.tip(format!("did you mean `{}`?", names.join("`, `"))),
            }
        })
    }

    /// The type itself, where a schema names it.
    pub(crate) fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let mut schema = schema;
        // References may lead in circles.
        for _ in 0..32 {
            let named = reference(schema).and_then(|name| self.components.schemas.get(&name));
            match named {
                Some(found) => schema = found,
                None => break,
            }
        }
        schema
    }
}

/// Those of the names that are like this one, the nearest first, three at most.
pub(crate) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut rated: Vec<_> = names
        .map(|other| {
            let inside =
                other.contains(name) || other.rsplit('.').next() == name.rsplit('.').next();
            (
                strsim::jaro_winkler(name, other) + f64::from(u8::from(inside)),
                other,
            )
        })
        .filter(|(likeness, _)| *likeness > 0.75)
        .collect();
    rated.sort_by(|one, other| other.0.total_cmp(&one.0));
    rated.into_iter().take(3).map(|(_, name)| name).collect()
}
