//! What a file of bank payments says.

use super::Amount;
use crate::account::{Account, Agent};
use crate::currency::Currency;

/// A decoded file of credit transfers: all that a bank acts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentFacts {
    /// The sender's id of the file.
    pub message_id: String,
    /// When the sender says it was made, as written.
    pub created: String,
    /// Who sends it; empty where the file does not say.
    pub initiator: String,
    /// The one currency of every amount.
    pub currency: Currency,
    /// All amounts together, in the currency's minor unit; the control sum where the file has one.
    pub total: Amount,
    /// Blocks of transfers that share a debtor and a day; never empty.
    pub blocks: Vec<PaymentBlock>,
}

impl PaymentFacts {
    /// How many transfers the file has.
    pub fn count(&self) -> usize {
        self.blocks.iter().map(|block| block.transfers.len()).sum()
    }
}

/// Transfers from one account on one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentBlock {
    /// The sender's id of the block.
    pub id: String,
    /// Name of who pays; empty where the file does not say.
    pub debtor_name: String,
    /// Account that pays.
    pub debtor: Account,
    /// When it pays: a date, or a date and time, as written.
    pub execution: String,
    /// The transfers; never empty.
    pub transfers: Vec<CreditTransfer>,
}

/// One transfer to one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreditTransfer {
    /// The sender's id, which the creditor sees.
    pub end_to_end_id: String,
    /// How much, in the currency's minor unit; more than none.
    pub amount: Amount,
    /// Name of who is paid.
    pub creditor_name: String,
    /// Account that is paid.
    pub creditor: Account,
    /// Bank of the creditor, where the file says one.
    pub bank: Option<Agent>,
    /// How the bank is to pay.
    pub terms: PaymentTerms,
}

/// How a bank is to pay. Codes as written; empty where the file does not say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PaymentTerms {
    /// Service level, such as `SEPA` or `URGP`.
    pub service: String,
    /// Local instrument, such as `INST`.
    pub instrument: String,
    /// Who bears the charges: `DEBT`, `CRED`, `SHAR` or `SLEV`.
    pub charges: String,
    /// Whether the priority is `HIGH`.
    pub urgent: bool,
}
