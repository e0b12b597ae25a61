//! What may be so only once: over all leaves of a log, and over all logs that are checked together.

use super::FINDINGS_MAX;
use super::finding::{Finding, KekProblem, Problem};
use super::lines::{Lines, Overlap};
use super::signature;
use super::warning::{Oddity, Warning};
use std::collections::BTreeMap;
use std::rc::Rc;
use tally_domain::key::KeyRecord;
use tally_domain::ports::hsm::{KekId, KeyCheckValue};
use tally_domain::vote::VoteBody;
use tally_domain::{
    Attempt, DerivationPath, Digest, HsmKeyRecord, KeyName, Material, NodeName, RequestId, Scheme, Tenant,
};

/// What names one digest for ever.
pub(super) type Request = (Tenant, RequestId);

/// How much can be told from what is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// One log: what is not in it may be in another.
    OneLog,
    /// Several logs, but not of all share-holders.
    SomeLogs,
    /// The logs of all share-holders: what is in none of them is nowhere.
    AllSigners,
}

/// Something that a leaf says and that was believed, for comparing with all others.
pub(super) enum Fact {
    /// Someone's vote.
    Vote { voter: NodeName, body: Rc<VoteBody> },
    /// All of S voted.
    Certificate { body: Rc<VoteBody> },
    /// A partial signature went out.
    Release { by: NodeName, body: Rc<VoteBody>, partial: Digest },
    /// A promise never to release.
    Abandonment { by: NodeName, request: Request, attempt: Attempt },
    /// A signature that verifies.
    Completion { request: Request, intent_digest: Digest, completion: Rc<Completion>, how: How },
    /// A key that all its participants certified.
    Key { record: Rc<KeyRecord> },
    /// Someone gave a name to a key in an HSM.
    Name { voter: NodeName, record: Rc<HsmKeyRecord> },
    /// A key in an HSM whose name a majority gave it.
    HsmKey { record: Rc<HsmKeyRecord> },
    /// A KEK does its work; what the log says of its first version.
    KekUse { kek: KeyName, first: FirstVersion },
}

/// What a log says of a KEK's first version, if it says anything.
pub(super) type FirstVersion = Option<(KekId, KeyCheckValue)>;

/// Who signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// S together.
    Threshold {
        /// As which the signature verifies.
        scheme: Scheme,
        /// Whether the node of the log had voted for the request.
        voted: bool,
    },
    /// The HSM of the node of the log.
    Resident,
}

/// A signature with what it is over and under.
#[derive(Clone)]
pub(super) struct Completion {
    pub(super) key: KeyName,
    pub(super) path: DerivationPath,
    pub(super) signature: Vec<u8>,
    pub(super) public_key: Vec<u8>,
    pub(super) to_sign: Vec<u8>,
}

/// Where something was seen.
#[derive(Clone)]
pub(super) struct Place {
    node: NodeName,
    leaf: u64,
}

/// One signature as some leaf has it.
struct Signed {
    place: Place,
    request: Request,
    intent_digest: Digest,
    completion: Rc<Completion>,
    how: How,
}

/// The first of everything that may be so only once.
pub(super) struct Ledger {
    scope: Scope,
    votes: BTreeMap<(NodeName, Request, Attempt), Rc<VoteBody>>,
    digests: BTreeMap<Request, (Rc<VoteBody>, Place)>,
    nonces: BTreeMap<Digest, Rc<VoteBody>>,
    partials: BTreeMap<(NodeName, Digest), Digest>,
    /// Releases and promises not to, by who, what, and which of the two.
    ends: BTreeMap<(NodeName, Request, Attempt), End>,
    signatures: BTreeMap<Request, (Rc<Completion>, Place)>,
    /// First half of a signature: r, or R of Ed25519.
    nonce_points: BTreeMap<(KeyName, Vec<u8>), (Request, Rc<Completion>)>,
    keys: BTreeMap<KeyName, (Rc<KeyRecord>, Place)>,
    names: BTreeMap<(NodeName, KeyName), Rc<HsmKeyRecord>>,
    hsm_keys: BTreeMap<KeyName, (Rc<HsmKeyRecord>, Place)>,
    signed: Vec<Signed>,
    /// What is certified of limits, and what each node has voted for.
    certified: Lines,
    voted: BTreeMap<NodeName, Lines>,
    kek_uses: Vec<(Place, KeyName, FirstVersion)>,
    findings: Vec<Finding>,
    warnings: Vec<Warning>,
}

/// How a node ended its part in an attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Released,
    Abandoned,
}

impl Ledger {
    pub(super) fn new(scope: Scope) -> Self {
        Self {
            scope,
            votes: BTreeMap::new(),
            digests: BTreeMap::new(),
            nonces: BTreeMap::new(),
            partials: BTreeMap::new(),
            ends: BTreeMap::new(),
            signatures: BTreeMap::new(),
            nonce_points: BTreeMap::new(),
            keys: BTreeMap::new(),
            names: BTreeMap::new(),
            hsm_keys: BTreeMap::new(),
            signed: Vec::new(),
            certified: Lines::default(),
            voted: BTreeMap::new(),
            kek_uses: Vec::new(),
            findings: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Compares one fact with all before it.
    pub(super) fn enter(&mut self, node: &NodeName, leaf: u64, fact: &Fact) {
        let place = Place { node: node.clone(), leaf };
        let checked = match fact {
            Fact::Vote { voter, body } => {
                self.voted.entry(voter.clone()).or_default().add(body, &place);
                self.vote(voter, body)
            }
            Fact::Certificate { body } => {
                self.certified.add(body, &place);
                if let Err(problem) = self.certified_digest(body, &place) {
                    self.find(&place, problem);
                }
                self.nonce(body)
            }
            Fact::Release { by, body, partial } => self.release(by, body, *partial),
            Fact::Abandonment { by, request, attempt } => self.end(by, request, *attempt, End::Abandoned),
            Fact::Completion { request, intent_digest, completion, how } => {
                self.signed.push(Signed {
                    place: place.clone(),
                    request: request.clone(),
                    intent_digest: *intent_digest,
                    completion: Rc::clone(completion),
                    how: *how,
                });
                if let Err(problem) = self.nonce_point(request, completion, *how) {
                    self.find(&place, problem);
                }
                self.completion(request, completion, &place)
            }
            Fact::Key { record } => self.key(record, &place),
            Fact::Name { voter, record } => self.name(voter, record),
            Fact::HsmKey { record } => self.hsm_key(record, &place),
            Fact::KekUse { kek, first } => {
                self.kek_uses.push((place.clone(), kek.clone(), *first));
                Ok(())
            }
        };
        if let Err(problem) = checked {
            self.find(&place, problem);
        }
    }

    /// Holds every signature against certificates and keys, which may stand anywhere; gives what was found.
    pub(super) fn close(mut self) -> (Vec<Finding>, Vec<Warning>) {
        for signed in std::mem::take(&mut self.signed) {
            if let Err(problem) = self.signed_is_certified(&signed) {
                self.find(&signed.place, problem);
            }
            if let Err(problem) = self.signed_with_certified_key(&signed) {
                self.find(&signed.place, problem);
            }
        }
        for (place, kek, first) in std::mem::take(&mut self.kek_uses) {
            if let Err(problem) = self.used_at_home(&place, kek, first) {
                self.find(&place, problem.into());
            }
        }
        self.close_lines();
        (self.findings, self.warnings)
    }

    /// I4 over everything that was certified, and who broke the rule that it rests on.
    fn close_lines(&mut self) {
        for Overlap { place, line, request, other } in std::mem::take(&mut self.certified).overlaps() {
            self.find(&place, Problem::ClaimsOverlap { line: line.0, request: request.1, other: other.1 });
        }
        for (voter, lines) in std::mem::take(&mut self.voted) {
            for Overlap { place, request, other, .. } in lines.overlaps() {
                let problem = Problem::ClaimedTwice { voter: voter.clone(), request: request.1, other: other.1 };
                self.find(&place, problem);
            }
        }
    }

    fn find(&mut self, place: &Place, problem: Problem) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { node: place.node.clone(), leaf: Some(place.leaf), problem });
        }
    }

    fn warn(&mut self, place: &Place, what: Oddity) {
        self.warnings.push(Warning { node: place.node.clone(), leaf: place.leaf, what });
    }

    /// One vote for one object, for ever. A voter outside S guards limits, not attempts.
    fn vote(&mut self, voter: &NodeName, body: &Rc<VoteBody>) -> Result<(), Problem> {
        if !body.signers.contains(voter) {
            return Ok(());
        }
        let object = (voter.clone(), (body.tenant.clone(), body.request_id), body.attempt);
        let first = self.votes.entry(object).or_insert_with(|| Rc::clone(body));
        if *first == *body {
            return Ok(());
        }
        Err(Problem::TwoVotes { voter: voter.clone(), request: body.request_id, attempt: body.attempt })
    }

    /// One digest for a request over all its attempts.
    fn certified_digest(&mut self, body: &Rc<VoteBody>, place: &Place) -> Result<(), Problem> {
        let request = (body.tenant.clone(), body.request_id);
        let (first, at) = self.digests.entry(request).or_insert_with(|| (Rc::clone(body), place.clone()));
        if (first.digest, first.intent_digest) == (body.digest, body.intent_digest) {
            return Ok(());
        }
        Err(Problem::TwoDigests { request: body.request_id, other: at.node.clone() })
    }

    /// One certificate for a nonce (S-3.4).
    fn nonce(&mut self, body: &Rc<VoteBody>) -> Result<(), Problem> {
        let first = self.nonces.entry(body.nonce_binding).or_insert_with(|| Rc::clone(body));
        if *first == *body {
            return Ok(());
        }
        Err(Problem::NonceReused { request: body.request_id, other: first.request_id })
    }

    /// No two partials from one nonce (S-3.3), and none after a promise.
    fn release(&mut self, by: &NodeName, body: &VoteBody, partial: Digest) -> Result<(), Problem> {
        if *self.partials.entry((by.clone(), body.nonce_binding)).or_insert(partial) != partial {
            return Err(Problem::TwoPartials { request: body.request_id });
        }
        self.end(by, &(body.tenant.clone(), body.request_id), body.attempt, End::Released)
    }

    fn end(&mut self, by: &NodeName, request: &Request, attempt: Attempt, end: End) -> Result<(), Problem> {
        if *self.ends.entry((by.clone(), request.clone(), attempt)).or_insert(end) == end {
            return Ok(());
        }
        Err(Problem::ReleasedAndAbandoned { node: by.clone(), request: request.1, attempt })
    }

    /// One signature for a nonce point: two equations in one nonce give the key away. A token may sign the same thing
    /// twice with the same nonce (Ed25519 must, by RFC 8032), and then gives the same signature: one equation.
    fn nonce_point(&mut self, request: &Request, c: &Rc<Completion>, how: How) -> Result<(), Problem> {
        let point = c.signature.iter().take(32).copied().collect();
        let first = self.nonce_points.entry((c.key.clone(), point));
        let (first, signed) = first.or_insert_with(|| (request.clone(), Rc::clone(c)));
        let same = signed.signature == c.signature && signed.to_sign == c.to_sign;
        if same && (first == request || how == How::Resident) {
            return Ok(());
        }
        Err(Problem::SameNonce { key: c.key.clone(), request: request.1, other: first.1 })
    }

    /// One signature for a request.
    fn completion(&mut self, request: &Request, c: &Rc<Completion>, place: &Place) -> Result<(), Problem> {
        let (first, at) = self.signatures.entry(request.clone()).or_insert_with(|| (Rc::clone(c), place.clone()));
        if first.signature == c.signature && first.to_sign == c.to_sign && first.public_key == c.public_key {
            return Ok(());
        }
        Err(Problem::TwoSignatures { request: request.1, other: at.node.clone() })
    }

    /// One key for a name. Its shares may be of a new epoch; the key and its chain code stay what they are.
    fn key(&mut self, record: &Rc<KeyRecord>, place: &Place) -> Result<(), Problem> {
        let (first, at) = self.keys.entry(record.name.clone()).or_insert_with(|| (Rc::clone(record), place.clone()));
        let same_key = first.public_key == record.public_key
            && first.chain_code == record.chain_code
            && first.scheme == record.scheme
            && first.purpose == record.purpose;
        let same_record = first.epoch != record.epoch || *first == *record;
        if !same_key || !same_record {
            return Err(Problem::TwoKeys { key: record.name.clone(), other: at.node.clone() });
        }
        match self.hsm_keys.get(&record.name) {
            Some((_, at)) => Err(Problem::TwoKeys { key: record.name.clone(), other: at.node.clone() }),
            None => Ok(()),
        }
    }

    /// One key for a name at one node, for ever.
    fn name(&mut self, voter: &NodeName, record: &Rc<HsmKeyRecord>) -> Result<(), Problem> {
        let first = self.names.entry((voter.clone(), record.name.clone())).or_insert_with(|| Rc::clone(record));
        if *first == *record {
            return Ok(());
        }
        Err(Problem::NameGivenTwice { voter: voter.clone(), key: record.name.clone() })
    }

    fn hsm_key(&mut self, record: &Rc<HsmKeyRecord>, place: &Place) -> Result<(), Problem> {
        let first = self.hsm_keys.entry(record.name.clone()).or_insert_with(|| (Rc::clone(record), place.clone()));
        let other = match self.keys.get(&record.name) {
            Some((_, at)) => at,
            None if first.0 == *record => return Ok(()),
            None => &first.1,
        };
        Err(Problem::TwoKeys { key: record.name.clone(), other: other.node.clone() })
    }

    fn signed_is_certified(&mut self, signed: &Signed) -> Result<(), Problem> {
        let request = signed.request.1;
        let How::Threshold { scheme, voted } = signed.how else { return Ok(()) };
        if let Some((body, _)) = self.digests.get(&signed.request) {
            let digest = signature::digest_to_sign(scheme, &signed.completion.to_sign);
            let same = digest == Some(body.digest) && signed.intent_digest == body.intent_digest;
            return if same { Ok(()) } else { Err(Problem::NotCertified { request }) };
        }
        if self.scope == Scope::AllSigners {
            return Err(Problem::NoCertificate { request });
        }
        // Another attempt, of other signers, may have completed what this node voted for.
        if voted {
            self.warn(&signed.place, Oddity::CertificateElsewhere { request });
        }
        Ok(())
    }

    fn signed_with_certified_key(&mut self, signed: &Signed) -> Result<(), Problem> {
        let Signed { completion, request, .. } = signed;
        let key = completion.key.clone();
        let How::Threshold { scheme, .. } = signed.how else { return self.signed_at_home(signed) };
        let Completion { path, public_key, to_sign, .. } = &**completion;
        let is_child = |record| signature::is_child(record, path, public_key, to_sign);
        match self.keys.get(&key) {
            Some((record, _)) if record.scheme == scheme && is_child(record) => {}
            Some(_) => return Err(Problem::OtherKey { request: request.1, key }),
            None if self.scope == Scope::AllSigners => return Err(Problem::NoKey { request: request.1, key }),
            None => self.warn(&signed.place, Oddity::KeyElsewhere { key }),
        }
        Ok(())
    }

    /// The home's own log has the record of its key, so it is missing nowhere.
    fn signed_at_home(&self, signed: &Signed) -> Result<(), Problem> {
        let Signed { completion, request, place, .. } = signed;
        let (key, request) = (completion.key.clone(), request.1);
        match self.hsm_keys.get(&key) {
            None => Err(Problem::NoKey { request, key }),
            Some((record, _)) if !signature::is_key(record, &completion.path, &completion.public_key) => {
                Err(Problem::OtherKey { request, key })
            }
            Some((record, _)) if record.home != place.node => {
                Err(Problem::NotHome { request, key, home: record.home.clone() })
            }
            Some(_) => Ok(()),
        }
    }

    /// The home's own log has the record of its KEK, so it is missing nowhere.
    fn used_at_home(&self, place: &Place, kek: KeyName, first: FirstVersion) -> Result<(), KekProblem> {
        match self.hsm_keys.get(&kek) {
            None => Err(KekProblem::NoKek { kek }),
            Some((record, _)) if record.home != place.node => {
                Err(KekProblem::NotHome { kek, home: record.home.clone() })
            }
            Some((record, _)) => match record.material {
                Material::Kek { id, check_value } if first == Some((id, check_value)) => Ok(()),
                Material::Kek { .. } | Material::Signing(_) | Material::Tokens { .. } => {
                    Err(KekProblem::OtherKek { kek })
                }
            },
        }
    }
}
