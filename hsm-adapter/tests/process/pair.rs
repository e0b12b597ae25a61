//! A node's two tokens, each behind a process of its own.

use crate::world::{World, until, wait};
use rustix::process::{Pid, Signal, kill_process};
use tally_domain::SecretBytes;
use tally_domain::ports::hsm::{Hsm as _, HsmError, HsmStatus, KekId, Seal};
use tally_hsm_adapter::testing::SoftHsmToken;
use tally_hsm_adapter::{PinSource, RemoteConfig, TokenPair, provision_pair_remote, provision_remote};

fn seal(n: u8) -> Seal {
    Seal { kek: KekId([n; 16]), aad: b"aad".to_vec() }
}

fn secret() -> SecretBytes {
    SecretBytes::new(b"data key".to_vec())
}

/// Another token beside the world's. Faults that are ordered are not for its process.
fn other(world: &World) -> RemoteConfig {
    let token = SoftHsmToken::create(world.token.pin_file.parent().unwrap(), "node-1-standby").unwrap();
    let mut env = world.config.env.clone();
    env.insert("P11FAULT_FILE".into(), world.dir.path().join("no-faults"));
    RemoteConfig { env, token_label: token.label, token_serial: Some(token.serial), ..world.config.clone() }
}

fn stop(status: &HsmStatus, signal: Signal) {
    let process = i32::try_from(status.process.unwrap()).unwrap();
    kill_process(Pid::from_raw(process).unwrap(), signal).unwrap();
}

#[test]
fn the_standby_wraps_while_the_process_of_the_primary_is_away() {
    let world = World::new();
    let standby = other(&world);
    let identity = provision_pair_remote(&world.config, &standby).unwrap();
    assert_eq!(provision_pair_remote(&world.config, &standby).unwrap(), identity);
    let pair = TokenPair::connect_remote(world.config.clone(), standby).unwrap();
    assert!(pair.standby_away().is_ok() && pair.identity() == identity);
    let made = wait(pair.create_kek(KekId([1; 16]))).unwrap();
    let there = wait(pair.replicate_kek(KekId([1; 16]), made.transfer.unwrap())).unwrap();
    assert_eq!(there, made.check_value);
    let wrapped = wait(pair.wrap(seal(1), secret())).unwrap();

    // The primary's module crashes whenever it is asked; nobody who wraps is told.
    world.order("C_DecryptInit crash\nC_EncryptInit crash");
    for _ in 0..20 {
        assert_eq!(wait(pair.unwrap(seal(1), wrapped.clone())).unwrap().expose(), secret().expose());
    }
    let meanwhile = wait(pair.wrap(seal(1), secret())).unwrap();
    let made = wait(pair.create_kek(KekId([2; 16])));
    assert!(matches!(made, Err(HsmError::Down { .. } | HsmError::Device { .. })), "{made:?}");
    let status = wait(pair.status());
    assert!(status.fault.is_some() && status.standby.is_some_and(|s| s.fault.is_none() && s.restarts == 0));

    world.order("");
    until("the primary", || wait(pair.status()).fault.is_none());
    let status = wait(pair.status());
    stop(&status, Signal::STOP);
    stop(&status.standby.unwrap(), Signal::KILL);
    until("the primary and the standby", || {
        let status = wait(pair.status());
        status.fault.is_none() && status.restarts > 1 && status.standby.is_some_and(|s| s.fault.is_none())
    });
    assert_eq!(wait(pair.unwrap(seal(1), meanwhile)).unwrap().expose(), secret().expose());
}

#[test]
fn tokens_that_are_one_or_no_pair_are_not_used_as_two() {
    let world = World::new();
    provision_remote(&world.config).unwrap();
    let twice = TokenPair::connect_remote(world.config.clone(), world.config.clone()).err();
    assert!(matches!(&twice, Some(HsmError::Configuration { .. })), "{twice:?}");
    // A standby that was never paired keeps the node from nothing but having one.
    let standby = other(&world);
    provision_remote(&standby).unwrap();
    let alone = TokenPair::connect_remote(world.config.clone(), standby).err();
    assert!(matches!(&alone, Some(HsmError::Configuration { what }) if what.contains("pair")), "{alone:?}");
}

/// SoftHSM reads one file of settings in a process, which names one directory of tokens.
#[test]
fn two_tokens_that_no_process_could_see_together_are_a_pair() {
    let world = World::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let token = SoftHsmToken::create(elsewhere.path(), "node-1-standby").unwrap();
    let mut env = world.config.env.clone();
    env.insert(token.env.0.into(), token.env.1);
    let standby = RemoteConfig {
        env,
        token_label: token.label,
        token_serial: Some(token.serial),
        pin: PinSource::File(token.pin_file),
        ..world.config.clone()
    };
    let identity = provision_pair_remote(&world.config, &standby).unwrap();
    let pair = TokenPair::connect_remote(world.config.clone(), standby).unwrap();
    assert!(pair.standby_away().is_ok() && pair.identity() == identity);
    let made = wait(pair.create_kek(KekId([1; 16]))).unwrap();
    assert_eq!(wait(pair.replicate_kek(KekId([1; 16]), made.transfer.unwrap())).unwrap(), made.check_value);
}
