//! `tally request`: what became of requests.

mod watch;

use crate::approve;
use crate::input;
use crate::output::{Out, Shown, field};
use crate::words::utc;
use serde_json::{Value, json};
use tally_client::{Client, RequestInfo, RequestState};
use tally_domain::{Action, ClientId, Reason, RequestId};

/// Most requests of one page; the nodes' own limit.
const PAGE_MAX: u32 = 200;

/// What can be taken back.
const CANCELLED: [Action; 2] = [Action::Sign, Action::Reveal];

/// What nodes say of a request that enough persons have approved.
const APPROVED: &str = "approved";

/// `tally request ...`
#[derive(Debug, clap::Subcommand)]
pub enum Request {
    /// One request, as the first node that knows it tells it.
    Show {
        /// 32 hex digits.
        #[arg(value_parser = input::request_id)]
        id: RequestId,
    },
    /// The newest requests.
    List {
        /// How many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Takes back a request of this profile's client, for good. What is signed stays signed.
    Cancel {
        /// 32 hex digits.
        #[arg(value_parser = input::request_id)]
        id: RequestId,
        /// Only show what would be taken back.
        #[arg(long)]
        dry_run: bool,
    },
    /// Requests as they change at one node, one line each, until you stop it.
    Watch {
        /// Goes on from a cursor that was shown before, at the node that it names; with a node's name and /0 from that node's
        /// first request on. Without it: what is new from now on at the first endpoint that answers.
        #[arg(long, value_name = "CURSOR", default_value = "")]
        from: String,
        /// Stops after so many.
        #[arg(long)]
        count: Option<u64>,
    },
}

impl Request {
    /// Runs it.
    pub async fn run(self, client: &Client, out: Out) -> anyhow::Result<Shown> {
        match self {
            Self::Show { id } => {
                let request = client.find_request(id).await?;
                Ok(Shown::done(record(&request), to_json(&request)))
            }
            Self::Cancel { id, dry_run: true } => {
                let request = client.find_request(id).await?;
                Ok(planned(&request, &client.profile().client))
            }
            Self::Cancel { id, dry_run: false } => Ok(cancelled(&client.cancel_request(id).await?)),
            Self::List { limit } => list(client, limit).await,
            Self::Watch { from, count } => watch::run(client, out, from, count).await,
        }
    }
}

fn cancelled(request: &RequestInfo) -> Shown {
    let head = "CANCELLED: nobody can sign it any more";
    Shown::done(format!("{head}\n{}", record(request)), with(request, json!({ "verdict": "cancelled" })))
}

/// What `tally request cancel` would make of it, for this client.
fn planned(request: &RequestInfo, me: &ClientId) -> Shown {
    let (would, head) = match &request.state {
        _ if request.client != *me => (false, format!("it is of {}, who alone can cancel it", request.client)),
        RequestState::Completed(_) => (false, "it is done, and stays so".into()),
        RequestState::Refused(word) if word == Reason::Cancelled.as_str() => (false, "it is cancelled already".into()),
        _ if !CANCELLED.iter().any(|action| action.as_str() == request.action) => {
            (false, format!("{} is nothing that can be cancelled", request.action))
        }
        RequestState::Received | RequestState::AwaitingApproval(_) | RequestState::Refused(_) => {
            (true, "would be cancelled, for good: nobody could sign it any more".into())
        }
    };
    let plan = json!({ "verdict": "nothing cancelled", "dry_run": true, "would_cancel": would });
    Shown::done(format!("{head}\n{}", record(request)), with(request, plan))
}

/// A request as JSON, and more of it.
fn with(request: &RequestInfo, more: Value) -> Value {
    let mut document = to_json(request);
    if let (Value::Object(members), Value::Object(more)) = (&mut document, more) {
        members.extend(more);
    }
    document
}

async fn list(client: &Client, limit: u32) -> anyhow::Result<Shown> {
    let limit_all = usize::try_from(limit).unwrap_or(usize::MAX);
    let (mut requests, mut page) = (Vec::new(), None);
    while requests.len() < limit_all {
        let answer = client.requests(limit.min(PAGE_MAX), page.as_deref()).await?;
        // A page token that leads nowhere must not keep us here.
        let was_empty = answer.requests.is_empty();
        requests.extend(answer.requests);
        page = answer.next;
        if page.is_none() || was_empty {
            break;
        }
    }
    requests.truncate(limit_all);
    let lines: Vec<_> = requests.iter().map(line).collect();
    let text = if lines.is_empty() { "no requests".into() } else { lines.join("\n") };
    Ok(Shown::done(text, json!({ "requests": requests.iter().map(to_json).collect::<Vec<_>>() })))
}

fn line(r: &RequestInfo) -> String {
    let (key, client) = (r.key.as_str(), r.client.as_str());
    format!("{}  {:<17} {key:<16} {client:<16} {}", r.request_id, r.action, word(&r.state))
}

fn word(state: &RequestState) -> String {
    match state {
        RequestState::Received => "received".into(),
        RequestState::AwaitingApproval(Some(pending)) if pending.state == APPROVED => "approved, not signed yet".into(),
        RequestState::AwaitingApproval(_) => "awaiting approval".into(),
        RequestState::Refused(reason) => format!("refused {reason}"),
        RequestState::Completed(_) => "completed".into(),
    }
}

/// What is true of a request that a node has taken up, and neither refused nor done since: whatever it was refused for before.
const OPEN: &str = "The request has no result yet: it is worked on at this moment, or the last try ended without one because \
                    nodes were away. Sent again with the same id it goes on.";

/// What a state means; nothing for a refusal's word of another version.
fn why(state: &RequestState) -> Option<&'static str> {
    match state {
        RequestState::Refused(word) => Reason::parse(word).map(Reason::sentence),
        RequestState::Received => Some(OPEN),
        RequestState::AwaitingApproval(_) | RequestState::Completed(_) => None,
    }
}

fn record(r: &RequestInfo) -> String {
    let mut lines = vec![format!("request {}", r.request_id), field("state", word(&r.state))];
    lines.extend(why(&r.state).map(|sentence| field("why", sentence)));
    lines.extend([
        field("action", &r.action),
        field("key", &r.key),
        field("tenant", &r.tenant),
        field("client", &r.client),
        field("intent digest", r.intent_digest),
        field("received", utc(r.received_at)),
        field("updated", utc(r.updated_at)),
    ]);
    lines.extend(approve::said_lines(&r.said));
    if let RequestState::AwaitingApproval(Some(pending)) = &r.state {
        lines.extend(approve::pending_lines(pending));
    }
    if let RequestState::Completed(Some(signed)) = &r.state {
        lines.push(field("rule", &signed.rule));
        lines.push(field("public key", hex::encode(&signed.public_key)));
        lines.push(field("signature", hex::encode(&signed.signature)));
        if !signed.signed_payload.is_empty() {
            lines.push(field("raw transaction", format!("0x{}", hex::encode(&signed.signed_payload))));
        }
    }
    lines.join("\n")
}

fn to_json(r: &RequestInfo) -> Value {
    let pending = match &r.state {
        RequestState::AwaitingApproval(pending) => pending.as_deref(),
        RequestState::Received | RequestState::Refused(_) | RequestState::Completed(_) => None,
    };
    let (state, reason, signed) = match &r.state {
        RequestState::Received => ("received", None, None),
        RequestState::AwaitingApproval(Some(pending)) if pending.state == APPROVED => {
            ("approved", pending.reason.as_ref(), None)
        }
        RequestState::AwaitingApproval(_) => ("awaiting_approval", None, None),
        RequestState::Refused(reason) => ("refused", Some(reason), None),
        RequestState::Completed(signed) => ("completed", None, signed.as_deref()),
    };
    json!({
        "request_id": r.request_id.to_string(), "state": state, "reason": reason,
        "sentence": why(&r.state), "said": approve::said_json(&r.said),
        "pending": pending.map(approve::to_json), "action": r.action,
        "key": r.key.as_str(), "tenant": r.tenant.as_str(), "client": r.client.as_str(),
        "intent_digest": r.intent_digest.to_string(), "received_at": utc(r.received_at),
        "received_at_ms": r.received_at.0, "updated_at": utc(r.updated_at), "updated_at_ms": r.updated_at.0, "result": signed.map(crate::sign::to_json),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tally_domain::{Digest, KeyName, Tenant, UnixMillis};

    fn request(state: RequestState) -> RequestInfo {
        RequestInfo {
            tenant: Tenant::parse("acme").unwrap(),
            request_id: RequestId([1; 16]),
            client: ClientId::parse("payouts-1").unwrap(),
            key: KeyName::parse("hot").unwrap(),
            action: "sign".into(),
            intent_digest: Digest::of(b"intent"),
            state,
            received_at: UnixMillis(1_795_298_460_000),
            updated_at: UnixMillis(1_795_298_460_007),
            said: Vec::new(),
        }
    }

    #[test]
    fn what_would_be_cancelled_is_said_before_it_is() {
        let me = ClientId::parse("payouts-1").unwrap();
        let refused = |word: &str| RequestState::Refused(word.into());
        let made = RequestInfo { action: "create_key".into(), ..request(RequestState::Received) };
        let theirs = RequestInfo {
            client: ClientId::parse("payouts-2").unwrap(),
            ..request(RequestState::AwaitingApproval(None))
        };
        for (request, would, part) in [
            (request(RequestState::AwaitingApproval(None)), true, "would be cancelled, for good"),
            (request(RequestState::Received), true, "would be cancelled"),
            (request(refused("POLICY_DENIED")), true, "would be cancelled"),
            (request(refused("CANCELLED")), false, "is cancelled already"),
            (request(RequestState::Completed(None)), false, "it is done"),
            (made, false, "create_key is nothing that can be cancelled"),
            (theirs, false, "it is of payouts-2"),
        ] {
            let shown = format!("{:?}", planned(&request, &me));
            assert!(shown.contains(part) && shown.contains("01010101"), "{shown}");
            assert!(shown.contains(&format!("\"would_cancel\": Bool({would})")), "{shown}");
        }
        let shown = format!("{:?}", cancelled(&request(refused("CANCELLED"))));
        for part in ["CANCELLED: nobody can sign", Reason::Cancelled.sentence(), "\"verdict\": String(\"cancelled\")"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
    }

    #[test]
    fn a_refused_request_is_shown_with_the_reasons_sentence_and_times_in_utc() {
        let request = request(RequestState::Refused("POLICY_DENIED".into()));
        let text = record(&request);
        assert!(text.contains(Reason::PolicyDenied.sentence()), "{text}");
        assert!(text.contains("2026-11-21T22:01:00.000Z") && text.contains("2026-11-21T22:01:00.007Z"), "{text}");
        assert_eq!(to_json(&request)["sentence"], Reason::PolicyDenied.sentence());
        let newer = RequestInfo { state: RequestState::Refused("OF_A_LATER_VERSION".into()), ..request };
        assert!(!record(&newer).contains("why") && to_json(&newer)["sentence"].is_null());
        let open = RequestInfo { state: RequestState::Received, ..newer };
        assert!(record(&open).contains("no result yet") && !record(&open).contains("refused"), "{}", record(&open));
    }
}
