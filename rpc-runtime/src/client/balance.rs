//! Which of several servers takes a call: of two that are chosen at random, the one with fewer calls in flight. That is
//! the power of two choices, which spreads calls almost as well as looking at all of them, and does not send all callers to
//! the same one at once.

use std::sync::Arc;

use super::link::Link;

/// One of `links` that takes calls, and another than `failed` if there is one.
pub(super) fn pick<'a>(
    links: &'a [Arc<Link>],
    failed: Option<&Arc<Link>>,
) -> Option<&'a Arc<Link>> {
    let has_failed = |link: &Arc<Link>| failed.is_some_and(|failed| Arc::ptr_eq(link, failed));
    let (first, second) = match links {
        [] => return None,
        [only] => return (!has_failed(only) || !only.is_retired()).then_some(only),
        _ => two(links),
    };
    let is_fit = |link: &Arc<Link>| !link.is_retired() && !has_failed(link);
    match (is_fit(first), is_fit(second)) {
        (true, true) if second.in_flight() < first.in_flight() => Some(second),
        (true, _) => Some(first),
        (false, true) => Some(second),
        (false, false) => {
            let fit = links.iter().find(|link| is_fit(link));
            fit.or_else(|| links.iter().find(|link| !link.is_retired()))
        }
    }
}

/// Two different ones of several, each pair as likely as any other.
fn two(links: &[Arc<Link>]) -> (&Arc<Link>, &Arc<Link>) {
    let first = fastrand::usize(..links.len());
    let second = fastrand::usize(..links.len() - 1);
    let second = second + usize::from(second >= first);
    (&links[first], &links[second])
}
