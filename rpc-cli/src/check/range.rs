//! The range of the numbers that a schema accepts.

use std::fmt;

use super::limits::Limits;
use crate::json::Value;

/// The integers that a schema accepts. For numbers with fractions the bounds are the integers towards zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) least: Option<i128>,
    pub(super) most: Option<i128>,
}

/// The direction in which a bound is rounded to an integer that a schema accepts.
#[derive(Clone, Copy)]
enum Rounding {
    Up,
    Down,
}

impl Range {
    /// Returns the range of a type, which has this name.
    pub(super) fn of(name: &str, limits: &Limits<'_>) -> Self {
        let format = limits.get("format").and_then(Value::as_str);
        let (least, most) = match format.as_deref() {
            Some("int8") => (Some(i8::MIN.into()), Some(i8::MAX.into())),
            Some("int16") => (Some(i16::MIN.into()), Some(i16::MAX.into())),
            Some("int32") => (Some(i32::MIN.into()), Some(i32::MAX.into())),
            Some("int64" | "int") => (Some(i64::MIN.into()), Some(i64::MAX.into())),
            Some("uint8") => (Some(0), Some(u8::MAX.into())),
            Some("uint16") => (Some(0), Some(u16::MAX.into())),
            Some("uint32") => (Some(0), Some(u32::MAX.into())),
            Some("uint64" | "uint") => (Some(0), Some(u64::MAX.into())),
            _ => (None, None),
        };
        let is_integer = name == "integer";
        let bound = |keyword: &str, rounding| {
            let bound = limits.get(keyword)?;
            let is_exclusive = keyword.starts_with("exclusive");
            let exact = match is_integer {
                true => rounded(bound, rounding, is_exclusive),
                // A number above 0 cannot be below 0.
                false => bound.as_decimal().and_then(|bound| bound.truncated()),
            };
            exact.or_else(|| Some(bound.as_f64()? as i128))
        };
        let (up, down) = (Rounding::Up, Rounding::Down);
        let tighter =
            |a: Option<i128>, b: Option<i128>, choose: fn(i128, i128) -> i128| match (a, b) {
                (Some(a), Some(b)) => Some(choose(a, b)),
                (a, b) => a.or(b),
            };
        let lowest = tighter(
            bound("minimum", up),
            bound("exclusiveMinimum", up),
            i128::max,
        );
        let highest = tighter(
            bound("maximum", down),
            bound("exclusiveMaximum", down),
            i128::min,
        );
        Self {
            least: tighter(least, lowest, i128::max),
            most: tighter(most, highest, i128::min),
        }
    }

    /// Returns `true` if this range contains the other one.
    pub(super) fn has(&self, other: &Self) -> bool {
        let low = self
            .least
            .is_none_or(|least| other.least.is_some_and(|other| other >= least));
        let high = self
            .most
            .is_none_or(|most| other.most.is_some_and(|other| other <= most));
        low && high
    }
}

/// Returns the nearest integer that lies within a bound.
fn rounded(bound: Value<'_>, rounding: Rounding, is_exclusive: bool) -> Option<i128> {
    let is_positive = bound.as_f64()? > 0.0;
    let bound = bound.as_decimal()?;
    let whole = bound.truncated()?;
    let is_past = match rounding {
        _ if !bound.has_fraction() => is_exclusive,
        Rounding::Up => is_positive,
        Rounding::Down => !is_positive,
    };
    match rounding {
        _ if !is_past => Some(whole),
        Rounding::Up => whole.checked_add(1),
        Rounding::Down => whole.checked_sub(1),
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.least, self.most) {
            (Some(least), Some(most)) => write!(f, "{least}..={most}"),
            (Some(least), None) => write!(f, "at least {least}"),
            (None, Some(most)) => write!(f, "at most {most}"),
            (None, None) => f.write_str("any number"),
        }
    }
}
