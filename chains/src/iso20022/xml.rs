//! Bytes to a tree of elements: a small part of XML, on which all readers agree, within limits.

use super::fault::{BadPayment, Fault, shown};
use quick_xml::Reader;
use quick_xml::errors::SyntaxError;
use quick_xml::events::{BytesDecl, BytesStart, Event};

/// Largest file. A client's message may be 64 KiB today, so this is room for that limit to grow, and what bounds the
/// work for callers that have no such limit.
pub const FILE_MAX_BYTES: usize = 256 * 1024;

/// Deepest nesting. The deepest element of pain.001, in the lines of a structured remittance, is at 14.
pub const DEPTH_MAX: usize = 24;

/// Most elements: 64 for each of the most transfers, of which one with all that is read has about 40.
pub const ELEMENTS_MAX: usize = 64 * super::TRANSFERS_MAX;

/// White space of XML.
const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// An element with what it has.
pub(super) struct Element {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) attributes: Vec<(String, String)>,
    /// All text directly in it.
    pub(super) text: String,
    pub(super) children: Vec<Element>,
}

impl Element {
    /// The fault at this element.
    pub(super) fn fault(&self, fault: Fault) -> BadPayment {
        fault.at(self.line)
    }

    /// Whether there is anything but white space in its text.
    pub(super) fn has_text(&self) -> bool {
        !self.text.trim_matches(SPACE).is_empty()
    }
}

/// The root element of a document.
pub(super) fn read(content: &[u8]) -> Result<Element, BadPayment> {
    if content.len() > FILE_MAX_BYTES {
        return Err(Fault::Oversized.at(1));
    }
    let text = std::str::from_utf8(content).map_err(|e| Fault::NotUtf8.at(line_of(content, e.valid_up_to())))?;
    if let Some((at, _)) = text.char_indices().find(|(_, c)| !is_xml_char(*c)) {
        return Err(Fault::NotUtf8.at(line_of(content, at)));
    }
    let mut reader = Reader::from_str(text);
    let mut tree = Tree::default();
    let (mut line, mut seen) = (1, 0);
    loop {
        let at = usize::try_from(reader.buffer_position()).unwrap_or(content.len());
        line += newlines(content.get(seen..at).unwrap_or_default());
        seen = at;
        let done = reader.read_event().map_err(|e| syntax(&e)).and_then(|event| tree.take(event, line));
        match done.map_err(|fault| fault.at(line))? {
            Step::More => {}
            Step::End(root) => return Ok(root),
        }
    }
}

/// The elements that are open, and the root once it is closed.
#[derive(Default)]
struct Tree {
    open: Vec<Element>,
    root: Option<Element>,
    elements: usize,
    /// Whether anything has been read: a declaration may only come first.
    begun: bool,
}

enum Step {
    More,
    End(Element),
}

impl Tree {
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<Step, Fault> {
        let first = !std::mem::replace(&mut self.begun, true);
        match event {
            Event::Start(tag) => self.open(&tag, line)?,
            Event::Empty(tag) => {
                self.open(&tag, line)?;
                self.close();
            }
            Event::End(_) => self.close(),
            Event::Text(text) => self.text(&text.xml10_content())?,
            Event::GeneralRef(name) => self.text(predefined(&name.into_inner())?)?,
            Event::Decl(declaration) if first => check(&declaration)?,
            Event::Decl(_) => return Err(malformed("the XML declaration is not at the start")),
            Event::DocType(_) => return Err(Fault::Doctype),
            Event::PI(_) => return Err(Fault::Markup { what: "processing instruction" }),
            Event::Comment(_) => return Err(Fault::Markup { what: "comment" }),
            Event::CData(_) => return Err(Fault::Markup { what: "CDATA section" }),
            Event::Eof if !self.open.is_empty() => return Err(Fault::Truncated),
            Event::Eof => return self.root.take().map(Step::End).ok_or_else(|| malformed("there is no element")),
        }
        Ok(Step::More)
    }

    fn open(&mut self, tag: &BytesStart<'_>, line: usize) -> Result<(), Fault> {
        if self.root.is_some() {
            return Err(malformed("there is a second element after the first"));
        }
        self.elements += 1;
        if self.elements > ELEMENTS_MAX {
            return Err(Fault::TooManyElements);
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(Fault::TooDeep);
        }
        let name = tag.name().into_inner();
        if name.contains(':') {
            return Err(Fault::Markup { what: "namespace prefix" });
        }
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(malformed("an element has a name that the standard has not"));
        }
        let attributes = tag.attributes().map(|attribute| {
            let attribute = attribute.map_err(|e| Fault::NotXml { message: e.to_string() })?;
            // No value that is read needs one, and none is worth unescaping.
            if attribute.value.contains(['&', '<']) {
                return Err(Fault::Entity { name: shown(attribute.value.trim_matches(['&', ';'])) });
            }
            Ok((attribute.key.into_inner().to_owned(), attribute.value.into_owned()))
        });
        let attributes = attributes.collect::<Result<_, _>>()?;
        self.open.push(Element { name: name.to_owned(), line, attributes, text: String::new(), children: vec![] });
        Ok(())
    }

    /// The reader has checked that the name is that of the innermost open element.
    fn close(&mut self) {
        let Some(element) = self.open.pop() else { return };
        match self.open.last_mut() {
            Some(parent) => parent.children.push(element),
            None => self.root = Some(element),
        }
    }

    fn text(&mut self, text: &str) -> Result<(), Fault> {
        match self.open.last_mut() {
            Some(_) if text.contains("]]>") => Err(malformed("`]]>` in text")),
            Some(element) => {
                element.text.push_str(text);
                Ok(())
            }
            None if text.trim_matches(SPACE).is_empty() => Ok(()),
            None => Err(malformed("there is text outside of the elements")),
        }
    }
}

/// XML 1.0, 4.6.
fn predefined(name: &str) -> Result<&'static str, Fault> {
    quick_xml::escape::resolve_xml_entity(name).ok_or_else(|| Fault::Entity { name: shown(name) })
}

fn check(declaration: &BytesDecl<'_>) -> Result<(), Fault> {
    let version = declaration.version().map_err(|_| Fault::Declaration)?;
    let encoding = declaration.encoding().transpose().map_err(|_| Fault::Declaration)?;
    let utf8 = encoding.is_none_or(|e| e.eq_ignore_ascii_case("UTF-8"));
    if version == "1.0" && utf8 { Ok(()) } else { Err(Fault::Declaration) }
}

/// All other errors of syntax are that the file ends too early.
fn syntax(e: &quick_xml::Error) -> Fault {
    match e {
        quick_xml::Error::Syntax(s) if *s != SyntaxError::InvalidBangMarkup => Fault::Truncated,
        other => Fault::NotXml { message: shown(&other.to_string()) },
    }
}

fn malformed(message: &str) -> Fault {
    Fault::NotXml { message: message.into() }
}

/// XML 1.0, 2.2.
fn is_xml_char(c: char) -> bool {
    SPACE.contains(&c) || (c >= ' ' && !matches!(c, '\u{fffe}' | '\u{ffff}'))
}

fn newlines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|b| **b == b'\n').count()
}

fn line_of(content: &[u8], at: usize) -> usize {
    1 + newlines(content.get(..at).unwrap_or_default())
}
