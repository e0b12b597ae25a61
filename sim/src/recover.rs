//! What is believed of other nodes' reports, and what is made of them, as in `node/src/recover.rs`.

use std::collections::BTreeMap;
use tally_domain::roster::Roster;
use tally_domain::vote::{Abandonment, Certificate, VoteBody};
use tally_domain::{NodeName, PartyIndex, Reason, Refusal, SignerSet};
use tally_signer::admit::Subject;
use tally_signer::recovery::{End, Report};
use tally_signer::release::sign_input;
use tally_signer::result::{self, SignResult};

/// Whether a peer's report is proved by its statement or certificate.
pub(crate) fn believed(subject: &Subject, roster: &Roster, peer: &NodeName, report: &Report) -> bool {
    let (vote, intent) = (&report.vote, subject.intent());
    let about_this = report.node == *peer
        && vote.tenant == intent.tenant
        && vote.request_id == intent.request_id
        && vote.intent_digest == subject.opened().digest()
        && vote.signers.contains(peer);
    about_this
        && match &report.end {
            End::Abandoned(statement) => Abandonment::open(statement, roster).is_ok_and(|(who, promise)| {
                who == *peer
                    && promise.attempt == vote.attempt
                    && promise.request_id == vote.request_id
                    && promise.tenant == vote.tenant
            }),
            End::Released { certificate, .. } => certificate.open(roster).as_ref() == Ok(vote),
        }
}

/// Combines stored partials of an earlier attempt into the request's result.
pub(crate) fn combine(
    subject: &Subject,
    vote: &VoteBody,
    certificate: Certificate,
    partials: &BTreeMap<NodeName, Vec<u8>>,
) -> Result<SignResult, Refusal> {
    let record = subject.record();
    let by_party: BTreeMap<PartyIndex, Vec<u8>> =
        partials.iter().filter_map(|(n, p)| Some((record.party(n)?, p.clone()))).collect();
    let parties: Vec<PartyIndex> = vote.signers.iter().filter_map(|s| record.party(s)).collect();
    let signers = SignerSet::new(record.threshold, &parties).map_err(|_| Reason::SessionAborted)?;
    let input = sign_input(subject, &vote.session, &vote.nonce_binding);
    let signature = tally_mpc::combine(&by_party, record, &signers, &input).map_err(|_| Reason::SessionAborted)?;
    result::build(subject, &vote.rule, &signature, certificate)
}
