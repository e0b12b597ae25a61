//! The keys we keep on a token: what they are made as, how they are found, and the check that they are what we asked for
//! (S-4.4). Callers hold the module's lock for changing objects.

use crate::config::{Role, configuration};
use crate::fault::Fault;
use crate::profile::EcPoint;
use crate::resident;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use tally_domain::HsmScheme;
use tally_domain::dsse::VerifyingKey;
use tally_domain::ports::hsm::{HsmError, IndexKeyId, KekId, ObjectId, SealingKeyId, VaultKey};

const IDENTITY_LABEL: &str = "tally-identity";
const SEALING_LABEL: &str = "tally-sealing";
const KEK_LABEL: &str = "tally-kek";
const TRANSFER_LABEL: &str = "tally-transfer";
const WRAPPING_LABEL: &str = "tally-kek-w";
const INDEX_LABEL: &str = "tally-index";

/// `CKA_ID` of the identity key. A node has one; another label with this id is not ours.
const IDENTITY_ID: [u8; 16] = *b"tally-identity-1";

/// `CKA_ID` of the transfer key. A token has one.
const TRANSFER_ID: [u8; 16] = *b"tally-transfer-1";

/// The curve Ed25519 as DER object identifier 1.3.101.112 (RFC 8410).
const ED25519_PARAMS: [u8; 5] = [0x06, 0x03, 0x2b, 0x65, 0x70];

/// DER header of an octet string of 32 bytes, which some tokens put before an Ed25519 point (PKCS#11 3.0) and some do not.
const POINT_HEADER: [u8; 2] = [0x04, 0x20];

/// AES-256.
pub const SECRET_KEY_BYTES: u64 = 32;

/// Which key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Key {
    /// Signs votes' boot certificates and log checkpoints.
    Identity,
    /// Seals the shares of one (key, epoch).
    Sealing(SealingKeyId),
    /// Wraps keys for clients.
    Kek(KekId),
    /// Carries KEKs and keys of token domains between the two tokens of a node, which both have it.
    Transfer,
    /// Signs for clients.
    Signing(ObjectId, HsmScheme),
    /// Serves a token domain.
    Vault(VaultKey),
}

impl Key {
    /// For errors.
    pub fn name(self) -> String {
        match self {
            Self::Identity => format!("identity key `{IDENTITY_LABEL}`"),
            Self::Sealing(id) => format!("sealing key {}", hex(&id.0)),
            Self::Kek(id) => format!("KEK {}", hex(&id.0)),
            Self::Transfer => format!("transfer key `{TRANSFER_LABEL}`"),
            Self::Signing(id, scheme) => format!("{scheme} signing key {}", hex(&id.0)),
            Self::Vault(VaultKey::Wrapping(id)) => format!("KEK-W {}", hex(&id.0)),
            Self::Vault(VaultKey::Index(id)) => format!("blind-index key {}", hex(&id.0)),
        }
    }

    fn class(self) -> ObjectClass {
        match self {
            Self::Identity | Self::Signing(..) => ObjectClass::PRIVATE_KEY,
            Self::Sealing(_) | Self::Kek(_) | Self::Transfer | Self::Vault(_) => ObjectClass::SECRET_KEY,
        }
    }

    fn id(self) -> Attribute {
        Attribute::Id(match self {
            Self::Identity => IDENTITY_ID.to_vec(),
            Self::Sealing(id) => id.0.to_vec(),
            Self::Kek(id) => id.0.to_vec(),
            Self::Transfer => TRANSFER_ID.to_vec(),
            Self::Signing(id, _) => id.0.to_vec(),
            Self::Vault(VaultKey::Wrapping(id)) => id.0.to_vec(),
            Self::Vault(VaultKey::Index(id)) => id.0.to_vec(),
        })
    }

    /// Everything the secret object must be, one job and nothing left to a module's default.
    pub fn attributes(self) -> Vec<Attribute> {
        let (label, key_type, mechanism, usage) = match self {
            Self::Identity => (
                IDENTITY_LABEL,
                KeyType::EC_EDWARDS,
                MechanismType::EDDSA,
                vec![Attribute::Sign(true), Attribute::SignRecover(false), Attribute::Decrypt(false)],
            ),
            Self::Sealing(_) => (SEALING_LABEL, KeyType::AES, MechanismType::AES_GCM, encrypts()),
            Self::Kek(_) => (KEK_LABEL, KeyType::AES, MechanismType::AES_GCM, encrypts()),
            Self::Transfer => (TRANSFER_LABEL, KeyType::AES, MechanismType::AES_KEY_WRAP, wraps()),
            Self::Signing(_, scheme) => resident::private_half(scheme),
            Self::Vault(VaultKey::Wrapping(_)) => (WRAPPING_LABEL, KeyType::AES, MechanismType::AES_KEY_WRAP, wraps()),
            Self::Vault(VaultKey::Index(_)) => {
                (INDEX_LABEL, KeyType::GENERIC_SECRET, MechanismType::SHA256_HMAC, authenticates())
            }
        };
        let unwraps = matches!(self, Self::Transfer | Self::Vault(VaultKey::Wrapping(_)));
        let common = [
            Attribute::Class(self.class()),
            Attribute::KeyType(key_type),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Unwrap(unwraps),
            Attribute::Derive(false),
            Attribute::AllowedMechanisms(vec![mechanism]),
            Attribute::Label(label.into()),
            self.id(),
        ];
        // Last: SoftHSM applies the attributes of a key that it unwraps one by one, and none after this one.
        common.into_iter().chain(usage).chain([Attribute::Modifiable(false)]).collect()
    }
}

/// The handle of a key, if the token has it, after checking its attributes.
pub fn find(session: &Session, key: Key, role: Role) -> Result<Option<ObjectHandle>, Fault> {
    let found = session.find_objects(&[Attribute::Class(key.class()), key.id()])?;
    match found.as_slice() {
        [] => Ok(None),
        [only] => check(session, key, *only, role).map(|()| Some(*only)),
        _ => Err(configuration(format!("the token has more than one {}: remove what is not ours", key.name())).into()),
    }
}

/// Makes a key on the token, where there is none.
pub fn generate(session: &Session, key: Key, role: Role) -> Result<(), Fault> {
    if key.class() == ObjectClass::PRIVATE_KEY {
        // The public half of one that was destroyed again, when it was not as asked, would be in the way.
        for left in session.find_objects(&[Attribute::Class(ObjectClass::PUBLIC_KEY), key.id()])? {
            session.destroy_object(left)?;
        }
    }
    let made = match key {
        Key::Identity => generate_identity(session)?,
        Key::Signing(id, scheme) => resident::generate(session, id, scheme)?,
        Key::Sealing(_) | Key::Kek(_) => {
            let mut template = key.attributes();
            template.push(Attribute::ValueLen(SECRET_KEY_BYTES.into()));
            session.generate_key(&Mechanism::AesKeyGen, &template)?
        }
        Key::Vault(which) => {
            let mut template = key.attributes();
            template.push(Attribute::ValueLen(SECRET_KEY_BYTES.into()));
            let mechanism = match which {
                VaultKey::Wrapping(_) => Mechanism::AesKeyGen,
                VaultKey::Index(_) => Mechanism::GenericSecretKeyGen,
            };
            session.generate_key(&mechanism, &template)?
        }
        // Not made in its place: see `desk::transfer`.
        Key::Transfer => return Err(Fault::broken("C_GenerateKey", "a transfer key")),
    };
    keep(session, key, made, role)
}

/// Looks at a key that was just made. One that the token made otherwise than asked is destroyed again.
pub fn keep(session: &Session, key: Key, made: ObjectHandle, role: Role) -> Result<(), Fault> {
    match find(session, key, role) {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(Fault::broken("C_GenerateKey", "a key that is not found")),
        Err(fault) => {
            // Nothing is destroyed on the word of a handle alone: it might be another key's.
            let (class, id) = (Attribute::Class(key.class()), key.id());
            let types = [class.attribute_type(), id.attribute_type()];
            if session.get_attributes(made, &types).is_ok_and(|is| is.contains(&class) && is.contains(&id)) {
                let _kept =
                    session.destroy_object(made).inspect_err(|e| tracing::error!(error = %e, "C_DestroyObject"));
            }
            Err(fault)
        }
    }
}

/// Refuses a token on which a private or secret key is not one of ours, or not as we make them (S-4.4).
pub fn inspect(session: &Session, role: Role) -> Result<(), Fault> {
    for class in [ObjectClass::PRIVATE_KEY, ObjectClass::SECRET_KEY] {
        for handle in session.find_objects(&[Attribute::Class(class), Attribute::Token(true)])? {
            let types = [AttributeType::Id, AttributeType::Label, AttributeType::KeyType];
            let named = session.get_attributes(handle, &types)?;
            let id = named.iter().find_map(|a| if let Attribute::Id(id) = a { Some(id.as_slice()) } else { None });
            let key = match id {
                Some(id) if class == ObjectClass::PRIVATE_KEY && *id == IDENTITY_ID => Some(Key::Identity),
                Some(_) if class == ObjectClass::PRIVATE_KEY => resident::recognize(&named),
                Some(id) if class == ObjectClass::SECRET_KEY => recognize(id, &named),
                _ => None,
            };
            let Some(key) = key else {
                let what = format!("the token has a key that is not ours ({named:?}): remove it, or use another token");
                return Err(configuration(what).into());
            };
            check(session, key, handle, role)?;
        }
    }
    Ok(())
}

/// Which secret key of ours one may be: they are told apart by their labels.
fn recognize(id: &[u8], named: &[Attribute]) -> Option<Key> {
    let id = id.try_into().ok()?;
    named.iter().find_map(|attribute| match attribute {
        Attribute::Label(label) if label == SEALING_LABEL.as_bytes() => Some(Key::Sealing(SealingKeyId(id))),
        Attribute::Label(label) if label == KEK_LABEL.as_bytes() => Some(Key::Kek(KekId(id))),
        Attribute::Label(label) if label == WRAPPING_LABEL.as_bytes() => {
            Some(Key::Vault(VaultKey::Wrapping(KekId(id))))
        }
        Attribute::Label(label) if label == INDEX_LABEL.as_bytes() => Some(Key::Vault(VaultKey::Index(IndexKeyId(id)))),
        Attribute::Label(label) if label == TRANSFER_LABEL.as_bytes() && id == TRANSFER_ID => Some(Key::Transfer),
        _ => None,
    })
}

/// The public half of the identity key, and how the token writes it.
pub fn identity_public(session: &Session) -> Result<(VerifyingKey, EcPoint), Fault> {
    let found = session.find_objects(&[Attribute::Class(ObjectClass::PUBLIC_KEY), Key::Identity.id()])?;
    let [only] = found.as_slice() else {
        return Err(configuration(format!("the token has {} public halves of the identity key", found.len())).into());
    };
    let point = session.get_attributes(*only, &[AttributeType::EcPoint])?;
    let [Attribute::EcPoint(point)] = point.as_slice() else {
        return Err(configuration("the identity key has no public point".into()).into());
    };
    let (raw, how) = match point.strip_prefix(&POINT_HEADER) {
        Some(raw) if raw.len() == 32 => (raw, EcPoint::Der),
        _ => (point.as_slice(), EcPoint::Raw),
    };
    let key = VerifyingKey::ed25519(raw).map_err(|_| configuration("the identity key is no Ed25519 key".into()))?;
    Ok((key, how))
}

fn generate_identity(session: &Session) -> Result<ObjectHandle, Fault> {
    let public = [
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Modifiable(false),
        Attribute::Verify(true),
        Attribute::Encrypt(false),
        Attribute::Wrap(false),
        Attribute::EcParams(ED25519_PARAMS.to_vec()),
        Attribute::Label(IDENTITY_LABEL.into()),
        Key::Identity.id(),
    ];
    let pair = session.generate_key_pair(&Mechanism::EccEdwardsKeyPairGen, &public, &Key::Identity.attributes());
    Ok(pair.map(|(_, private)| private)?)
}

/// Compares what the token says with what was asked for; and that the key was born on the token and never left it, unless
/// it is one of those that a node's two tokens share.
fn check(session: &Session, key: Key, handle: ObjectHandle, role: Role) -> Result<(), Fault> {
    let mut wanted = key.attributes();
    let born_here = [Attribute::Local(true), Attribute::AlwaysSensitive(true), Attribute::NeverExtractable(true)];
    let may_be_shared = matches!(key, Key::Kek(_) | Key::Transfer | Key::Vault(_));
    if !(may_be_shared && role != Role::Only) {
        wanted.extend(born_here.clone());
    }
    let types: Vec<_> = wanted.iter().map(Attribute::attribute_type).collect();
    let given = session.get_attributes(handle, &types)?;
    match wanted.iter().find(|w| !given.contains(w)) {
        None => Ok(()),
        Some(missing) if may_be_shared && born_here.contains(missing) => {
            let what = format!(
                "the token shares its {} with another token, but none is configured beside it: add `[hsm.standby]`",
                key.name()
            );
            Err(HsmError::Configuration { what }.into())
        }
        Some(missing) => {
            let what = format!("the token's {} is not as it must be: it should have {missing:?}", key.name());
            Err(HsmError::Configuration { what }.into())
        }
    }
}

/// Wraps and unwraps, and does nothing else: what wraps and decrypts gives out the keys that it wraps.
fn wraps() -> Vec<Attribute> {
    vec![
        Attribute::Wrap(true),
        Attribute::Encrypt(false),
        Attribute::Decrypt(false),
        Attribute::Sign(false),
        Attribute::Verify(false),
    ]
}

/// Makes HMACs, and does nothing else.
fn authenticates() -> Vec<Attribute> {
    vec![
        Attribute::Sign(true),
        Attribute::Verify(false),
        Attribute::Encrypt(false),
        Attribute::Decrypt(false),
        Attribute::Wrap(false),
    ]
}

/// Encrypts and decrypts, and does nothing else.
fn encrypts() -> Vec<Attribute> {
    vec![
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::Sign(false),
        Attribute::Verify(false),
        Attribute::Wrap(false),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
