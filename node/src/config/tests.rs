//! What a configuration file may say.

use super::*;

const ONE: &str = "module = \"m.so\"\ntoken_label = \"a\"\ntoken_serial = \"1\"\n";

fn load(top: &str, hsm: &str) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.toml");
    let text = format!(
        "cluster = \"c\"\nname = \"node-1\"\nlisten = \"127.0.0.1:1\"\ndata_dir = \"d\"\nbundle_dir = \"b\"\n{top}\n\
         [tls]\nca = \"a\"\ncert = \"b\"\nkey = \"c\"\n[hsm]\n{ONE}{hsm}\n"
    );
    std::fs::write(&path, text).unwrap();
    Config::load(&path).map_err(|e| format!("{e:#}"))
}

#[test]
fn s_4_5_a_pin_comes_from_exactly_one_place_and_never_from_the_environment() {
    for (hsm, wanted) in [
        ("pin_fd = 7", PinSource::Descriptor(7)),
        ("pin_credential = \"hsm-pin\"", PinSource::Credential("hsm-pin".into())),
        ("pin_file = \"/run/pin\"", PinSource::File("/run/pin".into())),
    ] {
        assert_eq!(load("", hsm).unwrap().hsm.pin().unwrap(), wanted);
    }
    let two = "pin_file = \"p\"\npin_fd = 7";
    let all = "pin_file = \"p\"\npin_fd = 7\npin_credential = \"c\"";
    for bad in ["", two, all, "pin_fd = 7\npin_credential = \"c\""] {
        let said = load("", bad).unwrap_err();
        assert!(said.contains("[hsm] needs exactly one of `pin_file`, `pin_fd` and `pin_credential`"), "{said}");
        let said = load("", &format!("pin_fd = 9\n[hsm.standby]\n{ONE}{bad}")).unwrap_err();
        assert!(said.contains("[hsm.standby] needs exactly one"), "{said}");
    }
    for bad in ["pin = \"1234\"", "pin_env = \"PIN\""] {
        assert!(load("", bad).unwrap_err().contains("unknown field"), "{bad}");
    }
    assert!(load("", "pin_fd = -1").is_err());
}

#[test]
fn s_4_5_a_pin_that_was_put_into_the_file_is_not_printed() {
    for (bad, said) in [
        ("pin = \"998877\"", "unknown field `pin`, expected one of"),
        ("pin = 998877", "unknown field `pin`"),
        ("pin_fd = \"998877\"", "line 15, column 10: invalid type: string, expected u32"),
        ("pin_file = 998877", "invalid type: integer, expected"),
        ("pin_file = [998877]", "line 1"),
        ("pin_file = 998877x", "line 1"),
        ("pin_file = \"998877", "line 1"),
        ("pin_fd = 7\npin_fd = 998877", "duplicate key"),
    ] {
        let words = load("", bad).unwrap_err();
        assert!(words.contains(said) && !words.contains("99887"), "{bad}: {words}");
    }
}

#[test]
fn a_token_has_as_many_workers_as_can_be_started() {
    for bad in [0, 65] {
        let said = load("", &format!("pin_fd = 7\nworkers = {bad}")).unwrap_err();
        assert!(said.contains("1 to 64 workers"), "{said}");
    }
    load("", "pin_fd = 7\nworkers = 64").unwrap();
}

#[test]
fn a_standby_has_paths_and_a_pin_of_its_own() {
    let config = load("", &format!("pin_file = \"p1\"\n[hsm.standby]\n{ONE}pin_file = \"p2\"")).unwrap();
    let standby = config.hsm.standby.as_ref().unwrap();
    assert!(standby.module.is_absolute() && standby.module.ends_with("m.so"));
    assert!(standby.pin_file.as_ref().is_some_and(|p| p.is_absolute() && p.ends_with("p2")));
    assert!(config.hsm.pin_file.is_some_and(|p| p.is_absolute() && p.ends_with("p1")));
    let said = load("", &format!("pin_fd = 7\n[hsm.standby]\n{ONE}pin_fd = 7")).unwrap_err();
    assert!(said.contains("each needs its own"), "{said}");
    load("", &format!("pin_fd = 7\n[hsm.standby]\n{ONE}pin_fd = 8")).unwrap();
    let said = load("", &format!("pin_fd = 7\n[hsm.standby]\n{ONE}pin_fd = 8\nworkers = 3")).unwrap_err();
    assert!(said.contains("workers"), "{said}");
}

#[test]
fn a_standby_has_an_environment_of_its_own_only_in_a_process_of_its_own() {
    let with = |top: &str, env: &str| {
        load("", &format!("pin_fd = 7\nenv = {{ A = \"one\" }}\n{top}\n[hsm.standby]\n{ONE}pin_fd = 8\n{env}"))
    };
    let env = with("", "env = { A = \"two\" }").unwrap().hsm.standby.unwrap().env.unwrap();
    assert!(env.len() == 1 && env["A"].is_absolute() && env["A"].ends_with("two"), "{env:?}");
    assert_eq!(with("", "env = {}").unwrap().hsm.standby.unwrap().env.unwrap().len(), 0);
    assert!(with("", "").unwrap().hsm.standby.unwrap().env.is_none());
    let said = with("isolation = \"thread\"", "env = { A = \"two\" }").unwrap_err();
    assert!(said.contains("isolation = \"process\"") && said.contains("[hsm.standby]"), "{said}");
    for same in ["", "env = { A = \"one\" }"] {
        with("isolation = \"thread\"", same).unwrap();
    }
}

#[test]
fn a_node_is_in_production_unless_it_says_otherwise() {
    assert_eq!(load("", "pin_fd = 7").unwrap().mode, Mode::Production);
    assert_eq!(load("mode = \"development\"", "pin_fd = 7").unwrap().mode, Mode::Development);
    assert!(load("mode = \"test\"", "pin_fd = 7").unwrap_err().contains("production"));
}

#[test]
fn a_version_waits_a_day_for_its_end_unless_the_configuration_says_otherwise() {
    let delay = |wrap: &str| load("", &format!("pin_fd = 7\n{wrap}")).map(|c| c.wrap.destroy_delay_min.ms / 1_000);
    assert_eq!(delay(""), Ok(86_400));
    assert_eq!(delay("[wrap]"), Ok(86_400));
    assert_eq!(delay("[wrap]\ndestroy_delay_min = \"2s\""), Ok(2));
    let place = "line 17, column 21";
    for (bad, what) in [("\"31d\"", "`destroy_delay_min`"), ("\"soon\"", "`destroy_delay_min`"), ("2", place)] {
        let said = delay(&format!("[wrap]\ndestroy_delay_min = {bad}")).unwrap_err();
        assert!(said.contains(what), "{said}");
    }
}
