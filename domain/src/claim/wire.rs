//! The one encoding of claims, which votes carry.

use super::{BadClaim, Claims, Interval, LineClaim};
use crate::digest::Digest;
use crate::intent::decode_canonical;
use crate::limit::LineId;
use crate::time::UnixMillis;
use prost::Message as _;

#[derive(Clone, PartialEq, prost::Message)]
struct Body {
    #[prost(uint64, tag = "1")]
    issued_at_ms: u64,
    #[prost(message, repeated, tag = "2")]
    lines: Vec<Line>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Line {
    #[prost(bytes = "vec", tag = "1")]
    line: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    max: Vec<u8>,
    #[prost(uint64, tag = "3")]
    window_ms: u64,
    /// From and to of each piece, sixteen big-endian bytes each.
    #[prost(bytes = "vec", repeated, tag = "4")]
    intervals: Vec<Vec<u8>>,
}

impl Claims {
    /// Canonical bytes; never empty.
    pub fn to_bytes(&self) -> Vec<u8> {
        let line = |l: &LineClaim| Line {
            line: l.line.0.0.to_vec(),
            max: l.max.to_be_bytes().to_vec(),
            window_ms: l.window_ms,
            intervals: l.intervals.iter().map(|i| [i.from.to_be_bytes(), i.to.to_be_bytes()].concat()).collect(),
        };
        Body { issued_at_ms: self.issued_at.0, lines: self.lines.iter().map(line).collect() }.encode_to_vec()
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// [`BadClaim`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadClaim> {
        let body: Body = decode_canonical(bytes).map_err(|_| BadClaim::Malformed)?;
        let lines = body.lines.iter().map(Line::read).collect::<Result<_, _>>()?;
        Self::in_order(UnixMillis(body.issued_at_ms), lines)
    }
}

impl Line {
    fn read(&self) -> Result<LineClaim, BadClaim> {
        let line = Digest::from_slice(&self.line).map(LineId).ok_or(BadClaim::Malformed)?;
        let max = number(&self.max).ok_or(BadClaim::Malformed)?;
        let interval = |bytes: &Vec<u8>| {
            let (from, to) = bytes.split_at_checked(16)?;
            Interval::new(number(from)?, number(to)?)
        };
        let intervals =
            self.intervals.iter().map(|b| interval(b).ok_or(BadClaim::Malformed)).collect::<Result<_, _>>()?;
        LineClaim::of_line(line, max, self.window_ms, intervals)
    }
}

fn number(bytes: &[u8]) -> Option<u128> {
    bytes.try_into().ok().map(u128::from_be_bytes)
}
