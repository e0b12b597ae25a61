//! Policy bundles among nodes: whoever sees one tells every other, who fetches and checks it by itself; who was away learns
//! what became active before it takes part.

use crate::bundles::{self, BUNDLE_MAX_BYTES, Known, Standing};
use crate::convert;
use crate::lead_bundle;
use crate::node::Node;
use futures_util::future::join_all;
use prost::Message as _;
use std::sync::Arc;
use std::time::Duration;
use tally_domain::activation::{BundleCertificate, BundleName};
use tally_domain::boot::Statement;
use tally_domain::{Digest, NodeName, Reason, Refusal};
use tally_proto::v1;

/// How long a caller waits for the others to have heard, and for their votes: a node that is there checks a bundle in less.
const HEARING_MAX: Duration = Duration::from_secs(4);

/// Bytes of a bundle in one message between nodes, half of what such a message may be.
const PIECE_BYTES: usize = 128 * 1024;

/// Activations in one answer: their certificates are some KiB each.
const ACTIVATIONS_MAX: usize = 8;

/// Answers that one peer is asked for when this node catches up: some hundred versions, a year of weekly ones.
const ROUNDS_MAX: usize = 32;

/// Tries of something that ran into a change of bundles, with a pause in which nodes catch up: an activation takes
/// milliseconds at each of them.
const AGAIN_MAX: usize = 3;
const AGAIN_PAUSE: Duration = Duration::from_millis(100);

/// Tells every other node of a bundle and what became of it; gives who has it, and who has not yet.
///
/// # Errors
/// `BUNDLE_NOT_FOUND`, `STORAGE`.
pub async fn tell_all(node: &Arc<Node>, name: BundleName) -> Result<v1::Told, Refusal> {
    let has: Vec<_> = told_by_all(node, name).await?.into_iter().map(|(peer, _)| peer).collect();
    let bundle = node.bundle();
    let others = bundle.roster().nodes.iter().map(|n| &n.name).filter(|peer| *peer != node.name());
    let waiting = others.filter(|peer| !has.contains(peer)).map(ToString::to_string).collect();
    Ok(v1::Told { acknowledged: has.iter().map(ToString::to_string).collect(), waiting })
}

/// The votes of all other nodes that vote for a bundle now.
///
/// # Errors
/// `BUNDLE_NOT_FOUND`, `STORAGE`.
pub async fn ask_all(node: &Arc<Node>, name: BundleName) -> Result<Vec<(NodeName, Statement)>, Refusal> {
    let answers = told_by_all(node, name).await?;
    Ok(answers.into_iter().filter_map(|(peer, vote)| Some((peer, vote?))).collect())
}

async fn told_by_all(node: &Arc<Node>, name: BundleName) -> Result<Vec<(NodeName, Option<Statement>)>, Refusal> {
    let known = Arc::new(bundles::find(node, name)?.ok_or(Reason::BundleNotFound)?);
    let tellings = node.peers.by_reachability().into_iter().map(|peer| {
        let (node, known) = (node.clone(), known.clone());
        // Its own task: one that has not come to an end goes on.
        let work = tokio::spawn(async move { (peer.clone(), tell(&node, &known, &peer).await) });
        tokio::time::timeout(HEARING_MAX, work)
    });
    let answers = join_all(tellings).await.into_iter().filter_map(|answer| answer.ok()?.ok());
    let mut heard: Vec<_> = answers.filter_map(|(peer, answer)| Some((peer, answer.ok()?))).collect();
    heard.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(heard)
}

async fn tell(node: &Arc<Node>, known: &Known, peer: &NodeName) -> Result<Option<Statement>, Refusal> {
    let statement = |bytes: &Vec<u8>| Statement::decode(bytes.as_slice()).map_err(|_| Refusal::from(Reason::Tampered));
    let vetoes = known.vetoes.iter().map(|veto| statement(&veto.statement)).collect::<Result<Vec<_>, _>>()?;
    let request = v1::TellBundleRequest {
        version: known.row.bundle.version,
        digest: known.row.bundle.digest.0.to_vec(),
        vetoes: vetoes.iter().map(convert::statement_out).collect(),
        certificate: certificate(known)?
            .map(|c| c.votes.iter().map(convert::statement_out).collect())
            .unwrap_or_default(),
    };
    let answer = node.peers.call(peer, |mut p| async move { p.tell_bundle(request).await }).await.inspect_err(|r| {
        tracing::warn!(peer = %peer, bundle = %known.row.bundle, reason = r.reason.as_str(), "the peer does not take the bundle");
    })?;
    node.bundles.note_told(known.told(), peer);
    Ok(answer.vote.map(convert::statement_in))
}

fn certificate(known: &Known) -> Result<Option<BundleCertificate>, Refusal> {
    let decode = |(bytes, _): &(Vec<u8>, _)| BundleCertificate::decode(bytes.as_slice());
    known.row.activated.as_ref().map(decode).transpose().map_err(|_| Reason::Tampered.into())
}

/// Answers what a peer tells of a bundle: sees it, notes its vetoes, activates it, or votes for it if its time has come.
///
/// # Errors
/// As [`lead_bundle::seen`]; `PROTOCOL_VIOLATION`.
pub async fn told(
    node: &Arc<Node>,
    from: NodeName,
    request: v1::TellBundleRequest,
) -> Result<v1::TellBundleResponse, Refusal> {
    let bad = || Refusal::new(Reason::ProtocolViolation).with("round", "bundle");
    let digest = Digest::from_slice(&request.digest).ok_or_else(bad)?;
    let name = BundleName { version: request.version, digest };
    if request.vetoes.len().max(request.certificate.len()) > node.bundle().roster().nodes.len() {
        return Err(bad());
    }
    for veto in request.vetoes {
        lead_bundle::learn_veto(node, name, convert::statement_in(veto)).await?;
    }
    let mut news = false;
    if bundles::find(node, name)?.is_none() {
        let bytes = fetch(node, &from, digest).await?;
        match lead_bundle::seen(node, &bytes).await {
            // It may follow one that this node has not heard of, or a quorum knows better which of two it is.
            Err(refusal) if matches!(refusal.reason, Reason::BundleChain | Reason::BundleForked) => {
                catch_up(node, &from).await;
                if bundles::find(node, name)?.is_none() {
                    lead_bundle::seen(node, &bytes).await?;
                }
            }
            outcome => drop(outcome?),
        }
        news = true;
    }
    if !request.certificate.is_empty() {
        let certificate = convert::bundle_certificate_in(request.certificate);
        let bytes = bundles::bytes(node, &digest)?;
        match lead_bundle::activated(node, &bytes, &certificate).await {
            Err(behind) if behind.reason == Reason::BundleChain => catch_up(node, &from).await,
            outcome => drop(outcome?),
        }
        return Ok(v1::TellBundleResponse { vote: None });
    }
    if news {
        // Whoever told it may die before it has told everyone.
        spread(node);
    }
    let vote = lead_bundle::vote(node, name).await.ok();
    Ok(v1::TellBundleResponse { vote: vote.as_ref().map(convert::statement_out) })
}

async fn fetch(node: &Arc<Node>, peer: &NodeName, digest: Digest) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    while bytes.len() <= BUNDLE_MAX_BYTES {
        let offset = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let request = v1::FetchBundleRequest { digest: digest.0.to_vec(), offset };
        let piece = node.peers.call(peer, |mut p| async move { p.fetch_bundle(request).await }).await?.piece;
        if piece.is_empty() {
            return Ok(bytes);
        }
        bytes.extend(piece);
    }
    Err(Refusal::new(Reason::ProtocolViolation).with("round", "bundle"))
}

/// A piece of a bundle that this node keeps.
///
/// # Errors
/// `BUNDLE_NOT_FOUND`, `STORAGE`.
pub fn piece(node: &Node, request: &v1::FetchBundleRequest) -> Result<v1::FetchBundleResponse, Refusal> {
    let digest = Digest::from_slice(&request.digest).ok_or(Reason::BundleNotFound)?;
    let offset = usize::try_from(request.offset).unwrap_or(usize::MAX);
    let piece = bundles::bytes(node, &digest)?.into_iter().skip(offset).take(PIECE_BYTES).collect();
    Ok(v1::FetchBundleResponse { piece })
}

/// What became active here after a bundle, in order.
///
/// # Errors
/// `STORAGE`, `TAMPERED`.
pub fn activations(
    node: &Node,
    request: &v1::FetchActivationsRequest,
) -> Result<v1::FetchActivationsResponse, Refusal> {
    let mut known = bundles::all(node)?;
    known.retain(|known| known.row.activated.is_some());
    let (mut activations, mut after) = (Vec::new(), request.after.clone());
    while let Some(next) = known.iter().find(|k| k.row.previous.is_some_and(|p| p.0 == after.as_slice())) {
        let votes = certificate(next)?.map(|c| c.votes).unwrap_or_default();
        let BundleName { version, digest } = next.row.bundle;
        let certificate = votes.iter().map(convert::statement_out).collect();
        activations.push(v1::Activation { version, digest: digest.0.to_vec(), certificate });
        after = digest.0.to_vec();
        if activations.len() == ACTIVATIONS_MAX {
            break;
        }
    }
    Ok(v1::FetchActivationsResponse { activations })
}

/// Asks a peer what became active after this node's bundle, and activates it here.
pub async fn catch_up(node: &Arc<Node>, peer: &NodeName) {
    let _once = node.bundles.catching_up().await;
    for _ in 0..ROUNDS_MAX {
        match caught_up(node, peer).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(refusal) => {
                tracing::warn!(peer = %peer, reason = refusal.reason.as_str(), "the peer's bundles are not taken");
                return;
            }
        }
    }
}

/// One answer's worth; whether there is no more.
async fn caught_up(node: &Arc<Node>, peer: &NodeName) -> Result<bool, Refusal> {
    let request = v1::FetchActivationsRequest { after: node.bundle().digest().0.to_vec() };
    let answer = node.peers.call(peer, |mut p| async move { p.fetch_activations(request).await }).await?;
    let last = answer.activations.is_empty();
    for activation in answer.activations {
        let digest = Digest::from_slice(&activation.digest).ok_or(Reason::ProtocolViolation)?;
        let bytes = match bundles::bytes(node, &digest) {
            Ok(bytes) => bytes,
            Err(_) => fetch(node, peer, digest).await?,
        };
        let certificate = convert::bundle_certificate_in(activation.certificate);
        lead_bundle::activated(node, &bytes, &certificate).await?;
    }
    Ok(last)
}

/// Catches up with all peers that are there.
pub async fn catch_up_with_all(node: &Arc<Node>) {
    for peer in node.peers.by_reachability().into_iter().filter(|peer| node.peers.seen(peer).reachable) {
        catch_up(node, &peer).await;
    }
}

/// Tells peers that are there of what they have not been told since this start, and gathers votes for what is ready.
pub fn spread(node: &Arc<Node>) {
    let known = match bundles::all(node) {
        Ok(known) => known,
        Err(refusal) => return tracing::warn!(%refusal, "bundles are not told"),
    };
    for known in known.into_iter().filter(|k| k.standing.is_open() || k.standing == Standing::Vetoed) {
        let (node, name) = (node.clone(), known.row.bundle);
        tokio::spawn(async move {
            if known.standing == Standing::Ready {
                if let Err(refusal) = lead_bundle::collect(&node, name).await {
                    tracing::warn!(bundle = %name, reason = refusal.reason.as_str(), "the bundle is not active yet");
                }
                return;
            }
            for peer in node.peers.by_reachability() {
                if node.peers.seen(&peer).reachable && !node.bundles.is_told(known.told(), &peer) {
                    // A failure has been logged; the next round tries again.
                    let _ = tell(&node, &known, &peer).await;
                }
            }
        });
    }
}

/// Does something once more when another bundle has become the active one meanwhile, here or at a peer: what was decided
/// under the old one does not count any more.
///
/// # Errors
/// What it gives; `BUNDLE_MISMATCH` when nodes go on holding different bundles.
pub async fn again<T, Doing>(node: &Arc<Node>, doing: impl Fn() -> Doing) -> Result<T, Refusal>
where
    Doing: Future<Output = Result<T, Refusal>>,
{
    for _ in 0..AGAIN_MAX {
        match doing().await {
            Err(refusal) if refusal.reason == Reason::BundleMismatch => {
                catch_up_with_all(node).await;
                // Or the others are behind, and catch up with this node.
                tokio::time::sleep(AGAIN_PAUSE).await;
            }
            outcome => return outcome,
        }
    }
    doing().await
}
