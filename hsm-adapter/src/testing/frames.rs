//! The frames between a node and its token's process, for those who try what is no frame.

use crate::wire::{self, Answer, Ask, Bytes, Hello, Made, Part, VaultAsk};
use serde::{Deserialize, Serialize};

/// All frames at the beginning of `bytes`, and whether nothing is behind them.
pub fn read_all(mut bytes: &[u8]) -> (Vec<(u64, Vec<u8>)>, bool) {
    let mut frames = Vec::new();
    loop {
        match wire::read(&mut bytes) {
            Ok(Some((id, body))) => frames.push((id, body.to_vec())),
            Ok(None) => return (frames, true),
            Err(_) => return (frames, false),
        }
    }
}

/// A frame with a body as it is.
pub fn written(id: u64, body: &[u8]) -> Vec<u8> {
    /// Bytes without a length before them.
    struct Raw<'a>(&'a [u8]);
    impl Serialize for Raw<'_> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeTuple as _;
            let mut tuple = serializer.serialize_tuple(self.0.len())?;
            self.0.iter().try_for_each(|byte| tuple.serialize_element(byte))?;
            tuple.end()
        }
    }
    wire::frame(id, &Raw(body)).map(|frame| frame.to_vec()).unwrap_or_default()
}

/// Reads a body as one of what passes, and writes it again.
pub fn reread(which: u8, body: &[u8]) -> Option<Vec<u8>> {
    match which {
        0 => again::<Hello>(body),
        1 => again::<Ask<'_>>(body),
        2 => again::<Answer<'_>>(body),
        3 => again::<Part<'_>>(body),
        _ => None,
    }
}

fn again<'a, T: Serialize + Deserialize<'a>>(body: &'a [u8]) -> Option<Vec<u8>> {
    wire::body::<T>(body).ok().and_then(|read| postcard::to_stdvec(&read).ok())
}

/// Bodies of each kind, with what they are read as.
pub fn examples() -> Vec<(u8, Vec<u8>)> {
    let made = Made { iv: [1; 12], ciphertext: Bytes(b"sealed") };
    let asks = [
        Ask::Seal { id: [1; 16], aad: Bytes(b"aad"), plaintext: Bytes(b"share") },
        Ask::Sign { id: [2; 16], scheme: 1, to_sign: Bytes(&[3; 32]) },
        Ask::ReplicateKek { id: [4; 16], transfer: Bytes(b"wrapped") },
        Ask::Vault(VaultAsk::Fingerprints { key: [5; 16], inputs: vec![Bytes(b"4111"), Bytes(b"")] }),
        Ask::Status,
    ];
    let answers = [
        Answer::Done,
        Answer::Bytes(Bytes(b"bytes")),
        Answer::Identity("ed25519:00".into()),
        Answer::DataKey { plaintext: Bytes(&[1; 32]), sealed: Bytes(b"sealed") },
        Answer::Two(Bytes(b"one"), Bytes(b"two")),
        Answer::Fingerprints(vec![[6; 32]; 2]),
        Answer::Sealed(vec![made]),
        Answer::Opened(vec![None, Some(Bytes(b"4111"))]),
        Answer::Pulse { hung: 1, stuck: false },
    ];
    let bytes = |which, body: Result<Vec<u8>, _>| body.ok().map(|body: Vec<u8>| (which, body));
    let asks = asks.iter().filter_map(|ask| bytes(1, postcard::to_stdvec(ask)));
    let answers = answers.iter().filter_map(|answer| bytes(2, postcard::to_stdvec(answer)));
    let part = bytes(3, postcard::to_stdvec(&Part::Bear { one: Bytes(b"one"), other: Bytes(b"other") }));
    asks.chain(answers).chain(part).collect()
}
