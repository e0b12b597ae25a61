//! An element read down to its last child: what nobody asked for is refused.

use super::fault::{BadPayment, Fault};
use super::xml::Element;

/// The children of an element that have not been read yet.
pub(super) struct Fields {
    name: String,
    line: usize,
    rest: Vec<Element>,
}

impl Fields {
    /// Reads all of an element that has only elements in it.
    pub(super) fn read<T>(
        element: Element,
        read: impl FnOnce(&mut Self) -> Result<T, BadPayment>,
    ) -> Result<T, BadPayment> {
        no_attributes(&element)?;
        if element.has_text() {
            return Err(element.fault(Fault::Text { element: element.name.clone() }));
        }
        let mut fields = Self { name: element.name, line: element.line, rest: element.children };
        let value = read(&mut fields)?;
        match fields.rest.first() {
            Some(unread) => {
                Err(unread.fault(Fault::Unknown { element: unread.name.clone(), within: fields.name.clone() }))
            }
            None => Ok(value),
        }
    }

    /// A fault of the element as a whole.
    pub(super) fn fault(&self, fault: Fault) -> BadPayment {
        fault.at(self.line)
    }

    /// The element's own name.
    pub(super) fn name(&self) -> String {
        self.name.clone()
    }

    /// The element's line.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// The child that must be there, once.
    pub(super) fn one(&mut self, name: &'static str) -> Result<Element, BadPayment> {
        self.optional(name)?.ok_or_else(|| self.missing(name))
    }

    /// The child that may be there, once.
    pub(super) fn optional(&mut self, name: &str) -> Result<Option<Element>, BadPayment> {
        let mut found = self.take(name).into_iter();
        let first = found.next();
        match found.next() {
            Some(second) => {
                Err(second.fault(Fault::Duplicate { element: second.name.clone(), within: self.name.clone() }))
            }
            None => Ok(first),
        }
    }

    /// The children of which there is at least one.
    pub(super) fn many(&mut self, name: &'static str) -> Result<Vec<Element>, BadPayment> {
        let found = self.take(name);
        if found.is_empty() { Err(self.missing(name)) } else { Ok(found) }
    }

    /// Lets children by that decide nothing, whatever they say.
    pub(super) fn inert(&mut self, names: &[&str]) -> Result<(), BadPayment> {
        names.iter().flat_map(|name| self.take(name)).try_for_each(|element| check_inert(&element))
    }

    fn take(&mut self, name: &str) -> Vec<Element> {
        let (found, rest) = std::mem::take(&mut self.rest).into_iter().partition(|e| e.name == name);
        self.rest = rest;
        found
    }

    /// The fault that a child is missing.
    pub(super) fn missing(&self, element: &'static str) -> BadPayment {
        self.fault(Fault::Missing { element, within: self.name.clone() })
    }
}

/// Refuses any attribute.
pub(super) fn no_attributes(element: &Element) -> Result<(), BadPayment> {
    match element.attributes.first() {
        Some((attribute, _)) => Err(unread(element, attribute)),
        None => Ok(()),
    }
}

/// The fault of an attribute that is not read.
pub(super) fn unread(element: &Element, attribute: &str) -> BadPayment {
    let attribute = super::fault::shown(attribute);
    element.fault(Fault::Attribute { attribute, element: element.name.clone() })
}

/// Elements of the standard's own namespace with text, and amounts with their currency. No deeper than
/// [`super::DEPTH_MAX`].
fn check_inert(element: &Element) -> Result<(), BadPayment> {
    match element.attributes.iter().find(|(name, _)| name != "Ccy") {
        Some((attribute, _)) => Err(unread(element, attribute)),
        None => element.children.iter().try_for_each(check_inert),
    }
}
