//! What passes between a node and the process of its token's module: either may be the one that is broken.

use crate::target::Verdict;
use tally_hsm_adapter::testing::frames;

/// Reads frames to the end, or to where they stop being any.
pub fn stream(bytes: &[u8]) -> Verdict {
    let (read, whole) = frames::read_all(bytes);
    let written: Vec<u8> = read.iter().flat_map(|(id, body)| frames::written(*id, body)).collect();
    assert!(bytes.starts_with(&written), "another encoding");
    assert_eq!(whole, written.len() == bytes.len(), "bytes that are no frame were passed over");
    if whole { Verdict::Read(format!("{} frames", read.len().min(4))) } else { Verdict::refused(&read.len().min(4)) }
}

/// Two frames, and none.
pub fn streams() -> Vec<Vec<u8>> {
    let all = bodies().into_iter().take(2).flat_map(|body| frames::written(7, &body[1..])).collect();
    vec![all, Vec::new()]
}

/// The first byte says what the rest is read as. What is read is written as no more bytes, and those have one reading.
pub fn body(bytes: &[u8]) -> Verdict {
    let Some((which, body)) = bytes.split_first() else { return Verdict::said("nothing") };
    let Some(again) = frames::reread(*which, body) else { return Verdict::Refused(format!("not a {which}")) };
    assert!(again.len() <= body.len(), "{which} grows");
    assert_eq!(frames::reread(*which, &again).as_ref(), Some(&again), "{which} has two readings");
    // Which question, which answer: the number of the variant.
    Verdict::Read(format!("{which} {:?}", again.first()))
}

/// What a node asks and its token's process answers.
pub fn bodies() -> Vec<Vec<u8>> {
    frames::examples().into_iter().map(|(which, body)| [&[which], body.as_slice()].concat()).collect()
}
