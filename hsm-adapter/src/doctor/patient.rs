//! The token under examination: a session, and objects that are gone when their check is over.

use super::examine::Event;
use crate::fault::Fault;
use cryptoki::context::Pkcs11;
use cryptoki::error::Error;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use cryptoki::slot::{Slot, TokenInfo};
use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

const AES_KEY_BYTES: u64 = 32;

/// A token, logged in to.
pub struct Patient<'a> {
    pub context: &'a Pkcs11,
    pub slot: Slot,
    pub session: Session,
    pub info: TokenInfo,
    /// The label of everything that is made.
    pub label: String,
    /// Says what happens.
    pub tell: &'a dyn Fn(&Event),
    made: RefCell<Vec<ObjectHandle>>,
    next_id: Cell<u8>,
}

impl<'a> Patient<'a> {
    pub fn new(
        context: &'a Pkcs11,
        slot: Slot,
        session: Session,
        info: TokenInfo,
        label: String,
        tell: &'a dyn Fn(&Event),
    ) -> Self {
        Self { context, slot, session, info, label, tell, made: RefCell::default(), next_id: Cell::new(0) }
    }

    /// Calls the module. If it does not come back, this is where.
    pub fn call<T, E: Into<Fault>>(
        &self,
        function: &str,
        work: impl FnOnce(&Session) -> Result<T, E>,
    ) -> Result<T, Fault> {
        (self.tell)(&Event::Calling(function.into()));
        work(&self.session).map_err(Into::into)
    }

    /// As [`Patient::call`], with the module's own answer.
    pub fn ask<T>(&self, function: &str, work: impl FnOnce(&Session) -> Result<T, Error>) -> Result<T, Error> {
        (self.tell)(&Event::Calling(function.into()));
        work(&self.session)
    }

    /// How long a call takes: the half of several is faster.
    pub fn time<T>(&self, function: &str, work: impl Fn(&Session) -> Result<T, Error>) -> Result<Duration, Fault> {
        const TIMES: usize = 51;
        let mut took = Vec::with_capacity(TIMES);
        for _ in 0..TIMES {
            let begun = Instant::now();
            self.call(function, &work)?;
            took.push(begun.elapsed());
        }
        took.sort_unstable();
        Ok(took.get(TIMES / 2).copied().unwrap_or_default())
    }

    /// Notes a capability.
    pub fn note(&self, key: &str, value: impl ToString) {
        (self.tell)(&Event::Seen(key.into(), value.to_string()));
    }

    /// An id that nothing else on the token has, most likely.
    pub fn id(&self) -> [u8; 16] {
        let mut id = *b"tally-doctor-000";
        self.next_id.set(self.next_id.get().wrapping_add(1));
        if let Some(last) = id.last_mut() {
            *last = self.next_id.get();
        }
        id
    }

    /// Everything that a key of this session has beside its use.
    pub fn temporary(&self, key_type: KeyType, usage: &[Attribute]) -> Vec<Attribute> {
        let common = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(key_type),
            Attribute::Token(false),
            Attribute::Private(true),
            Attribute::Label(self.label.clone().into()),
        ];
        common.into_iter().chain(usage.iter().cloned()).collect()
    }

    /// An AES key of this session.
    pub fn aes(&self, usage: &[Attribute]) -> Result<ObjectHandle, Fault> {
        let mut template = self.temporary(KeyType::AES, usage);
        template.push(Attribute::ValueLen(AES_KEY_BYTES.into()));
        self.generated(&template)
    }

    /// A key by this template.
    pub fn generated(&self, template: &[Attribute]) -> Result<ObjectHandle, Fault> {
        self.keep(self.call("C_GenerateKey", |s| s.generate_key(&Mechanism::AesKeyGen, template)))
    }

    /// A key with this value.
    pub fn imported(&self, key_type: KeyType, value: &[u8], usage: &[Attribute]) -> Result<ObjectHandle, Fault> {
        let mut template = self.temporary(key_type, usage);
        template.push(Attribute::Value(value.to_vec()));
        self.keep(self.call("C_CreateObject", |s| s.create_object(&template)))
    }

    /// Removes an object when the check is over.
    pub fn keep(&self, made: Result<ObjectHandle, Fault>) -> Result<ObjectHandle, Fault> {
        made.inspect(|object| self.made.borrow_mut().push(*object))
    }

    /// Removes what a check has made.
    pub fn clear(&self) -> Result<(), Fault> {
        let made = std::mem::take(&mut *self.made.borrow_mut());
        made.into_iter().try_for_each(|object| self.call("C_DestroyObject", |s| s.destroy_object(object)))
    }
}
