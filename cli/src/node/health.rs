//! What is not well with nodes: each in a sentence, so that `tally node status` says why it does not end with 0.

use std::collections::{BTreeMap, BTreeSet};
use tally_client::{ClientError, NodeInfo, QuorumInfo};
use tally_domain::claim::ISSUED_AT_TOLERANCE_MS;
use tally_domain::roster::NodeRole;
use tally_domain::time::{most_are_apart, offset_words, span_words};
use tally_domain::{NodeName, UnixMillis};

/// An endpoint, and what it answered.
pub type Answer<'a> = (&'a str, Result<NodeInfo, ClientError>);

/// When the end of the active bundle is near: a week is time enough to pack the next one, have it signed, and wait out the
/// longest usual delay.
const EXPIRY_NEAR_MS: u64 = 7 * 24 * 60 * 60 * 1_000;

/// How long a bundle still is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// A directory that nobody has signed, which does not expire.
    Endless,
    /// For longer than [`EXPIRY_NEAR_MS`].
    Long(UnixMillis),
    /// Not for long.
    Ending(UnixMillis, u64),
    /// No more: nothing is signed.
    Over(UnixMillis),
}

impl Validity {
    /// That of a node's bundle, by the node's own clock.
    pub fn of(node: &NodeInfo) -> Self {
        let Some(until) = node.bundle_not_after else { return Self::Endless };
        match until.0.checked_sub(node.time.0).filter(|left| *left > 0) {
            None => Self::Over(until),
            Some(left) if left <= EXPIRY_NEAR_MS => Self::Ending(until, left),
            Some(_) => Self::Long(until),
        }
    }

    /// The same in words.
    pub fn words(self) -> String {
        match self {
            Self::Endless => "does not expire".into(),
            Self::Long(until) => format!("valid until {until}"),
            Self::Ending(until, left) => {
                format!("valid until {until}: RENEW IT, only {} are left", span_words(left))
            }
            Self::Over(until) => format!("EXPIRED at {until}: nothing is signed until admins sign a new one"),
        }
    }
}

/// What keeps nodes from doing their work, one sentence each; none if all is well.
pub fn troubles(answers: &[Answer<'_>]) -> Vec<String> {
    let mut found = Vec::new();
    let mut bundles = BTreeSet::new();
    for (endpoint, answer) in answers {
        let node = match answer {
            Ok(node) => node,
            Err(_) => {
                found.push(format!("{endpoint} does not answer"));
                continue;
            }
        };
        bundles.insert(node.bundle_digest);
        if node.recovering {
            found.push(format!("{} was restored from an older copy, and takes part in nothing", node.node));
        }
        if let Some((_, Some(_))) = node.work.reload {
            found.push(format!("the last reload of {} was refused", node.node));
        }
        let standby = node.hsm.standby.as_ref();
        if node.hsm.error.is_some() || standby.is_some_and(|standby| standby.error.is_some()) {
            found.push(format!("a token of {} does not work", node.node));
        }
        if let over @ Validity::Over(_) = Validity::of(node) {
            found.push(format!("the bundle of {} {}", node.node, over.words()));
        }
    }
    if bundles.len() > 1 {
        found.push("the nodes decide by different policy bundles".into());
    }
    found.extend(
        clocks_off(answers)
            .iter()
            .map(|(node, off)| format!("the clock of {node} is {}, by most nodes' clocks: set it", offset_words(*off))),
    );
    found.extend(Votes::of(answers).filter(|votes| !votes.suffice()).map(|votes| votes.words()));
    found
}

/// Nodes whose clock is further from the others' than a limit's vote may be, and how far. Who is right, most clocks say.
pub fn clocks_off(answers: &[Answer<'_>]) -> BTreeMap<NodeName, i64> {
    let mut off = BTreeMap::new();
    for node in answers.iter().filter_map(|(_, answer)| answer.as_ref().ok()) {
        let heard = || node.peers.iter().filter(|p| p.reachable).filter_map(|p| Some((&p.node, p.clock_offset_ms?)));
        let apart = most_are_apart(heard().map(|(_, offset)| offset));
        if is_off(apart) {
            off.insert(node.node.clone(), apart.saturating_neg());
            continue;
        }
        for (peer, offset) in heard().filter(|(_, offset)| is_off(*offset)) {
            off.entry(peer.clone()).or_insert(offset);
        }
    }
    off
}

/// Whether a clock that is so far away counts as wrong.
pub fn is_off(offset_ms: i64) -> bool {
    offset_ms.unsigned_abs() > ISSUED_AT_TOLERANCE_MS
}

/// Who can vote where a limit applies, as the node sees it that sees most of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Votes {
    quorum: QuorumInfo,
    /// Those that cannot vote now.
    missing: Vec<NodeName>,
}

impl Votes {
    /// By the signers that answer, who lead; nothing if none does.
    pub fn of(answers: &[Answer<'_>]) -> Option<Self> {
        let answering = answers.iter().filter_map(|(_, answer)| answer.as_ref().ok());
        let leaders = answering.filter(|node| node.role == NodeRole::Signer && !node.recovering);
        leaders.map(Self::seen_by).min_by_key(|votes| votes.missing.len())
    }

    fn seen_by(node: &NodeInfo) -> Self {
        let cannot = node.peers.iter().filter(|p| {
            let other_bundle = p.bundle_digest.is_some_and(|digest| digest != node.bundle_digest);
            !p.reachable || p.fenced || other_bundle || p.clock_offset_ms.is_some_and(is_off)
        });
        Self { quorum: node.quorum, missing: cannot.map(|p| p.node.clone()).collect() }
    }

    fn present(&self) -> u32 {
        self.quorum.voters.saturating_sub(u32::try_from(self.missing.len()).unwrap_or(u32::MAX))
    }

    /// Whether requests under a limit can be signed now.
    pub fn suffice(&self) -> bool {
        !self.quorum.limits || self.present() >= self.quorum.votes
    }

    /// How many must agree and how many can.
    pub fn words(&self) -> String {
        let QuorumInfo { voters, votes, .. } = self.quorum;
        match (self.quorum.limits, voters.saturating_sub(votes)) {
            (false, _) => format!("no limits apply; under a limit {votes} of {voters} voters would have to agree"),
            _ if !self.suffice() => {
                let names: Vec<_> = self.missing.iter().map(NodeName::as_str).collect();
                format!(
                    "limits: {votes} of {voters} voters needed, {} can vote: limited requests wait for {}",
                    self.present(),
                    names.join(", ")
                )
            }
            (true, 0) => format!(
                "limits apply: all {voters} voters must agree, and none may be away; what no limit matches needs its key's signers only"
            ),
            (true, spare) => format!("limits apply: {votes} of {voters} voters must agree; {spare} may be away"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::node;
    use super::*;
    use tally_client::PeerInfo;
    use tally_domain::{Digest, Incarnation};

    const DAY_MS: i64 = 86_400_000;
    const PLAIN: QuorumInfo = QuorumInfo { voters: 3, votes: 3, faulty: 1, restored: 1, limits: true };
    const WITNESSED: QuorumInfo = QuorumInfo { voters: 5, votes: 4, ..PLAIN };

    fn peer(name: &str, offset_ms: i64, reachable: bool) -> PeerInfo {
        PeerInfo {
            node: NodeName::parse(name).unwrap(),
            address: String::new(),
            reachable,
            incarnation: Incarnation(1),
            bundle_digest: Some(Digest::of(b"bundle")),
            clock_offset_ms: Some(offset_ms),
            fenced: false,
            role: NodeRole::Signer,
        }
    }

    /// A node among others with these clocks.
    fn among(name: &str, others: &[(&str, i64)]) -> NodeInfo {
        NodeInfo { peers: others.iter().map(|(name, off)| peer(name, *off, true)).collect(), ..node(name) }
    }

    /// One of five, some of which are away.
    fn without(away: usize) -> NodeInfo {
        let names = ["node-2", "node-3", "node-4", "node-5"];
        let peers = names.iter().enumerate().map(|(i, name)| peer(name, 0, i < names.len() - away));
        NodeInfo { peers: peers.collect(), quorum: WITNESSED, ..node("node-1") }
    }

    fn of_one(node: NodeInfo) -> Vec<String> {
        troubles(&[("a", Ok(node))])
    }

    #[test]
    fn how_many_voters_a_limit_needs_is_said_in_words() {
        let words = |quorum| Votes { quorum, missing: Vec::new() }.words();
        assert!(words(PLAIN).starts_with("limits apply: all 3 voters must agree, and none may be away"));
        assert_eq!(words(WITNESSED), "limits apply: 4 of 5 voters must agree; 1 may be away");
        let none = QuorumInfo { limits: false, ..WITNESSED };
        assert_eq!(words(none), "no limits apply; under a limit 4 of 5 voters would have to agree");
    }

    #[test]
    fn too_few_voters_are_said_with_their_names_and_only_where_limits_apply() {
        assert!(of_one(without(1)).is_empty());
        let waits = "limits: 4 of 5 voters needed, 3 can vote: limited requests wait for node-4, node-5";
        assert_eq!(of_one(without(2)), [waits]);
        let mut no_limits = without(2);
        no_limits.quorum.limits = false;
        assert!(of_one(no_limits).is_empty());
        // There, and no use: another bundle, fenced, a clock that is off.
        let spoil: [fn(&mut PeerInfo); 3] = [
            |p| p.bundle_digest = Some(Digest::of(b"another")),
            |p| p.fenced = true,
            |p| p.clock_offset_ms = Some(DAY_MS),
        ];
        for spoil in spoil {
            let mut one = without(1);
            spoil(&mut one.peers[0]);
            assert!(of_one(one).iter().any(|t| t.contains("3 can vote: limited requests wait for node-2, node-5")));
        }
        // A leader that sees enough is enough.
        assert!(troubles(&[("a", Ok(without(2))), ("b", Ok(without(0)))]).is_empty());
    }

    #[test]
    fn a_clock_that_is_a_day_off_is_named_whoever_is_asked() {
        let off = |answers: &[Answer<'_>]| clocks_off(answers).into_iter().map(|(n, ms)| (n.to_string(), ms)).collect();
        let expected: Vec<(String, i64)> = vec![("node-3".into(), DAY_MS)];
        let right = || among("node-1", &[("node-2", 40), ("node-3", DAY_MS)]);
        let wrong = || among("node-3", &[("node-1", -DAY_MS), ("node-2", 40 - DAY_MS)]);
        let found: Vec<_> = off(&[("a", Ok(right()))]);
        assert_eq!(found, expected);
        let found: Vec<_> = off(&[("c", Ok(wrong()))]);
        assert_eq!(found, [("node-3".to_owned(), DAY_MS - 40)]);
        assert_eq!(of_one(right()), ["the clock of node-3 is 1 day ahead, by most nodes' clocks: set it"]);
        assert!(of_one(among("node-1", &[("node-2", 4_999), ("node-3", -5_000)])).is_empty());
    }

    #[test]
    fn a_bundle_says_until_when_it_is_valid_and_warns_before() {
        let at = |until: Option<u64>| {
            let time = UnixMillis(1_000);
            NodeInfo { time, bundle_not_after: until.map(UnixMillis), ..node("node-1") }
        };
        assert_eq!(Validity::of(&at(None)), Validity::Endless);
        let long = at(Some(1_001 + EXPIRY_NEAR_MS));
        assert_eq!(Validity::of(&long).words(), "valid until 1970-01-08T00:00:01.001Z");
        let ending = at(Some(1_000 + 2 * DAY_MS as u64));
        assert!(Validity::of(&ending).words().ends_with("RENEW IT, only 2 days are left"));
        assert!(of_one(long).is_empty() && of_one(ending).is_empty());
        let over = at(Some(1_000));
        assert_eq!(of_one(over).len(), 1);
        assert!(of_one(at(Some(1)))[0].contains("the bundle of node-1 EXPIRED at 1970-01-01T00:00:00.001Z"));
    }

    #[test]
    fn all_is_well_only_if_all_answer_with_one_bundle_and_a_token_that_works() {
        let mut other = node("node-2");
        other.bundle_digest = Digest::of(b"another");
        let mut broken = node("node-2");
        broken.hsm.error = Some("the token is gone".into());
        let mut halved = node("node-2");
        halved.hsm.standby = Some(Box::new(broken.hsm.clone()));
        let away = ClientError::Deadline { endpoint: "b".into() };
        let reloaded = |fault: Option<&str>| {
            let mut node = node("node-2");
            node.work.reload = Some((UnixMillis(1), fault.map(str::to_owned)));
            node
        };
        let restored = NodeInfo { recovering: true, ..node("node-2") };
        for (second, trouble) in [
            (Ok(node("node-2")), ""),
            (Ok(other), "different policy bundles"),
            (Ok(broken), "a token of node-2 does not work"),
            (Ok(halved), "a token of node-2 does not work"),
            (Ok(restored), "node-2 was restored"),
            (Ok(reloaded(Some("node.pem is not valid now"))), "the last reload of node-2 was refused"),
            (Ok(reloaded(None)), ""),
            (Err(away), "b does not answer"),
        ] {
            let found = troubles(&[("a", Ok(node("node-1"))), ("b", second)]);
            assert_eq!(found.len(), usize::from(!trouble.is_empty()), "{found:?}");
            assert!(found.iter().all(|f| f.contains(trouble)), "{found:?}");
        }
    }
}
