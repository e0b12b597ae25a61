//! What a token domain is. Its bytes are what a client signs and what the vault keeps: a domain never changes, because
//! tokens that were issued under one format cannot be read under another.

use crate::brand;
use crate::format::{BadFormat, Format};
use crate::pan;
use prost::Message as _;
use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use tally_domain::intent::{BadIntent, decode_canonical};
use tally_domain::token::{Brand, Reuse, TokenDomain};
use tally_domain::{DomainName, NodeName, Tenant, UnixMillis};

/// Shortest life of a token: less than a minute is over before a payment is.
pub const LIFE_MIN_S: u32 = 60;

/// Longest life of a token that has an end: ten years, longer than any card.
pub const LIFE_MAX_S: u32 = 10 * 366 * 86_400;

/// Most uses of a token whose uses are counted.
pub const USES_MAX: u32 = 1_000_000;

/// What a token domain is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainSpec {
    /// Whose it is, and its name.
    pub domain: TokenDomain,
    /// The node whose HSM has its keys.
    pub home: NodeName,
    /// What its tokens look like.
    pub format: Format,
    /// Whether a card number that comes again gets the token that it has.
    pub reuse: Reuse,
    /// Whether card numbers can be had back, and how.
    pub keeping: Keeping,
    /// Seconds that a token lives; for ever, if none.
    pub life_s: Option<NonZeroU32>,
    /// Brands that are taken; any, the unknown included, if none is named.
    pub brands: BTreeSet<Brand>,
}

/// Whether card numbers can be had back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// They can: they are kept under the domain's data key.
    Reversible {
        /// Where they are encrypted.
        mode: Mode,
        /// How often each token may be revealed; any number of times, if none.
        uses: Option<NonZeroU32>,
    },
    /// They cannot: only their fingerprints are kept.
    OneWay,
}

/// Where card numbers are encrypted. Which KEK wraps the data key decides it: KEK-W unwraps into the HSM only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// In the HSM, with a data key that never leaves it.
    Strict,
    /// In the node's locked memory, with a data key that is there for a short time.
    Hybrid,
}

/// Why a domain cannot be as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSpec {
    /// Not the canonical bytes of a specification.
    #[error(transparent)]
    Encoding(#[from] BadIntent),
    /// Too few tokens for cards of a brand that the domain demands.
    #[error("{}: {format}", brand.as_str())]
    Format {
        /// The brand.
        brand: Brand,
        /// The arithmetic.
        format: BadFormat,
    },
    /// Tokens would live too short or too long.
    #[error("a token lives {LIFE_MIN_S} seconds to ten years, or for ever")]
    Life,
    /// Too many uses.
    #[error("a token's uses are 1 to {USES_MAX}, or not counted")]
    Uses,
    /// A token that is given again, and counted.
    #[error(
        "a domain that gives the same token again cannot count its uses: two callers would share them; make it random"
    )]
    UsesOfReused,
}

/// A specification that was checked; only this makes a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Checked(DomainSpec);

/// [`DomainSpec`] as protobuf; field numbers are those of `TokenDomainBody` in `proto/`.
#[derive(Clone, PartialEq, prost::Message)]
struct Body {
    #[prost(string, tag = "1")]
    tenant: String,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    home: String,
    #[prost(uint32, tag = "4")]
    format: u32,
    #[prost(uint32, tag = "5")]
    reuse: u32,
    #[prost(uint32, tag = "6")]
    keeping: u32,
    #[prost(uint32, tag = "7")]
    uses: u32,
    #[prost(uint32, tag = "8")]
    life_s: u32,
    #[prost(uint32, repeated, tag = "9")]
    brands: Vec<u32>,
}

impl DomainSpec {
    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (keeping, uses) = match self.keeping {
            Keeping::Reversible { mode: Mode::Strict, uses } => (1, uses),
            Keeping::Reversible { mode: Mode::Hybrid, uses } => (2, uses),
            Keeping::OneWay => (3, None),
        };
        Body {
            tenant: self.domain.tenant.as_str().into(),
            name: self.domain.name.as_str().into(),
            home: self.home.as_str().into(),
            format: self.format.number(),
            reuse: u32::from(self.reuse.number()),
            keeping,
            uses: uses.map_or(0, NonZeroU32::get),
            life_s: self.life_s.map_or(0, NonZeroU32::get),
            brands: self.brands.iter().map(|brand| u32::from(brand.number())).collect(),
        }
        .encode_to_vec()
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// [`BadSpec::Encoding`]. What they say is not checked yet: see [`DomainSpec::check`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadSpec> {
        let b: Body = decode_canonical(bytes)?;
        let bad = |field| BadIntent::Field { field };
        let small = |n: u32| u8::try_from(n).ok();
        let uses = NonZeroU32::new(b.uses);
        let keeping = match (b.keeping, uses) {
            (1, uses) => Keeping::Reversible { mode: Mode::Strict, uses },
            (2, uses) => Keeping::Reversible { mode: Mode::Hybrid, uses },
            (3, None) => Keeping::OneWay,
            _ => return Err(bad("keeping").into()),
        };
        let brands: Option<BTreeSet<Brand>> = b.brands.iter().map(|n| small(*n).and_then(Brand::from_number)).collect();
        let brands = brands.filter(|_| b.brands.is_sorted_by(|a, b| a < b)).ok_or(bad("brands"))?;
        Ok(Self {
            domain: TokenDomain {
                tenant: Tenant::parse(&b.tenant).map_err(|_| bad("tenant"))?,
                name: DomainName::parse(&b.name).map_err(|_| bad("name"))?,
            },
            home: NodeName::parse(&b.home).map_err(|_| bad("home"))?,
            format: Format::from_number(b.format).ok_or(bad("format"))?,
            reuse: small(b.reuse).and_then(Reuse::from_number).ok_or(bad("reuse"))?,
            keeping,
            life_s: NonZeroU32::new(b.life_s),
            brands,
        })
    }

    /// Whether there can be such a domain.
    ///
    /// # Errors
    /// [`BadSpec`].
    pub fn check(self) -> Result<Checked, BadSpec> {
        if self.life_s.is_some_and(|life| !(LIFE_MIN_S..=LIFE_MAX_S).contains(&life.get())) {
            return Err(BadSpec::Life);
        }
        if let Keeping::Reversible { uses: Some(uses), .. } = self.keeping {
            if uses.get() > USES_MAX {
                return Err(BadSpec::Uses);
            }
            if self.reuse != Reuse::Random {
                return Err(BadSpec::UsesOfReused);
            }
        }
        for brand in &self.brands {
            // A brand that issues several lengths is fine if the longest is: the others are refused card by card.
            let fits = self.format.fits(*brand::lengths(*brand).end());
            fits.map_err(|format| BadSpec::Format { brand: *brand, format })?;
        }
        Ok(Checked(self))
    }
}

impl Checked {
    /// What was checked.
    pub fn spec(&self) -> &DomainSpec {
        &self.0
    }

    /// Whether the domain takes cards of this brand.
    pub fn takes(&self, brand: Brand) -> bool {
        self.0.brands.is_empty() || self.0.brands.contains(&brand)
    }

    /// Fewest digits of a card number that gets a token.
    pub fn digits_min(&self) -> u8 {
        (*self.lengths().start()..=pan::DIGITS_MAX)
            .find(|digits| self.0.format.fits(*digits).is_ok())
            .unwrap_or(u8::MAX)
    }

    /// Why shorter card numbers get none, of the longest of them; nothing where all that the domain takes get one.
    pub fn too_small(&self) -> Option<BadFormat> {
        self.lengths().rev().find_map(|digits| self.0.format.fits(digits).err())
    }

    /// Lengths that the brands which are taken issue.
    fn lengths(&self) -> RangeInclusive<u8> {
        let of = |brand: &Brand| brand::lengths(*brand);
        let brands = || self.0.brands.iter().map(of);
        match (brands().map(|l| *l.start()).min(), brands().map(|l| *l.end()).max()) {
            (Some(min), Some(max)) => min..=max,
            _ => brand::lengths(Brand::Unknown),
        }
    }

    /// When a token that is made now expires.
    pub fn expiry(&self, now: UnixMillis) -> Option<UnixMillis> {
        self.0.life_s.map(|life| now.plus(u64::from(life.get()) * 1_000))
    }

    /// Reveals of a token that is made now, if they are counted.
    pub fn uses(&self) -> Option<u32> {
        match self.0.keeping {
            Keeping::Reversible { uses, .. } => uses.map(NonZeroU32::get),
            Keeping::OneWay => None,
        }
    }
}
