//! What the generated code and the descriptor set promise to the crates that use them.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests fail loudly")]

use prost::Message as _;
use prost_types::FileDescriptorSet;
use tally_proto::{FILE_DESCRIPTOR_SET, v1};

#[test]
fn the_descriptor_set_names_every_service() {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let mut services: Vec<&str> = set.file.iter().flat_map(|f| &f.service).map(|s| s.name()).collect();
    services.sort_unstable();
    let expected = [
        "ApprovalService",
        "AuditService",
        "FreezeService",
        "KeyService",
        "KeyWrapService",
        "LimitService",
        "NodeService",
        "PeerService",
        "PolicyService",
        "SigningService",
        "TokenService",
    ];
    assert_eq!(services, expected);
    assert_eq!(v1::signing_service_server::SERVICE_NAME, "tally.v1.SigningService");
}

/// DESIGN.md section 3: what a client signs contains no map and no float, so that one meaning has one encoding.
#[test]
fn no_message_has_a_map_or_a_float() {
    use prost_types::field_descriptor_proto::Type;
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let messages: Vec<_> =
        set.file.iter().filter(|f| f.package() == "tally.v1").flat_map(|f| &f.message_type).collect();
    assert!(messages.len() > 10);
    for message in messages {
        assert!(
            message.nested_type.iter().all(|n| !n.options.as_ref().is_some_and(|o| o.map_entry())),
            "{}",
            message.name()
        );
        for field in &message.field {
            assert!(![Type::Float, Type::Double].contains(&field.r#type()), "{}.{}", message.name(), field.name());
        }
    }
}

/// Nodes refuse an intent whose encoding is not the one that this code makes: ascending fields, packed path, no defaults.
#[test]
fn an_intent_body_has_the_canonical_encoding() {
    let body = v1::IntentBody { tenant: "a".into(), action: 1, path: vec![0, 300], ..Default::default() };
    assert_eq!(body.encode_to_vec(), [0x12, 1, b'a', 0x20, 1, 0x32, 3, 0, 0xac, 2]);
}
