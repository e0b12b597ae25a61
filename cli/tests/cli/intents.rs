use crate::commands::TX;
use crate::world::{Stub, World};
use prost::Message as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tally_domain::dsse::SigningKey;
use tally_domain::{Intent, UnixMillis, intent};

const HOUR: Duration = Duration::from_secs(3_600);

#[test]
fn an_intent_whose_outcome_is_open_is_kept_and_sent_again_byte_for_byte() {
    let world = World::with_cluster(Stub::Ends);
    std::fs::write(world.path("tx.json"), TX).unwrap();
    let failed = world.client(&["sign", "hot", "--evm-tx", "tx.json", "--json"]);
    assert_eq!(failed.code, 5);
    let failed = failed.json();
    assert_eq!(failed["can_be_sent_again"], true);
    let id = failed["request_id"].as_str().unwrap();
    let kept = world.path("d/client/intents").join(id);
    let before = std::fs::read(&kept).unwrap();
    for _ in 0..2 {
        let again = world.client(&["sign", "hot", "--evm-tx", "tx.json", "--request-id", id]);
        assert_eq!(again.code, 5);
        assert!(again.stderr.contains(id));
        assert_eq!(std::fs::read(&kept).unwrap(), before);
    }
    // Bytes that this profile has not signed are not sent.
    std::fs::write(&kept, &before[..before.len() - 1]).unwrap();
    assert_eq!(world.client(&["sign", "hot", "--evm-tx", "tx.json", "--request-id", id]).code, 2);
}

/// Keeps a copy of a kept intent that expired so long ago.
fn expired(world: &World, kept: &[u8], name: &str, ago: Duration) -> PathBuf {
    let envelope = tally_domain::dsse::Envelope::decode(kept).unwrap();
    let mut body = Intent::read_unverified(&envelope).unwrap();
    let then = SystemTime::now() - ago;
    body.expires_at = UnixMillis(then.duration_since(UNIX_EPOCH).unwrap().as_millis() as u64);
    body.not_before = body.expires_at.minus(1_000);
    let line = std::fs::read_to_string(world.path("d/client/intent.key")).unwrap();
    let seed = hex::decode(line.trim().strip_prefix("ed25519:").unwrap()).unwrap();
    let sealed = SigningKey::ed25519(&seed.try_into().unwrap()).seal(intent::PAYLOAD_TYPE, body.to_bytes());
    file(world, name, &sealed.encode_to_vec(), ago)
}

fn file(world: &World, name: &str, bytes: &[u8], age: Duration) -> PathBuf {
    let path = world.path("d/client/intents").join(name);
    std::fs::write(&path, bytes).unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(SystemTime::now() - age).unwrap();
    path
}

#[test]
fn kept_intents_are_the_owners_alone_and_do_not_pile_up() {
    let world = World::with_cluster(Stub::Ends);
    std::fs::write(world.path("tx.json"), TX).unwrap();
    let sign = || world.client(&["sign", "hot", "--evm-tx", "tx.json", "--json"]).json();
    let first = world.path("d/client/intents").join(sign()["request_id"].as_str().unwrap());
    let dir = std::fs::metadata(world.path("d/client/intents")).unwrap();
    assert_eq!(dir.permissions().mode() & 0o777, 0o700);
    let kept = std::fs::read(&first).unwrap();

    let long_ago = expired(&world, &kept, &"01".repeat(16), 25 * HOUR);
    let yesterday = expired(&world, &kept, &"02".repeat(16), 23 * HOUR);
    let still_valid = file(&world, &"03".repeat(16), &kept, 48 * HOUR);
    let foreign = file(&world, "notes", b"what is this", 48 * HOUR);
    sign();
    assert!(!long_ago.exists());
    assert!([first, yesterday, still_valid, foreign].iter().all(|path| path.exists()));
}
