//! Compares the methods of two descriptions, from the perspective of callers with the old one.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::finding::{Change, Finding, Severity};
use super::fit::{Direction, Fit};
use super::fuel::Fuel;
use super::kinds::Kinds;
use super::same::fingerprints;
use super::side::Side;
use crate::document::{Document, ErrorDescription, Method, Parameter, Typed};
use crate::escape::Short;
use crate::json::Value;
use crate::schema;
use crate::types::Literal;

/// Returns all changes, method by method, in the order of the old description.
pub(super) fn compare(old: &Document, new: &Document) -> Vec<Change> {
    let fuel = Fuel::of(old, new);
    compare_within(old, new, &fuel)
}

/// Does the same with a limited amount of work.
pub(super) fn compare_within(old: &Document, new: &Document, fuel: &Fuel) -> Vec<Change> {
    let (old_prints, new_prints) = fingerprints(old, new);
    let old_side = Side::new(old, old_prints, fuel);
    let new_side = Side::new(new, new_prints, fuel);
    let (old_kinds, new_kinds) = (Kinds::new(&old_side, fuel), Kinds::new(&new_side, fuel));
    let comparison = Comparison {
        old,
        new,
        fuel,
        sides: (&old_side, &new_side),
        from_callers: Fit::new(Direction::In, &old_kinds, &new_kinds, fuel),
        to_callers: Fit::new(Direction::Out, &old_kinds, &new_kinds, fuel),
        compatible: Fit::new(Direction::Out, &old_kinds, &new_kinds, fuel).showing_compatible(),
    };
    let mut changes = Vec::new();
    for method in old.methods() {
        let findings = comparison.old_method(method);
        if findings.is_empty() {
            continue;
        }
        let name: Rc<str> = Short(&method.name()).to_string().into();
        changes.extend(findings.into_iter().map(|finding| Change {
            method: Rc::clone(&name),
            finding,
        }));
    }
    let added = new.methods().filter(|method| {
        let mut names = std::iter::once(method.name()).chain(method.aliases());
        names.all(|name| old.method(&name).is_none())
    });
    changes.extend(added.map(|method| Change {
        method: Short(&method.name()).to_string().into(),
        finding: Finding::compatible("the method is new"),
    }));
    changes
}

struct Comparison<'c, 'a> {
    old: &'a Document,
    new: &'a Document,
    fuel: &'c Fuel,
    sides: (&'c Side<'a>, &'c Side<'a>),
    from_callers: Fit<'c, 'a>,
    to_callers: Fit<'c, 'a>,
    /// Finds properties that are new or missing, and break nothing.
    compatible: Fit<'c, 'a>,
}

impl<'a> Comparison<'_, 'a> {
    /// Compares a method with the new methods of its name and its aliases.
    fn old_method(&self, method: Method<'a>) -> Vec<Finding> {
        let now = self.new.method(&method.name());
        let mut findings = match now {
            Some(now) => self.method(method, now),
            None => vec![Finding::breaking("the method is removed")],
        };
        // The other methods that have its aliases. Each is compared only once.
        let mut others = HashSet::new();
        for alias in method.aliases() {
            match self.new.method(&alias) {
                None => {
                    let alias = Short(&alias);
                    findings.push(Finding::breaking(format!("the alias `{alias}` is removed")));
                }
                Some(now) if self.new.has_name(now, &method.name()) => {}
                Some(another) => {
                    if others.insert(another.id()) {
                        let of_it = self.method(method, another);
                        self.fuel.take(16 * of_it.len());
                        let is_worse = |finding: &Finding| finding.severity != Severity::Compatible;
                        findings.extend(of_it.into_iter().filter(is_worse));
                    }
                    if now.is_some() {
                        let alias = Short(&alias);
                        let what = format!("the alias `{alias}` is another method now");
                        findings.push(Finding::unsure(what));
                    }
                }
            }
        }
        findings
    }

    fn method(&self, old: Method<'a>, new: Method<'a>) -> Vec<Finding> {
        if self.sides.0.print(old.value()) == self.sides.1.print(new.value()) {
            return Vec::new();
        }
        // An old method may be compared with many new ones, because of its aliases.
        if self.fuel.is_out() && old.name() != new.name() {
            return vec![Finding::unsure(
                "the descriptions are too complex to compare",
            )];
        }
        self.fuel.take(16 * self.size(old, new) + 32);
        let mut findings = self.names(old, new);
        findings.extend(kind(old, new));
        findings.extend(self.params(old, new));
        let (upload, items) = ((old.upload(), new.upload()), (old.items(), new.items()));
        findings.extend(self.typed(Direction::In, "uploaded items", upload));
        findings.extend(self.typed(Direction::Out, "items", items));
        if old.items().is_none() && new.items().is_none() {
            let results = (old.result(), new.result());
            findings.extend(self.typed(Direction::Out, "result", results));
            if let (Some(_), None, false) = (results.0, results.1, new.is_notification()) {
                findings.push(Finding::breaking("the result is removed"));
            }
        }
        findings.extend(self.errors(old, new));
        findings.extend(marks(old, new));
        findings
    }

    /// Returns the number of parameters, errors and aliases to compare.
    fn size(&self, old: Method<'_>, new: Method<'_>) -> usize {
        let of = |method: Method<'_>| {
            method.params().count() + method.errors().count() + method.aliases().count()
        };
        of(old) + of(new)
    }

    /// Returns the findings about new names of a method.
    fn names(&self, old: Method<'_>, new: Method<'_>) -> Vec<Finding> {
        let mut findings = Vec::new();
        if old.name() != new.name() {
            findings.push(Finding::compatible(format!(
                "the method is renamed to `{}`, and the old name is an alias",
                Short(&new.name())
            )));
        }
        let aliases = new.aliases().filter(|alias| !self.old.has_name(old, alias));
        findings.extend(
            aliases
                .map(|alias| Finding::compatible(format!("the alias `{}` is new", Short(&alias)))),
        );
        findings
    }

    fn params(&self, old: Method<'a>, new: Method<'a>) -> Vec<Finding> {
        let has_none = |method: Method<'_>| method.params().next().is_none();
        let entire = |method: Method<'a>| method.entire_params().filter(|_| has_none(method));
        match (entire(old), entire(new)) {
            (Some(was), Some(is)) => {
                return self.typed(Direction::In, "parameters", (Some(was), Some(is)));
            }
            (Some(_), None) => {
                let what = "its parameters were one value, and have names now";
                return vec![Finding::breaking(what)];
            }
            (None, Some(_)) if has_none(old) => {
                let what = "it had no parameters, and takes one value now";
                return vec![Finding::unsure(what)];
            }
            (None, Some(_)) => {
                let what = "its parameters had names, and are one value now";
                return vec![Finding::breaking(what)];
            }
            (None, None) => {}
        }
        let positions = ParameterPositions::of(old, new);
        let mut findings = positions.changes(old, new);
        for (index, parameter) in old.params().enumerate() {
            match positions.new.get(&parameter.name()) {
                Some((_, now)) => findings.extend(self.parameter(parameter, *now)),
                None => findings.push(Finding::breaking(
                    self.removed(parameter, index, &positions),
                )),
            }
        }
        for parameter in new.params() {
            let name = parameter.name();
            if positions.old.contains_key(&name) {
                continue;
            }
            let name = Short(&name);
            findings.push(match parameter.is_required() {
                true => Finding::breaking(format!("parameter `{name}` is new and required")),
                false => Finding::compatible(format!("parameter `{name}` is new and optional")),
            });
        }
        findings
    }

    fn parameter(&self, old: Parameter<'a>, new: Parameter<'a>) -> Vec<Finding> {
        let place = format!("parameter `{}`", Short(&old.name()));
        let mut findings = Vec::new();
        match (old.is_required(), new.is_required()) {
            (false, true) => findings.push(Finding::breaking(format!("{place} is required now"))),
            (true, false) => {
                findings.push(Finding::compatible(format!("{place} is optional now")));
            }
            _ => {}
        }
        let typed = (Some(old.typed()), Some(new.typed()));
        findings.extend(self.typed(Direction::In, &place, typed));
        match (old.typed().default(), new.typed().default()) {
            (Some(was), Some(is)) if self.sides.0.print(was) != self.sides.1.print(is) => {
                let (was, is) = (Literal(was), Literal(is));
                let what = format!("{place}: the default was {was}, and is {is}");
                findings.push(Finding::unsure(what));
            }
            (None, Some(is)) if !old.is_required() && !is.is_null() => {
                let what = format!(
                    "{place}: a missing argument has the default {} now",
                    Literal(is)
                );
                findings.push(Finding::unsure(what));
            }
            (Some(was), None) if !new.is_required() => {
                let what = format!("{place}: the default {} is removed", Literal(was));
                findings.push(Finding::unsure(what));
            }
            _ => {}
        }
        findings
    }

    /// Describes the removal of a parameter, which may have been renamed.
    fn removed(
        &self,
        parameter: Parameter<'a>,
        index: usize,
        positions: &ParameterPositions<'a>,
    ) -> String {
        let name = parameter.name();
        let name = Short(&name);
        let print = |side: &Side<'a>, parameter: Parameter<'a>| {
            parameter.typed().schema().map(|schema| side.print(schema))
        };
        let there = positions.in_order.get(index).filter(|there| {
            !positions.old.contains_key(&there.name())
                && print(self.sides.0, parameter) == print(self.sides.1, **there)
        });
        match there {
            Some(there) => {
                let there = there.name();
                format!(
                    "parameter `{name}` is removed; was it renamed to `{}`?",
                    Short(&there)
                )
            }
            None => format!("parameter `{name}` is removed"),
        }
    }

    fn errors(&self, old: Method<'a>, new: Method<'a>) -> Vec<Finding> {
        let (was_there, is_there) = (Errors::of(old), Errors::of(new));
        let mut findings = Vec::new();
        for was in old.errors() {
            let (code, message) = (was.code(), was.message());
            let told = Short(&message);
            let Some(is) = is_there.find(code, &message) else {
                findings.push(Finding::breaking(format!(
                    "error {code} ({told}) is removed"
                )));
                continue;
            };
            if message != is.message() {
                let is = is.message();
                findings.push(Finding::unsure(format!(
                    "the message of error {code} was “{told}”, and is “{}”",
                    Short(&is)
                )));
            }
            let place = format!("data of error {code}");
            match (was.data(), is.data()) {
                (Some(was), Some(is)) => {
                    findings.extend(self.schemas(Direction::Out, &place, (Some(was), Some(is))));
                }
                (Some(_), None) => findings.push(Finding::breaking(format!("{place} is removed"))),
                (None, Some(_)) => findings.push(Finding::compatible(format!("{place} is new"))),
                (None, None) => {}
            }
        }
        for error in new.errors() {
            let (code, message) = (error.code(), error.message());
            if was_there.find(code, &message).is_none() {
                findings.push(Finding::compatible(format!(
                    "error {code} ({}) is new: callers receive it as an error with an unknown code",
                    Short(&message)
                )));
            }
        }
        findings
    }

    fn typed(
        &self,
        direction: Direction,
        place: &str,
        types: (Option<Typed<'a>>, Option<Typed<'a>>),
    ) -> Vec<Finding> {
        let (Some(old), Some(new)) = types else {
            // This is reported as a change of kind.
            return Vec::new();
        };
        let untold = |typed: Typed<'a>| {
            let is_told = typed
                .schema()
                .is_some_and(|schema| !schema::says_nothing(schema));
            typed.rust_type().filter(|_| !is_told)
        };
        match (untold(old), untold(new)) {
            (Some(was), Some(is)) if was != is => {
                let (was, is) = (Short(&was), Short(&is));
                vec![Finding::unsure(format!(
                    "{place}: {was} has become {is}, and neither has a schema"
                ))]
            }
            (Some(name), None) | (None, Some(name)) => {
                let name = Short(&name);
                vec![Finding::unsure(format!(
                    "{place}: only one of the descriptions has a schema, and the other has only the type {name}"
                ))]
            }
            _ => self.schemas(direction, place, (old.schema(), new.schema())),
        }
    }

    fn schemas(
        &self,
        direction: Direction,
        place: &str,
        (old, new): (Option<Value<'a>>, Option<Value<'a>>),
    ) -> Vec<Finding> {
        let (there, back) = match direction {
            Direction::In => (&self.from_callers, &self.to_callers),
            Direction::Out => (&self.to_callers, &self.from_callers),
        };
        let mut findings = there.compare(place, old, new);
        if !findings.is_empty() {
            return findings;
        }
        // If the schemas do not fit in the reverse direction, values were added, or are no longer sent.
        if back.breaks(old, new) {
            findings.push(Finding::compatible(match direction {
                Direction::In => format!("{place}: accepts more than before"),
                Direction::Out => {
                    format!("{place}: the type changed, and callers can still read it")
                }
            }));
        }
        let properties = self.compatible.compare(place, old, new).into_iter();
        findings.extend(properties.filter(|finding| finding.severity == Severity::Compatible));
        findings
    }
}

/// Compares the kinds: call, notification or stream.
fn kind(old: Method<'_>, new: Method<'_>) -> Vec<Finding> {
    let name = |method: Method<'_>| {
        let (items, upload) = (method.items(), method.upload());
        match (method.is_notification(), items, upload) {
            (true, ..) => "a notification",
            (_, None, None) => "a call",
            (_, Some(_), None) => "a call answered by a stream",
            (_, None, Some(_)) => "a call that takes a stream",
            (_, Some(_), Some(_)) => "a call with streams both ways",
        }
    };
    let mut findings = Vec::new();
    match (name(old), name(new)) {
        (was, is) if was == is => {}
        ("a notification", "a call") => {
            findings.push(Finding::compatible(
                "it was a notification, and is a call now: callers that notify receive no response",
            ));
        }
        (was, is) => findings.push(Finding::breaking(format!("it was {was}, and is {is} now"))),
    }
    match (old.is_unreliable(), new.is_unreliable()) {
        (false, true) => findings.push(Finding::compatible(
            "it may be lost now if the caller has the new description",
        )),
        (true, false) => findings.push(Finding::compatible(
            "it is no longer lost if the caller has the new description",
        )),
        _ => {}
    }
    findings
}

/// Compares the attributes of a method other than its types.
fn marks(old: Method<'_>, new: Method<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    match (old.is_idempotent(), new.is_idempotent()) {
        (true, false) => findings.push(Finding::unsure(
            "it is no longer idempotent, and callers repeat it when a response is lost",
        )),
        (false, true) => findings.push(Finding::compatible("it is idempotent now")),
        _ => {}
    }
    match (old.is_deprecated(), new.is_deprecated()) {
        (false, true) => findings.push(Finding::compatible("it is deprecated now")),
        (true, false) => findings.push(Finding::compatible("it is no longer deprecated")),
        _ => {}
    }
    findings
}

/// The parameters of a method by name, with their positions. Of several with the same name the first counts.
type ByName<'a> = HashMap<Cow<'a, str>, (usize, Parameter<'a>)>;

/// The parameters of both methods.
struct ParameterPositions<'a> {
    old: ByName<'a>,
    new: ByName<'a>,
    /// The new parameters in their order.
    in_order: Vec<Parameter<'a>>,
}

impl<'a> ParameterPositions<'a> {
    fn of(old: Method<'a>, new: Method<'a>) -> Self {
        let by_name = |method: Method<'a>| {
            let mut by_name = ByName::new();
            for (index, parameter) in method.params().enumerate() {
                let entry = (index, parameter);
                by_name.entry(parameter.name()).or_insert(entry);
            }
            by_name
        };
        Self {
            old: by_name(old),
            new: by_name(new),
            in_order: new.params().collect(),
        }
    }

    /// Checks that arguments by position keep their positions, and that both ways of passing arguments remain.
    fn changes(&self, old: Method<'_>, new: Method<'_>) -> Vec<Finding> {
        let structure = |method: Method<'_>| match method.param_structure() {
            Some(structure) => structure.into_owned(),
            None => "either".to_owned(),
        };
        let (was, is) = (structure(old), structure(new));
        let mut findings = Vec::new();
        if was != is && is != "either" {
            let way = is.replace('-', " ");
            let way = Short(&way);
            let what = format!("parameters can only be passed {way} now");
            findings.push(Finding::breaking(what));
        }
        let moved = old.params().enumerate().filter(|(index, parameter)| {
            let now = self.new.get(&parameter.name());
            now.is_some_and(|(now, _)| now != index)
        });
        let mut moved = moved.map(|(_, parameter)| format!("`{}`", Short(&parameter.name())));
        let mut told: Vec<_> = moved.by_ref().take(MOVED).collect();
        told.extend(moved.next().map(|_| "…".to_owned()));
        if was != "by-name" && is != "by-name" && !told.is_empty() {
            findings.push(Finding::breaking(format!(
                "the order of parameters changed: {} moved",
                told.join(", ")
            )));
        }
        findings
    }
}

/// The maximum number of moved parameters in a finding.
const MOVED: usize = 20;

/// The errors of a method: by code and message, and the first of each code.
struct Errors<'a> {
    same: HashMap<(i64, Cow<'a, str>), ErrorDescription<'a>>,
    of_code: HashMap<i64, ErrorDescription<'a>>,
}

impl<'a> Errors<'a> {
    fn of(method: Method<'a>) -> Self {
        let mut errors = Self {
            same: HashMap::new(),
            of_code: HashMap::new(),
        };
        for error in method.errors() {
            let (code, message) = (error.code(), error.message());
            errors.same.entry((code, message)).or_insert(error);
            errors.of_code.entry(code).or_insert(error);
        }
        errors
    }

    /// Returns the error with this code, preferably with this message.
    fn find(&self, code: i64, message: &str) -> Option<ErrorDescription<'a>> {
        let same = self.same.get(&(code, Cow::Borrowed(message)));
        same.or_else(|| self.of_code.get(&code)).copied()
    }
}
