//! Where on a line a leader asks for room. It goes by what it sees of the line ([`room`](super::room)) and what voters say
//! when they refuse; nothing here is trusted, because every voter checks by itself. A bad place costs a round, never a limit.
//!
//! Each leader begins with a part of the line of its own, so that those who see the same line do not meet: the first place
//! there that fits. When that part is full, or after a collision, it looks elsewhere at random; and when nothing fits in one
//! piece, it takes up to eight.

use crate::claims::room::{Search, Seen};
use crate::claims::voter::InTheWay;
use rand_core::Rng;
use tally_domain::claim::{BadClaim, INTERVALS_MAX};
use tally_domain::{Charge, Claims, Interval, LimitId, LineClaim, LineId, Reason, Refusal, UnixMillis};

/// Most occupied pieces of a line that are believed of voters in one call: a bad one must not fill a leader's memory.
pub const HINTS_MAX: usize = 4096;

/// A line has no room for what is charged, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("limit {limit} has no room left")]
pub struct NoRoom {
    /// The limit.
    pub limit: LimitId,
}

/// One request's search for room on all its lines.
#[derive(Debug, Clone)]
pub struct Placer {
    lines: Vec<Line>,
    part: Part,
    collided: bool,
}

/// Which part of every line a leader begins with: the `number`th, from 0, of `of` equal ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Which.
    pub number: u8,
    /// Of how many.
    pub of: u8,
}

impl Part {
    /// The whole line.
    pub const WHOLE: Self = Self { number: 0, of: 1 };

    fn range(self, max: u128) -> Option<Interval> {
        let length = max.div_ceil(u128::from(self.of.max(1)));
        let from = length.checked_mul(u128::from(self.number))?;
        Interval::new(from, from.saturating_add(length).min(max))
    }
}

#[derive(Debug, Clone)]
struct Line {
    charge: Charge,
    /// What others hold, as voters have said.
    hints: Vec<Interval>,
}

impl Placer {
    /// Looks for room for these charges.
    pub fn new(charges: &[Charge]) -> Self {
        let line = |charge: &Charge| Line { charge: charge.clone(), hints: Vec::new() };
        Self { lines: charges.iter().map(line).collect(), part: Part::WHOLE, collided: false }
    }

    /// Begins with a part of each line.
    #[must_use]
    pub fn beginning_with(self, part: Part) -> Self {
        Self { part, ..self }
    }

    /// The charges that it looks for room for.
    pub fn charges(&self) -> impl Iterator<Item = &Charge> {
        self.lines.iter().map(|line| &line.charge)
    }

    /// What a voter said is in the way. From now on places are drawn.
    pub fn collided(&mut self, line: LineId, taken: impl IntoIterator<Item = Interval>) {
        self.collided = true;
        if let Some(line) = self.line(line) {
            let left = HINTS_MAX.saturating_sub(line.hints.len());
            line.hints.extend(taken.into_iter().take(left));
        }
    }

    /// What a voter said when it refused.
    pub fn met(&mut self, found: &[InTheWay]) {
        found.iter().for_each(|f| self.collided(f.line, f.taken.iter().copied()));
    }

    /// What voters have said that others hold of a line.
    pub fn heard(&self, line: LineId) -> &[Interval] {
        self.lines.iter().find(|l| l.charge.line == line).map_or(&[], |l| &l.hints)
    }

    /// Claims on all lines, issued now, by what `see` sees of each; nothing where nothing is charged.
    ///
    /// # Errors
    /// [`NoRoom`]; those of `see`.
    pub fn place<E, R: Rng>(
        &self,
        mut see: impl FnMut(&Search<'_>, &mut R) -> Result<Seen, E>,
        now: UnixMillis,
        rng: &mut R,
    ) -> Result<Result<Option<Claims>, NoRoom>, E> {
        let mut claims = Vec::new();
        for Line { charge, hints } in &self.lines {
            let no_room = NoRoom { limit: charge.limit.clone() };
            let begin = if self.collided { None } else { self.part.range(charge.max) };
            let seen = see(&Search { charge, begin, hints }, rng)?;
            let claim = match pieces_in(charge, &seen, begin, rng) {
                Some(pieces) => LineClaim::new(charge, pieces),
                None => return Ok(Err(no_room)),
            };
            match claim {
                Ok(claim) => claims.push(claim),
                Err(_) => return Ok(Err(no_room)),
            }
        }
        let Some(last) = self.lines.last() else { return Ok(Ok(None)) };
        // Charged on more lines than a vote can carry, the request cannot be claimed at all.
        let no_room = |_: BadClaim| NoRoom { limit: last.charge.limit.clone() };
        Ok(Claims::new(now, claims).map(Some).map_err(no_room))
    }

    fn line(&mut self, line: LineId) -> Option<&mut Line> {
        self.lines.iter_mut().find(|l| l.charge.line == line)
    }
}

impl From<NoRoom> for Refusal {
    fn from(why: NoRoom) -> Self {
        Self::new(Reason::VelocityLimit).with("limit", why.limit.as_str())
    }
}

/// What an earlier attempt holds, or else room between what is taken.
fn pieces_in<R: Rng>(charge: &Charge, seen: &Seen, begin: Option<Interval>, rng: &mut R) -> Option<Vec<Interval>> {
    if seen.is_overdrawn() {
        return None;
    }
    seen.kept().map(<[_]>::to_vec).or_else(|| place(charge, seen.gaps(), begin, rng))
}

/// Room for a charge in these gaps: the first place in the part to begin with, or one that is drawn; when there is none in
/// one piece, up to eight. Finds room whenever eight gaps have it.
pub fn place<R: Rng>(
    charge: &Charge,
    gaps: &[Interval],
    begin: Option<Interval>,
    rng: &mut R,
) -> Option<Vec<Interval>> {
    let fits: Vec<Interval> = gaps.iter().copied().filter(|g| g.units() >= charge.amount).collect();
    let in_one = begin.and_then(|part| first(&fits, part, charge.amount)).or_else(|| draw(&fits, charge.amount, rng));
    let scattered = || begin.is_none().then(|| pieces(&shuffled(gaps, rng), charge.amount)).flatten();
    in_one.or_else(scattered).or_else(|| largest(gaps.to_vec(), charge.amount))
}

/// The first place in this part of the line.
fn first(fits: &[Interval], part: Interval, amount: u128) -> Option<Vec<Interval>> {
    let mut places =
        fits.iter().filter_map(|gap| piece(gap.from().max(part.from()), amount).filter(|p| p.to() <= gap.to()));
    places.find(|place| part.from() <= place.from() && place.from() < part.to()).map(|place| vec![place])
}

/// A place at random among all multiples of the amount from a gap's start: leaders with like amounts meet rarely and
/// leave no crumbs between them.
fn draw<R: Rng>(fits: &[Interval], amount: u128, rng: &mut R) -> Option<Vec<Interval>> {
    let slots = |gap: &Interval| gap.units().checked_div(amount).unwrap_or(0);
    let all = fits.iter().fold(0u128, |sum, g| sum.saturating_add(slots(g)));
    let mut slot = below(all, rng)?;
    for gap in fits {
        match slot.checked_sub(slots(gap)) {
            Some(rest) => slot = rest,
            None => return piece(gap.from() + slot * amount, amount).map(|piece| vec![piece]),
        }
    }
    None
}

/// The fewest pieces: where eight gaps have room, the eight largest have it.
fn largest(mut gaps: Vec<Interval>, amount: u128) -> Option<Vec<Interval>> {
    gaps.sort_by_key(|g| (std::cmp::Reverse(g.units()), g.from()));
    pieces(&gaps, amount)
}

/// Pieces out of these gaps in this order; of the last as much as is needed.
fn pieces(gaps: &[Interval], amount: u128) -> Option<Vec<Interval>> {
    let mut left = amount;
    let mut taken = Vec::new();
    for gap in gaps.iter().take(INTERVALS_MAX) {
        let Some(piece) = piece(gap.from(), left.min(gap.units())) else { break };
        left -= piece.units();
        taken.push(piece);
    }
    taken.sort_unstable();
    (left == 0 && !taken.is_empty()).then_some(taken)
}

/// As many gaps as a claim can have pieces, drawn.
fn shuffled<R: Rng>(gaps: &[Interval], rng: &mut R) -> Vec<Interval> {
    let mut left = gaps.to_vec();
    let mut drawn = Vec::new();
    while drawn.len() < INTERVALS_MAX && !left.is_empty() {
        let Some(at) = below(left.len() as u128, rng).and_then(|at| usize::try_from(at).ok()) else { break };
        drawn.push(left.swap_remove(at));
    }
    drawn
}

fn piece(from: u128, units: u128) -> Option<Interval> {
    Interval::new(from, from.checked_add(units)?)
}

/// A number below `n`. The bias of the remainder is below 2^-64 for every line that money fits on, and decides nothing
/// but where a leader looks first.
fn below<R: Rng>(n: u128, rng: &mut R) -> Option<u128> {
    let drawn = (u128::from(rng.next_u64()) << 64) | u128::from(rng.next_u64());
    drawn.checked_rem(n)
}
