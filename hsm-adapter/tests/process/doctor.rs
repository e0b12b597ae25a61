//! Examining a token that a user brings: what is found, what is left as it was, and modules that crash, hang and lie.

use crate::world::{World, wait};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tally_domain::SecretBytes;
use tally_domain::ports::hsm::{Hsm as _, SealingKeyId};
use tally_hsm_adapter::doctor::{Finding, Order, Report, Verdict};
use tally_hsm_adapter::testing::SoftHsmToken;
use tally_hsm_adapter::{Profile, RemoteConfig, RemoteHsm};

fn order(world: &World) -> Order {
    Order {
        module: world.config.module.clone(),
        label: world.token.label.clone(),
        serial: None,
        pin_file: world.token.pin_file.clone(),
        write_token_objects: true,
        dry_run: false,
        patience_s: 60,
    }
}

fn examined(world: &World, order: &Order) -> Report {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hsmd"))
        .arg("doctor")
        .envs(&world.config.env)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    serde_json::to_writer(child.stdin.take().unwrap(), order).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

fn of<'a>(report: &'a Report, check: &str) -> Vec<&'a Finding> {
    report.findings.iter().filter(|f| f.check == check).collect()
}

/// The objects that SoftHSM keeps, file by file. Its file of the token itself changes with every login.
fn stored(world: &World) -> Vec<(PathBuf, Vec<u8>)> {
    fn walk(dir: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => walk(&path, found),
                false if path.extension().is_some_and(|e| e == "object") && !path.ends_with("token.object") => {
                    found.push((path.clone(), std::fs::read(&path).unwrap()));
                }
                false => {}
            }
        }
    }
    let mut found = Vec::new();
    walk(&world.dir.path().join("tokens"), &mut found);
    found.sort();
    found
}

#[test]
fn a_good_token_is_found_good_its_keys_are_left_alone_and_the_file_can_be_used() {
    let world = World::new();
    let key = SealingKeyId([1; 16]);
    let sealed = {
        let hsm = world.provisioned();
        wait(hsm.create_sealing_key(key)).unwrap();
        wait(hsm.seal(key, vec![], SecretBytes::new(b"share".to_vec()))).unwrap()
    };
    let before = stored(&world);
    let report = examined(&world, &order(&world));
    assert_eq!(report.usable, Some(true), "{:#?}", report.findings);
    assert!(stored(&world) == before && before.len() == 3, "the token is not as it was");

    // What is known of SoftHSM 2.6 (its issues 305, 690, 726), seen.
    for (check, verdict, words) in [
        ("info", Verdict::Ok, "firmware 2.6"),
        ("AES defaults", Verdict::Differs, "Sensitive(false)"),
        ("AES-GCM vector", Verdict::Ok, "McGrew"),
        ("AES-GCM wrong tag", Verdict::Differs, "CKR_GENERAL_ERROR"),
        ("AES-GCM empty IV", Verdict::Differs, "accepted"),
        ("AES-KW lengths", Verdict::Differs, "must not have a length"),
        ("AES-KW vector", Verdict::Ok, "RFC 3394"),
        ("AES-KW odd length", Verdict::Differs, "20 bytes become 32"),
        ("AES-KWP number", Verdict::NotOffered, "0x210b"),
        ("HMAC-SHA-256", Verdict::Differs, "a key of 4 bytes is refused"),
        ("Ed25519", Verdict::Ok, "16 signatures verify"),
        ("RSA-PSS 3072", Verdict::Ok, "16 signatures verify"),
        ("EXTRACTABLE", Verdict::Ok, ""),
        ("MODIFIABLE", Verdict::Ok, ""),
        ("mechanism kept", Verdict::Ok, ""),
        ("equal ids", Verdict::Differs, ""),
        ("sessions", Verdict::Ok, ""),
        ("stored keys", Verdict::Ok, ""),
        ("start anew", Verdict::Ok, ""),
    ] {
        let finding = of(&report, check)[0];
        assert!(finding.verdict == verdict && finding.what.contains(words), "{finding:?}");
    }
    let capability = report.capability.unwrap();
    let profile = Profile::parse(&capability).unwrap();
    assert_eq!((profile.kwp_mechanism, profile.run), (Some(0x210a), false), "{capability}");
    let hsm = RemoteHsm::connect(RemoteConfig { profile: Some(profile), ..world.config.clone() }).unwrap();
    assert_eq!(wait(hsm.open(key, vec![], sealed)).unwrap().expose(), b"share");
    assert!(wait(hsm.status()).capabilities.contains("SoftHSM project SoftHSM v2 (not tested)"));
}

#[test]
fn a_module_that_crashes_is_a_finding_and_the_other_checks_are_made() {
    let world = World::new();
    world.order("C_Encrypt crash");
    let report = examined(&world, &order(&world));
    let vector = of(&report, "AES-GCM vector")[0];
    assert_eq!((vector.verdict, vector.needed), (Verdict::Crashed, true));
    assert!(vector.what.starts_with("C_Encrypt ended the process") && vector.what.contains("SIGABRT"), "{vector:?}");
    assert_eq!(of(&report, "ECDSA P-256")[0].verdict, Verdict::Ok);
    assert_eq!(of(&report, "stored keys")[0].verdict, Verdict::Ok);
    assert_eq!(report.usable, Some(false));
    // What was not seen is as known of the kind, and said so.
    assert!(report.capability.unwrap().contains("gcm_iv = \"caller\"   # not seen"));
}

#[test]
fn a_module_that_crashes_while_it_starts_leaves_nothing_to_check() {
    let world = World::new();
    world.order("C_Initialize crash");
    let report = examined(&world, &order(&world));
    let [only] = report.findings.as_slice() else { panic!("{:?}", report.findings) };
    assert_eq!((only.check.as_str(), only.verdict), ("connecting", Verdict::Crashed));
    assert!(only.what.contains("C_Initialize"), "{only:?}");
    assert!(only.todo.as_ref().is_some_and(|todo| todo.contains("no node can start with it")), "{only:?}");
    assert_eq!((report.usable, report.capability), (Some(false), None));
}

#[test]
fn a_module_that_hangs_is_a_finding_and_the_other_checks_are_made() {
    let world = World::new();
    world.order("C_GenerateRandom hang");
    let report = examined(&world, &Order { patience_s: 5, ..order(&world) });
    let random = of(&report, "random numbers")[0];
    assert_eq!((random.verdict, random.what.as_str()), (Verdict::Hangs, "C_GenerateRandom does not come back"));
    assert_eq!(of(&report, "AES keys")[0].verdict, Verdict::Ok);
    assert_eq!(report.usable, Some(false));
}

#[test]
fn wrong_answers_and_errors_are_told_apart_from_refusals() {
    let world = World::new();
    for (fault, check, verdict, words) in [
        ("C_Sign flip", "Ed25519", Verdict::Wrong, "does not verify"),
        ("C_Sign rv=0x30", "Ed25519", Verdict::Failed, "CKR_DEVICE_ERROR"),
        ("C_SignInit rv=0x70", "Ed25519", Verdict::Refused, "CKR_MECHANISM_INVALID"),
        ("C_Encrypt flip", "AES-GCM vector", Verdict::Refused, "self-test of AES-GCM"),
        ("C_WrapKey flip", "AES-KW vector", Verdict::Refused, "self-test of AES-KW"),
        ("C_DestroyObject rv=0x30", "stored keys", Verdict::Failed, "CKR_DEVICE_ERROR"),
    ] {
        world.order(fault);
        let report = examined(&world, &order(&world));
        let finding = of(&report, check)[0];
        assert!(finding.verdict == verdict && finding.what.contains(words), "{fault}: {finding:?}");
        assert!(finding.todo.is_some(), "{fault}: nothing to do");
        assert_eq!(report.usable, Some(!finding.needed), "{fault}: {finding:?}");
        // The next examination removes nothing that is not its own; what this one had to leave is removed by hand.
        world.order("");
    }
}

#[test]
fn s_4_5_a_wrong_pin_is_tried_once() {
    let world = World::new();
    world.order("C_Login delay_ms=0");
    world.write_pin("not the pin");
    let report = examined(&world, &order(&world));
    let [only] = report.findings.as_slice() else { panic!("{:?}", report.findings) };
    assert_eq!((only.verdict, only.what.as_str()), (Verdict::Failed, "the token refused the PIN"));
    assert_eq!(world.count("C_Login"), 1);
}

#[test]
fn what_is_no_module_or_no_token_is_named() {
    let world = World::new();
    let text = world.dir.path().join("text.so");
    std::fs::write(&text, "this is no library").unwrap();
    let absent = world.dir.path().join("absent.so");
    // A library, and no PKCS#11 module: whatever this test is linked with.
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let library = maps.lines().filter_map(|l| l.split_whitespace().last()).find(|p| p.contains("/libc.so")).unwrap();
    let dir = world.token.pin_file.parent().unwrap();
    let twins = ["twin", "twin"].map(|label| SoftHsmToken::create(dir, label).unwrap().serial);
    let base = || order(&world);
    for (order, words) in [
        (Order { module: absent, ..base() }, vec!["absent.so"]),
        (Order { module: text, ..base() }, vec!["text.so", "cannot be loaded as a PKCS#11 module"]),
        (Order { module: library.into(), ..base() }, vec!["cannot be loaded as a PKCS#11 module", "C_GetFunctionList"]),
        (Order { label: "nobody".into(), ..base() }, vec!["no token with label `nobody`", "`node-1`", "`twin`"]),
        (Order { label: "twin".into(), ..base() }, vec!["give the serial too", &twins[0], &twins[1]]),
        (Order { pin_file: world.dir.path().join("no-pin"), ..base() }, vec!["no-pin", "cannot be read"]),
    ] {
        let report = examined(&world, &order);
        let [only] = report.findings.as_slice() else { panic!("{:?}", report.findings) };
        assert!(only.verdict == Verdict::Failed && words.iter().all(|w| only.what.contains(w)), "{words:?}: {only:?}");
        assert_eq!(report.usable, Some(false));
    }
    let one = Order { label: "twin".into(), serial: Some(twins[1].clone()), ..base() };
    assert_eq!(examined(&world, &one).usable, Some(true));
}

#[test]
fn a_dry_run_touches_nothing() {
    let world = World::new();
    let absent = Order { module: "/nowhere/module.so".into(), dry_run: true, ..order(&world) };
    let report = examined(&world, &absent);
    assert!(report.findings.iter().all(|f| f.verdict == Verdict::Planned) && report.findings.len() > 20);
    assert!(of(&report, "stored keys")[0].what.contains("stored"), "{report:?}");
    assert_eq!((report.usable, report.capability), (None, None));

    let report = examined(&world, &Order { write_token_objects: false, ..order(&world) });
    assert_eq!(of(&report, "stored keys")[0].verdict, Verdict::Planned);
    assert_eq!((report.usable, stored(&world).len()), (Some(true), 0));
}
