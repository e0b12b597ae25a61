//! Files that operators write: a node's configuration, a token's capabilities; and the cursors that clients bring back.

use crate::target::Verdict;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;
use tally_client::testing::{profile, signing_key};
use tally_hsm_adapter::Profile;
use tally_hsm_adapter::doctor::{Finding, Order, Report, Verdict as Found};
use tally_node::config::Config;
use tally_node::testing::{cursor, rpc_key};

pub const WORDS: &[&str] = &[
    "[hsm]\n",
    "[tls]\n",
    "[policy]\n",
    "[rpc]\n",
    "[hsm.standby]\n",
    "[wrap]\n",
    "pin_fd = 7\n",
    "\"\"",
    "= \n",
    "'''",
    "0x",
    "mode = \"development\"\n",
    "node-1/",
    "ed25519:",
    "p256:",
    "https://",
    "endpoints = []\n",
    "99999999999999999999",
    "+",
    "..",
    "\u{0}",
];

/// The first byte says which: a configuration, capabilities, a cursor of node-1 whose log has 1,000 leaves, a client's profile,
/// or the file of a key.
pub fn file(bytes: &[u8]) -> Verdict {
    let Some((which, text)) = bytes.split_first() else { return Verdict::said("nothing") };
    let Ok(text) = std::str::from_utf8(text) else { return Verdict::said("no text") };
    match which {
        0 => {
            let read = Config::parse(text, Path::new("/etc/tally/node.toml"));
            if let Ok(config) = &read {
                let paths = [&config.data_dir, &config.tls.ca, &config.tls.cert, &config.tls.key, &config.hsm.module];
                assert!(
                    paths.iter().all(|path| path.is_absolute()),
                    "a path that depends on where the node is started"
                );
                assert!(config.hsm.pin().is_ok(), "no PIN, or two");
            }
            let said = read.as_ref().err().map(|e| format!("{e:#}"));
            assert!(said.as_ref().is_none_or(|said| said.contains("node.toml")), "{said:?} names no file");
            match (read, said) {
                (Ok(config), _) => Verdict::Read(format!("config {:?}", config.mode)),
                (Err(_), said) => Verdict::said(said.unwrap_or_default().lines().last().unwrap_or_default()),
            }
        }
        1 => {
            let read = Profile::parse(text);
            match read {
                Ok(profile) => Verdict::Read(format!("profile {}", profile.restart)),
                Err(error) => Verdict::said(error.to_string().lines().last().unwrap_or_default()),
            }
        }
        3 => {
            let path = Path::new("/home/me/profile.toml");
            let read = profile(text.as_bytes(), path);
            if let Ok(files) = &read {
                assert!(
                    files.len() >= 3 && files.iter().all(|file| file.is_absolute()),
                    "a path that depends on the place"
                );
            }
            let said = read.as_ref().err().map(ToString::to_string);
            assert!(said.as_ref().is_none_or(|said| said.contains("profile.toml")), "{said:?} names no file");
            match said {
                None => Verdict::Read("profile of a client".into()),
                Some(said) => Verdict::said(said.lines().last().unwrap_or_default()),
            }
        }
        4 => {
            // The client's reader of key files and the node's are two, of one form.
            let (read, again) = (signing_key(text.as_bytes()), rpc_key(text.as_bytes()));
            assert_eq!(read, again, "two readers");
            match read {
                Some(_) => Verdict::Read("key".into()),
                None => Verdict::said("no key"),
            }
        }
        5 => json::<Order>("order", text),
        6 => json::<Report>("report", text),
        _ => match cursor("node-1", text, 1_000) {
            Some(at) => {
                assert!(at <= 1_000 && (text.is_empty() || text.starts_with("node-1/")), "{text}");
                Verdict::Read("cursor".into())
            }
            None => Verdict::said("no cursor"),
        },
    }
}

/// What `tally hsm doctor` and the process that it starts tell each other: it is written again as what it was read as.
fn json<T: Serialize + DeserializeOwned>(what: &str, text: &str) -> Verdict {
    match serde_json::from_str::<T>(text) {
        Ok(read) => {
            let written = serde_json::to_string(&read).unwrap();
            let again = serde_json::from_str::<T>(&written).unwrap();
            assert_eq!(serde_json::to_string(&again).unwrap(), written, "another {what}");
            Verdict::Read(what.into())
        }
        Err(error) => Verdict::Refused(format!("{what} {:?}", error.classify())),
    }
}

pub fn files() -> Vec<Vec<u8>> {
    let config = "cluster = \"c\"\nname = \"node-1\"\nlisten = \"127.0.0.1:1\"\ndata_dir = \"d\"\nbundle_dir = \"b\"\n\
                  [tls]\nca = \"a\"\ncert = \"b\"\nkey = \"c\"\n\
                  [hsm]\nmodule = \"m.so\"\ntoken_label = \"a\"\ntoken_serial = \"1\"\npin_fd = 7\n";
    let profile = include_str!("../../hsm-adapter/profiles/softhsm-2.6.toml");
    let client = "tenant = \"acme\"\nclient = \"payouts\"\ncluster = \"c\"\nendpoints = [\"https://127.0.0.1:1\"]\n\
                  ca = \"a\"\ncert = \"b\"\nkey = \"c\"\nintent_key = \"d\"\n";
    let (ed25519, p256) = (format!("ed25519:{}\n", "0b".repeat(32)), format!("p256:{}", "0c".repeat(32)));
    let order = Order {
        module: "/m.so".into(),
        label: "a".into(),
        serial: None,
        pin_file: "/pin".into(),
        write_token_objects: true,
        dry_run: false,
        patience_s: 10,
    };
    let finding = Finding {
        check: "login".into(),
        verdict: Found::Failed,
        needed: true,
        what: "no".into(),
        todo: Some("go".into()),
    };
    let report = Report { findings: vec![finding], capability: None, usable: Some(false) };
    let (order, report) = (serde_json::to_string(&order).unwrap(), serde_json::to_string(&report).unwrap());
    let all = [
        (5, order.as_str()),
        (6, report.as_str()),
        (0, config),
        (1, profile),
        (2, "node-1/12"),
        (2, ""),
        (3, client),
        (4, ed25519.as_str()),
        (4, p256.as_str()),
    ];
    all.map(|(which, text)| [&[which], text.as_bytes()].concat()).into()
}
