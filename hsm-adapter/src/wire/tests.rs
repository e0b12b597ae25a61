use super::*;
use tally_domain::SecretBytes;
use tally_domain::ports::hsm::{BreakerState, HsmError, HsmStatus, Isolation, Latency, PinState};

fn answer_of<T: Carried>(result: &T) -> Vec<u8> {
    postcard::to_stdvec(&result.pack()).unwrap()
}

#[test]
fn frames_are_read_as_they_were_written_and_end_between_two() {
    let frames = [frame(7, &Ask::Status).unwrap(), frame(u64::MAX, &Answer::Bytes(Bytes(&[5; 300]))).unwrap()];
    let all = frames.iter().flat_map(|f| f.iter().copied()).collect::<Vec<_>>();
    let mut from = all.as_slice();
    let (id, first) = read(&mut from).unwrap().unwrap();
    assert!(id == 7 && matches!(body(&first), Ok(Ask::Status)));
    let (id, second) = read(&mut from).unwrap().unwrap();
    assert!(id == u64::MAX && outcome::<Vec<u8>>(&second).unwrap() == Ok(vec![5; 300]));
    assert!(read(&mut from).unwrap().is_none());
    for cut in (1..frames[0].len()).chain(frames[0].len() + 1..all.len()) {
        let mut from = &all[..cut];
        let last = std::iter::from_fn(|| read(&mut from).transpose()).last();
        assert!(last.is_some_and(|end| end.is_err()), "cut after {cut} bytes");
    }
}

#[test]
fn a_frame_that_is_too_long_or_too_short_is_not_read_and_not_written() {
    let too_long = u32::try_from(FRAME_MAX_BYTES + 1).unwrap();
    for length in [0, 7, too_long, u32::MAX] {
        let bytes = [&length.to_le_bytes()[..], &[0; 64]].concat();
        assert_eq!(read(&mut bytes.as_slice()).unwrap_err().kind(), ErrorKind::InvalidData, "{length}");
    }
    let most = vec![0; FRAME_MAX_BYTES];
    assert!(frame(1, &Answer::Bytes(Bytes(&most))).is_none());
    assert!(frame(1, &Answer::Bytes(Bytes(&most[..FRAME_MAX_BYTES - 100]))).is_some());
}

#[test]
fn a_body_has_one_meaning_and_nothing_after_it() {
    let whole = answer_of(&SecretBytes::new(b"secret".to_vec()));
    assert_eq!(outcome::<SecretBytes>(&whole).unwrap().unwrap().expose(), b"secret");
    for cut in 0..whole.len() {
        assert_eq!(outcome::<Vec<u8>>(&whole[..cut]), Err(Malformed));
    }
    assert_eq!(outcome::<Vec<u8>>(&[whole.as_slice(), &[0]].concat()), Err(Malformed));
    // An answer to another question.
    assert_eq!(outcome::<()>(&whole), Err(Malformed));
    assert_eq!(outcome::<Vec<u8>>(&answer_of(&())), Err(Malformed));
    assert!(outcome::<()>(&[0xff; 16]).is_err());
}

#[test]
fn errors_and_the_status_arrive_as_they_are() {
    let errors = [
        HsmError::Integrity,
        HsmError::KeyNotFound { what: "a".into() },
        HsmError::KeyExists { what: "b".into() },
        HsmError::Configuration { what: "c".into() },
        HsmError::PinRefused,
        HsmError::Device { operation: "C_Sign", code: "CKR_DEVICE_ERROR".into() },
        HsmError::Deadline { operation: "signing", started: true },
        HsmError::Deadline { operation: "signing", started: false },
        HsmError::Down { why: "d".into() },
        HsmError::Busy,
        HsmError::NotOffered { what: "e".into() },
    ];
    for error in errors {
        let bytes = postcard::to_stdvec(&Answer::Failed(WireError::from(&error))).unwrap();
        assert_eq!(outcome::<()>(&bytes).unwrap(), Err(error));
    }
    for (breaker, pin) in [
        (BreakerState::Closed, PinState::Good),
        (BreakerState::Open, PinState::CountLow),
        (BreakerState::HalfOpen, PinState::FinalTry),
        (BreakerState::Closed, PinState::Refused),
        (BreakerState::Closed, PinState::Locked),
    ] {
        let status = HsmStatus {
            module: "/m.so".into(),
            model: "ACME vault".into(),
            label: "node-1".into(),
            serial: "01".into(),
            hardware: "1.0".into(),
            firmware: "2.6".into(),
            cryptoki: "2.40".into(),
            isolation: Isolation::Process,
            process: None,
            restarts: 0,
            capabilities: "many".into(),
            sessions: 4,
            hung: 1,
            queued: 9,
            breaker,
            pin,
            fault: Some(HsmError::Busy),
            proven_ms_ago: Some(3),
            latencies: vec![Latency { operation: "signing", count: 8, p50_us: 10, p99_us: 90 }],
            standby: None,
        };
        assert_eq!(outcome::<HsmStatus>(&answer_of(&status)).unwrap().unwrap(), status);
    }
}

#[test]
fn what_does_not_read_is_refused_without_a_panic() {
    // Every small body, and bodies that claim long contents.
    for first in 0..=u8::MAX {
        for second in 0..=u8::MAX {
            for rest in [&[][..], &[0xff; 9], &[0; 40]] {
                let bytes = [&[first, second], rest].concat();
                drop(outcome::<HsmStatus>(&bytes));
                drop(body::<Ask<'_>>(&bytes));
                drop(body::<Hello>(&bytes));
            }
        }
    }
}
