//! What a node keeps on its disk, after somebody has changed it there: rows of its database, and card numbers beside tokens.

use crate::state::{domain, names, next, steps};
use crate::target::Verdict;
use std::cell::RefCell;
use std::sync::LazyLock;
use tally_domain::ports::store::StoreError;
use tally_domain::ports::store::tokens::Sealed;
use tally_domain::token::{DataKeyNumber, Token};
use tally_node::testing::{open_vault_row, vault_row};
use tally_store::testing::{Cell, Change, Rows, Seen};
use tally_tokenization::Pan;

/// Most changes at once: with more of them one hides what another does.
const CHANGES_MAX: usize = 4;

/// Where a change is (table, column, row), what kind it is, and how many bytes of value follow.
const CHANGE_HEAD: usize = 5;

pub const WORDS: &[&str] =
    &["node-1", "node-2,node-3", "acme", "active", "tok_", "4111", "\u{0}\u{0}\u{0}\u{1}", "all"];

thread_local! {
    static ROWS: RefCell<Rows> = RefCell::new(Rows::after(&steps()).unwrap());
}

static HONEST: LazyLock<String> = LazyLock::new(|| seen(&[]).unwrap().read.unwrap());

fn seen(changes: &[Change]) -> Option<Seen> {
    ROWS.with_borrow_mut(|rows| rows.seen(changes, &names(), &next()).unwrap())
}

/// Changes of cells. What is read afterwards can be read, or the error says that it is damaged and not that the disk is away.
pub fn rows(bytes: &[u8]) -> Verdict {
    let changes = changes(bytes);
    let Some(Seen { changed, read, followed }) = seen(&changes) else { return Verdict::said("no such value") };
    if let Err(error) = &followed {
        assert!(!error.to_string().is_empty());
    }
    let word = changed.first().cloned().unwrap_or_default();
    match read {
        Ok(read) => {
            assert!(!changes.is_empty() || read == *HONEST, "nothing was changed");
            let after = matches!(followed, Err(StoreError::Damaged { .. }));
            Verdict::Read(format!("{word} {after}"))
        }
        Err(StoreError::Damaged { what }) => {
            assert!(!changes.is_empty(), "{what}");
            Verdict::Refused(word)
        }
        Err(other) => panic!("{changed:?}: {other:?}"),
    }
}

fn changes(mut bytes: &[u8]) -> Vec<Change> {
    let mut all = Vec::new();
    while let Some(([table, column, row, kind, length], behind)) = bytes.split_first_chunk::<CHANGE_HEAD>() {
        let (value, behind) = behind.split_at(usize::from(*length).min(behind.len()));
        bytes = behind;
        let number = value.iter().take(8).fold(0_i64, |n, byte| n << 8 | i64::from(*byte));
        let to = match kind % 7 {
            0 => Cell::Same,
            1 => Cell::Null,
            2 => Cell::Number(number),
            3 => Cell::Number(-number),
            4 => Cell::Text(value.to_vec()),
            5 => Cell::Bytes(value.to_vec()),
            _ => Cell::Of(*length),
        };
        all.push(Change { table: *table, column: *column, row: *row, to });
        if all.len() == CHANGES_MAX {
            break;
        }
    }
    all
}

/// No change, and a place in every column.
pub fn examples() -> Vec<Vec<u8>> {
    let shape = ROWS.with_borrow(Rows::shape);
    let places = shape
        .into_iter()
        .enumerate()
        .flat_map(|(table, columns)| (0..columns).map(move |column| vec![table as u8, column as u8, 0, 0, 0]));
    [vec![]].into_iter().chain(places).collect()
}

const DATA_KEY: [u8; 32] = [0x5a; 32];
const PAN: &str = "4111111111111111";

fn holder() -> Token {
    Token::parse("tok_abcdefghijkl").unwrap()
}

static KEPT: LazyLock<Sealed> =
    LazyLock::new(|| vault_row(DATA_KEY, &domain(), &holder(), &Pan::parse(PAN.as_bytes()).unwrap()).unwrap());

/// A row of a hybrid domain: its token, its data key's number, its IV and what is encrypted. Only the one that was kept opens.
pub fn kept(bytes: &[u8]) -> Verdict {
    let Some((iv, rest)) = bytes.split_first_chunk::<12>() else { return Verdict::said("no IV") };
    let Some((key, rest)) = rest.split_first_chunk::<4>() else { return Verdict::said("no key") };
    let split = rest.iter().position(|byte| *byte == 0);
    let Some((name, ciphertext)) = split.map(|at| (&rest[..at], &rest[at + 1..])) else {
        return Verdict::said("no token");
    };
    let Some(token) = std::str::from_utf8(name).ok().and_then(|name| Token::parse(name).ok()) else {
        return Verdict::said("not a token");
    };
    let key = DataKeyNumber(u32::from_be_bytes(*key));
    let sealed = Sealed { key, iv: *iv, ciphertext: ciphertext.to_vec() };
    let same = sealed == *KEPT && token == holder();
    match open_vault_row(DATA_KEY, &domain(), &token, &sealed) {
        Some(pan) => {
            assert!(same, "a row that was not kept opens");
            assert_eq!(pan.expose(), PAN.as_bytes());
            Verdict::Read("kept".into())
        }
        None => {
            assert!(!same, "what was kept does not open");
            Verdict::Refused(format!("{} {}", key == KEPT.key, token == holder()))
        }
    }
}

pub fn kept_rows() -> Vec<Vec<u8>> {
    let Sealed { key, iv, ciphertext } = &*KEPT;
    vec![[iv.as_slice(), &key.0.to_be_bytes(), holder().as_str().as_bytes(), &[0], ciphertext].concat()]
}
