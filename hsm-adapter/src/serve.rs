//! The side of the pipe that the module is on: serves one [`Pkcs11Hsm`] to one node until the node has gone.

mod tasks;
mod vault;

use crate::config::{Config, configuration};
use crate::hsm::{Pkcs11Hsm, provision};
use crate::pairing::{End, PAIR_MAX, PAIRING, Partner as _};
use crate::turn::Turn;
use crate::wire::{
    self, Answer, Ask, Bytes, Carried, Chosen, Frame, Hello, Malformed, Opening, Part, Pulse, WireError,
};
use serde::Serialize;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tally_domain::ports::Pending;
use tally_domain::ports::hsm::{Hsm, HsmError, KekId, ObjectId, SealingKeyId};
use tally_domain::{HsmScheme, SecretBytes};
use tasks::Tasks;

/// Serves what the other end of `socket` asks for. Returns when the other end has gone, and the token has been let go.
///
/// `start_log` is given the filter of the log, and whether it is for machines.
///
/// # Errors
/// When the other end does not keep to the protocol, or nothing can be read from it.
pub fn serve(socket: UnixStream, start_log: impl FnOnce(&str, bool) -> Result<(), String>) -> std::io::Result<()> {
    let mut incoming = socket.try_clone()?;
    let out = Arc::new(Out(Mutex::new(socket)));
    let Some((id, frame)) = wire::read(&mut incoming)? else { return Ok(()) };
    let hello: Hello = wire::body(&frame).map_err(malformed)?;
    if let Err(why) = start_log(&hello.log_level, hello.log_json) {
        out.send::<()>(id, &Err(configuration(why)));
        return Ok(());
    }
    match current(&hello.version).map(|()| hello.opening) {
        Err(refused) => out.send::<()>(id, &Err(refused)),
        Ok(Opening::Serve(token)) => match chosen(token).and_then(Pkcs11Hsm::connect) {
            Err(refused) => out.send::<()>(id, &Err(refused)),
            Ok(hsm) => {
                out.send(id, &Ok(hsm.identity()));
                let served = answer_all(&mut incoming, &hsm, &out);
                hsm.shutdown();
                return served;
            }
        },
        Ok(Opening::Provision(token)) => out.send(id, &chosen(token).and_then(provision)),
        Ok(Opening::Pair(token)) => {
            // Whoever asks ends this process when it takes too long.
            let turn = Turn::new(PAIRING, PAIR_MAX);
            match chosen(token).and_then(|token| End::open(token, turn).map_err(|fault| fault.error)) {
                Err(refused) => out.send::<()>(id, &Err(refused)),
                Ok((end, met)) => {
                    out.send(id, &Ok(met));
                    return take_part(&mut incoming, end, &out);
                }
            }
        }
    }
    Ok(())
}

fn malformed(e: Malformed) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, e)
}

/// Refuses a node that was not installed together with this program.
fn current(theirs: &str) -> Result<(), HsmError> {
    let ours = env!("CARGO_PKG_VERSION");
    if theirs == ours {
        return Ok(());
    }
    let what = format!("this `hsmd` is of version {ours} and the node of {theirs}: install both together");
    Err(configuration(what))
}

/// The token, with its PIN.
fn chosen(token: Chosen) -> Result<Config, HsmError> {
    Ok(Config {
        module: token.module,
        token_label: token.token_label,
        token_serial: token.token_serial,
        pin: token.pin.read()?,
        workers: token.workers,
        deadline: Duration::from_millis(token.deadline_ms),
        role: token.role,
        mode: token.mode,
        profile: token.profile,
    })
}

/// Does what makes this token one of two, step by step.
fn take_part(incoming: &mut UnixStream, mut end: End, out: &Out) -> std::io::Result<()> {
    while let Some((id, frame)) = wire::read(incoming)? {
        match wire::body(&frame).map_err(malformed)? {
            Part::Transport => out.send(id, &end.transport()),
            Part::Bear { one, other } => out.send(id, &end.bear([one.0, other.0])),
            Part::Take { wrapped } => out.send(id, &end.take(wrapped.0)),
            Part::Forget => out.send(id, &end.forget()),
            Part::Prove => out.send(id, &end.prove()),
            Part::MustOpen(proof) => out.send(id, &end.must_open(&proof.into())),
        }
    }
    Ok(())
}

/// Answers as they are ready, in any order.
fn answer_all(incoming: &mut UnixStream, hsm: &Pkcs11Hsm, out: &Arc<Out>) -> std::io::Result<()> {
    let tasks = Tasks::start()?;
    while let Some((id, frame)) = wire::read(incoming)? {
        let ask = wire::body(&frame).map_err(malformed)?;
        match ask {
            Ask::Pulse => {
                let (hung, workers) = hsm.hung();
                out.send(id, &Ok(Pulse { hung: u32::try_from(hung).unwrap_or(u32::MAX), stuck: hung >= workers }));
            }
            ask => tasks.spawn(begin(hsm, id, ask, Arc::clone(out)).map_err(malformed)?),
        }
    }
    Ok(())
}

/// Begins an operation; the future sends its answer.
fn begin(hsm: &dyn Hsm, id: u64, ask: Ask<'_>, out: Arc<Out>) -> Result<Pending<()>, Malformed> {
    let bytes = |bytes: Bytes<'_>| bytes.0.to_vec();
    let secret = |bytes: Bytes<'_>| SecretBytes::new(bytes.0.to_vec());
    let known = |scheme: u32| HsmScheme::from_number(scheme).ok_or(Malformed);
    let (sealing, object) = (SealingKeyId, ObjectId);
    Ok(match ask {
        Ask::SignIdentity { message } => later(hsm.sign_identity(bytes(message)), id, out),
        Ask::CreateSealingKey { id: key } => later(hsm.create_sealing_key(sealing(key)), id, out),
        Ask::Seal { id: key, aad, plaintext } => later(hsm.seal(sealing(key), bytes(aad), secret(plaintext)), id, out),
        Ask::Open { id: key, aad, sealed } => later(hsm.open(sealing(key), bytes(aad), bytes(sealed)), id, out),
        Ask::DestroySealingKey { id: key } => later(hsm.destroy_sealing_key(sealing(key)), id, out),
        Ask::CreateSigningKey { id: key, scheme } => {
            later(hsm.create_signing_key(object(key), known(scheme)?), id, out)
        }
        Ask::Sign { id: key, scheme, to_sign } => later(hsm.sign(object(key), known(scheme)?, bytes(to_sign)), id, out),
        Ask::CreateKek { id: key } => later(hsm.create_kek(KekId(key)), id, out),
        Ask::ReplicateKek { id: key, transfer } => later(hsm.replicate_kek(KekId(key), bytes(transfer)), id, out),
        Ask::GenerateDataKey { bytes, under } => {
            later(hsm.generate_data_key(usize::try_from(bytes).unwrap_or(usize::MAX), under.into()), id, out)
        }
        Ask::Wrap { under, plaintext } => later(hsm.wrap(under.into(), secret(plaintext)), id, out),
        Ask::Unwrap { under, sealed } => later(hsm.unwrap(under.into(), bytes(sealed)), id, out),
        Ask::Rewrap { from, sealed, to } => later(hsm.rewrap(from.into(), bytes(sealed), to.into()), id, out),
        Ask::DestroyKek { id: key } => later(hsm.destroy_kek(KekId(key)), id, out),
        Ask::Vault(ask) => vault::begin(hsm, id, ask, out),
        Ask::Status => {
            let status = hsm.status();
            later(Box::pin(async move { Ok(status.await) }), id, out)
        }
        // Answered without the token, before this.
        Ask::Pulse => return Err(Malformed),
    })
}

fn later<T: Carried>(outcome: Pending<Result<T, HsmError>>, id: u64, out: Arc<Out>) -> Pending<()> {
    Box::pin(async move { out.send(id, &outcome.await) })
}

/// The way back to the node.
struct Out(Mutex<UnixStream>);

impl Out {
    fn send<T: Carried>(&self, id: u64, outcome: &Result<T, HsmError>) {
        self.write(match outcome {
            Ok(result) => framed(id, &result.pack()),
            Err(error) => framed(id, &Answer::Failed(WireError::from(error))),
        });
    }

    fn write(&self, frame: Option<Frame>) {
        let mut socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A node that has gone reads nothing any more; the reading side notices that and ends.
        if let Some(frame) = frame
            && let Err(e) = socket.write_all(&frame)
        {
            tracing::debug!(error = %e, "the node does not take an answer");
        }
    }
}

/// A frame; in place of one that would be too long, an error that says so.
fn framed(id: u64, answer: &(impl Serialize + ?Sized)) -> Option<Frame> {
    wire::frame(id, &answer).or_else(|| {
        let code = "an answer that is too long".into();
        wire::frame(id, &Answer::Failed(WireError::Device { operation: "an operation".into(), code }))
    })
}

#[cfg(test)]
mod tests;
