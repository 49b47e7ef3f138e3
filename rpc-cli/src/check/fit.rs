//! Whether one side takes all that the other may send.
//!
//! What a caller sends must fit what the server takes: parameters and uploaded items may take more than before, and not
//! less. What the server sends must fit what callers take: results and items may say less than before, and not more.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use serde_json::{Value, json};

use super::finding::{Finding, Severity};
use super::kinds::{Kind, is_annotation, kinds};
use super::range::{Range, whole};
use crate::document::Document;
use crate::{schema, types};

/// The keywords for the least and the most of something.
struct Count {
    least: &'static str,
    most: &'static str,
    of: &'static str,
}

const LENGTH: Count = Count {
    least: "minLength",
    most: "maxLength",
    of: "characters",
};

const ITEMS: Count = Count {
    least: "minItems",
    most: "maxItems",
    of: "elements",
};

/// Which way values go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// From callers, which are old, to the new server.
    In,
    /// From the new server to callers, which are old.
    Out,
}

/// How many kinds of values are compared in all. Documents of people are far from it.
const MOST: usize = 200_000;

/// How deep types may contain one another. Those of people do not, and the stack has an end.
const DEEPEST: usize = 200;

/// How many alternatives are told.
const TOLD: usize = 8;

/// A comparison of values that go one way.
pub(super) struct Fit<'a> {
    way: Way,
    /// Of whoever sends.
    sent: &'a Document,
    /// Of whoever takes.
    taken: &'a Document,
    /// How many kinds of values may still be compared.
    left: Cell<usize>,
    /// How many pairs are being compared, one in the other.
    depth: Cell<usize>,
    known: RefCell<HashMap<(Value, Value), Known>>,
}

/// What is known of a pair of schemas.
enum Known {
    /// It is being compared. Types may contain themselves: then it is taken for granted that they fit.
    Asked {
        taken_for_granted: bool,
    },
    Answered(Vec<Problem>),
}

/// Something that does not fit, and where in the value.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Problem {
    severity: Severity,
    path: String,
    what: String,
}

impl Problem {
    fn breaking(what: impl Into<String>) -> Self {
        Self {
            severity: Severity::Breaking,
            path: String::new(),
            what: what.into(),
        }
    }

    fn unsure(what: impl Into<String>) -> Self {
        Self {
            severity: Severity::MayBreak,
            ..Self::breaking(what)
        }
    }
}

/// The same problems, seen from one level up.
fn at(step: &str, mut problems: Vec<Problem>) -> Vec<Problem> {
    for problem in &mut problems {
        problem.path.insert_str(0, step);
    }
    problems
}

impl<'a> Fit<'a> {
    pub(super) fn new(way: Way, old: &'a Document, new: &'a Document) -> Self {
        let (sent, taken) = match way {
            Way::In => (old, new),
            Way::Out => (new, old),
        };
        Self {
            way,
            sent,
            taken,
            left: Cell::new(MOST),
            depth: Cell::new(0),
            known: RefCell::default(),
        }
    }

    /// What does not fit any more between the old schema and the new, at a place of a method.
    pub(super) fn compare(&self, place: &str, old: &Value, new: &Value) -> Vec<Finding> {
        let (sent, taken) = match self.way {
            Way::In => (old, new),
            Way::Out => (new, old),
        };
        let problems = self.schemas(sent, taken);
        let findings = problems.into_iter().map(
            |Problem {
                 severity,
                 path,
                 what,
             }| Finding {
                severity,
                what: format!("{place}{path}: {what}"),
            },
        );
        findings.collect()
    }

    fn schemas(&self, sent: &Value, taken: &Value) -> Vec<Problem> {
        let pair = (sent.clone(), taken.clone());
        match self.known.borrow_mut().get_mut(&pair) {
            Some(Known::Answered(problems)) => return problems.clone(),
            Some(Known::Asked { taken_for_granted }) => {
                *taken_for_granted = true;
                return Vec::new();
            }
            None => {}
        }
        let (sent, taken) = (kinds(self.sent, sent), kinds(self.taken, taken));
        let left = self.left.get().checked_sub(sent.len() * taken.len() + 1);
        let (Some(left), ..DEEPEST) = (left, self.depth.get()) else {
            return vec![Problem::unsure("this is too intricate to compare")];
        };
        self.left.set(left);
        self.depth.update(|depth| depth + 1);
        let asked = Known::Asked {
            taken_for_granted: false,
        };
        self.known.borrow_mut().insert(pair.clone(), asked);
        let problems = self.unions(&sent, &taken);
        self.depth.update(|depth| depth - 1);
        self.learn(pair, problems.clone());
        problems
    }

    fn learn(&self, pair: (Value, Value), problems: Vec<Problem>) {
        let mut known = self.known.borrow_mut();
        let asked = known.insert(pair, Known::Answered(problems.clone()));
        let was_wrong = matches!(
            asked,
            Some(Known::Asked {
                taken_for_granted: true
            })
        );
        if was_wrong && !problems.is_empty() {
            // What was found out meanwhile may be wrong, too.
            known.retain(|_, known| matches!(known, Known::Asked { .. }));
        }
    }

    /// Each kind that is sent must be one that is taken.
    fn unions(&self, sent: &[Kind], taken: &[Kind]) -> Vec<Problem> {
        if taken.contains(&Kind::Anything) {
            return Vec::new();
        }
        sent.iter()
            .flat_map(|one| self.union(one, sent, taken))
            .collect()
    }

    fn union(&self, one: &Kind, sent: &[Kind], taken: &[Kind]) -> Vec<Problem> {
        if matches!(one, Kind::Constant(_)) && taken.contains(one) {
            return Vec::new();
        }
        let both = [true, false].map(|value| Kind::Constant(value.into()));
        if matches!(one, Kind::Type(name, _) if name == "boolean")
            && both.iter().all(|value| taken.contains(value))
        {
            return Vec::new();
        }
        let tried = taken.iter().map(|other| (other, self.kinds(one, other)));
        // The one that it fits best; among those that it does not fit, the one that it was.
        let best = tried.min_by_key(|(other, problems)| {
            let breaking = problems
                .iter()
                .filter(|problem| problem.severity == Severity::Breaking)
                .count();
            (breaking > 0, !is_same(one, other), breaking, problems.len())
        });
        match best {
            Some((_, problems))
                if problems
                    .iter()
                    .all(|problem| problem.severity != Severity::Breaking) =>
            {
                problems
            }
            Some((other, problems))
                if is_same(one, other) || sent.len() == 1 && taken.len() == 1 =>
            {
                problems
            }
            _ => vec![self.refused(one, taken)],
        }
    }

    /// `one` fits none of those that are taken.
    fn refused(&self, one: &Kind, taken: &[Kind]) -> Problem {
        let more = (taken.len() > TOLD).then(|| "…".to_owned());
        let taken = taken.iter().take(TOLD).map(Kind::text);
        let taken: Vec<_> = taken.chain(more).collect();
        let (one, taken) = (one.text(), taken.join(" | "));
        Problem::breaking(match self.way {
            Way::In => format!("{one} is not taken any more, only {taken}"),
            Way::Out => format!("may now be {one}, and was {taken}"),
        })
    }

    fn kinds(&self, sent: &Kind, taken: &Kind) -> Vec<Problem> {
        match (sent, taken) {
            (_, Kind::Anything) => Vec::new(),
            (Kind::Unknown(one), Kind::Unknown(other)) if one == other => Vec::new(),
            (Kind::Unknown(_), _) | (_, Kind::Unknown(_)) => {
                vec![Problem::unsure(self.changed(sent, taken))]
            }
            (Kind::Constant(one), Kind::Constant(other)) if one == other => Vec::new(),
            (Kind::Constant(value), Kind::Type(name, schema)) => self.constant(value, name, schema),
            (Kind::Type(one, _), Kind::Type(other, _)) if !is_type(one, other) => {
                vec![Problem::breaking(self.changed(sent, taken))]
            }
            (Kind::Type(_, one), Kind::Type(name, other)) => {
                let mut problems = match name.as_str() {
                    "integer" | "number" => self.numbers(one, other),
                    "string" => self.strings(one, other),
                    "array" => self.arrays(one, other),
                    "object" => self.objects(one, other),
                    _ => Vec::new(),
                };
                problems.extend(self.others(one, other));
                problems
            }
            _ => vec![Problem::breaking(self.changed(sent, taken))],
        }
    }

    fn changed(&self, sent: &Kind, taken: &Kind) -> String {
        let (old, new) = self.in_time(sent, taken);
        let (old, new) = (old.text(), new.text());
        match old == new {
            true => format!("{new} is limited in another way"),
            false => format!("{old} has become {new}"),
        }
    }

    /// The old one and the new one.
    fn in_time<T>(&self, sent: T, taken: T) -> (T, T) {
        match self.way {
            Way::In => (sent, taken),
            Way::Out => (taken, sent),
        }
    }

    fn constant(&self, value: &Value, name: &str, schema: &Value) -> Vec<Problem> {
        let is_one = match (name, value) {
            ("null", Value::Null)
            | ("boolean", Value::Bool(_))
            | ("string", Value::String(_))
            | ("array", Value::Array(_))
            | ("object", Value::Object(_)) => true,
            ("integer" | "number", Value::Number(number)) => match whole(value) {
                Some(whole) => Range::of(schema).has(&Range {
                    least: Some(whole),
                    most: Some(whole),
                }),
                None => name == "number" && lies_between(number.as_f64(), schema),
            },
            _ => false,
        };
        let is_compared = |keyword: &str| {
            ["type", "minimum", "maximum"].contains(&keyword)
                || keyword == "format" && value.is_number()
                || is_annotation(keyword)
        };
        let mut limits = schema.as_object().into_iter().flat_map(|all| all.keys());
        let changed = || {
            let taken = Kind::Type(name.into(), schema.clone());
            self.changed(&Kind::Constant(value.clone()), &taken)
        };
        match is_one {
            true if limits.any(|limit| !is_compared(limit)) => vec![Problem::unsure(changed())],
            true => Vec::new(),
            false => vec![Problem::breaking(changed())],
        }
    }

    fn numbers(&self, sent: &Value, taken: &Value) -> Vec<Problem> {
        let mut problems = Vec::new();
        let name = |schema: &Value| types::text(&types::of_schema(schema));
        if !Range::of(taken).has(&Range::of(sent)) {
            let (old, new) = self.in_time(sent, taken);
            let (from, to) = (Range::of(old), Range::of(new));
            let (old, new) = (name(old), name(new));
            problems.push(Problem::breaking(format!(
                "{old} has become {new}: from {from} to {to}"
            )));
        }
        let format = |schema: &Value| {
            schema
                .get("format")
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        if format(taken).as_deref() == Some("float")
            && format(sent).as_deref() != Some("float")
            && sent["type"] == "number"
        {
            problems.push(Problem::unsure("float holds fewer digits than double"));
        }
        let is_less: fn(f64, f64) -> bool = |sent, taken| sent < taken;
        let is_more: fn(f64, f64) -> bool = |sent, taken| sent > taken;
        for (keyword, is_past) in [("minimum", is_less), ("maximum", is_more)] {
            let fraction = |schema: &Value| schema.get(keyword)?.as_f64();
            if let (true, Some(one), Some(other)) =
                (problems.is_empty(), fraction(sent), fraction(taken))
                && (one.fract() != 0.0 || other.fract() != 0.0)
                && is_past(one, other)
            {
                let (old, new) = self.in_time(one, other);
                problems.push(Problem::breaking(format!(
                    "the {keyword} was {old}, and is {new}"
                )));
            }
        }
        for keyword in ["exclusiveMinimum", "exclusiveMaximum", "multipleOf"] {
            problems.extend(limited(keyword, sent, taken));
        }
        problems
    }

    fn strings(&self, sent: &Value, taken: &Value) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Some(format) = taken.get("format")
            && sent.get("format") != Some(format)
        {
            let kind = |schema: &Value| Kind::Type("string".into(), schema.clone());
            problems.push(Problem::breaking(self.changed(&kind(sent), &kind(taken))));
        }
        problems.extend(self.bounds(&LENGTH, sent, taken));
        problems.extend(limited("pattern", sent, taken));
        problems
    }

    /// Both ends of a count of something.
    fn bounds(&self, count: &Count, sent: &Value, taken: &Value) -> Vec<Problem> {
        let Count { least, most, of } = *count;
        let at = |schema: &Value, keyword: &str| schema.get(keyword).and_then(Value::as_u64);
        let mut problems = Vec::new();
        let (sent_least, taken_least) =
            (at(sent, least).unwrap_or(0), at(taken, least).unwrap_or(0));
        if sent_least < taken_least {
            let (old, new) = self.in_time(sent_least, taken_least);
            problems.push(Problem::breaking(format!(
                "at least {new} {of}, and was {old}"
            )));
        }
        let (sent_most, taken_most) = (
            at(sent, most).unwrap_or(u64::MAX),
            at(taken, most).unwrap_or(u64::MAX),
        );
        if sent_most > taken_most {
            let told = |most| {
                if most == u64::MAX {
                    "any number".into()
                } else {
                    format!("at most {most}")
                }
            };
            let (old, new) = self.in_time(sent_most, taken_most);
            problems.push(Problem::breaking(format!(
                "{} of {of}, and was {}",
                told(new),
                told(old)
            )));
        }
        problems
    }

    fn arrays(&self, sent: &Value, taken: &Value) -> Vec<Problem> {
        let items = |schema: &Value| schema.get("items").cloned().unwrap_or(Value::Bool(true));
        let mut problems: Vec<_> = match (&items(sent), &items(taken)) {
            (Value::Array(sent), Value::Array(taken)) if sent.len() == taken.len() => {
                let pairs = sent.iter().zip(taken).enumerate();
                pairs
                    .flat_map(|(index, (sent, taken))| {
                        at(&format!("[{index}]"), self.schemas(sent, taken))
                    })
                    .collect()
            }
            (Value::Array(one), Value::Array(other)) => {
                let (old, new) = self.in_time(one.len(), other.len());
                return vec![Problem::breaking(format!("{new} elements, and were {old}"))];
            }
            (Value::Array(sent), taken) => {
                let elements = sent.iter().enumerate();
                elements
                    .flat_map(|(index, sent)| at(&format!("[{index}]"), self.schemas(sent, taken)))
                    .collect()
            }
            (sent, taken @ Value::Array(_)) => {
                let array = |items: &Value| json!({"type": "array", "items": items});
                let kind = |items: &Value| Kind::Type("array".into(), array(items));
                return vec![Problem::breaking(self.changed(&kind(sent), &kind(taken)))];
            }
            (sent, taken) => at("[]", self.schemas(sent, taken)),
        };
        problems.extend(self.bounds(&ITEMS, sent, taken));
        if taken.get("uniqueItems") == Some(&Value::Bool(true))
            && sent.get("uniqueItems") != taken.get("uniqueItems")
        {
            problems.push(Problem::breaking(match self.way {
                Way::In => "must not hold anything twice now",
                Way::Out => "may now hold something twice",
            }));
        }
        problems
    }

    fn objects(&self, sent: &Value, taken: &Value) -> Vec<Problem> {
        let mut problems = Vec::new();
        let (sent_fields, taken_fields) = (schema::fields(sent), schema::fields(taken));
        let others_taken = taken
            .get("additionalProperties")
            .unwrap_or(&Value::Bool(true));
        for field in &sent_fields {
            let (name, path) = (field.name, format!(".{}", field.name));
            match taken_fields.iter().find(|other| other.name == name) {
                Some(other) => problems.extend(at(&path, self.schemas(field.schema, other.schema))),
                None => problems.extend(at(&path, self.surplus(field.schema, others_taken))),
            }
        }
        for field in taken_fields.iter().filter(|field| field.required) {
            let same = sent_fields.iter().find(|other| other.name == field.name);
            if same.is_some_and(|same| same.required) {
                continue;
            }
            problems.extend(at(
                &format!(".{}", field.name),
                vec![Problem::breaking(match (self.way, same) {
                    (Way::In, _) => "is required now",
                    (Way::Out, Some(_)) => "may be missing now",
                    (Way::Out, None) => "is no longer there",
                })],
            ));
        }
        problems.extend(self.other_properties(sent, others_taken));
        problems
    }

    /// A property that the other side does not know.
    fn surplus(&self, schema: &Value, others: &Value) -> Vec<Problem> {
        match (others, self.way) {
            (Value::Bool(false), Way::In) => vec![Problem::breaking("is refused now")],
            (Value::Bool(false), Way::Out) => {
                vec![Problem::breaking(
                    "is new, and callers refuse what they do not know",
                )]
            }
            (Value::Object(_), _) => self.schemas(schema, others),
            (_, Way::In) => vec![Problem::unsure("is no longer looked at")],
            (_, Way::Out) => Vec::new(),
        }
    }

    /// Properties without names.
    fn other_properties(&self, sent: &Value, others_taken: &Value) -> Vec<Problem> {
        let has_fields = sent.get("properties").is_some();
        match (sent.get("additionalProperties"), others_taken) {
            (Some(others @ Value::Object(_)), _) => at("[key]", self.schemas(others, others_taken)),
            // It says which it has, and sends no others.
            (None | Some(Value::Bool(true)), Value::Bool(false)) if self.way == Way::In => {
                match has_fields {
                    true => vec![Problem::unsure("unknown properties are refused now")],
                    false => vec![Problem::breaking("properties are refused now")],
                }
            }
            (None | Some(Value::Bool(true)), Value::Object(_)) if !has_fields => {
                at("[key]", self.schemas(&Value::Bool(true), others_taken))
            }
            _ => Vec::new(),
        }
    }

    /// Keywords of which nothing is known here.
    fn others(&self, sent: &Value, taken: &Value) -> Vec<Problem> {
        const UNDERSTOOD: [&str; 20] = [
            "type",
            "format",
            "minimum",
            "maximum",
            "exclusiveMinimum",
            "exclusiveMaximum",
            "multipleOf",
            "minLength",
            "maxLength",
            "pattern",
            "items",
            "minItems",
            "maxItems",
            "uniqueItems",
            "properties",
            "required",
            "additionalProperties",
            "enum",
            "const",
            "$schema",
        ];
        let keywords = [sent, taken]
            .into_iter()
            .filter_map(Value::as_object)
            .flat_map(|schema| schema.keys());
        let mut different: Vec<_> = keywords
            .filter(|keyword| !UNDERSTOOD.contains(&keyword.as_str()) && !is_annotation(keyword))
            .filter(|keyword| sent.get(keyword) != taken.get(keyword))
            .collect();
        different.sort();
        different.dedup();
        different
            .into_iter()
            .map(|keyword| Problem::unsure(format!("`{keyword}` is different")))
            .collect()
    }
}

/// A limit that is not compared, only seen.
fn limited(keyword: &str, sent: &Value, taken: &Value) -> Option<Problem> {
    let limit = taken.get(keyword)?;
    (sent.get(keyword) != Some(limit)).then(|| Problem::unsure(format!("`{keyword}` is different")))
}

/// Whether a number that is not whole is one of a schema's.
fn lies_between(number: Option<f64>, schema: &Value) -> bool {
    let bound = |keyword: &str| schema.get(keyword).and_then(Value::as_f64);
    number.is_some_and(|number| {
        bound("minimum").is_none_or(|least| number >= least)
            && bound("maximum").is_none_or(|most| number <= most)
    })
}

fn is_type(sent: &str, taken: &str) -> bool {
    sent == taken || (sent, taken) == ("integer", "number")
}

/// Whether two alternatives are the same one, as far as it can be told from outside: objects that have something in common
/// that tells them from others, or anything else of one type.
fn is_same(one: &Kind, other: &Kind) -> bool {
    let (Kind::Type(one_type, one), Kind::Type(other_type, other)) = (one, other) else {
        return false;
    };
    if one_type != "object" || other_type != "object" {
        return is_type(one_type, other_type) || is_type(other_type, one_type);
    }
    let (one, other) = (schema::fields(one), schema::fields(other));
    let tag = |schema: &Value| {
        schema
            .get("const")
            .cloned()
            .or_else(|| match schema::list(schema, "enum")?.as_slice() {
                [only] => Some(only.clone()),
                _ => None,
            })
    };
    let in_common =
        |field: &&schema::Field<'_>| other.iter().find(|other| other.name == field.name);
    let tags = one
        .iter()
        .filter_map(|field| Some((tag(field.schema)?, tag(in_common(&field)?.schema)?)));
    let mut tags = tags.peekable();
    match tags.peek() {
        Some(_) => tags.all(|(one, other)| one == other),
        None => one
            .iter()
            .any(|field| field.required && in_common(&field).is_some_and(|same| same.required)),
    }
}
