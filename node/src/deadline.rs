//! How long a caller still waits: nothing new is begun for one that has gone, here or at a peer. And the place that its call
//! takes, which is given back when all that was begun for it has ended, not when the caller goes.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;
use tally_domain::{Reason, Refusal};
use tokio::time::Instant;

tokio::task_local! {
    static ERRAND: Errand;
}

/// What is done for one call.
#[derive(Clone)]
struct Errand {
    until: Instant,
    place: Place,
}

/// Given back on drop.
pub type Place = Arc<dyn Any + Send + Sync>;

/// Longest call. Making a key takes longest: up to 20 s of silence in each of its rounds.
pub const CALL_MAX: Duration = Duration::from_secs(120);

/// Most digits of a time-out, as gRPC has it.
const DIGITS_MAX: usize = 8;

/// Does `work` for a caller that waits until then, in its place.
pub async fn until<T>(until: Instant, place: Place, work: impl Future<Output = T>) -> T {
    ERRAND.scope(Errand { until, place }, work).await
}

/// The same work in a task of its own, for the same caller, in the same place.
pub fn carried<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    let nobodys = || Errand { until: Instant::now() + CALL_MAX, place: Arc::new(()) };
    let errand = ERRAND.try_with(Errand::clone).unwrap_or_else(|_| nobodys());
    ERRAND.scope(errand, work)
}

/// What goes on when the caller has gone, in a task of its own, in the same place: what was begun must be finished, or has
/// no end that a caller could know.
pub fn placed<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    let place = ERRAND.try_with(|errand| errand.place.clone()).unwrap_or_else(|_| Arc::new(()));
    async move {
        let outcome = work.await;
        drop(place);
        outcome
    }
}

/// How long the caller still waits; nothing if nobody does.
pub fn remaining() -> Option<Duration> {
    ERRAND.try_with(|errand| errand.until.saturating_duration_since(Instant::now())).ok()
}

/// Whether the caller has gone.
fn is_over() -> bool {
    remaining().is_some_and(|left| left.is_zero())
}

/// Refuses to begin anything for a caller that has gone.
///
/// # Errors
/// `DEADLINE`, which nobody reads.
pub fn check() -> Result<(), Refusal> {
    if is_over() { Err(Reason::Deadline.into()) } else { Ok(()) }
}

/// The caller's time-out as gRPC sends it: up to eight digits and a unit.
pub fn of(headers: &http::HeaderMap) -> Duration {
    let said = headers.get("grpc-timeout").and_then(|value| value.to_str().ok()).and_then(parse);
    said.unwrap_or(CALL_MAX).min(CALL_MAX)
}

/// What such a time-out says.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let digits = text.get(..text.len().checked_sub(1)?)?;
    if digits.len() > DIGITS_MAX || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let n = digits.parse::<u64>().ok()?;
    match text.as_bytes().last()? {
        b'H' => Some(Duration::from_secs(n * 3_600)),
        b'M' => Some(Duration::from_secs(n * 60)),
        b'S' => Some(Duration::from_secs(n)),
        b'm' => Some(Duration::from_millis(n)),
        b'u' => Some(Duration::from_micros(n)),
        b'n' => Some(Duration::from_nanos(n)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_out_is_read_as_grpc_writes_it_and_never_lengthens_the_longest() {
        let of = |text: &str| {
            of(&http::HeaderMap::from_iter([(
                http::header::HeaderName::from_static("grpc-timeout"),
                text.parse().unwrap(),
            )]))
        };
        assert_eq!(of("1S"), Duration::from_secs(1));
        assert_eq!(of("250m"), Duration::from_millis(250));
        assert_eq!(of("0n"), Duration::ZERO);
        for endless in ["99999999H", "123456789S", "", "S", "-1S", "1s", "1 S", "+1S"] {
            assert_eq!(of(endless), CALL_MAX, "{endless}");
        }
    }

    #[tokio::test]
    async fn what_is_carried_into_another_task_has_the_same_end() {
        assert!(remaining().is_none() && check().is_ok());
        let hour = Duration::from_secs(3_600);
        let left = until(Instant::now() + hour, Arc::new(()), async {
            tokio::spawn(carried(async { remaining() })).await.unwrap()
        });
        assert!(left.await.is_some_and(|left| left <= hour && left > hour / 2));
        let over =
            until(Instant::now(), Arc::new(()), async { tokio::spawn(carried(async { check() })).await.unwrap() });
        assert_eq!(over.await.unwrap_err().reason, Reason::Deadline);
        let usual = tokio::spawn(carried(async { remaining() })).await.unwrap();
        assert!(usual.is_some_and(|left| left <= CALL_MAX && left > CALL_MAX / 2));
    }
    #[tokio::test]
    async fn a_place_is_taken_until_what_was_begun_in_it_has_ended() {
        let place: Place = Arc::new(());
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let mut begun = None;
        until(Instant::now(), place.clone(), async { begun = Some(tokio::spawn(carried(ended))) }).await;
        assert_eq!(Arc::strong_count(&place), 2, "the caller has gone, its work has not");
        end.send(()).unwrap();
        begun.unwrap().await.unwrap().unwrap();
        assert_eq!(Arc::strong_count(&place), 1);
    }
}
