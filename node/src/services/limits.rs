//! How much of each limit is taken, as far as this node remembers. Read-only: votes decide.

use super::client;
use super::sees::{Sees, owner_of};
use crate::node::{Node, now};
use crate::reply::{self, status};
use std::sync::Arc;
use tally_domain::claim::{LineMemory, horizon_ms};
use tally_domain::ports::store::NamedLine;
use tally_domain::{Interval, UnixMillis};
use tally_policy::LimitShown;
use tally_proto::v1;
use tally_proto::v1::limit_service_server::{LimitService, LimitServiceServer};
use tonic::{Request, Response, Status};

/// Most lines that are shown; a limit that counts by destination can have any number.
const LINES_MAX: u32 = 256;

/// Most pieces of a line that are shown: with all lines a few megabytes at the very most, and usually one piece or two.
const TAKEN_MAX: usize = 512;

/// One node's service.
pub struct Limits(Arc<Node>);

/// `LimitService`.
pub fn service(node: Arc<Node>, limit: usize) -> LimitServiceServer<Limits> {
    LimitServiceServer::new(Limits(node)).max_decoding_message_size(limit)
}

#[tonic::async_trait]
impl LimitService for Limits {
    async fn get_limits(
        &self,
        request: Request<v1::GetLimitsRequest>,
    ) -> Result<Response<v1::GetLimitsResponse>, Status> {
        let sees = Sees::of(&client(&self.0, &request)?, self.0.bundle().roster());
        let (node, now) = (&self.0, now());
        let named = node.store.named_lines(LINES_MAX).map_err(|e| status(&reply::of_store(&e)))?;
        let mut limits = Vec::new();
        let owner = |field: &str, value: &str| owner_of(node, field, value);
        let all = node.bundle().limits_shown();
        for shown in all.into_iter().filter(|shown| sees.limit(shown, owner)) {
            let mut lines = Vec::new();
            let of_it = named.iter().filter(|named| named.limit == shown.id);
            for named in of_it.filter(|named| sees.line(&shown, &named.by, owner)) {
                let memory = node.store.line(&named.line).map_err(|e| status(&reply::of_store(&e)))?;
                lines.push(line(named, &memory, &shown, now));
            }
            limits.push(limit(shown, lines));
        }
        Ok(Response::new(v1::GetLimitsResponse {
            node: node.name().to_string(),
            time_ms: now.0,
            bundle_digest: node.bundle().digest().0.to_vec(),
            limits,
        }))
    }
}

fn limit(shown: LimitShown, lines: Vec<v1::LimitLine>) -> v1::Limit {
    let counts = match shown.decimals {
        Some(decimals) => v1::limit::Counts::Amount(v1::limit::Amount { decimals: decimals.into() }),
        None => v1::limit::Counts::Count(v1::limit::Count {}),
    };
    v1::Limit {
        id: shown.id.to_string(),
        max: shown.max.to_be_bytes().to_vec(),
        window_ms: shown.window_ms,
        counts: Some(counts),
        scope: shown.scope.into_iter().map(|(name, value)| v1::Field { name: name.into(), value }).collect(),
        lines,
    }
}

fn line(named: &NamedLine, memory: &LineMemory, shown: &LimitShown, now: UnixMillis) -> v1::LimitLine {
    let mut taken = taken(memory, shown.window_ms, now);
    let more = taken.len() > TAKEN_MAX;
    taken.truncate(TAKEN_MAX);
    let piece = |(piece, free_at): (Interval, UnixMillis)| v1::Taken {
        from: piece.from().to_be_bytes().to_vec(),
        to: piece.to().to_be_bytes().to_vec(),
        free_at_ms: free_at.0,
    };
    let field = |(name, value): &(String, String)| v1::Field { name: name.clone(), value: value.clone() };
    v1::LimitLine {
        line: named.line.0.0.to_vec(),
        by: named.by.iter().map(field).collect(),
        taken: taken.into_iter().map(piece).collect(),
        more,
    }
}

/// What excludes a claim that is issued now, with the time from which it does not. Neighbours are shown as one that comes
/// free when the first of them does: a line in heavy use would otherwise be thousands.
fn taken(memory: &LineMemory, window_ms: u64, now: UnixMillis) -> Vec<(Interval, UnixMillis)> {
    let free_at = |last: UnixMillis| last.plus(horizon_ms(window_ms));
    let live = memory.voted().filter(|v| free_at(v.last) > now);
    let mut pieces: Vec<_> = live.flat_map(|v| v.intervals.iter().map(|i| (*i, free_at(v.last)))).collect();
    pieces.sort_unstable();
    let mut merged: Vec<(Interval, UnixMillis)> = Vec::new();
    for (piece, free) in pieces {
        if let Some((last, at)) = merged.last_mut()
            && piece.from() <= last.to()
            && let Some(longer) = Interval::new(last.from(), last.to().max(piece.to()))
        {
            (*last, *at) = (longer, free.min(*at));
        } else {
            merged.push((piece, free));
        }
    }
    merged
}
