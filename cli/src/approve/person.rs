//! Whose key a command was given, and what that person has said before.

use super::agree::Agreed;
use std::collections::BTreeMap;
use tally_client::{ClientError, Code, Refused, SaidInfo};
use tally_domain::approval::Verdict;
use tally_domain::dsse::VerifyingKey;
use tally_domain::{PersonName, Reason};

/// A person who may decide, and what they have said.
#[derive(Debug)]
pub enum Person {
    /// Nothing yet, or not this.
    Asked(PersonName),
    /// This very thing, with this very key.
    Heard(Box<SaidInfo>),
}

/// Whose key it is, as the nodes say: a wrong name would only make a signature that counts for nothing.
///
/// # Errors
/// `APPROVAL_INITIATOR`, `NOT_AN_APPROVER`; `ALREADY_APPROVED` when the person has approved with another of their keys.
pub fn of(agreed: &Agreed, key: &VerifyingKey, verdict: Verdict) -> Result<Person, ClientError> {
    let shown = &agreed.shown;
    let owner = |all: &[(PersonName, Vec<VerifyingKey>)]| {
        all.iter().find(|(_, keys)| keys.contains(key)).map(|(person, _)| person.clone())
    };
    if let Some(person) = owner(&shown.initiators) {
        let facts = [("person", person.to_string()), ("operates", shown.client.to_string())];
        return Err(refused(agreed, Reason::ApprovalInitiator, Code::PermissionDenied, facts));
    }
    let Some(person) = owner(&shown.approvers) else {
        let asked: Vec<_> = shown.approvers.iter().map(|(person, _)| person.as_str()).collect();
        let facts = [("key", key.to_string()), ("asked", asked.join(", "))];
        return Err(refused(agreed, Reason::NotAnApprover, Code::PermissionDenied, facts));
    };
    let Some(before) = agreed.said.iter().find(|s| s.person == person && s.verdict == word(verdict)) else {
        return Ok(Person::Asked(person));
    };
    match &before.key {
        Some(other) if other != key && verdict == Verdict::Approve => {
            let facts = [("person", person.to_string()), ("at", before.at.to_string())];
            Err(refused(agreed, Reason::AlreadyApproved, Code::AlreadyExists, facts))
        }
        _ => Ok(Person::Heard(Box::new(before.clone()))),
    }
}

/// What a person has said, as nodes call it.
pub fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Approve => "approved",
        Verdict::Reject => "rejected",
    }
}

/// What a node would answer, without asking it.
fn refused<const N: usize>(agreed: &Agreed, reason: Reason, code: Code, facts: [(&str, String); N]) -> ClientError {
    let metadata: BTreeMap<_, _> = facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let endpoint = agreed.endpoint.clone();
    ClientError::Refused(Box::new(Refused { endpoint, reason, code, metadata, retry_after: None }))
}

#[cfg(test)]
mod tests {
    use super::super::agree::tests::{agreed_on, told};
    use super::*;
    use tally_domain::UnixMillis;
    use tally_domain::dsse::SigningKey;

    fn key(seed: u8) -> VerifyingKey {
        SigningKey::ed25519(&[seed; 32]).verifying_key()
    }

    fn name(name: &str) -> PersonName {
        PersonName::parse(name).unwrap()
    }

    /// carol operates the client; alice has two keys and has approved with the first one.
    fn request() -> Agreed {
        agreed_on(told("node-1", "pay bob"), |p| {
            p.initiators = vec![(name("carol"), vec![key(3)])];
            p.approvers = vec![(name("alice"), vec![key(1), key(11)]), (name("bob"), vec![key(2)])];
            let at = UnixMillis(1_795_298_460_000);
            p.said = vec![SaidInfo { person: name("alice"), verdict: "approved".into(), at, key: Some(key(1)) }];
        })
    }

    fn why(seed: u8) -> Refused {
        of(&request(), &key(seed), Verdict::Approve).unwrap_err().refused().unwrap().clone()
    }

    #[test]
    fn s_2_2_13_who_asks_does_not_decide_and_is_told_so() {
        let carol = why(3);
        assert_eq!((carol.reason, &*carol.metadata["person"]), (Reason::ApprovalInitiator, "carol"));
        assert_eq!(carol.metadata["operates"], "payouts-1");
        let stranger = why(9);
        assert_eq!((stranger.reason, &*stranger.metadata["asked"]), (Reason::NotAnApprover, "alice, bob"));
    }

    #[test]
    fn a_person_counts_once_and_is_told_since_when() {
        let again = of(&request(), &key(1), Verdict::Approve).unwrap();
        assert!(matches!(again, Person::Heard(said) if said.at.to_string() == "2026-11-21T22:01:00.000Z"));
        let other_key = why(11);
        assert_eq!((other_key.reason, &*other_key.metadata["person"]), (Reason::AlreadyApproved, "alice"));
        assert_eq!(other_key.metadata["at"], "2026-11-21T22:01:00.000Z");
        // Whoever has approved may still reject, with any key.
        assert!(matches!(of(&request(), &key(11), Verdict::Reject), Ok(Person::Asked(_))));
        assert!(matches!(of(&request(), &key(2), Verdict::Approve), Ok(Person::Asked(_))));
    }
}
