//! What an evil leader claims, and what it charges itself so that its own machine believes it.

use super::{Lie, Seen};
use prost::Message as _;
use tally_domain::claim::{INTERVALS_MAX, ISSUED_AT_TOLERANCE_MS};
use tally_domain::{Charge, Claims, Interval, LimitId, LineClaim, LineId, UnixMillis};

/// Claims with the charges that they are exactly for, and as the members get them.
#[derive(Clone)]
pub(super) struct Lied {
    pub(super) charges: Vec<Charge>,
    pub(super) claims: Option<Claims>,
    pub(super) wire: Vec<u8>,
}

/// The encoding of claims, for those that the type does not allow.
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
    #[prost(bytes = "vec", repeated, tag = "4")]
    intervals: Vec<Vec<u8>>,
}

/// The pieces from `from` on for a charge.
pub(super) fn at(charge: &Charge, from: u128, issued_at: UnixMillis) -> Claims {
    let piece = Interval::new(from, from + charge.amount).expect("something is charged");
    of(charge, vec![piece], issued_at)
}

fn of(charge: &Charge, pieces: Vec<Interval>, issued_at: UnixMillis) -> Claims {
    let line = LineClaim::new(charge, pieces).expect("room on the line");
    Claims::new(issued_at, vec![line]).expect("one line")
}

/// What is claimed for this charge, with room from `free` on. `nth` is the session, if there are several for one request.
pub(super) fn lied(lie: Lie, charge: &Charge, free: u128, seen: &Seen, now: UnixMillis, nth: usize) -> Lied {
    let charge = charge.clone();
    let earlier = || seen.claims.as_ref().expect("an earlier request").lines()[0].intervals()[0];
    let elsewhere = || LineId::of(&LimitId::parse("elsewhere").expect("a name"), &[]);
    let after = |from, charge: Charge| (vec![charge.clone()], Some(at(&charge, from, now)));
    let (charges, claims) = match lie {
        Lie::ClaimsOmitted => (Vec::new(), None),
        Lie::ClaimsOfAnotherLine => after(free, Charge { line: elsewhere(), ..charge }),
        Lie::ClaimsShort => after(free, Charge { amount: charge.amount - 1, ..charge }),
        Lie::ClaimsLong => after(free, Charge { amount: charge.amount + 1, ..charge }),
        Lie::ClaimsOfLongerLine => after(charge.max, Charge { max: charge.max * 2, ..charge }),
        Lie::ClaimsOfShorterWindow => after(free, Charge { window_ms: 1_000, ..charge }),
        Lie::ClaimsOnMoreLines => {
            let more = Charge { line: elsewhere(), ..charge.clone() };
            let line = |c: &Charge| at(c, free, now).lines()[0].clone();
            let claims = Claims::new(now, vec![line(&charge), line(&more)]).expect("two lines");
            (vec![charge, more], Some(claims))
        }
        Lie::ClaimsOfThePast => (vec![charge.clone()], Some(at(&charge, free, now.minus(6_000)))),
        Lie::ClaimsOfTheFuture => (vec![charge.clone()], Some(at(&charge, free, now.plus(6_000)))),
        Lie::ClaimsAtTheEdge => {
            // Time goes on while the members think.
            let issued_at = if free.is_multiple_of(2) {
                now.plus(ISSUED_AT_TOLERANCE_MS)
            } else {
                now.minus(ISSUED_AT_TOLERANCE_MS - 1_000)
            };
            (vec![charge.clone()], Some(at(&charge, free, issued_at)))
        }
        Lie::ClaimsOfAnEarlierRequest => after(earlier().from(), charge),
        Lie::ClaimsWithOneUnitTaken => after(earlier().to() - 1, charge),
        Lie::TwoSets => after(free + charge.amount * nth as u128, charge),
        _ => after(free, charge),
    };
    let plain = claims.as_ref().map(Claims::to_bytes).unwrap_or_default();
    Lied { wire: spoiled(lie, &plain), charges, claims }
}

/// The members get what no honest node can say.
fn spoiled(lie: Lie, plain: &[u8]) -> Vec<u8> {
    let Ok(mut body) = Body::decode(plain) else { return plain.to_vec() };
    let number = |bytes: &[u8]| u128::from_be_bytes(bytes.try_into().expect("sixteen bytes"));
    let piece = |from: u128, to: u128| [from.to_be_bytes(), to.to_be_bytes()].concat();
    let Some(line) = body.lines.first_mut() else { return Vec::new() };
    let (from, to) = (number(&line.intervals[0][..16]), number(&line.intervals[0][16..]));
    let max = number(&line.max);
    match lie {
        Lie::ClaimsOutside => line.intervals = vec![piece(max, max + to - from)],
        Lie::ClaimsInNinePieces => {
            let many = (0..INTERVALS_MAX as u128 + 1).map(|i| piece(from + 2 * i, from + 2 * i + 1));
            line.intervals = many.collect();
        }
        Lie::ClaimsOverlapThemselves => line.intervals = vec![piece(from, to), piece(from, to)],
        Lie::ClaimsOnOneLineTwice => {
            let again = line.clone();
            body.lines.push(again);
        }
        Lie::ClaimsMalformed => return vec![0xff; 9],
        _ => return plain.to_vec(),
    }
    body.encode_to_vec()
}
