//! The range of the numbers that a schema accepts.

use std::fmt;

use super::limits::Limits;
use crate::json::Value;

/// The integers that a schema accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) least: Option<i128>,
    pub(super) most: Option<i128>,
}

impl Range {
    pub(super) fn of(limits: &Limits<'_>) -> Self {
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
        let bound = |keyword: &str| {
            let bound = limits.get(keyword)?;
            let exact = bound.as_decimal().and_then(|bound| bound.truncated());
            exact.or_else(|| Some(bound.as_f64()? as i128))
        };
        let tighter =
            |a: Option<i128>, b: Option<i128>, choose: fn(i128, i128) -> i128| match (a, b) {
                (Some(a), Some(b)) => Some(choose(a, b)),
                (a, b) => a.or(b),
            };
        // A number above 0 cannot be below 0.
        let lowest = tighter(bound("minimum"), bound("exclusiveMinimum"), i128::max);
        let highest = tighter(bound("maximum"), bound("exclusiveMaximum"), i128::min);
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

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |end: Option<i128>| end.map_or("…".to_owned(), |end| end.to_string());
        write!(f, "{}..={}", end(self.least), end(self.most))
    }
}
