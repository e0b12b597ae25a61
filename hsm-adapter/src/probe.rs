//! What a token is seen to do when it is connected to, with keys that live in a session and are destroyed at its end.

use crate::desk::Desk;
use crate::fault::{Class, Fault};
use crate::keys::identity_public;
use crate::profile::{Capabilities, GcmIv, Probed, UnwrapValueLen};
use crate::schemes::Schemes;
use crate::seal;
use crate::selftest;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

const KEY_BYTES: u64 = 32;

/// Looks, and puts it beside the profile of the token's kind.
pub fn capabilities(desk: &Desk) -> Result<Capabilities, Fault> {
    let token = desk.token();
    let profile = desk.profile()?;
    let sessions_max = token.info()?.max_rw_session_count().into();
    let _changing = desk.changing()?;
    let session = desk.session()?;
    let (gcm_iv, unwrap_value_len) = (gcm_iv(session)?, unwrap_value_len(session)?);
    let probed = Probed {
        gcm_iv,
        ec_point: identity_public(session)?.1,
        unwrap_value_len,
        sessions_max,
        schemes: Schemes::probe(token, session)?,
        self_test: selftest::run(session, gcm_iv, unwrap_value_len)?,
    };
    Ok(Capabilities::new(profile, probed))
}

/// See [`GcmIv`].
pub fn gcm_iv(session: &Session) -> Result<GcmIv, Fault> {
    let key =
        temporary(session, &[Attribute::Encrypt(true), Attribute::Sensitive(true), Attribute::Extractable(false)])?;
    let seen = seal::who_makes_the_iv(session, key);
    session.destroy_object(key)?;
    seen
}

/// Wraps a key and unwraps it with and without its length.
pub fn unwrap_value_len(session: &Session) -> Result<UnwrapValueLen, Fault> {
    let wrapping = temporary(
        session,
        &[
            Attribute::Wrap(true),
            Attribute::Unwrap(true),
            Attribute::Encrypt(false),
            Attribute::Decrypt(false),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
        ],
    )?;
    let wrapped = temporary(session, &[Attribute::Sensitive(true), Attribute::Extractable(true)])?;
    let bytes = session.wrap_key(&Mechanism::AesKeyWrap, wrapping, wrapped).map_err(Fault::from);
    let seen = match bytes {
        Ok(bytes) => {
            let (without, with) =
                (unwraps(session, wrapping, &bytes, false)?, unwraps(session, wrapping, &bytes, true)?);
            Ok(match (without, with) {
                (true, true) => UnwrapValueLen::Allowed,
                (true, false) => UnwrapValueLen::Forbidden,
                (false, true) => UnwrapValueLen::Required,
                (false, false) => UnwrapValueLen::Unavailable,
            })
        }
        Err(refused) if refused.class == Class::Refused => Ok(UnwrapValueLen::Unavailable),
        Err(fault) => Err(fault),
    };
    session.destroy_object(wrapped)?;
    session.destroy_object(wrapping)?;
    seen
}

fn unwraps(session: &Session, key: ObjectHandle, bytes: &[u8], with_length: bool) -> Result<bool, Fault> {
    let mut template = vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
    ];
    if with_length {
        template.push(Attribute::ValueLen(KEY_BYTES.into()));
    }
    match session.unwrap_key(&Mechanism::AesKeyWrap, key, bytes, &template).map_err(Fault::from) {
        Ok(back) => {
            session.destroy_object(back)?;
            Ok(true)
        }
        Err(refused) if refused.class == Class::Refused => Ok(false),
        failed => selftest::understood(selftest::KEY_WRAP, failed.map(|_| true)),
    }
}

/// An AES key of this session only.
fn temporary(session: &Session, usage: &[Attribute]) -> Result<ObjectHandle, Fault> {
    let common = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::ValueLen(KEY_BYTES.into()),
    ];
    let template: Vec<_> = common.into_iter().chain(usage.iter().cloned()).collect();
    Ok(session.generate_key(&Mechanism::AesKeyGen, &template)?)
}
