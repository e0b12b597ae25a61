//! Leave to move value, and typed data.

use super::{Case, Decision, in_units, inexpressible, text, unknown_asset, waiting};
use cedar_policy::RestrictedExpression;
use tally_domain::UnixMillis;
use tally_domain::facts::{Allowance, AssetRef, Most, TransactionFacts, TypedDataFacts};

/// The largest number that a Cedar `decimal` holds: more than any amount, as all there is and will be is.
const MORE_THAN_ANY: &str = "922337203685477.5807";

/// What a leave comes with.
struct Given<'a> {
    chain: &'a str,
    method: &'a str,
    contract: &'a str,
    domain: &'a str,
    fee: RestrictedExpression,
}

impl Case<'_> {
    pub(super) fn allowance_of_transaction(&self, tx: &TransactionFacts, allowance: &Allowance) -> Decision {
        let Some(native) = self.native(&tx.chain) else {
            return self.opaque(&unknown_asset(&tx.chain, &AssetRef::Native, &allowance.spender));
        };
        let fee = match in_units("fee", &tx.fee_max, native) {
            Ok(fee) => fee,
            Err(too_large) => return inexpressible(too_large),
        };
        let contract = allowance.keeper.as_str();
        let given = Given { chain: &tx.chain, method: &tx.method, contract, domain: "", fee };
        self.allowance(given, allowance)
    }

    /// Each leave is decided alone, and all must be permitted. Where it is not known what the data gives leave to, it is
    /// decided by its domain.
    pub(super) fn typed_data(&self, typed: &TypedDataFacts) -> Decision {
        let decisions = typed.allowances.iter().map(|allowance| {
            let given = Given {
                chain: &typed.chain,
                method: &typed.primary_type,
                contract: &typed.contract,
                domain: &typed.name,
                fee: RestrictedExpression::new_decimal("0.0"),
            };
            self.allowance(given, allowance)
        });
        waiting::all(decisions).unwrap_or_else(|| self.unknown_typed_data(typed))
    }

    fn unknown_typed_data(&self, typed: &TypedDataFacts) -> Decision {
        let fields = typed.fields.iter().map(|(path, value)| text(&format!("{path}={value}")));
        let record = vec![
            ("chain".into(), text(&typed.chain)),
            ("domain".into(), text(&typed.name)),
            ("version".into(), text(&typed.version)),
            ("contract".into(), self.address(&typed.contract)),
            ("salt".into(), text(&typed.salt)),
            ("primary".into(), text(&typed.primary_type)),
            ("fields".into(), RestrictedExpression::new_set(fields)),
        ];
        self.ask("sign_typed_data", "typed", record)
    }

    fn allowance(&self, given: Given<'_>, allowance: &Allowance) -> Decision {
        let Some(counted) = self.bundle.assets.allowed(given.chain, allowance) else {
            return self.opaque(&unknown_asset(given.chain, &allowance.asset, &allowance.spender));
        };
        let (amount, unlimited) = match allowance.most {
            Most::Unlimited => (RestrictedExpression::new_decimal(MORE_THAN_ANY), true),
            Most::UpTo(_) => match in_units("amount", &counted.amount, counted.asset) {
                Ok(amount) => (amount, false),
                Err(too_large) => return inexpressible(too_large),
            },
        };
        let minutes = |moment| RestrictedExpression::new_long(minutes_until(self.now, moment));
        let record = vec![
            ("chain".into(), text(given.chain)),
            ("method".into(), text(given.method)),
            ("contract".into(), self.address(given.contract)),
            ("domain".into(), text(given.domain)),
            ("asset".into(), text(&counted.asset.symbol)),
            ("item".into(), text(&counted.item)),
            ("amount".into(), amount),
            ("unlimited".into(), RestrictedExpression::new_bool(unlimited)),
            ("owner".into(), self.address(&allowance.owner)),
            ("spender".into(), self.address(&allowance.spender)),
            ("deadline_minutes".into(), minutes(allowance.use_by)),
            ("expires_minutes".into(), minutes(allowance.ends)),
            ("fee".into(), given.fee),
        ];
        self.ask("sign_allowance", "allowance", record)
    }
}

/// Whole minutes from now until a moment in seconds, rounded up; none of what is over, and the most there are without end.
fn minutes_until(now: UnixMillis, moment: Option<u64>) -> i64 {
    let Some(seconds) = moment else { return i64::MAX };
    let ms = seconds.saturating_mul(1_000).saturating_sub(now.0);
    i64::try_from(ms.div_ceil(60_000)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_are_rounded_up_and_never_negative() {
        let now = UnixMillis(100_000);
        for (moment, minutes) in [(Some(100), 0), (Some(99), 0), (Some(101), 1), (Some(160), 1), (Some(161), 2)] {
            assert_eq!(minutes_until(now, moment), minutes);
        }
        assert_eq!(minutes_until(now, None), i64::MAX);
        assert!(minutes_until(now, Some(u64::MAX)) > 1 << 40);
    }
}
