//! What rules are asked about files of bank payments.

use super::{Case, Decision, decimal, inexpressible, text, waiting};
use cedar_policy::RestrictedExpression;
use tally_domain::facts::{CreditTransfer, PaymentBlock, PaymentFacts};
use tally_domain::{Account, Agent};

impl Case<'_> {
    /// Each transfer is decided alone, and all must be permitted.
    pub(super) fn payment(&self, payment: &PaymentFacts) -> Decision {
        let transfers = payment.blocks.iter().flat_map(|block| block.transfers.iter().map(move |t| (block, t)));
        let decisions = transfers.map(|(block, transfer)| self.transfer(payment, block, transfer));
        waiting::all(decisions).unwrap_or_else(|| inexpressible("the file has no transfers".into()))
    }

    fn transfer(&self, payment: &PaymentFacts, block: &PaymentBlock, transfer: &CreditTransfer) -> Decision {
        let (code, decimals) = (payment.currency.code(), payment.currency.decimals());
        let expressed =
            (decimal("amount", &transfer.amount, code, decimals), decimal("total", &payment.total, code, decimals));
        let (amount, total) = match expressed {
            (Ok(amount), Ok(total)) => (amount, total),
            (Err(too_large), _) | (_, Err(too_large)) => return inexpressible(too_large),
        };
        let account = |a: &Account| RestrictedExpression::new_entity_uid(self.bundle.vocabulary.account(a.as_str()));
        let count = i64::try_from(payment.count()).unwrap_or(i64::MAX);
        let record = vec![
            ("debtor".into(), account(&block.debtor)),
            ("creditor".into(), account(&transfer.creditor)),
            ("bank".into(), text(transfer.bank.as_ref().map_or("", Agent::as_str))),
            ("currency".into(), text(code)),
            ("amount".into(), amount),
            ("total".into(), total),
            ("count".into(), RestrictedExpression::new_long(count)),
            ("service".into(), text(&transfer.terms.service)),
            ("instrument".into(), text(&transfer.terms.instrument)),
            ("charges".into(), text(&transfer.terms.charges)),
            ("urgent".into(), RestrictedExpression::new_bool(transfer.terms.urgent)),
        ];
        self.ask("sign_payment", "payment", record)
    }
}
