//! What a new description means for those who call by the old one.

use serde_json::Value;

use super::finding::{Change, Finding, Severity};
use super::fit::{Fit, Way};
use crate::document::{Document, ErrorDescription, Method, Parameter, Typed};
use crate::schema;

/// All that has changed, method by method, in the order of the old description.
pub(super) fn compare(old: &Document, new: &Document) -> Vec<Change> {
    let comparison = Comparison {
        from_callers: Fit::new(Way::In, old, new),
        to_callers: Fit::new(Way::Out, old, new),
    };
    let mut changes = Vec::new();
    for method in &old.methods {
        let findings = match new.method(&method.name) {
            Some(now) => comparison.method(method, now),
            None => vec![breaking("the method is gone")],
        };
        let findings = findings.into_iter();
        changes.extend(findings.map(|finding| Change::new(&method.name, finding)));
        for alias in &method.aliases {
            let findings = match new.method(alias) {
                None => vec![breaking(format!("the alias `{alias}` is gone"))],
                Some(now) if now.answers_to(&method.name) => continue,
                Some(another) => {
                    let mut findings = comparison.method(method, another);
                    findings.retain(|finding| finding.severity != Severity::Compatible);
                    if new.method(&method.name).is_some() {
                        findings.push(unsure(format!("the alias `{alias}` is another method now")));
                    }
                    findings
                }
            };
            let findings = findings.into_iter();
            changes.extend(findings.map(|finding| Change::new(&method.name, finding)));
        }
    }
    let added = new.methods.iter().filter(|method| {
        let mut names = std::iter::once(&method.name).chain(&method.aliases);
        names.all(|name| old.method(name).is_none())
    });
    changes.extend(added.map(|method| Change::new(&method.name, compatible("the method is new"))));
    changes
}

fn breaking(what: impl Into<String>) -> Finding {
    Finding {
        severity: Severity::Breaking,
        what: what.into(),
    }
}

fn unsure(what: impl Into<String>) -> Finding {
    Finding {
        severity: Severity::MayBreak,
        what: what.into(),
    }
}

fn compatible(what: impl Into<String>) -> Finding {
    Finding {
        severity: Severity::Compatible,
        what: what.into(),
    }
}

struct Comparison<'a> {
    from_callers: Fit<'a>,
    to_callers: Fit<'a>,
}

impl Comparison<'_> {
    fn method(&self, old: &Method, new: &Method) -> Vec<Finding> {
        let mut findings = Vec::new();
        if old.name != new.name {
            findings.push(compatible(format!(
                "the method is called `{}` now, and has the old name as an alias",
                new.name
            )));
        }
        let aliases = new
            .aliases
            .iter()
            .filter(|alias| !old.aliases.contains(alias) && **alias != old.name);
        findings.extend(aliases.map(|alias| compatible(format!("the alias `{alias}` is new"))));
        findings.extend(kind(old, new));
        findings.extend(self.params(old, new));
        findings.extend(self.typed(
            Way::In,
            "uploaded items",
            old.upload.as_ref(),
            new.upload.as_ref(),
        ));
        findings.extend(self.typed(Way::Out, "items", old.items.as_ref(), new.items.as_ref()));
        if old.items.is_none() && new.items.is_none() {
            findings.extend(self.typed(
                Way::Out,
                "result",
                old.result.as_ref(),
                new.result.as_ref(),
            ));
            if old.result.is_some() && new.result.is_none() && !new.notification {
                findings.push(breaking("the result is gone"));
            }
        }
        findings.extend(self.errors(old, new));
        match (old.idempotent, new.idempotent) {
            (true, false) => findings.push(unsure(
                "it is no longer idempotent, and callers call it again when an answer is lost",
            )),
            (false, true) => findings.push(compatible("it is idempotent now")),
            _ => {}
        }
        match (old.deprecated, new.deprecated) {
            (false, true) => findings.push(compatible("it is deprecated now")),
            (true, false) => findings.push(compatible("it is no longer deprecated")),
            _ => {}
        }
        findings
    }

    fn params(&self, old: &Method, new: &Method) -> Vec<Finding> {
        let takes_entire =
            |method: &Method| method.entire_params.is_some() && method.params.is_empty();
        match (takes_entire(old), takes_entire(new)) {
            (true, true) => {
                return self.typed(
                    Way::In,
                    "parameters",
                    old.entire_params.as_ref(),
                    new.entire_params.as_ref(),
                );
            }
            (true, false) => {
                return vec![breaking(
                    "its parameters were one value, and have names now",
                )];
            }
            (false, true) if old.params.is_empty() => {
                return vec![unsure("it had no parameters, and takes one value now")];
            }
            (false, true) => {
                return vec![breaking("its parameters had names, and are one value now")];
            }
            (false, false) => {}
        }
        let mut findings = places(old, new);
        for parameter in &old.params {
            match new.params.iter().find(|other| other.name == parameter.name) {
                Some(now) => findings.extend(self.parameter(parameter, now)),
                None => findings.push(breaking(gone(parameter, old, new))),
            }
        }
        for parameter in added(old, new) {
            let name = &parameter.name;
            findings.push(match parameter.required {
                true => breaking(format!("parameter `{name}` is new and required")),
                false => compatible(format!("parameter `{name}` is new and optional")),
            });
        }
        findings
    }

    fn parameter(&self, old: &Parameter, new: &Parameter) -> Vec<Finding> {
        let place = format!("parameter `{}`", old.name);
        let mut findings = Vec::new();
        match (old.required, new.required) {
            (false, true) => findings.push(breaking(format!("{place} is required now"))),
            (true, false) => findings.push(compatible(format!("{place} is optional now"))),
            _ => {}
        }
        findings.extend(self.typed(Way::In, &place, Some(&old.typed), Some(&new.typed)));
        let default = |parameter: &Parameter| parameter.typed.schema.get("default").cloned();
        match (default(old), default(new)) {
            (Some(was), Some(is)) if was != is => findings.push(unsure(format!(
                "{place}: the default was {was}, and is {is}"
            ))),
            (Some(was), None) if !new.required => {
                findings.push(unsure(format!("{place}: the default {was} is gone")));
            }
            _ => {}
        }
        findings
    }

    fn errors(&self, old: &Method, new: &Method) -> Vec<Finding> {
        let find = |method: &'_ Method, code: i64, message: &str| -> Option<ErrorDescription> {
            let of_code = || method.errors.iter().filter(|error| error.code == code);
            let same = of_code().find(|error| error.message == message);
            same.or_else(|| of_code().next()).cloned()
        };
        let mut findings = Vec::new();
        for was in &old.errors {
            let (code, message) = (was.code, &was.message);
            let Some(is) = find(new, code, message) else {
                findings.push(breaking(format!("error {code} ({message}) is gone")));
                continue;
            };
            if *message != is.message {
                findings.push(unsure(format!(
                    "error {code} was “{message}”, and is “{}”: does it mean the same?",
                    is.message
                )));
            }
            let place = format!("data of error {code}");
            match (&was.data, &is.data) {
                (Some(was), Some(is)) => findings.extend(self.schemas(Way::Out, &place, was, is)),
                (Some(_), None) => findings.push(breaking(format!("{place} is gone"))),
                (None, Some(_)) => findings.push(compatible(format!("{place} is new"))),
                (None, None) => {}
            }
        }
        let added = new
            .errors
            .iter()
            .filter(|error| find(old, error.code, &error.message).is_none());
        findings.extend(added.map(|error| {
            compatible(format!(
                "error {} ({}) is new: callers get it as one of an unknown code",
                error.code, error.message
            ))
        }));
        findings
    }

    fn typed(
        &self,
        way: Way,
        place: &str,
        old: Option<&Typed>,
        new: Option<&Typed>,
    ) -> Vec<Finding> {
        let (Some(old), Some(new)) = (old, new) else {
            // That is a change of kind.
            return Vec::new();
        };
        let untold = |typed: &Typed| {
            let name = typed.rust_type.clone();
            name.filter(|_| schema::says_nothing(&typed.schema))
        };
        match (untold(old), untold(new)) {
            (Some(was), Some(is)) if was != is => {
                vec![unsure(format!(
                    "{place}: {was} has become {is}, of which there are no schemas"
                ))]
            }
            (Some(name), None) | (None, Some(name)) => {
                vec![unsure(format!(
                    "{place}: only one of the descriptions has a schema, and the other says {name}"
                ))]
            }
            _ => self.schemas(way, place, &old.schema, &new.schema),
        }
    }

    fn schemas(&self, way: Way, place: &str, old: &Value, new: &Value) -> Vec<Finding> {
        let (there, back) = match way {
            Way::In => (&self.from_callers, &self.to_callers),
            Way::Out => (&self.to_callers, &self.from_callers),
        };
        let findings = there.compare(place, old, new);
        // What does not fit the other way round is what has been added, or is no longer sent.
        let differs = back
            .compare(place, old, new)
            .iter()
            .any(|finding| finding.severity == Severity::Breaking);
        match findings.is_empty() && differs {
            false => findings,
            true => vec![compatible(match way {
                Way::In => format!("{place}: takes more than before"),
                Way::Out => format!("{place}: is another, and callers can read it as before"),
            })],
        }
    }
}

/// Calls, notifications and streams.
fn kind(old: &Method, new: &Method) -> Vec<Finding> {
    let name = |method: &Method| match (method.notification, &method.items, &method.upload) {
        (true, ..) => "a notification",
        (_, None, None) => "a call",
        (_, Some(_), None) => "a call answered by a stream",
        (_, None, Some(_)) => "a call that takes a stream",
        (_, Some(_), Some(_)) => "a call with streams both ways",
    };
    let mut findings = Vec::new();
    match (name(old), name(new)) {
        (was, is) if was == is => {}
        ("a notification", "a call") => {
            findings.push(compatible(
                "it was a notification, and is a call now: who notifies is not answered",
            ));
        }
        (was, is) => findings.push(breaking(format!("it was {was}, and is {is} now"))),
    }
    match (old.unreliable, new.unreliable) {
        (false, true) => {
            findings.push(compatible("it may be lost now, by callers who learn of it"))
        }
        (true, false) => findings.push(compatible(
            "it is no longer lost, by callers who learn of it",
        )),
        _ => {}
    }
    findings
}

/// Whether arguments by position still come where they belong, and whether both ways to pass them are left.
fn places(old: &Method, new: &Method) -> Vec<Finding> {
    let structure = |method: &Method| {
        method
            .param_structure
            .clone()
            .unwrap_or_else(|| "either".into())
    };
    let (was, is) = (structure(old), structure(new));
    let mut findings = Vec::new();
    if was != is && is != "either" {
        let way = is.replace('-', " ");
        findings.push(breaking(format!("parameters can only be passed {way} now")));
    }
    let position = |method: &Method, name: &str| {
        method
            .params
            .iter()
            .position(|parameter| parameter.name == name)
    };
    let moved: Vec<_> = old
        .params
        .iter()
        .enumerate()
        .filter(|(index, parameter)| {
            position(new, &parameter.name).is_some_and(|now| now != *index)
        })
        .map(|(_, parameter)| format!("`{}`", parameter.name))
        .collect();
    if was != "by-name" && is != "by-name" && !moved.is_empty() {
        findings.push(breaking(format!(
            "the order of parameters is another: {} moved",
            moved.join(", ")
        )));
    }
    findings
}

fn added<'a>(old: &Method, new: &'a Method) -> Vec<&'a Parameter> {
    let is_new =
        |parameter: &&Parameter| old.params.iter().all(|other| other.name != parameter.name);
    new.params.iter().filter(is_new).collect()
}

/// A parameter that is no longer there may have another name.
fn gone(parameter: &Parameter, old: &Method, new: &Method) -> String {
    let name = &parameter.name;
    let place = old.params.iter().position(|other| other.name == *name);
    let there = place.and_then(|place| new.params.get(place));
    let renamed = there.filter(|there| {
        added(old, new).iter().any(|added| added.name == there.name)
            && there.typed.schema == parameter.typed.schema
    });
    match renamed {
        Some(there) => format!("parameter `{name}` is gone; is it `{}` now?", there.name),
        None => format!("parameter `{name}` is gone"),
    }
}
