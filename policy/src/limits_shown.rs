//! Limits as people see them.

use crate::bundle::{Bundle, By, Limit, Most};
use tally_domain::LimitId;

/// A limit of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitShown {
    /// Its id.
    pub id: LimitId,
    /// Length of each of its lines, in accounting units.
    pub max: u128,
    /// Decimals of a whole unit; none when movements and requests are counted.
    pub decimals: Option<u8>,
    /// The window, in milliseconds.
    pub window_ms: u64,
    /// What it is for: fields of `limits.toml` and their values.
    pub scope: Vec<(&'static str, String)>,
    /// What it counts separately for.
    pub by: Vec<&'static str>,
}

impl Bundle {
    /// All limits, in the order of the file.
    pub fn limits_shown(&self) -> Vec<LimitShown> {
        self.limits.iter().map(shown).collect()
    }
}

fn shown(limit: &Limit) -> LimitShown {
    let scope = &limit.scope;
    let fields = [
        ("key", &scope.key),
        ("domain", &scope.domain),
        ("client", &scope.client),
        ("asset", &scope.asset),
        ("to", &scope.to),
        ("list", &scope.list),
        ("action", &scope.action),
    ];
    LimitShown {
        id: limit.id.clone(),
        max: limit.most.units(),
        decimals: match limit.most {
            Most::Amount { decimals, .. } => Some(decimals),
            Most::Count(_) => None,
        },
        window_ms: limit.window_ms,
        scope: fields.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect(),
        by: limit.by.iter().copied().map(By::as_str).collect(),
    }
}
