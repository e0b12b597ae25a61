//! `tally request watch`: which node is watched, and going on after it has been away.

use super::{line, to_json};
use crate::output::{Out, Shown, Usage};
use futures_util::future::join_all;
use serde_json::json;
use std::ops::ControlFlow;
use std::time::Duration;
use tally_client::{Client, ClientError, Exit, Watched};

/// Pause before a node that is away is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// Goes on after the node has been away: its cursors hold.
pub async fn run(client: &Client, out: Out, mut from: String, count: Option<u64>) -> anyhow::Result<Shown> {
    let mut away = Away { out, told: false };
    let one = found(client, &from, &mut away).await?;
    let mut left = count.unwrap_or(u64::MAX);
    loop {
        let cursor = from.clone();
        let told = one.watch_requests(&cursor, |watched: Watched| {
            from = watched.cursor;
            away.told = false;
            match watched.request {
                None => out.say(&format!("watching from {from}")),
                Some(request) => {
                    out.say(&line(&request));
                    out.json_line(&json!({ "cursor": from, "request": to_json(&request) }));
                    left = left.saturating_sub(1);
                }
            }
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        match told.await {
            Ok(()) if left == 0 => return Ok(Shown::nothing(Exit::Done)),
            Err(error) if !error.is_transient() => return Err(error.into()),
            Err(error) => away.note(&error.to_string()),
            Ok(()) => {}
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Says once for each time that a node is away that it is waited for.
struct Away {
    out: Out,
    told: bool,
}

impl Away {
    fn note(&mut self, why: &str) {
        if !std::mem::replace(&mut self.told, true) {
            self.out.note(&format!("{why}; it is asked again every second, until you stop this"));
        }
    }
}

/// Who an endpoint says that it is.
type Answer = (String, Result<String, ClientError>);

/// Which endpoint a cursor is of, or what to do while none is.
#[derive(Debug, PartialEq, Eq)]
enum Which {
    At(usize),
    /// It may be one of those that do not answer.
    Wait(String),
    /// All have answered, and it is none of them.
    None(String),
}

/// A client of the node that the cursor names; without a cursor of the first that answers.
async fn found(client: &Client, cursor: &str, away: &mut Away) -> anyhow::Result<Client> {
    loop {
        let endpoints: Vec<_> = client.endpoints().map(str::to_owned).collect();
        let all = (0..endpoints.len()).filter_map(|index| client.only(index));
        let names = all.map(async |one| one.once().node().await.map(|node| node.node.to_string()));
        let answers: Vec<Answer> = endpoints.into_iter().zip(join_all(names).await).collect();
        match which(cursor, &answers) {
            Which::At(index) => return Ok(client.only(index).unwrap_or_else(|| client.clone())),
            Which::None(why) => return Err(Usage(why).into()),
            Which::Wait(why) => match answers.into_iter().find_map(|(_, answer)| answer.err()) {
                Some(error) if !error.is_transient() => return Err(error.into()),
                _ => away.note(&why),
            },
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn which(cursor: &str, answers: &[Answer]) -> Which {
    let named = cursor.rsplit_once('/').map(|(name, _)| name);
    let is_it = |answer: &Answer| answer.1.as_ref().is_ok_and(|node| named.is_none_or(|name| name == node));
    if !cursor.is_empty() && named.is_none() {
        return Which::None("a cursor is a node's name, / and a number, such as node-1/0".into());
    }
    if let Some(index) = answers.iter().position(is_it) {
        return Which::At(index);
    }
    let away: Vec<_> = answers.iter().filter_map(|(_, answer)| Some(answer.as_ref().err()?.to_string())).collect();
    let names: Vec<_> = answers.iter().filter_map(|(_, answer)| answer.as_deref().ok()).collect();
    match named {
        _ if !away.is_empty() && names.is_empty() => Which::Wait(away.join("; ")),
        Some(name) if !away.is_empty() => {
            Which::Wait(format!("no endpoint that answers is {name}, whose cursor this is ({})", away.join("; ")))
        }
        named => Which::None(format!(
            "the cursor is of {}, and the profile's endpoints are {}; take a profile with that node, or begin anew without \
             --from or with {}/0",
            named.unwrap_or_default(),
            names.join(", "),
            names.first().unwrap_or(&"node-1"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(node: &str) -> Answer {
        (format!("https://{node}"), Ok(node.to_owned()))
    }

    fn away(node: &str) -> Answer {
        let what = "connection refused".to_owned();
        let endpoint = format!("https://{node}");
        (endpoint.clone(), Err(ClientError::Unreachable { endpoint, what }))
    }

    #[test]
    fn the_node_that_the_cursor_names_is_watched_wherever_it_stands_in_the_profile() {
        assert_eq!(which("node-2/0", &[away("node-1"), is("node-2")]), Which::At(1));
        assert_eq!(which("node-2/17", &[is("node-1"), is("node-2")]), Which::At(1));
        assert_eq!(which("", &[away("node-1"), is("node-2"), is("node-3")]), Which::At(1), "the first that answers");
    }

    #[test]
    fn what_is_waited_for_is_said_and_what_is_nowhere_is_refused() {
        let said = |cursor, answers: &[Answer]| format!("{:?}", which(cursor, answers));
        let waits = said("node-1/0", &[away("node-1"), is("node-2")]);
        assert!(waits.starts_with("Wait") && waits.contains("https://node-1 cannot be reached"), "{waits}");
        assert!(said("", &[away("node-1")]).starts_with("Wait(\"https://node-1 cannot be reached"));
        let nowhere = said("node-9/0", &[is("node-1"), is("node-2")]);
        assert!(nowhere.starts_with("None") && nowhere.contains("are node-1, node-2;"), "{nowhere}");
        assert!(said("node-9", &[is("node-1")]).contains("such as node-1/0"));
    }
}
