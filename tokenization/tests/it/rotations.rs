//! Rotations go forward only, can wait, and go on from what was written down.

use crate::helpers::acme;
use proptest::prelude::*;
use tally_domain::UnixMillis;
use tally_domain::ports::store::tokens::{CursorWrite, Rotated, RotationRow, RotationState};
use tally_domain::token::Token;
use tally_tokenization::rotation::{Backwards, Rotation, Running};

const AT: UnixMillis = UnixMillis(5);

fn row(state: RotationState, after: Option<&str>) -> RotationRow {
    let after = after.map(|text| Token::parse(text).unwrap());
    RotationRow { what: Rotated::DataKey, to: 2, state, after, done: 0, shred: false, updated_at: UnixMillis(0) }
}

fn running(after: Option<&str>) -> Running {
    match Rotation::of(acme(), row(RotationState::Running, after)) {
        Rotation::Running(running) => running,
        other => panic!("{other:?}"),
    }
}

fn token(text: &str) -> Token {
    Token::parse(text).unwrap()
}

#[test]
fn a_page_moves_the_cursor_and_says_what_to_write() {
    let (running, write) = running(None).page(token("b"), 2, AT).unwrap();
    assert_eq!(running.after(), Some(&token("b")));
    let expected =
        CursorWrite::Rotated { domain: acme(), what: Rotated::DataKey, after: token("b"), tokens: 2, at: AT };
    assert_eq!(write, expected);
    assert_eq!(running.page(token("b"), 1, AT), Err(Backwards));
}

#[test]
fn it_waits_goes_on_and_ends() {
    let (paused, write) = running(Some("m")).pause(AT);
    let set = |state| CursorWrite::SetRotation { domain: acme(), what: Rotated::DataKey, state, at: AT };
    assert_eq!(write, set(RotationState::Paused));
    let (running, write) = paused.resume(AT);
    assert_eq!((running.after(), write), (Some(&token("m")), set(RotationState::Running)));
    let (finished, write) = running.finish(AT);
    assert_eq!((finished.to(), write), (2, set(RotationState::Finished)));
}

#[test]
fn what_was_stored_is_what_goes_on() {
    for state in [RotationState::Running, RotationState::Paused, RotationState::Finished] {
        assert_eq!(Rotation::of(acme(), row(state, Some("x"))).row(), &row(state, Some("x")));
    }
}

proptest! {
    /// Pages of any size, with stops anywhere: every token is done once.
    #[test]
    fn every_token_is_done_once(tokens in prop::collection::btree_set("[a-z]{1,4}", 0..60), sizes in prop::collection::vec(1_usize..9, 60)) {
        let (mut stored, mut done) = (row(RotationState::Running, None), Vec::new());
        for size in sizes {
            let running = match Rotation::of(acme(), stored.clone()) {
                Rotation::Running(running) => running,
                _ => break,
            };
            let behind = |text: &&String| running.after().is_none_or(|after| token(text) > *after);
            let page: Vec<_> = tokens.iter().filter(behind).take(size).cloned().collect();
            stored = match page.last() {
                None => Rotation::Finished(running.finish(AT).0).row().clone(),
                Some(last) => {
                    let next = running.page(token(last), u32::try_from(page.len()).unwrap(), AT).unwrap().0;
                    Rotation::Running(next).row().clone()
                }
            };
            done.extend(page);
        }
        prop_assert_eq!(stored.done, done.len() as u64);
        if stored.state == RotationState::Finished {
            prop_assert!(done.iter().eq(tokens.iter()));
        }
    }
}
