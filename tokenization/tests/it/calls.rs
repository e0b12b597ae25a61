//! What clients ask for reads back, in one encoding only.

use tally_domain::digest::Digest;
use tally_domain::token::Token;
use tally_domain::{RequestId, Subject};
use tally_tokenization::call::{Call, Import, ROWS_MAX, TokenCall, commitment};
use tally_tokenization::change::{DomainChange, RotatedKey};
use tally_tokenization::pan::Form;

fn calls() -> Vec<Call> {
    let (token, card) = (Token::parse("tok_a").unwrap(), Digest([7; 32]));
    let import = Some(Import { id: RequestId([1; 16]), source: card });
    vec![
        Call::Tokenize { card },
        Call::Search { card },
        Call::Reveal { token: token.clone(), form: Form::Full },
        Call::Show { token: token.clone() },
        Call::Suspend { token: token.clone() },
        Call::Resume { token: token.clone() },
        Call::Delete { token },
        Call::DeleteSubject { subject: card },
        Call::TokenizeMany { rows_max: 1, import: None },
        Call::TokenizeMany { rows_max: ROWS_MAX, import },
        Call::RevealMany { rows_max: 5, form: Form::Masked },
    ]
}

#[test]
fn calls_and_changes_read_back_and_no_flipped_bit_reads_as_the_same() {
    let all = calls().into_iter().map(|call| TokenCall { purpose: "refund".into(), call });
    for call in all {
        let bytes = call.to_bytes();
        assert_eq!(TokenCall::from_bytes(&bytes).unwrap(), call);
        for at in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[at / 8] ^= 1 << (at % 8);
            assert!(TokenCall::from_bytes(&bad).map_or(true, |read| read != call && read.to_bytes() == bad));
        }
    }
    let keyed = RotatedKey::ALL.into_iter().flat_map(|key| {
        let (rotate, pause) = (DomainChange::Rotate(key), DomainChange::Pause(key));
        [rotate, pause, DomainChange::Continue(key), DomainChange::Retire(key, 3)]
    });
    let whole = [DomainChange::Shred, DomainChange::Suspend, DomainChange::Resume, DomainChange::Delete];
    for change in keyed.chain(whole) {
        assert_eq!(DomainChange::from_bytes(&change.to_bytes()), Ok(change));
    }
    // A key or a version that the change has no use for, and none where it has.
    for bad in [[8, 8, 16, 1].as_slice(), &[8, 1], &[8, 5, 16, 1], &[8, 1, 16, 1, 24, 1], &[8, 9], &[]] {
        assert!(DomainChange::from_bytes(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn what_is_out_of_range_is_named() {
    let call = |purpose: &str, call| TokenCall { purpose: purpose.into(), call }.to_bytes();
    for rows_max in [0, ROWS_MAX + 1] {
        assert!(TokenCall::from_bytes(&call("", Call::RevealMany { rows_max, form: Form::Full })).is_err());
    }
    let show = || Call::Show { token: Token::parse("t").unwrap() };
    for bad in ["a b", "ä", &"x".repeat(65)] {
        assert!(TokenCall::from_bytes(&call(bad, show())).is_err(), "{bad}");
    }
    assert_eq!(TokenCall::from_bytes(&call("", show())).unwrap().purpose, "");
}

#[test]
fn a_commitment_is_over_the_salt_the_card_and_the_subject() {
    let (salt, subject) = ([1; 32], Subject::parse("c-1").unwrap());
    let all = [
        commitment(&salt, b"4111", None),
        commitment(&[2; 32], b"4111", None),
        commitment(&salt, b"4112", None),
        commitment(&salt, b"4111", Some(&subject)),
        commitment(&salt, b"", Some(&subject)),
    ];
    assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
}
