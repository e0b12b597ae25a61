//! S-4.5: the PIN comes out of a file that only its owner can read, or an open descriptor.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail loudly")]

use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use tally_domain::ports::hsm::HsmError;
use tally_hsm_adapter::{PinSource, read_pin_file};

fn file(dir: &Path, content: &[u8], mode: u32) -> Result<Vec<u8>, HsmError> {
    let path = dir.join(format!("pin-{mode:o}"));
    let _none = std::fs::remove_file(&path);
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    read_pin_file(&path).map(|s| s.expose().to_vec())
}

#[test]
fn s_4_5_a_pin_file_is_one_line_and_private() {
    let dir = tempfile::tempdir().unwrap();
    for (content, mode) in [(&b"1234\n"[..], 0o400), (b"1234", 0o600)] {
        assert_eq!(file(dir.path(), content, mode).unwrap(), b"1234");
    }
    assert_eq!(file(dir.path(), b" 12 34 \n", 0o600).unwrap(), b" 12 34 ");
    for mode in [0o440, 0o404, 0o640, 0o604, 0o644, 0o700, 0o200] {
        let what = file(dir.path(), b"1234\n", mode).unwrap_err().to_string();
        assert!(what.contains(&format!("has mode {mode:04o}")) && !what.contains("1234"), "{what}");
    }
    let long = [b'7'; 257];
    for (content, why) in [
        (&b""[..], "is empty"),
        (b"\n", "is empty"),
        (b"1234\n5678\n", "more than one line"),
        (b"1234\n\n", "more than one line"),
        (&long, "too long"),
    ] {
        let what = file(dir.path(), content, 0o600).unwrap_err().to_string();
        assert!(what.contains(why) && !what.contains("1234"), "{what}");
    }
    for path in [dir.path().join("none"), dir.path().to_path_buf()] {
        let what = read_pin_file(&path).err().unwrap().to_string();
        assert!(what.contains(path.to_str().unwrap()), "{what}");
    }
}

#[test]
fn s_4_5_a_pin_comes_through_a_descriptor_once() {
    let read = |fd: u32| PinSource::Descriptor(fd).read().map(|pin| pin.expose().to_vec()).map_err(|e| e.to_string());
    let (reader, mut writer) = std::io::pipe().unwrap();
    let fd = u32::try_from(reader.as_raw_fd()).unwrap();
    writer.write_all(b"1234\n").unwrap();
    drop(writer);
    assert_eq!(read(fd).unwrap(), b"1234");
    assert!(read(fd).unwrap_err().contains(&format!("descriptor {fd} is empty")));
    for standard in 0..3 {
        assert!(read(standard).unwrap_err().contains("standard input"));
    }
    assert!(read(9_999).unwrap_err().contains("descriptor 9999 cannot be read"));
}
