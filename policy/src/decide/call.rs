//! Calls of contracts whose ABI the bundle has.

use super::{Case, Decision, Fields, in_units, inexpressible, text, unknown_asset, waiting};
use crate::bundle::{Call, Value};
use crate::decide::decimal;
use cedar_policy::RestrictedExpression;
use tally_domain::facts::{Amount, AssetRef, Movement, TransactionFacts};

impl Case<'_> {
    /// The call is an action of its own, and what is sent along is a movement: both must be permitted.
    pub(super) fn call(&self, call: &Call<'_>) -> Decision {
        let Some(native) = self.native(call.chain) else {
            return self.opaque(&unknown_asset(call.chain, &AssetRef::Native, call.to));
        };
        let mut args = Fields::new();
        for (name, value) in &call.args {
            match self.value(value) {
                Ok(expression) => args.push(((*name).to_owned(), expression)),
                Err(too_large) => return inexpressible(format!("argument {name}: {too_large}")),
            }
        }
        let expressed = (in_units("amount", &call.value, native), in_units("fee", &call.fee_max, native));
        let (value, fee) = match expressed {
            (Ok(value), Ok(fee)) => (value, fee),
            (Err(too_large), _) | (_, Err(too_large)) => return inexpressible(too_large),
        };
        let Ok(args) = RestrictedExpression::new_record(args) else {
            return inexpressible(format!("two arguments of {} have one name", call.action()));
        };
        let record = vec![
            ("chain".into(), text(call.chain)),
            ("contract".into(), self.address(call.to)),
            ("method".into(), text(&call.function.name)),
            ("args".into(), args),
            ("value".into(), value),
            ("fee".into(), fee),
        ];
        let called = self.ask(&call.action(), "tx", record);
        let sent = sent_along(call).map(|tx| self.transaction(&tx));
        waiting::all(std::iter::once(called).chain(sent)).unwrap_or_else(|| inexpressible("nothing is called".into()))
    }

    fn value(&self, value: &Value) -> Result<RestrictedExpression, String> {
        Ok(match value {
            Value::Address(address) => self.address(address),
            Value::Bool(b) => RestrictedExpression::new_bool(*b),
            Value::Long(n) => RestrictedExpression::new_long(*n),
            Value::Units { amount, symbol, decimals } => decimal("amount", amount, symbol, *decimals)?,
            Value::Text(words) => text(words),
            Value::Set(all) => {
                let all = all.iter().map(|one| self.value(one)).collect::<Result<Vec<_>, _>>()?;
                RestrictedExpression::new_set(all)
            }
            Value::Record(fields) => {
                let fields = fields.iter().map(|(name, value)| Ok((name.clone(), self.value(value)?)));
                let fields = fields.collect::<Result<Fields, String>>()?;
                RestrictedExpression::new_record(fields).map_err(|_| "two of its values have one name".to_owned())?
            }
        })
    }
}

/// Coins that are sent along with the call stay with the contract.
pub(crate) fn sent_along(call: &Call<'_>) -> Option<TransactionFacts> {
    let movement =
        Movement { asset: AssetRef::Native, amount: call.value, from: String::new(), to: call.to.to_owned() };
    (call.value != Amount::from(0)).then(|| TransactionFacts {
        chain: call.chain.to_owned(),
        method: call.function.name.clone(),
        movements: vec![movement],
        allowances: Vec::new(),
        fee_max: call.fee_max,
        nonce: call.nonce,
    })
}
