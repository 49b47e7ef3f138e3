//! The reply to `rpc.discover`: the parts of an OpenRPC document that this crate uses.
//!
//! The parts are views of the JSON. A document may have any size, and only its text is held in memory.

#[cfg(test)]
pub(crate) mod grown;
mod index;
#[cfg(test)]
pub(crate) mod mutated;
mod references;
mod shape;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use self::index::Index;
use crate::escape::Short;
use crate::failure::{Failure, Status};
use crate::json::{Json, Value};
use crate::schema;

/// The services of a server.
#[derive(Debug)]
pub(crate) struct Document {
    json: Json,
    /// The types by name.
    schemas: Index,
    methods: Index,
    /// The methods by alias.
    aliases: Index,
}

/// The general information of a document.
#[derive(Debug)]
pub(crate) struct Info<'a> {
    pub(crate) title: Cow<'a, str>,
    pub(crate) version: Cow<'a, str>,
    pub(crate) description: Option<Cow<'a, str>>,
}

/// A service and its methods.
#[derive(Debug)]
pub(crate) struct Service<'a> {
    document: &'a Document,
    pub(crate) name: Cow<'a, str>,
    pub(crate) description: Option<Cow<'a, str>>,
    methods: Vec<u32>,
}

impl<'a> Service<'a> {
    /// Returns the methods of the service, in their order.
    pub(crate) fn methods(&self) -> impl ExactSizeIterator<Item = Method<'a>> + '_ {
        let document = self.document;
        self.methods.iter().map(|id| document.method_with(*id))
    }
}

/// A method.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Method<'a>(Value<'a>);

impl<'a> Method<'a> {
    /// Returns the id of the method, which is unique in the document.
    pub(crate) fn id(self) -> u32 {
        self.0.id()
    }

    /// Returns the JSON of the method.
    pub(crate) fn value(self) -> Value<'a> {
        self.0
    }

    pub(crate) fn name(self) -> Cow<'a, str> {
        text(self.0, "name").unwrap_or_default()
    }

    pub(crate) fn summary(self) -> Option<Cow<'a, str>> {
        text(self.0, "summary")
    }

    pub(crate) fn description(self) -> Option<Cow<'a, str>> {
        text(self.0, "description")
    }

    /// Returns the way of passing arguments. `None` allows both ways.
    pub(crate) fn param_structure(self) -> Option<Cow<'a, str>> {
        text(self.0, "paramStructure")
    }

    /// Returns `true` if the description does not show the positions of the parameters.
    pub(crate) fn is_by_name(self) -> bool {
        self.param_structure().as_deref() == Some("by-name")
    }

    /// Returns `true` if the method accepts no arguments by name.
    pub(crate) fn is_by_position(self) -> bool {
        self.param_structure().as_deref() == Some("by-position")
    }

    pub(crate) fn params(self) -> impl Iterator<Item = Parameter<'a>> + Clone {
        list(self.0, "params").map(Parameter)
    }

    pub(crate) fn result(self) -> Option<Typed<'a>> {
        self.typed("result")
    }

    pub(crate) fn errors(self) -> impl Iterator<Item = ErrorDescription<'a>> + Clone {
        list(self.0, "errors").map(ErrorDescription)
    }

    pub(crate) fn examples(self) -> impl Iterator<Item = Example<'a>> + Clone {
        list(self.0, "examples").map(Example)
    }

    pub(crate) fn aliases(self) -> impl Iterator<Item = Cow<'a, str>> + Clone {
        list(self.0, "x-aliases").filter_map(Value::as_str)
    }

    pub(crate) fn is_deprecated(self) -> bool {
        flag(self.0, "deprecated")
    }

    pub(crate) fn is_idempotent(self) -> bool {
        flag(self.0, "x-idempotent")
    }

    pub(crate) fn is_notification(self) -> bool {
        flag(self.0, "x-notification")
    }

    pub(crate) fn is_unreliable(self) -> bool {
        flag(self.0, "x-unreliable")
    }

    pub(crate) fn entire_params(self) -> Option<Typed<'a>> {
        self.typed("x-params")
    }

    pub(crate) fn items(self) -> Option<Typed<'a>> {
        self.typed("x-items")
    }

    pub(crate) fn upload(self) -> Option<Typed<'a>> {
        self.typed("x-upload")
    }

    fn typed(self, member: &str) -> Option<Typed<'a>> {
        present(self.0, member).map(Typed)
    }

    fn tag(self) -> Option<Value<'a>> {
        list(self.0, "tags").next()
    }

    /// Returns the attributes of the method other than its types.
    pub(crate) fn marks(self) -> Vec<&'static str> {
        let marks = [
            (self.is_deprecated(), "deprecated"),
            (self.is_notification(), "notification"),
            (self.is_unreliable(), "unreliable"),
            (self.is_by_name(), "by name"),
            (self.is_by_position(), "by position"),
            (self.items().is_some(), "stream"),
            (self.upload().is_some(), "upload"),
            (self.is_idempotent(), "idempotent"),
        ];
        let marks = marks.into_iter().filter(|(holds, _)| *holds);
        marks.map(|(_, mark)| mark).collect()
    }
}

/// The type of a value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Typed<'a>(Value<'a>);

impl<'a> Typed<'a> {
    pub(crate) fn schema(self) -> Option<Value<'a>> {
        self.0.resolved().get("schema")
    }

    pub(crate) fn rust_type(self) -> Option<Cow<'a, str>> {
        text(self.0, "x-rust-type")
    }

    pub(crate) fn default(self) -> Option<Value<'a>> {
        self.schema()?.get("default")
    }

    pub(crate) fn docs(self) -> Option<Cow<'a, str>> {
        schema::docs(self.schema()?)
    }
}

/// A parameter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parameter<'a>(Value<'a>);

impl<'a> Parameter<'a> {
    pub(crate) fn name(self) -> Cow<'a, str> {
        text(self.0, "name").unwrap_or_default()
    }

    pub(crate) fn is_required(self) -> bool {
        flag(self.0, "required")
    }

    pub(crate) fn typed(self) -> Typed<'a> {
        Typed(self.0)
    }

    pub(crate) fn docs(self) -> Option<Cow<'a, str>> {
        text(self.0, "description").or_else(|| self.typed().docs())
    }
}

/// An error that a method may return.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ErrorDescription<'a>(Value<'a>);

impl<'a> ErrorDescription<'a> {
    pub(crate) fn code(self) -> i64 {
        let code = self.0.resolved().get("code");
        code.and_then(Value::as_i64).unwrap_or_default()
    }

    pub(crate) fn message(self) -> Cow<'a, str> {
        text(self.0, "message").unwrap_or_default()
    }

    /// Returns the schema of the data.
    pub(crate) fn data(self) -> Option<Value<'a>> {
        present(self.0, "data")
    }
}

/// A call and its result.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Example<'a>(Value<'a>);

impl<'a> Example<'a> {
    pub(crate) fn name(self) -> Cow<'a, str> {
        text(self.0, "name").unwrap_or_default()
    }

    pub(crate) fn params(self) -> impl Iterator<Item = Named<'a>> + Clone {
        list(self.0, "params").map(Named)
    }

    pub(crate) fn result(self) -> Option<Named<'a>> {
        present(self.0, "result").map(Named)
    }
}

/// A value of an example.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named<'a>(Value<'a>);

impl<'a> Named<'a> {
    pub(crate) fn name(self) -> Cow<'a, str> {
        text(self.0, "name").unwrap_or_default()
    }

    /// Returns the value as JSON.
    pub(crate) fn value(self) -> &'a str {
        self.0.resolved().get("value").map_or("null", Value::text)
    }
}

/// Returns a member that is not null. This and the next three functions follow the reference of `value`.
fn present<'a>(value: Value<'a>, member: &str) -> Option<Value<'a>> {
    let found = value.resolved().get(member);
    found.filter(|value| !value.is_null())
}

fn text<'a>(value: Value<'a>, member: &str) -> Option<Cow<'a, str>> {
    value.resolved().get(member)?.as_str()
}

fn flag(value: Value<'_>, member: &str) -> bool {
    let found = value.resolved().get(member);
    found.and_then(Value::as_bool).unwrap_or(false)
}

/// Returns the elements of a member, or none if the member is missing.
fn list<'a>(value: Value<'a>, member: &str) -> impl Iterator<Item = Value<'a>> + Clone + use<'a> {
    let found = value.resolved().get(member);
    found.into_iter().flat_map(Value::elements)
}

impl Document {
    pub(crate) fn new(mut json: Json) -> Result<Self, Failure> {
        json.set_targets(references::targets(&json));
        let checked = references::check(&json).and_then(|()| shape::check(json.root()));
        checked.map_err(invalid)?;
        let mut document = Self {
            json,
            schemas: Index::default(),
            methods: Index::default(),
            aliases: Index::default(),
        };
        let schemas = document.schemas();
        let schemas = schemas.map(|(name, schema)| (Some(name.id()), schema.id()));
        document.schemas = Index::last(&document.json, schemas);
        let methods = document.methods().map(|method| {
            let name = method.0.resolved().get("name").map(Value::id);
            (name, method.id())
        });
        document.methods = Index::first(&document.json, methods);
        let aliases = document.methods().flat_map(|method| {
            let aliases = list(method.0, "x-aliases");
            aliases.map(move |alias| (Some(alias.id()), method.id()))
        });
        document.aliases = Index::first(&document.json, aliases);
        Ok(document)
    }

    /// Checks that the references of all schemas lead to schemas.
    pub(crate) fn check_references(&self) -> Result<(), Failure> {
        references::check_all(&self.json).map_err(invalid)
    }

    /// Checks that no two methods have the same name.
    pub(crate) fn check_names(&self) -> Result<(), Failure> {
        let mut names = HashSet::new();
        match self
            .methods()
            .map(Method::name)
            .find(|name| !names.insert(name.clone()))
        {
            Some(name) => Err(invalid(format!(
                "two methods have the name `{}`",
                Short(&name)
            ))),
            None => Ok(()),
        }
    }

    pub(crate) fn json(&self) -> &Json {
        &self.json
    }

    pub(crate) fn info(&self) -> Info<'_> {
        let of = |member: &str| text(self.json.root().get("info")?, member);
        Info {
            title: of("title").unwrap_or_default(),
            version: of("version").unwrap_or_default(),
            description: of("description"),
        }
    }

    pub(crate) fn methods(&self) -> impl Iterator<Item = Method<'_>> + Clone {
        list(self.json.root(), "methods").map(Method)
    }

    /// Returns the method with this [`id`](Method::id).
    pub(crate) fn method_with(&self, id: u32) -> Method<'_> {
        Method(self.json.value(id))
    }

    /// Returns the named types.
    pub(crate) fn schemas(&self) -> impl Iterator<Item = (Value<'_>, Value<'_>)> + Clone {
        let components = self.json.root().get("components");
        let schemas = components.and_then(|components| components.get("schemas"));
        schemas.into_iter().flat_map(Value::members)
    }

    pub(crate) fn schema(&self, name: &str) -> Option<Value<'_>> {
        let id = self.schemas.find(&self.json, name)?;
        Some(self.json.value(id))
    }

    /// Returns the methods grouped by service, in their order.
    pub(crate) fn services(&self) -> Vec<Service<'_>> {
        let mut services: Vec<Service<'_>> = Vec::new();
        let mut indexes = HashMap::new();
        for method in self.methods() {
            let tag = method.tag();
            let name = tag.and_then(|tag| text(tag, "name")).unwrap_or_default();
            let index = *indexes.entry(name.clone()).or_insert_with(|| {
                services.push(Service {
                    document: self,
                    name,
                    description: tag.and_then(|tag| text(tag, "description")),
                    methods: Vec::new(),
                });
                services.len() - 1
            });
            services[index].methods.push(method.id());
        }
        services
    }

    /// Returns the method with this name or alias.
    pub(crate) fn method(&self, name: &str) -> Option<Method<'_>> {
        let id = self.methods.find(&self.json, name);
        let id = id.or_else(|| self.aliases.find(&self.json, name))?;
        Some(self.method_with(id))
    }

    /// Returns `true` if a method has this name or alias.
    pub(crate) fn has_name(&self, method: Method<'_>, name: &str) -> bool {
        self.methods.has(&self.json, name, method.id())
            || self.aliases.has(&self.json, name, method.id())
    }

    /// Returns similar names, the most similar first.
    fn similar(&self, name: &str) -> Vec<String> {
        let names = self
            .methods()
            .flat_map(|method| std::iter::once(method.name()).chain(method.aliases()));
        nearest(name, names)
    }

    /// Returns a suggestion for a name that no method has.
    pub(crate) fn did_you_mean(&self, name: &str) -> Option<String> {
        let similar = self.similar(name);
        (!similar.is_empty()).then(|| format!("did you mean `{}`?", similar.join("`, `")))
    }

    /// Returns the method with this name or alias, or a failure that suggests similar names.
    pub(crate) fn find(&self, name: &str) -> Result<Method<'_>, Failure> {
        self.method(name).ok_or_else(|| {
            let failure = Failure::usage(format!("there is no method `{name}`"));
            match self.did_you_mean(name) {
                Some(tip) => failure.tip(tip),
                None => failure,
            }
        })
    }

    /// Returns the type that a schema refers to. Returns `None` if the schema is no reference, or the type is missing.
    pub(crate) fn referred<'a>(&'a self, schema: Value<'a>) -> Option<Value<'a>> {
        schema.referred()
    }

    /// Returns the type that a schema refers to, or the schema itself.
    pub(crate) fn resolve<'a>(&'a self, schema: Value<'a>) -> Value<'a> {
        schema.resolved()
    }
}

fn invalid(why: String) -> Failure {
    let message = format!("the description is not an OpenRPC document: {why}");
    Failure::new(Status::Unusable, message)
}

/// The maximum length of a name that is compared with others, in bytes.
const LONGEST_NAME: usize = 256;

/// Returns at most three of the names that are similar to this one, the most similar first.
pub(crate) fn nearest<'a>(name: &str, names: impl Iterator<Item = Cow<'a, str>>) -> Vec<String> {
    let mut nearest: Vec<(f64, Cow<'a, str>)> = Vec::new();
    for other in names.filter(|other| other.len() <= LONGEST_NAME) {
        let is_inside = other.contains(name) || other.rsplit('.').next() == name.rsplit('.').next();
        let likeness = strsim::jaro_winkler(name, &other) + f64::from(u8::from(is_inside));
        if likeness > 0.75 {
            let place = nearest.partition_point(|(nearer, _)| *nearer >= likeness);
            nearest.insert(place, (likeness, other));
            nearest.truncate(3);
        }
    }
    let names = nearest.into_iter().map(|(_, name)| name.into_owned());
    names.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn method_is_found_by_its_name_before_an_alias() {
        let document = mutated::document(json!({"methods": [
            {"name": "a", "x-aliases": ["b", "c"]},
            {"name": "b"},
            {"name": "b", "deprecated": true},
            {"x-aliases": ["c"]},
        ]}));
        let found = |name: &str| {
            document
                .method(name)
                .map(|method| method.name().into_owned())
        };
        assert_eq!(found("b").as_deref(), Some("b"));
        assert!(
            !document.method("b").unwrap().is_deprecated(),
            "the first of two"
        );
        assert_eq!(found("c").as_deref(), Some("a"));
        assert_eq!(found("").as_deref(), Some(""));
        assert_eq!(found("d"), None);
        let a = document.method("a").unwrap();
        assert!(document.has_name(a, "a") && document.has_name(a, "b"));
        assert!(!document.has_name(document.method("b").unwrap(), "c"));
        assert_eq!(document.did_you_mean("aa").unwrap(), "did you mean `a`?");
    }

    #[test]
    fn two_methods_with_the_same_name_are_refused() {
        let names = |names: &[&str]| {
            let methods: Vec<_> = names.iter().map(|name| json!({"name": name})).collect();
            mutated::document(json!({"methods": methods})).check_names()
        };
        names(&["a", "b"]).unwrap();
        let refused = names(&["a", "b", "a"]).unwrap_err().to_string();
        assert!(
            refused.contains("two methods have the name `a`"),
            "{refused}"
        );
    }

    #[test]
    fn methods_of_a_service_stand_together() {
        let method = |name: &str, tag: &str| json!({"name": name, "tags": [{"name": tag}]});
        let document = mutated::document(json!({"methods": [
            method("a", "X"), method("b", "Y"), {"name": "c"}, method("d", "X"),
        ]}));
        let services: Vec<_> = document
            .services()
            .iter()
            .map(|service| {
                let methods = service.methods().map(|method| method.name().into_owned());
                (
                    service.name.clone().into_owned(),
                    methods.collect::<Vec<_>>().join(" "),
                )
            })
            .collect();
        let expected = [("X", "a d"), ("Y", "b"), ("", "c")];
        assert_eq!(
            services,
            expected.map(|(name, methods)| (name.into(), methods.into()))
        );
    }
}
