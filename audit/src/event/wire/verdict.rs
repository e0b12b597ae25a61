//! The protobuf form of what was decided.

use crate::event::Verdict;

/// [`Verdict`] as protobuf.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Verdict_ {
    #[prost(message, tag = "6")]
    Permitted(Permitted),
    #[prost(message, tag = "7")]
    Refused(Refused),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Permitted {
    #[prost(string, tag = "1")]
    rule: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Refused {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    rule: String,
    #[prost(string, tag = "3")]
    condition: String,
}

impl From<&Verdict> for Verdict_ {
    fn from(v: &Verdict) -> Self {
        match v {
            Verdict::Permitted { rule } => Self::Permitted(Permitted { rule: rule.clone() }),
            Verdict::Refused { reason, rule, condition } => {
                Self::Refused(Refused { reason: reason.clone(), rule: rule.clone(), condition: condition.clone() })
            }
        }
    }
}

impl From<Verdict_> for Verdict {
    fn from(v: Verdict_) -> Self {
        match v {
            Verdict_::Permitted(p) => Self::Permitted { rule: p.rule },
            Verdict_::Refused(r) => Self::Refused { reason: r.reason, rule: r.rule, condition: r.condition },
        }
    }
}
