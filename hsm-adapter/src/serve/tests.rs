use super::*;
use std::io::ErrorKind;
use std::thread::JoinHandle;

fn served(log: Result<(), String>) -> (UnixStream, JoinHandle<std::io::Result<()>>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (ours, std::thread::spawn(move || serve(theirs, |_, _| log)))
}

fn hello(version: &str, pin: &str) -> Hello {
    let token = Chosen {
        module: "/nowhere/module.so".into(),
        token_label: "node-1".into(),
        token_serial: None,
        pin: crate::pin::PinSource::File(pin.into()),
        workers: 1,
        deadline_ms: 1_000,
        role: crate::config::Role::Only,
        mode: crate::config::Mode::Production,
        profile: None,
    };
    Hello { version: version.into(), opening: Opening::Serve(token), log_level: "info".into(), log_json: false }
}

/// What a hello is refused with, after which the connection ends.
fn refused(hello: &Hello, log: Result<(), String>) -> String {
    let (mut ours, serving) = served(log);
    ours.write_all(&wire::frame(7, hello).unwrap()).unwrap();
    let (id, body) = wire::read(&mut ours).unwrap().unwrap();
    let said = wire::outcome::<()>(&body).unwrap().unwrap_err();
    assert_eq!(id, 7);
    assert!(wire::read(&mut ours).unwrap().is_none());
    serving.join().unwrap().unwrap();
    said.to_string()
}

#[test]
fn a_node_of_another_version_is_told_so_before_anything_is_read() {
    let said = refused(&hello("0.0.9", "/nowhere/pin"), Ok(()));
    assert!(said.contains("0.0.9") && said.contains("install both together"), "{said}");
    let said = refused(&hello(env!("CARGO_PKG_VERSION"), "/nowhere/pin"), Ok(()));
    assert!(said.contains("/nowhere/pin"), "{said}");
    assert_eq!(refused(&hello("0.0.9", ""), Err("no such level".into())), "no such level");
}

#[test]
fn what_is_no_hello_ends_the_connection() {
    for bytes in [&[0xff; 64][..], &[9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 77], &[12, 0, 0, 0, 1]] {
        let (mut ours, serving) = served(Ok(()));
        ours.write_all(bytes).unwrap();
        ours.shutdown(std::net::Shutdown::Write).unwrap();
        let ended = serving.join().unwrap().unwrap_err().kind();
        assert!(matches!(ended, ErrorKind::InvalidData | ErrorKind::UnexpectedEof), "{ended}");
    }
    let (ours, serving) = served(Ok(()));
    drop(ours);
    serving.join().unwrap().unwrap();
}
