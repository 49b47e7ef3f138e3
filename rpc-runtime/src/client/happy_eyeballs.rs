//! Tries the addresses of one name, as [RFC 8305](https://www.rfc-editor.org/rfc/rfc8305) ("Happy Eyeballs") describes:
//! one after the other, without waiting for the end of an attempt that gets no answer.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::sleep;

/// The delay before the next address is tried, while the attempts with the addresses before it are in progress
/// (RFC 8305, section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Orders addresses so that their families alternate, beginning with the family of the first (RFC 8305, section 4). Within
/// a family the order stays the same.
pub(super) fn alternate(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let count = addresses.len();
    let (first, second): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut ordered = Vec::with_capacity(count);
    while ordered.len() < count {
        ordered.extend(first.next());
        ordered.extend(second.next());
    }
    ordered
}

/// Starts an attempt with each candidate in turn, and returns the result of the first attempt that succeeds; `None` if all
/// have failed. The next attempt starts after [`ATTEMPT_DELAY`], or as soon as an attempt fails. `failed` gets each error,
/// and returns `false` if no other attempt can succeed. The other attempts are dropped.
pub(super) async fn first_success<C, T, E, A>(
    candidates: impl IntoIterator<Item = C>,
    attempt: impl Fn(C) -> A,
    mut failed: impl FnMut(E) -> bool,
) -> Option<T>
where
    A: Future<Output = Result<T, E>>,
{
    let mut candidates = candidates.into_iter().peekable();
    let mut attempts = FuturesUnordered::new();
    loop {
        attempts.extend(candidates.next().map(&attempt));
        let delay = sleep(ATTEMPT_DELAY);
        let ended = tokio::select! {
            biased;
            ended = attempts.next() => ended?,
            () = delay, if candidates.peek().is_some() => continue,
        };
        match ended {
            Ok(succeeded) => return Some(succeeded),
            Err(error) => {
                if !failed(error) {
                    return None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::time::Instant;

    use super::*;

    fn addresses<const N: usize>(ips: [&str; N]) -> Vec<SocketAddr> {
        ips.map(|ip| SocketAddr::new(ip.parse().unwrap(), 1)).into()
    }

    /// An attempt that ends after a number of milliseconds.
    type Attempt = (u64, Result<(), ()>);

    /// Runs attempts. Returns their result, how long they took, and when each began, in milliseconds.
    async fn run<const N: usize>(attempts: [Attempt; N]) -> (bool, u128, Vec<u128>) {
        let (start, begun) = (Instant::now(), RefCell::new(Vec::new()));
        let succeeded = first_success(
            attempts,
            |(duration, result)| {
                begun.borrow_mut().push(start.elapsed().as_millis());
                async move {
                    sleep(Duration::from_millis(duration)).await;
                    result
                }
            },
            |()| true,
        );
        let succeeded = succeeded.await.is_some();
        (succeeded, start.elapsed().as_millis(), begun.into_inner())
    }

    #[test]
    fn families_alternate_and_begin_with_the_first() {
        let ordered = alternate(addresses(["::1", "::2", "::3", "1.0.0.1", "1.0.0.2"]));
        let expected = addresses(["::1", "1.0.0.1", "::2", "1.0.0.2", "::3"]);
        assert_eq!(ordered, expected);
        let ordered = alternate(addresses(["1.0.0.1", "1.0.0.2", "1.0.0.3", "::1"]));
        assert_eq!(ordered, addresses(["1.0.0.1", "::1", "1.0.0.2", "1.0.0.3"]));
        assert_eq!(alternate(Vec::new()), []);
    }

    #[tokio::test(start_paused = true)]
    async fn next_attempt_begins_after_the_delay_and_the_first_to_succeed_wins() {
        let ended = run([(60_000, Ok(())), (300, Ok(())), (100, Ok(()))]).await;
        assert_eq!(ended, (true, 550, vec![0, 250, 500]));
    }

    #[tokio::test(start_paused = true)]
    async fn other_attempts_are_dropped_when_one_succeeds() {
        let all = std::rc::Rc::new(());
        let attempt = |duration| {
            let held = std::rc::Rc::clone(&all);
            async move {
                sleep(Duration::from_secs(duration)).await;
                drop(held);
                Ok::<_, ()>(())
            }
        };
        assert!(
            first_success([60, 1, 60], attempt, |()| true)
                .await
                .is_some()
        );
        assert_eq!(std::rc::Rc::strong_count(&all), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn earlier_attempt_that_succeeds_late_wins() {
        let ended = run([(600, Ok(())), (400, Ok(())), (400, Ok(()))]).await;
        assert_eq!(ended, (true, 600, vec![0, 250, 500]));
    }

    #[tokio::test(start_paused = true)]
    async fn next_attempt_begins_as_soon_as_one_fails() {
        let ended = run([(10, Err(())), (10, Err(())), (10, Ok(()))]).await;
        assert_eq!(ended, (true, 30, vec![0, 10, 20]));
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_that_all_fail_end_with_the_last() {
        let ended = run([(700, Err(())), (300, Err(()))]).await;
        assert_eq!(ended, (false, 700, vec![0, 250]));
        assert_eq!(run([]).await, (false, 0, vec![]));
    }

    #[tokio::test(start_paused = true)]
    async fn error_that_excludes_a_success_ends_all_attempts() {
        let attempt = |()| async { Err::<(), _>(()) };
        let mut failures = 0;
        let ended = first_success([(), ()], attempt, |()| {
            failures += 1;
            false
        });
        assert_eq!((ended.await, failures), (None, 1));
    }
}
