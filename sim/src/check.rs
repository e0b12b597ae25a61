//! What must hold when a run is over, and that it can be brought to a good end.

use crate::cluster::Cluster;
use crate::faults::Faults;
use crate::genesis::Genesis;
use crate::journal::RequestKey;
use crate::persons::OfBundle;
use crate::world::{World, identity};
use prost::Message as _;
use secp256k1::{XOnlyPublicKey, schnorr};
use std::collections::{BTreeMap, BTreeSet};
use tally_audit::merkle::{Frontier, leaf_hash};
use tally_audit::verify::{Approvers, Basis, ExportedLog, Report, verify_log, verify_partial};
use tally_audit::{Checkpoint, checkpoint};
use tally_domain::dsse::{Envelope, VerifyingKey};
use tally_domain::evidence::shared_line;
use tally_domain::key::KeyState;
use tally_domain::ports::store::{AttemptRow, AttemptState};
use tally_domain::vote::{Certificate, VoteBody};
use tally_domain::{Intent, NodeName, Reason, Refusal, Scheme};
use tally_signer::admit;
use tally_signer::result::check;

/// Calls for one request after the faults have stopped: each may find one more loose end of the time before.
const RETRIES_MAX: usize = 8;

impl Cluster {
    /// Everything that must hold at any rest. `honest` says whose disks count.
    pub fn verify(&mut self, genesis: &Genesis, requests: &[Envelope], honest: impl Fn(&NodeName) -> bool) {
        let honest: BTreeSet<NodeName> = self.world.names.iter().filter(|n| honest(n)).cloned().collect();
        self.verify_certificates(&honest);
        self.verify_claims(&honest);
        self.history.verify_limit();
        self.verify_results(genesis, requests, &honest);
        for name in &honest {
            let banned = self.journal(name).bans().find(|peer| honest.contains(*peer)).cloned();
            if let Some(peer) = banned {
                self.history.broken(format!("I13: {name} has banned the honest {peer}"));
            }
        }
    }

    /// I1 and I3 over all certificates on honest disks.
    fn verify_certificates(&mut self, honest: &BTreeSet<NodeName>) {
        let mut digests = BTreeMap::new();
        let mut nonces: BTreeMap<_, VoteBody> = BTreeMap::new();
        let mut broken = Vec::new();
        for (name, journal) in honest.iter().map(|n| (n, self.journal(n))) {
            for (request, row) in journal.all_attempts() {
                let AttemptState::Released { certificate, .. } = &row.state else { continue };
                let certificate = Certificate::decode(certificate.as_slice()).expect("a stored certificate");
                let Ok(body) = certificate.open(self.world.bundle.roster()) else {
                    broken.push(format!("I7: {name} released on a certificate that is none"));
                    continue;
                };
                if (&body.tenant, body.request_id, body.attempt) != (&request.0, request.1, row.attempt) {
                    broken.push(format!("I7: {name} released on the certificate of something else"));
                }
                let first = digests.entry(request.clone()).or_insert((body.digest, body.intent_digest));
                if *first != (body.digest, body.intent_digest) {
                    broken.push(format!("I1: request {} is certified for two digests", request.1));
                }
                let first = nonces.entry(body.nonce_binding).or_insert_with(|| body.clone());
                if *first != body {
                    broken.push(format!("I3: a nonce of request {} is in two certificates", request.1));
                }
            }
        }
        self.history.violations.extend(broken);
        self.verify_order(honest);
    }

    /// I4: what is certified for two requests within a horizon shares no unit of a line.
    fn verify_claims(&mut self, honest: &BTreeSet<NodeName>) {
        let mut certified: Vec<VoteBody> = Vec::new();
        for journal in honest.iter().map(|n| self.journal(n)) {
            for (_, row) in journal.all_attempts() {
                let AttemptState::Released { certificate, .. } = &row.state else { continue };
                let certificate = Certificate::decode(certificate.as_slice()).expect("a stored certificate");
                // One that cannot be opened was found by whoever looks at certificates.
                certified.extend(certificate.open(self.world.bundle.roster()));
            }
        }
        let broken: Vec<_> = (certified.iter().enumerate())
            .flat_map(|(i, a)| certified.iter().skip(i + 1).map(move |b| (a, b)))
            .filter(|(a, b)| (&a.tenant, a.request_id) != (&b.tenant, b.request_id) && shared_line(a, b).is_some())
            .map(|(a, b)| format!("I4: requests {} and {} have a unit of the limit both", a.request_id, b.request_id))
            .collect();
        self.history.violations.extend(broken);
    }

    /// G4: an honest node releases in a later attempt only when a node that the earlier one needed has given it up.
    fn verify_order(&mut self, honest: &BTreeSet<NodeName>) {
        let mut broken = Vec::new();
        let gave_up = |n: &NodeName, request: &RequestKey, attempt| {
            let rows = self.journal(n).attempts(request);
            rows.iter().any(|r| r.attempt == attempt && matches!(r.state, AttemptState::Abandoned(_)))
        };
        for name in honest {
            let mut before: BTreeMap<&RequestKey, VoteBody> = BTreeMap::new();
            let released = |row: &AttemptRow| matches!(row.state, AttemptState::Released { .. });
            for (request, row) in self.journal(name).all_attempts().filter(|(_, row)| released(row)) {
                let vote = row.vote_body.as_deref().expect("a release needs a vote");
                let vote = VoteBody::from_bytes(vote).expect("an own vote");
                if let Some(earlier) = before.insert(request, vote)
                    && !earlier.signers.iter().any(|n| gave_up(n, request, earlier.attempt))
                {
                    broken.push(format!("G4: {name} released twice for request {}", request.1));
                }
            }
        }
        self.history.violations.extend(broken);
    }

    /// I14: one result for a request over all honest nodes, and it verifies.
    fn verify_results(&mut self, genesis: &Genesis, requests: &[Envelope], honest: &BTreeSet<NodeName>) {
        let mut results: BTreeMap<_, Vec<u8>> = BTreeMap::new();
        let mut broken = Vec::new();
        for (name, journal) in honest.iter().map(|n| (n, self.journal(n))) {
            for (request, bytes) in journal.results().filter(|(r, _)| r.1 != genesis.created.record.request_id) {
                let first = results.entry(request.clone()).or_insert_with(|| bytes.to_vec());
                if first != bytes {
                    broken.push(format!("I14: {name} has another result for request {}", request.1));
                }
            }
        }
        for (request, bytes) in &results {
            let of_it = requests.iter().filter(|e| request_of(e) == request.1);
            if !of_it.into_iter().any(|envelope| self.verifies(genesis, envelope, bytes)) {
                broken.push(format!("the result of request {} does not verify", request.1));
            }
        }
        self.history.violations.extend(broken);
    }

    /// The result belongs to the request, and a verifier that has nothing to do with the protocol accepts it.
    fn verifies(&self, genesis: &Genesis, envelope: &Envelope, bytes: &[u8]) -> bool {
        let record = &genesis.created.record;
        let opened = admit::open(&self.world.bundle, envelope.clone()).expect("an honest intent");
        let subject = admit::subject(opened, Some((record, KeyState::Active))).expect("an honest intent");
        let Ok(result) = check(bytes, &subject, self.world.bundle.roster()) else { return false };
        let signature = result.signature.expect("a checked result").bytes;
        match record.scheme {
            Scheme::Ed25519 => VerifyingKey::ed25519(&result.public_key)
                .is_ok_and(|key| key.verify(&subject.bytes_to_sign(), &signature).is_ok()),
            // The audit's verifier looks at these again, together with the logs.
            Scheme::EcdsaSecp256k1 => !result.signed_payload.is_empty(),
            Scheme::Taproot => bip340_verifies(&result.public_key, &subject.bytes_to_sign(), &signature),
        }
    }

    /// Stops all faults and asks for every request again until it is done. A request may stay in doubt as long as a
    /// node stays down that may have released.
    pub fn settle(&mut self, requests: &[Envelope], stay_down: Option<&NodeName>) {
        self.set_faults(Faults::NONE);
        self.mend(stay_down);
        self.run();
        for envelope in requests {
            let mut last = None;
            for retry in 0..RETRIES_MAX {
                let up: Vec<_> = self.world.names.iter().filter(|n| self.is_up(n)).cloned().collect();
                let call = self.call(&up[retry % up.len()], envelope);
                self.run();
                last = self.answer(call).cloned();
                if good_end(last.as_ref()) {
                    break;
                }
            }
            let doubt = |down: &NodeName| match &last {
                Some(Err(refusal)) => {
                    refusal.reason == Reason::InDoubt
                        && refusal.metadata.get("node").is_some_and(|n| n.split(',').any(|n| n == down.as_str()))
                }
                _ => false,
            };
            if !good_end(last.as_ref()) && !stay_down.is_some_and(doubt) {
                let what = format!("liveness: request {} ends as {last:?}", request_of(envelope));
                self.history.broken(what);
            }
            self.replay(envelope, last.and_then(Result::ok));
        }
    }

    /// I14: every signer that is up gives the same bytes ever after. A witness may not have been told.
    fn replay(&mut self, envelope: &Envelope, first: Option<Vec<u8>>) {
        let Some(first) = first else { return };
        let signers = self.world.names[..self.world.signers].to_vec();
        for name in signers.iter().filter(|n| self.is_up(n)).cloned().collect::<Vec<_>>() {
            let call = self.call(&name, envelope);
            self.run();
            if self.answer(call) != Some(&Ok(first.clone())) {
                let what = format!("I14: {name} does not return the result that was returned before");
                self.history.broken(what);
            }
        }
    }

    /// I15: the logs of these nodes verify, each by itself and all together; gives what is in them.
    pub fn verify_logs(&mut self, honest: impl Fn(&NodeName) -> bool) -> Vec<Report> {
        let names: Vec<_> = self.world.names.iter().filter(|n| honest(n)).cloned().collect();
        let logs: Vec<_> = names.iter().map(|n| export(&self.world, n, self.journal(n).leaves())).collect();
        let persons = OfBundle(&self.world.bundle);
        let approvers: [&dyn Approvers; 1] = [&persons];
        let basis = Basis::from(self.world.bundle.roster()).with_approvers(&approvers);
        let mut findings = Vec::new();
        for log in &logs {
            findings.extend(verify_log(basis, &log.node, &log.entries, &log.checkpoint).err().into_iter().flatten());
        }
        let reports = verify_partial(basis, &logs).unwrap_or_else(|found| {
            findings.extend(found);
            Vec::new()
        });
        self.history.violations.extend(findings.iter().map(|f| format!("I15: {f}")));
        reports
    }
}

/// A result, or a limit that is used up.
fn good_end(answer: Option<&Result<Vec<u8>, Refusal>>) -> bool {
    answer
        .is_some_and(|answer| answer.as_ref().map_or_else(|refusal| refusal.reason == Reason::VelocityLimit, |_| true))
}

/// The request that an envelope names.
fn request_of(envelope: &Envelope) -> tally_domain::RequestId {
    Intent::read_unverified(envelope).expect("an honest intent").request_id
}

fn export(world: &World, name: &NodeName, leaves: &[Vec<u8>]) -> ExportedLog {
    let mut frontier = Frontier::new();
    leaves.iter().for_each(|leaf| frontier.append(leaf_hash(leaf)));
    let cluster = &world.bundle.roster().cluster;
    let of_log = Checkpoint::of(cluster, name, &frontier);
    let key = identity(name);
    let origin = checkpoint::origin(cluster, name);
    let checkpoint = of_log.with_signature(&origin, &key.verifying_key(), &key.sign(&of_log.unsigned_note()));
    ExportedLog { node: name.clone(), entries: leaves.to_vec(), checkpoint }
}

/// By libsecp256k1, under the output key; that this is the record's is for the audit.
fn bip340_verifies(output_key: &[u8], digest: &[u8], signature: &[u8]) -> bool {
    let Ok(key) = output_key.try_into().map(XOnlyPublicKey::from_byte_array) else { return false };
    let Ok(signature) = signature.try_into().map(schnorr::Signature::from_byte_array) else { return false };
    key.is_ok_and(|key| signature.verify(digest, &key).is_ok())
}
