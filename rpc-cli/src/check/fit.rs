//! Checks that one side accepts everything that the other side may send.
//!
//! The values that a caller sends must fit the server: parameters and uploaded items may accept more than before, but
//! not less. The values that the server sends must fit the callers: results and items may have fewer values than
//! before, but no additional ones.

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::fmt::Display;

use super::finding::{Finding, Severity};
use super::fuel::Fuel;
use super::kinds::{Constant, Kind, Kinds};
use super::limits::Limits;
use super::memory::{Memory, Pair};
use super::problem::{Found, Problem, Problems};
use super::range::Range;
use super::side::Schema;
use super::union::Union;
use crate::escape::Short;
use crate::json::{Decimal, Type, Value, whole};
use crate::types::Literal;

/// The keywords for the minimum and the maximum of a count.
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

/// The direction in which values are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// From callers, which have the old description, to the new server.
    In,
    /// From the new server to callers, which have the old description.
    Out,
}

/// The maximum nesting of types. Types written by people are not nested as deeply, and the stack is finite.
const DEEPEST: usize = 200;

/// A comparison of values that are sent in one direction.
pub(super) struct Fit<'c, 'a> {
    direction: Direction,
    /// The kinds of the sending side.
    sent: &'c Kinds<'c, 'a>,
    /// The kinds of the receiving side.
    taken: &'c Kinds<'c, 'a>,
    fuel: &'c Fuel,
    /// The number of nested pairs of schemas that are being compared.
    depth: Cell<usize>,
    memory: RefCell<Memory>,
    /// `true` if properties that the receiving side does not know, or no longer receives, are found as well.
    shows_compatible: bool,
}

impl<'c, 'a> Fit<'c, 'a> {
    pub(super) fn new(
        direction: Direction,
        old: &'c Kinds<'c, 'a>,
        new: &'c Kinds<'c, 'a>,
        fuel: &'c Fuel,
    ) -> Self {
        let (sent, taken) = match direction {
            Direction::In => (old, new),
            Direction::Out => (new, old),
        };
        Self {
            direction,
            sent,
            taken,
            fuel,
            depth: Cell::new(0),
            memory: RefCell::default(),
            shows_compatible: false,
        }
    }

    /// Returns a comparison that also finds properties that are new or missing, and break nothing.
    pub(super) fn showing_compatible(self) -> Self {
        Self {
            shows_compatible: true,
            ..self
        }
    }

    /// Returns the findings at a place of a method where the old schema and the new one no longer fit.
    pub(super) fn compare(
        &self,
        place: &str,
        old: Option<Value<'a>>,
        new: Option<Value<'a>>,
    ) -> Vec<Finding> {
        let problems = self.values(old, new);
        let finding = |problem: &Problem| {
            let what = format!("{place}{}: {}", problem.path(), problem.what);
            // Findings are kept and shown, so each costs more than one step.
            self.fuel.take(what.len() + 48);
            Finding::new(problem.severity, what)
        };
        match self.fuel.is_out() {
            false => problems.iter().map(finding).collect(),
            // The number of findings about many types in many methods is not bounded.
            true => {
                let worst = problems.iter().min_by_key(|problem| problem.severity);
                worst.map(finding).into_iter().collect()
            }
        }
    }

    /// Returns `true` if a value of the sending side may not fit the receiving side.
    pub(super) fn breaks(&self, old: Option<Value<'a>>, new: Option<Value<'a>>) -> bool {
        let problems = self.values(old, new);
        problems.iter().any(Problem::is_breaking)
    }

    /// Compares the old schema and the new one at a place.
    fn values(&self, old: Option<Value<'a>>, new: Option<Value<'a>>) -> Problems {
        let (sent, taken) = self.in_time(old, new);
        self.schemas(self.sent.side.schema(sent), self.taken.side.schema(taken))
    }

    fn schemas(&self, sent: Schema, taken: Schema) -> Problems {
        self.fuel.take(2);
        let print = (
            self.sent.side.schema_print(sent),
            self.taken.side.schema_print(taken),
        );
        if let (Some(sent), Some(taken)) = print
            && sent == taken
        {
            return Problems::default();
        }
        let sent = self.sent.side.resolved(sent);
        let taken = self.taken.side.resolved(taken);
        let pair = Pair::Schemas(sent.schema, taken.schema);
        // Only schemas that others refer to are compared repeatedly, and can be recursive.
        let is_shared = sent.is_shared || taken.is_shared;
        if is_shared && let Some(problems) = self.memory.borrow_mut().answer(pair) {
            return problems;
        }
        if self.fuel.is_out() || self.depth.get() == DEEPEST {
            return self.too_complex();
        }
        let (sent, taken) = (self.sent.of(sent), self.taken.of(taken));
        if self.fuel.is_out() {
            return self.too_complex();
        }
        self.depth.update(|depth| depth + 1);
        let compare = || self.unions(&sent, &taken);
        let problems = match is_shared {
            true => self.remembered(pair, compare),
            false => self.complete(compare()),
        };
        self.depth.update(|depth| depth - 1);
        problems
    }

    fn too_complex(&self) -> Problems {
        [Problem::unsure("the types are too complex to compare")].into()
    }

    /// Compares a pair for which no result is known, and stores the result.
    fn remembered(&self, pair: Pair, compare: impl FnOnce() -> Found) -> Problems {
        self.memory.borrow_mut().ask(pair);
        let problems = self.complete(compare());
        self.memory.borrow_mut().learn(&problems);
        problems
    }

    /// Returns all problems of a pair, and a problem for those that may be missing.
    fn complete(&self, mut found: Found) -> Problems {
        if self.fuel.is_out() {
            // Parts that were not compared may not fit.
            found.add(&self.too_complex());
        }
        found.problems()
    }

    /// Adds the problems of a part, seen from one level up.
    fn add(&self, found: &mut Found, step: impl Display, problems: &Problems) {
        self.fuel.take(2 * problems.len());
        found.add_at(step, problems);
    }

    /// Compares alternatives: each kind that is sent must be accepted.
    fn unions(&self, sent: &[Kind<'a>], taken: &[Kind<'a>]) -> Found {
        let mut found = Found::default();
        if taken.iter().any(|kind| matches!(kind, Kind::Anything)) {
            return found;
        }
        self.fuel.take(2 * (sent.len() + taken.len()));
        if let (Some(one), Some(other)) = (self.sent.only(sent), self.taken.only(taken)) {
            return self.kinds(&one, &other).into();
        }
        let union = Union::new(self.taken, taken, self.fuel);
        for one in sent {
            if let Kind::Constants(values) = one {
                self.constants(&mut found, *values, &union);
            } else {
                self.kind(&mut found, one, &union);
            }
            if self.fuel.is_out() {
                break;
            }
        }
        found
    }

    /// Adds the problems of a list of values that are sent.
    fn constants(&self, found: &mut Found, values: Value<'a>, union: &Union<'_, 'a>) {
        for constant in self.sent.constants(values) {
            let is_new = self.kind(found, &Kind::Constant(constant), union);
            if is_new && found.is_full() || self.fuel.is_out() {
                break;
            }
        }
    }

    /// Adds the problems of one kind that is sent. Returns `true` if there are any.
    fn kind(&self, found: &mut Found, one: &Kind<'a>, union: &Union<'_, 'a>) -> bool {
        if union.has(one) {
            return false;
        }
        let problems = self.best(one, union);
        self.fuel.take(problems.len());
        found.add(&problems);
        !problems.is_empty()
    }

    /// Returns the problems of a kind with the accepted kind that it fits best. If it fits none, returns the problems
    /// with the kind that it corresponds to.
    fn best(&self, one: &Kind<'a>, union: &Union<'_, 'a>) -> Problems {
        let mut best: Option<(Rank, Problems)> = None;
        for other in union.like(self.sent, one) {
            self.fuel.take(2);
            let problems = self.kinds(one, other);
            if self.fuel.is_out() {
                return self.too_complex();
            }
            let breaking = problems.iter().filter(|one| one.is_breaking()).count();
            let rank = Rank {
                is_breaking: breaking > 0,
                is_another: !problems.is_empty() && !self.is_same(one, other),
                breaking,
                problems: problems.len(),
            };
            if problems.is_empty() {
                return problems;
            }
            if best.as_ref().is_none_or(|(best, _)| rank < *best) {
                best = Some((rank, problems));
            }
        }
        match best {
            Some((rank, problems)) if !rank.is_breaking || !rank.is_another => problems,
            _ => [self.refused(one, union.taken)].into(),
        }
    }

    /// Returns the problem that `one` fits none of the accepted kinds.
    fn refused(&self, one: &Kind<'a>, taken: &[Kind<'a>]) -> Problem {
        let (one, taken) = (self.sent.text(one), self.taken.all_text(taken));
        Problem::breaking(match self.direction {
            Direction::In => format!("{one} is no longer accepted, only {taken}"),
            Direction::Out => format!("may now be {one}, and was {taken}"),
        })
    }

    fn kinds(&self, sent: &Kind<'a>, taken: &Kind<'a>) -> Problems {
        match (sent, taken) {
            (_, Kind::Anything) => Problems::default(),
            (Kind::Unknown(one), Kind::Unknown(other)) if one.print == other.print => {
                Problems::default()
            }
            (Kind::Unknown(_), _) | (_, Kind::Unknown(_)) => {
                [Problem::unsure(self.changed(sent, taken))].into()
            }
            (Kind::Constant(one), Kind::Constant(other)) if one.print == other.print => {
                Problems::default()
            }
            (Kind::Constant(constant), Kind::Type(name, limits)) => {
                let fit = constant_fit(constant, name, limits);
                let problem = fit.map(|severity| Problem::new(severity, self.changed(sent, taken)));
                problem.into_iter().collect()
            }
            (Kind::Type(one, _), Kind::Type(other, _)) if !is_type(one, other) => {
                [Problem::breaking(self.changed(sent, taken))].into()
            }
            (Kind::Type(_, one), Kind::Type(name, other)) => {
                self.types((sent, one), (taken, other), name)
            }
            _ => [Problem::breaking(self.changed(sent, taken))].into(),
        }
    }

    /// Compares two kinds of the same type, which has this name.
    fn types(&self, sent: Typed<'_, 'a>, taken: Typed<'_, 'a>, name: &str) -> Problems {
        self.fuel
            .take(sent.1.keywords.len() + taken.1.keywords.len());
        let mut found = match name {
            "integer" | "number" => self.numbers(sent, taken),
            "string" => self.strings(sent, taken),
            "array" => self.arrays(sent, taken),
            "object" => {
                let mut found = Found::default();
                found.add(&self.objects(sent.1, taken.1));
                found
            }
            _ => Found::default(),
        };
        self.others(&mut found, sent.1, taken.1);
        found.problems()
    }

    fn changed(&self, sent: &Kind<'a>, taken: &Kind<'a>) -> String {
        let (old, new) = self.in_time(self.sent.text(sent), self.taken.text(taken));
        match old == new {
            true => format!("the limits of {new} have changed"),
            false => format!("{old} has become {new}"),
        }
    }

    /// Orders a sent and an accepted item as old and new, or the reverse.
    fn in_time<T>(&self, one: T, other: T) -> (T, T) {
        match self.direction {
            Direction::In => (one, other),
            Direction::Out => (other, one),
        }
    }

    fn numbers(&self, sent: Typed<'_, 'a>, taken: Typed<'_, 'a>) -> Found {
        let mut found = Found::default();
        let ((sent_kind, sent), (taken_kind, taken)) = (sent, taken);
        let (sent_range, taken_range) = (range(sent_kind, sent), range(taken_kind, taken));
        if !taken_range.has(&sent_range) {
            let (old, new) = self.in_time(self.sent.text(sent_kind), self.taken.text(taken_kind));
            let (was, is) = self.in_time(sent_range, taken_range);
            let ranges = format!("the range was {was}, and is {is}");
            found.push(Problem::breaking(match old == new {
                true => ranges,
                false => format!("{old} has become {new}: {ranges}"),
            }));
        }
        let is_float =
            |limits: &Limits<'_>| limits.get("format").is_some_and(|name| name.is("float"));
        let is_number = matches!(sent_kind, Kind::Type(name, _) if name == "number");
        if is_float(taken) && !is_float(sent) && is_number {
            found.push(Problem::unsure("float holds fewer digits than double"));
        }
        for (keyword, past) in [("minimum", Ordering::Less), ("maximum", Ordering::Greater)] {
            if let (true, Some(was), Some(is)) =
                (found.is_empty(), sent.get(keyword), taken.get(keyword))
                && let (Some(one), Some(other)) = (was.as_decimal(), is.as_decimal())
                && (one.whole().is_none() || other.whole().is_none())
                && one.cmp(&other) == past
            {
                let (old, new) = self.in_time(Literal(was), Literal(is));
                found.push(Problem::breaking(format!(
                    "the {keyword} was {old}, and is {new}"
                )));
            }
        }
        let are_integers = [sent_kind, taken_kind]
            .iter()
            .all(|kind| matches!(kind, Kind::Type(name, _) if name == "integer"));
        for keyword in ["exclusiveMinimum", "exclusiveMaximum", "multipleOf"] {
            // The ranges of integers are exact.
            if !are_integers || keyword == "multipleOf" {
                self.limited(&mut found, keyword, (sent, taken));
            }
        }
        found
    }

    fn strings(&self, sent: Typed<'_, 'a>, taken: Typed<'_, 'a>) -> Found {
        let mut found = Found::default();
        let print = |kinds: &Kinds<'_, 'a>, limits: &Limits<'a>| {
            limits.get("format").map(|format| kinds.side.print(format))
        };
        let (was, is) = (print(self.sent, sent.1), print(self.taken, taken.1));
        if is.is_some() && was != is {
            found.push(Problem::breaking(self.changed(sent.0, taken.0)));
        }
        self.bounds(&mut found, &LENGTH, (sent.1, taken.1));
        self.limited(&mut found, "pattern", (sent.1, taken.1));
        found
    }

    /// Checks a keyword whose values are not compared, only whether they differ.
    fn limited(&self, found: &mut Found, keyword: &str, (sent, taken): Both<'_, 'a>) {
        let is = taken.get(keyword).map(|is| self.taken.side.print(is));
        let was = sent.get(keyword).map(|was| self.sent.side.print(was));
        if is.is_some() && was != is {
            found.push(Problem::unsure(format!("`{keyword}` is different")));
        }
    }

    /// Compares the minimum and the maximum of a count.
    fn bounds(&self, found: &mut Found, count: &Count, (sent, taken): Both<'_, 'a>) {
        let Count { least, most, of } = *count;
        let at = |limits: &Limits<'_>, keyword: &str| limits.get(keyword).and_then(Value::as_u64);
        let (sent_least, taken_least) =
            (at(sent, least).unwrap_or(0), at(taken, least).unwrap_or(0));
        if sent_least < taken_least {
            let (old, new) = self.in_time(sent_least, taken_least);
            found.push(Problem::breaking(format!(
                "at least {new} {of}, and was {old}"
            )));
        }
        let (sent_most, taken_most) = (
            at(sent, most).unwrap_or(u64::MAX),
            at(taken, most).unwrap_or(u64::MAX),
        );
        if sent_most > taken_most {
            let (old, new) = self.in_time(sent_most, taken_most);
            let was = match old {
                u64::MAX => "without a limit".to_owned(),
                old => old.to_string(),
            };
            found.push(Problem::breaking(match new {
                u64::MAX => format!("any number of {of}, and was {was}"),
                new => format!("at most {new} {of}, and was {was}"),
            }));
        }
    }

    fn arrays(&self, sent: Typed<'_, 'a>, taken: Typed<'_, 'a>) -> Found {
        let (one, other) = (sent.1.get("items"), taken.1.get("items"));
        let is_tuple = |items: Option<Value<'_>>| items.is_some_and(Value::is_array);
        let elements = |items: Option<Value<'a>>| items.into_iter().flat_map(Value::elements);
        let mut found = match (is_tuple(one), is_tuple(other)) {
            (true, true) => {
                let (one_len, other_len) = (elements(one).count(), elements(other).count());
                if one_len != other_len {
                    let (old, new) = self.in_time(one_len, other_len);
                    return Problem::breaking(format!("{new} elements, and were {old}")).into();
                }
                self.tuple(elements(one).zip(elements(other).map(Some)))
            }
            (true, false) => self.tuple(elements(one).map(|one| (one, other))),
            (false, true) => return Problem::breaking(self.changed(sent.0, taken.0)).into(),
            (false, false) => {
                let mut found = Found::default();
                let one = self.sent.side.schema(one);
                let other = self.taken.side.schema(other);
                self.add(&mut found, "[]", &self.schemas(one, other));
                found
            }
        };
        self.bounds(&mut found, &ITEMS, (sent.1, taken.1));
        let is_unique = |limits: &Limits<'_>| {
            let unique = limits.get("uniqueItems");
            unique.and_then(Value::as_bool) == Some(true)
        };
        if is_unique(taken.1) && !is_unique(sent.1) {
            found.push(Problem::breaking(match self.direction {
                Direction::In => "must have unique elements now",
                Direction::Out => "may now have equal elements",
            }));
        }
        found
    }

    /// Compares elements that have types of their own.
    fn tuple(&self, pairs: impl Iterator<Item = (Value<'a>, Option<Value<'a>>)>) -> Found {
        let mut found = Found::default();
        for (index, (sent, taken)) in pairs.enumerate() {
            let sent = self.sent.side.schema(Some(sent));
            let taken = self.taken.side.schema(taken);
            let of_one = self.schemas(sent, taken);
            self.add(&mut found, format_args!("[{index}]"), &of_one);
            if self.fuel.is_out() {
                break;
            }
        }
        found
    }

    fn objects(&self, sent: &Limits<'a>, taken: &Limits<'a>) -> Problems {
        let others = |limits: &Limits<'a>| limits.get("additionalProperties");
        let (sent_others, taken_others) = (others(sent), others(taken));
        let pair = Pair::Objects(
            (sent.object(), self.sent.side.schema(sent_others)),
            (taken.object(), self.taken.side.schema(taken_others)),
        );
        let compare = || {
            let mut found = self.properties(sent, taken);
            self.other_properties(&mut found, sent, taken_others);
            found
        };
        if !self.sent.side.is_shared(sent.object()) || !self.taken.side.is_shared(taken.object()) {
            return self.complete(compare());
        }
        let known = self.memory.borrow_mut().answer(pair);
        known.unwrap_or_else(|| self.remembered(pair, compare))
    }

    /// Compares the named properties.
    fn properties(&self, sent: &Limits<'a>, taken: &Limits<'a>) -> Found {
        let mut found = Found::default();
        let others_taken = taken.get("additionalProperties");
        let (sent_others, taken_others) = (
            self.sent.side.additional(sent.get("additionalProperties")),
            self.taken.side.additional(others_taken),
        );
        let (sent, taken) = (self.sent.side.fields(sent), self.taken.side.fields(taken));
        self.fuel.take(sent.len() + taken.len());
        for field in sent.iter() {
            let name = self.sent.side.name(field);
            let schema = field.schema_or(sent_others);
            let of_one = match self.taken.side.field(&taken, &name) {
                Some(other) => self.schemas(schema, other.schema_or(taken_others)),
                None => self.surplus(schema, others_taken),
            };
            self.add(&mut found, format_args!(".{}", Short(&name)), &of_one);
            if self.fuel.is_out() {
                return found;
            }
        }
        for field in taken.iter().filter(|field| field.is_required) {
            let name = self.taken.side.name(field);
            let same = self.sent.side.field(&sent, &name);
            if same.is_some_and(|same| same.is_required) {
                continue;
            }
            let problem = Problem::breaking(match (self.direction, same) {
                (Direction::In, _) => "is required now",
                (Direction::Out, Some(_)) => "may be missing now",
                (Direction::Out, None) => "is removed",
            });
            let step = format_args!(".{}", Short(&name));
            self.add(&mut found, step, &[problem].into());
        }
        if self.shows_compatible {
            for field in taken.iter().filter(|field| !field.is_required) {
                let name = self.taken.side.name(field);
                if self.sent.side.field(&sent, &name).is_none() {
                    let problem =
                        Problem::new(Severity::Compatible, "is removed, and was optional");
                    let step = format_args!(".{}", Short(&name));
                    self.add(&mut found, step, &[problem].into());
                }
            }
        }
        found
    }

    /// Compares a property that the other side does not have.
    fn surplus(&self, schema: Schema, others: Option<Value<'a>>) -> Problems {
        let is_closed = others.and_then(Value::as_bool) == Some(false);
        let problem = match (others, self.direction) {
            (_, Direction::In) if is_closed => Problem::breaking("is rejected now"),
            (_, Direction::Out) if is_closed => {
                Problem::breaking("is new, and callers reject unknown properties")
            }
            (Some(others), _) if others.is_object() => {
                return self.schemas(schema, self.taken.side.schema(Some(others)));
            }
            (_, Direction::In) => Problem::unsure("is now ignored"),
            (_, Direction::Out) if self.shows_compatible => {
                Problem::new(Severity::Compatible, "is new")
            }
            (_, Direction::Out) => return Problems::default(),
        };
        [problem].into()
    }

    /// Compares the additional properties.
    fn other_properties(&self, found: &mut Found, sent: &Limits<'a>, taken: Option<Value<'a>>) {
        let others = sent.get("additionalProperties");
        let has_fields = sent.has_properties();
        let are_any = others.is_none_or(|others| others.as_bool() == Some(true));
        let is_closed = taken.and_then(Value::as_bool) == Some(false);
        let is_open = taken.is_some_and(Value::is_object);
        let sent = match others {
            Some(others) if others.is_object() => Some(others),
            // A caller that declares its properties sends no others.
            _ if are_any && is_closed && self.direction == Direction::In => {
                return found.push(match has_fields {
                    true => Problem::unsure("unknown properties are rejected now"),
                    false => Problem::breaking("properties are rejected now"),
                });
            }
            _ if are_any && is_open && !has_fields => None,
            _ => return,
        };
        let sent = self.sent.side.schema(sent);
        let taken = self.taken.side.schema(taken);
        self.add(found, "[key]", &self.schemas(sent, taken));
    }

    /// Compares keywords that have no rule here.
    fn others(&self, found: &mut Found, sent: &Limits<'a>, taken: &Limits<'a>) {
        const UNDERSTOOD: [&str; 17] = [
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
            "additionalProperties",
            "enum",
            "const",
        ];
        let keywords = sent.keywords.iter().chain(&*taken.keywords);
        let names = keywords.map(|(keyword, _)| keyword);
        let mut names: Vec<_> = names
            .filter(|keyword| !UNDERSTOOD.contains(&keyword.as_ref()))
            .collect();
        names.sort_unstable();
        names.dedup();
        for keyword in names {
            let was = sent.get(keyword).map(|was| self.sent.side.print(was));
            let is = taken.get(keyword).map(|is| self.taken.side.print(is));
            if was != is {
                let what = format!("`{}` is different", Short(keyword));
                found.push(Problem::unsure(what));
            }
        }
    }

    /// Returns `true` if two alternatives seem to be the same one. Objects are the same if they have a distinguishing
    /// property in common, all other kinds if they have the same type.
    fn is_same(&self, one: &Kind<'a>, other: &Kind<'a>) -> bool {
        let (Kind::Type(one_type, one), Kind::Type(other_type, other)) = (one, other) else {
            return false;
        };
        if one_type != "object" || other_type != "object" {
            return is_type(one_type, other_type) || is_type(other_type, one_type);
        }
        let (one, other) = (self.sent.side.fields(one), self.taken.side.fields(other));
        self.fuel.take(one.len());
        let (side, other_side) = (self.sent.side, self.taken.side);
        let pairs = one.iter().filter_map(|field| {
            let same = other_side.field(&other, &side.name(field))?;
            Some((field, same))
        });
        let tags = pairs.clone().filter_map(|(field, same)| {
            let tag = side.only(field)?;
            Some((tag, other_side.only(same)?))
        });
        let mut tags = tags.peekable();
        match tags.peek() {
            Some(_) => tags.all(|(one, other)| one == other),
            None => pairs
                .clone()
                .any(|(field, same)| field.is_required && same.is_required),
        }
    }
}

/// A kind and its limits.
type Typed<'k, 'a> = (&'k Kind<'a>, &'k Limits<'a>);

/// The limits of the sending side and of the receiving side.
type Both<'k, 'a> = (&'k Limits<'a>, &'k Limits<'a>);

/// The rank of a fit between two kinds; the best fit has the lowest rank.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    is_breaking: bool,
    is_another: bool,
    breaking: usize,
    problems: usize,
}

/// Returns the severity if a type does not accept a value, or may not accept it.
fn constant_fit(constant: &Constant<'_>, name: &str, limits: &Limits<'_>) -> Option<Severity> {
    let value = constant.value;
    let is_one = match (name, value.kind()) {
        ("null", Type::Null)
        | ("boolean", Type::Boolean)
        | ("string", Type::String)
        | ("array", Type::Array)
        | ("object", Type::Object) => true,
        ("integer" | "number", Type::Number) => match whole(value) {
            Some(whole) => Range::of(name, limits).has(&Range {
                least: Some(whole),
                most: Some(whole),
            }),
            None => {
                let number = value.as_decimal();
                number.is_some_and(|number| {
                    let is_integer = !number.has_fraction() && limits.get("format").is_none();
                    (name == "number" || is_integer) && lies_between(number, limits)
                })
            }
        },
        _ => false,
    };
    let is_compared = |keyword: &str| {
        ["type", "minimum", "maximum"].contains(&keyword)
            || keyword == "format" && value.kind() == Type::Number
    };
    let mut keywords = limits.keywords.iter().map(|(keyword, _)| keyword);
    let mut has_more = || limits.has_properties() || keywords.any(|keyword| !is_compared(keyword));
    match is_one {
        true => has_more().then_some(Severity::MayBreak),
        false => Some(Severity::Breaking),
    }
}

/// Returns `true` if a schema accepts this number, which is not an integer of 128 bits.
fn lies_between(number: Decimal<'_>, limits: &Limits<'_>) -> bool {
    let bound = |keyword: &str| limits.get(keyword).and_then(Value::as_decimal);
    bound("minimum").is_none_or(|least| number >= least)
        && bound("maximum").is_none_or(|most| number <= most)
}

/// Returns the range of a kind of numbers.
fn range(kind: &Kind<'_>, limits: &Limits<'_>) -> Range {
    let name = match kind {
        Kind::Type(name, _) => name.as_ref(),
        _ => "number",
    };
    Range::of(name, limits)
}

fn is_type(sent: &str, taken: &str) -> bool {
    sent == taken || (sent, taken) == ("integer", "number")
}
