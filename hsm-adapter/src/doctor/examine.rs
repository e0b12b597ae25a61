//! The examination: this process starts another, which calls the module and says what it does before it does it. Where one
//! crashes or hangs, the next goes on with the check after that.

use super::capability;
use super::patient::Patient;
use super::{CHECKS, Check, Finding, Order, Report, Verdict, stored};
use crate::config::{Config, Mode, Role};
use crate::fault::Fault;
use crate::hsm::CONNECT_MAX;
use crate::module::Module;
use crate::pin::read_pin_file;
use crate::token::Token;
use crate::turn::Turn;
use cryptoki::slot::TokenInfo;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{BufRead as _, BufReader, Read, Write};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};
use tally_domain::ports::hsm::HsmError;

/// What the process has said and nobody has looked at yet; then it waits.
const EVENTS_MAX: usize = 256;

/// The check that comes before all others.
const CONNECTING: &str = "connecting";

/// What the process that calls the module is told.
#[derive(Serialize, Deserialize)]
struct Job {
    order: Order,
    /// The label of everything that is made.
    label: String,
    /// The first check to be made.
    from: usize,
}

/// What that process says, one to a line.
#[derive(Serialize, Deserialize)]
pub enum Event {
    /// A check begins.
    Begun(usize),
    /// A function of the module is called.
    Calling(String),
    /// A capability.
    Seen(String, String),
    /// Something was found.
    Found(Finding),
    /// The token could not be looked at.
    Stopped(Finding),
    /// All checks have been made.
    Done,
}

/// The part of the process that calls the module: takes its job from `from`, and tells `to`.
///
/// # Errors
/// When the job does not read, or nobody listens.
pub fn attend(from: impl Read, to: impl Write) -> std::io::Result<()> {
    let job: Job = serde_json::from_reader(from)?;
    let to = std::cell::RefCell::new(to);
    let tell = |event: &Event| {
        let mut to = to.borrow_mut();
        // Whoever started this process ends it; there is nobody else to tell.
        let _told = serde_json::to_string(event).map(|line| writeln!(to, "{line}").and_then(|()| to.flush()));
    };
    if let Err(fault) = attended(&job, &tell) {
        let todo = match &fault.error {
            HsmError::PinRefused => "check the PIN file; it was tried once",
            _ => "nothing else can be checked before this is mended",
        };
        let finding = Finding {
            check: CONNECTING.into(),
            verdict: Verdict::Failed,
            needed: true,
            what: match &fault.error {
                HsmError::PinRefused => "the token refused the PIN".into(),
                other => other.to_string(),
            },
            todo: Some(todo.into()),
        };
        tell(&Event::Stopped(finding));
    }
    Ok(())
}

fn attended(job: &Job, tell: &dyn Fn(&Event)) -> Result<(), Fault> {
    let calling = |function: &str| tell(&Event::Calling(function.into()));
    let order = &job.order;
    let turn = Turn::new(CONNECTING, CONNECT_MAX);
    let config = Config {
        module: order.module.clone(),
        token_label: order.label.clone(),
        token_serial: order.serial.clone(),
        pin: read_pin_file(&order.pin_file)?,
        workers: 1,
        deadline: CONNECT_MAX,
        role: Role::Only,
        // A module that writes down what passes through it would write down the PIN.
        mode: Mode::Production,
        profile: None,
    };
    calling("C_Initialize");
    let module = Module::load(&config.module, config.mode)?;
    let inside = module.gate.enter(turn.due).ok_or_else(|| turn.late())?;
    calling("C_GetTokenInfo");
    let token = module.token(&config, &inside)?;
    calling("C_Login");
    let _login = token.log_in(&config.pin, &turn, &inside)?;
    let seen = Seen { module, token, info: token.info()?, label: &job.label, tell };
    if order.write_token_objects {
        // What an earlier process was making when it ended.
        stored::sweep(&seen.patient()?)?;
    }
    for (number, check) in CHECKS.iter().enumerate().skip(job.from) {
        tell(&Event::Begun(number));
        for finding in seen.examined(check, order) {
            tell(&Event::Found(finding));
        }
    }
    tell(&Event::Done);
    Ok(())
}

/// The token, logged in to.
struct Seen<'a> {
    module: &'static Module,
    token: &'static Token,
    info: TokenInfo,
    label: &'a str,
    tell: &'a dyn Fn(&Event),
}

impl Seen<'_> {
    /// A session of its own for each check: one may leave an operation stuck in it.
    fn patient(&self) -> Result<Patient<'_>, Fault> {
        (self.tell)(&Event::Calling("C_OpenSession".into()));
        let session = self.module.context.open_rw_session(self.token.slot())?;
        let (context, slot, label) = (&self.module.context, self.token.slot(), self.label.to_owned());
        Ok(Patient::new(context, slot, session, self.info.clone(), label, self.tell))
    }

    fn examined(&self, check: &Check, order: &Order) -> Vec<Finding> {
        if check.stores && !order.write_token_objects {
            let what = format!("not done, because it makes {}: --write-token-objects does it", check.makes);
            return vec![check.finding(Verdict::Planned, what)];
        }
        let patient = match self.patient() {
            Ok(patient) => patient,
            Err(fault) => return vec![check.failed(&fault)],
        };
        let mut findings = match (check.run)(&patient) {
            Ok(findings) => findings
                .into_iter()
                .map(|f| Finding { check: check.name.into(), needed: f.needed && check.needed, ..f })
                .collect(),
            Err(fault) => vec![check.failed(&fault)],
        };
        if let Err(fault) = patient.clear() {
            let todo = format!("look for objects with the label `{}` on the token, and remove them", self.label);
            let what = format!("what was made cannot be removed: {}", fault.error);
            findings.push(Finding { todo: Some(todo), ..check.finding(Verdict::Failed, what) });
        }
        findings
    }
}

/// Examines a token by processes of `program`, which is `hsmd`.
///
/// # Errors
/// When such a process cannot be started.
pub fn examine(order: &Order, program: &Path) -> std::io::Result<Report> {
    if order.dry_run {
        return Ok(planned(order));
    }
    let label = format!("tally-doctor-{:08x}", RandomState::new().hash_one(Instant::now()) as u32);
    let mut job = Job { order: order.clone(), label, from: 0 };
    let (mut findings, mut seen) = (Vec::new(), BTreeMap::new());
    while job.from < CHECKS.len() {
        let mut visit = Visit { findings: &mut findings, seen: &mut seen, check: None, calling: String::new() };
        match visit.make(&job, program)? {
            Some(next) => job.from = next,
            None => break,
        }
    }
    let usable = findings.iter().all(|f| !f.needed || !f.verdict.is_bad());
    Ok(Report { capability: capability::file(&seen), usable: Some(usable), findings })
}

fn planned(order: &Order) -> Report {
    let plan = |check: &Check| {
        let what = match (check.stores, order.write_token_objects) {
            (true, false) => "not done without --write-token-objects".into(),
            (true, true) => format!("makes {}, stored under a label of its own, and removes it", check.makes),
            (false, _) if check.makes == super::NOTHING => "makes nothing".into(),
            (false, _) => format!("makes {} in a session, and removes it", check.makes),
        };
        check.finding(Verdict::Planned, what)
    };
    Report { findings: CHECKS.iter().map(plan).collect(), capability: None, usable: None }
}

/// What one process does.
struct Visit<'a> {
    findings: &'a mut Vec<Finding>,
    seen: &'a mut BTreeMap<String, String>,
    check: Option<usize>,
    calling: String,
}

impl Visit<'_> {
    /// Which check comes next; none if there is nothing more to be done.
    fn make(&mut self, job: &Job, program: &Path) -> std::io::Result<Option<usize>> {
        let mut child = Command::new(program)
            .arg("checks")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A process that is gone already is noticed below.
            let _gone = stdin.write_all(&serde_json::to_vec(job)?);
        }
        let (events, patience) = (events(&mut child)?, Duration::from_secs(job.order.patience_s));
        let how = loop {
            match events.recv_timeout(patience) {
                Ok(Event::Done) => break None,
                Ok(Event::Stopped(finding)) => {
                    self.findings.push(finding);
                    break None;
                }
                Ok(Event::Begun(number)) => self.check = Some(number),
                Ok(Event::Calling(function)) => self.calling = function,
                Ok(Event::Seen(key, value)) => drop(self.seen.insert(key, value)),
                Ok(Event::Found(finding)) => self.findings.push(finding),
                Err(RecvTimeoutError::Timeout) => {
                    let what = format!("{} does not come back", self.calling);
                    break Some((Verdict::Hangs, what));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let what = format!("{} ended the process ({})", self.calling, child.wait()?);
                    break Some((Verdict::Crashed, what));
                }
            }
        };
        // It has nothing more to say; one that hangs would stay.
        let _gone = child.kill();
        child.wait()?;
        let Some((verdict, what)) = how else { return Ok(None) };
        let Some(number) = self.check else {
            let todo = "no node can start with it: look at the module's configuration, and report it to the vendor";
            let check = CONNECTING.into();
            self.findings.push(Finding { check, verdict, needed: true, what, todo: Some(todo.into()) });
            return Ok(None);
        };
        if let Some(check) = CHECKS.get(number) {
            let todo = "report it to the vendor; a node survives it with `isolation = \"process\"`";
            self.findings.push(Finding { todo: Some(todo.into()), ..check.finding(verdict, what) });
        }
        Ok(Some(number + 1))
    }
}

/// What the process says. Lines that it does not say itself, such as a module's own, are left out.
fn events(child: &mut Child) -> std::io::Result<Receiver<Event>> {
    let (sender, events) = sync_channel(EVENTS_MAX);
    let Some(stdout) = child.stdout.take() else { return Ok(events) };
    std::thread::Builder::new().name("tally-doctor".into()).spawn(move || {
        let lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let understood = lines.filter_map(|line| serde_json::from_str(&line).ok());
        understood.map(|event| sender.send(event)).take_while(Result::is_ok).for_each(drop);
    })?;
    Ok(events)
}
