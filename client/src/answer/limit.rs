//! How much of each limit is taken.

use super::BadField;
use std::collections::BTreeMap;
use tally_domain::{Digest, Interval, LimitId, LineId, NodeName, UnixMillis};
use tally_proto::v1;

/// Limits as one node tells of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitsInfo {
    /// Which node.
    pub node: NodeName,
    /// Its clock.
    pub time: UnixMillis,
    /// Its policy bundle.
    pub bundle_digest: Digest,
    /// All limits of the bundle, in the order of the file.
    pub limits: Vec<LimitInfo>,
}

/// One limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitInfo {
    /// Its id.
    pub id: LimitId,
    /// Length of each of its lines, in accounting units.
    pub max: u128,
    /// Decimals of a whole unit; none when movements and requests are counted.
    pub decimals: Option<u8>,
    /// The window, in milliseconds.
    pub window_ms: u64,
    /// What it is for: fields of `limits.toml` and their values.
    pub scope: Vec<(String, String)>,
    /// Lines of which something is taken.
    pub lines: Vec<LineInfo>,
}

/// One line of a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineInfo {
    /// Its hash.
    pub line: LineId,
    /// The values that it counts for.
    pub by: Vec<(String, String)>,
    /// What is taken now, ascending and disjoint, with the time from which the first part of it is free.
    pub taken: Vec<(Interval, UnixMillis)>,
    /// There is more than was shown.
    pub more: bool,
}

impl LineInfo {
    /// How many units are taken.
    pub fn used(&self) -> u128 {
        self.taken.iter().map(|(piece, _)| piece.units()).sum()
    }

    /// When the next of them comes free.
    pub fn next_free(&self) -> Option<UnixMillis> {
        self.taken.iter().map(|(_, free)| *free).min()
    }
}

/// What several nodes remember together: what any of them would vote against counts as taken. More than what was
/// certified, because it has what failed attempts took; never less, while a quorum has been asked.
pub fn together(answers: &[LimitsInfo]) -> Vec<LimitInfo> {
    let mut limits: Vec<LimitInfo> = Vec::new();
    for limit in answers.iter().flat_map(|answer| &answer.limits) {
        match limits.iter_mut().find(|known| known.id == limit.id) {
            Some(known) => known.lines.extend(limit.lines.iter().cloned()),
            None => limits.push(limit.clone()),
        }
    }
    for limit in &mut limits {
        let mut lines: BTreeMap<LineId, LineInfo> = BTreeMap::new();
        for line in std::mem::take(&mut limit.lines) {
            match lines.get_mut(&line.line) {
                Some(known) => {
                    known.taken = union(known.taken.iter().chain(&line.taken).copied().collect());
                    known.more |= line.more;
                }
                None => drop(lines.insert(line.line, line)),
            }
        }
        limit.lines = lines.into_values().collect();
    }
    limits
}

/// Pieces that overlap or touch as one, which comes free in part when the first of them does.
fn union(mut pieces: Vec<(Interval, UnixMillis)>) -> Vec<(Interval, UnixMillis)> {
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

pub(crate) fn limits(r: v1::GetLimitsResponse) -> Result<LimitsInfo, BadField> {
    Ok(LimitsInfo {
        node: NodeName::parse(&r.node).map_err(|_| BadField("node"))?,
        time: UnixMillis(r.time_ms),
        bundle_digest: Digest::from_slice(&r.bundle_digest).ok_or(BadField("bundle_digest"))?,
        limits: r.limits.into_iter().map(limit).collect::<Result<_, _>>()?,
    })
}

fn limit(l: v1::Limit) -> Result<LimitInfo, BadField> {
    let decimals = match l.counts.ok_or(BadField("limits.counts"))? {
        v1::limit::Counts::Count(_) => None,
        v1::limit::Counts::Amount(amount) => {
            Some(u8::try_from(amount.decimals).map_err(|_| BadField("limits.decimals"))?)
        }
    };
    Ok(LimitInfo {
        id: LimitId::parse(&l.id).map_err(|_| BadField("limits.id"))?,
        max: number(&l.max).ok_or(BadField("limits.max"))?,
        decimals,
        window_ms: l.window_ms,
        scope: fields(l.scope),
        lines: l.lines.into_iter().map(line).collect::<Result<_, _>>()?,
    })
}

fn line(l: v1::LimitLine) -> Result<LineInfo, BadField> {
    let piece = |t: v1::Taken| {
        let piece = Interval::new(number(&t.from)?, number(&t.to)?)?;
        Some((piece, UnixMillis(t.free_at_ms)))
    };
    let taken = l.taken.into_iter().map(|t| piece(t).ok_or(BadField("lines.taken"))).collect::<Result<Vec<_>, _>>()?;
    Ok(LineInfo {
        line: LineId(Digest::from_slice(&l.line).ok_or(BadField("lines.line"))?),
        by: fields(l.by),
        taken: union(taken),
        more: l.more,
    })
}

fn fields(fields: Vec<v1::Field>) -> Vec<(String, String)> {
    fields.into_iter().map(|f| (f.name, f.value)).collect()
}

fn number(bytes: &[u8]) -> Option<u128> {
    bytes.try_into().ok().map(u128::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(taken: &[(u128, u128, u64)]) -> LimitsInfo {
        let piece = |(from, to, free): &(u128, u128, u64)| (Interval::new(*from, *to).unwrap(), UnixMillis(*free));
        let taken = taken.iter().map(piece).collect();
        let line = LineInfo { line: LineId(Digest::of(b"line")), by: Vec::new(), taken, more: false };
        let limit = LimitInfo {
            id: LimitId::parse("day").unwrap(),
            max: 100,
            decimals: None,
            window_ms: 1,
            scope: Vec::new(),
            lines: vec![line],
        };
        LimitsInfo {
            node: NodeName::parse("node-1").unwrap(),
            time: UnixMillis(0),
            bundle_digest: Digest::of(b"bundle"),
            limits: vec![limit],
        }
    }

    #[test]
    fn what_any_node_remembers_is_taken_once() {
        let all = together(&[told(&[(0, 10, 7), (50, 60, 3)]), told(&[(5, 20, 9)]), told(&[(20, 25, 8)])]);
        let line = &all[0].lines[0];
        assert_eq!((all.len(), all[0].lines.len(), line.used(), line.next_free()), (1, 1, 35, Some(UnixMillis(3))));
        assert_eq!(line.taken.len(), 2);
        assert_eq!(together(&[]), []);
    }
}
