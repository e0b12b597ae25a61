use crate::files::Files;
use tally_client::{Client, ClientError, Exit, Order, Profile, ProfileError};
use tally_domain::KeyName;

fn some() -> Files {
    Files::new(&["https://127.0.0.1:7101".to_owned()])
}

fn refused(files: &Files) -> ProfileError {
    match Profile::load(&files.path()) {
        Ok(_) => panic!("the profile was accepted"),
        Err(e) => e,
    }
}

#[test]
fn a_profile_names_its_files_relative_to_itself() {
    let files = some();
    let profile = Profile::load(&files.path()).unwrap();
    assert_eq!(
        (profile.tenant.as_str(), profile.client.as_str(), profile.cluster.as_str()),
        ("acme", "payouts-1", "dev")
    );
    assert_eq!(profile.endpoints, ["https://127.0.0.1:7101"]);
}

#[test]
fn private_keys_that_others_can_read_are_refused() {
    for name in ["intent.key", "client.key"] {
        for mode in [0o644, 0o440, 0o604, 0o700, 0o666, 0o4600] {
            let files = some();
            let text = std::fs::read_to_string(files.dir.path().join(name)).unwrap();
            files.write(name, &text, mode);
            let error = refused(&files);
            assert!(matches!(error, ProfileError::Exposed { mode: m, .. } if m == mode), "{name} {mode:o}: {error}");
            assert!(error.to_string().contains("chmod 0400"));
        }
    }
}

#[test]
fn both_kinds_of_intent_key_load_and_anything_else_is_refused_without_showing_it() {
    for good in [format!("p256:{}", "09".repeat(32)), format!("ed25519:{}\n", "ff".repeat(32))] {
        let files = some();
        files.write("intent.key", &good, 0o600);
        assert!(Profile::load(&files.path()).is_ok());
    }
    let secret = "5ec2e7".repeat(10);
    for bad in [
        String::new(),
        secret.clone(),
        format!("ed25519:{secret}"),
        format!("rsa:{}", "07".repeat(32)),
        format!("p256:{}", "00".repeat(32)),
        format!("ed25519:{0}\ned25519:{0}\n", "07".repeat(32)),
    ] {
        let files = some();
        files.write("intent.key", &bad, 0o600);
        let error = refused(&files);
        assert!(matches!(error, ProfileError::IntentKey { .. }), "{bad:?}");
        assert!(!format!("{error} {error:?}").contains("5ec2e7"));
    }
}

#[tokio::test]
async fn whoever_only_approves_needs_no_intent_key_and_cannot_ask() {
    let files = some();
    let text = std::fs::read_to_string(files.path()).unwrap();
    files.write("profile.toml", &text.replace("intent_key = \"intent.key\"\n", ""), 0o644);
    let client = Client::new(Profile::load(&files.path()).unwrap()).unwrap();
    let error = client.seal(Order::sign_message(KeyName::parse("hot").unwrap(), b"hello".to_vec())).unwrap_err();
    assert!(matches!(error, ClientError::Order { field: "profile", .. }), "{error:?}");
    assert!(error.to_string().contains("intent_key"));
}

#[test]
fn endpoints_without_tls_unknown_fields_and_missing_files_are_refused() {
    let files = some();
    for endpoints in [vec![], vec!["http://127.0.0.1:1".to_owned()], vec!["https://a:1".to_owned(); 17]] {
        files.profile(&endpoints);
        assert!(matches!(refused(&files), ProfileError::Endpoints { .. }), "{endpoints:?}");
    }
    let files = some();
    let text = std::fs::read_to_string(files.path()).unwrap();
    files.write("profile.toml", &format!("{text}\ninsecure = true\n"), 0o644);
    assert!(matches!(refused(&files), ProfileError::Toml { .. }));
    let files = some();
    std::fs::remove_file(files.dir.path().join("ca.pem")).unwrap();
    assert!(matches!(refused(&files), ProfileError::Read { .. }));
}

#[tokio::test]
async fn certificates_that_are_none_are_a_usage_error() {
    let files = some();
    files.write("client.pem", "no certificate", 0o644);
    let error = tally_client::Client::new(Profile::load(&files.path()).unwrap()).err().expect("refused");
    assert_eq!(error.exit(), Exit::Usage, "{error}");
}
