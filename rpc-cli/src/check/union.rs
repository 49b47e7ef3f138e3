//! The kinds of a union, indexed to find those that another kind may correspond to.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::fuel::Fuel;
use super::kinds::{Kind, Kinds};
use super::side::{Fields, Side};
use crate::json::Type;

/// The kinds of a schema, ordered so that those that may fit are found without trying all of them.
pub(super) struct Union<'u, 'a> {
    pub(super) taken: &'u [Kind<'a>],
    /// The fingerprints of kinds that are single values.
    constants: HashSet<u64>,
    has_booleans: bool,
    /// The fingerprints of kinds that are not understood.
    unknown: HashSet<u64>,
    /// The kinds that may accept any value.
    any: Vec<&'u Kind<'a>>,
    types: HashMap<&'u str, Vec<&'u Kind<'a>>>,
    /// Objects, by the names of the properties that distinguish them from others.
    objects: HashMap<Vec<Cow<'a, str>>, Tagged<'u, 'a>>,
}

/// Objects that the values of the same properties distinguish.
type Tagged<'u, 'a> = HashMap<Vec<u64>, Vec<&'u Kind<'a>>>;

impl<'u, 'a> Union<'u, 'a> {
    pub(super) fn new(kinds: &Kinds<'_, 'a>, taken: &'u [Kind<'a>], fuel: &Fuel) -> Self {
        let mut union = Self {
            taken,
            constants: HashSet::new(),
            has_booleans: false,
            unknown: HashSet::new(),
            any: Vec::new(),
            types: HashMap::new(),
            objects: HashMap::new(),
        };
        for kind in taken {
            match kind {
                Kind::Anything => union.any.push(kind),
                Kind::Constant(constant) => {
                    union.constants.insert(constant.print);
                }
                Kind::Constants(values) => {
                    let values = kinds.constants(*values);
                    union
                        .constants
                        .extend(values.map(|constant| constant.print));
                }
                Kind::Unknown(limits) => {
                    union.unknown.insert(limits.print);
                    union.any.push(kind);
                }
                Kind::Type(name, limits) if name == "object" => {
                    let fields = kinds.side.fields(limits);
                    fuel.take(fields.len());
                    let (names, values) = tags(kinds.side, &fields).into_iter().unzip();
                    let tagged: &mut Tagged<'_, '_> = union.objects.entry(names).or_default();
                    tagged.entry(values).or_default().push(kind);
                }
                Kind::Type(name, _) => union.types.entry(name).or_default().push(kind),
            }
        }
        let booleans = kinds.booleans();
        union.has_booleans = booleans.iter().all(|print| union.constants.contains(print));
        union
    }

    /// Returns `true` if exactly this kind is accepted.
    pub(super) fn has(&self, one: &Kind<'a>) -> bool {
        match one {
            Kind::Constant(constant) => self.constants.contains(&constant.print),
            Kind::Type(name, _) => name == "boolean" && self.has_booleans,
            Kind::Unknown(limits) => self.unknown.contains(&limits.print),
            // Their values are checked one by one.
            Kind::Anything | Kind::Constants(_) => false,
        }
    }

    /// Returns the accepted kinds that may correspond to one that is sent. No other kind accepts it.
    pub(super) fn like(&self, sent: &Kinds<'_, 'a>, one: &Kind<'a>) -> Vec<&'u Kind<'a>> {
        let mut like = Vec::new();
        let names: &[&str] = match one {
            Kind::Type(name, limits) if name == "object" => {
                self.objects_like(sent.side, &sent.side.fields(limits), &mut like);
                &[]
            }
            Kind::Type(name, _) if name == "integer" => &["integer", "number"],
            Kind::Type(name, _) => &[name],
            Kind::Constant(constant) => match constant.value.kind() {
                Type::Null => &["null"],
                Type::Boolean => &["boolean"],
                Type::Number => &["integer", "number"],
                Type::String => &["string"],
                Type::Array => &["array"],
                Type::Object => {
                    let tagged = self.objects.values();
                    like.extend(tagged.flat_map(HashMap::values).flatten());
                    &[]
                }
            },
            // It may be any of them.
            Kind::Unknown(_) => return self.taken.first().into_iter().collect(),
            Kind::Anything | Kind::Constants(_) => &[],
        };
        let types = names.iter().filter_map(|name| self.types.get(name));
        like.extend(types.flatten());
        like.extend(&self.any);
        like
    }

    /// Finds the objects whose distinguishing values another object can have.
    fn objects_like(&self, side: &Side<'a>, fields: &Fields, like: &mut Vec<&'u Kind<'a>>) {
        for (names, tagged) in &self.objects {
            let only = |name| side.only(side.field(fields, name)?);
            let values = names.iter().map(|name| only(name));
            match values.collect::<Option<Vec<_>>>() {
                Some(values) => like.extend(tagged.get(&values).into_iter().flatten()),
                None => like.extend(tagged.values().flatten()),
            }
        }
    }
}

/// Returns the properties of an object that have a single value, in the order of their names.
fn tags<'a>(side: &Side<'a>, fields: &Fields) -> Vec<(Cow<'a, str>, u64)> {
    let tags = fields.iter().filter_map(|field| {
        let only = side.only(field)?;
        Some((side.name(field), only))
    });
    let mut tags: Vec<_> = tags.collect();
    tags.sort_unstable();
    tags
}
