//! Rules, people and limits as a tree, and how they are written down for the engine.

use std::fmt::Write as _;

pub const CHAIN: &str = "eip155:1";
pub const USDC: &str = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48";
pub const ADDRESSES: [&str; 4] = [
    "0x70997970c51812dc3a010c7d01b50e0d17dc79c8",
    "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc",
    "0x00000000000000000000000000000000deadbeef",
    "0x00000000000000000000000000000000000a11ce",
];
pub const LISTS: [&str; 2] = ["vendors", "blocked"];
/// (id, Cedar group)
pub const CLIENTS: [(&str, &str); 2] = [("payout-service", "payouts"), ("operator", "operators")];
pub const KEYS: [&str; 2] = ["hot", "cold"];
/// (name, seed of the key, client that the person operates)
pub const PERSONS: [(&str, u8, Option<&str>); 4] =
    [("alice", 11, Some("payout-service")), ("bob", 12, None), ("carol", 14, None), ("dave", 15, Some("operator"))];
pub const GROUPS: [(&str, &[&str]); 3] = [
    ("treasury", &["alice", "bob", "carol"]),
    ("risk", &["carol", "dave"]),
    ("all", &["alice", "bob", "carol", "dave"]),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asset {
    Eth,
    Usdc,
    /// Not in assets.toml.
    Unknown,
}

impl Asset {
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Eth => "ETH",
            Self::Usdc => "USDC",
            Self::Unknown => panic!("it has no symbol"),
        }
    }

    pub fn decimals(self) -> u32 {
        match self {
            Self::Eth => 18,
            Self::Usdc => 6,
            Self::Unknown => panic!("nobody knows"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Sign,
    Opaque,
    Message,
}

impl Action {
    pub fn word(self) -> &'static str {
        match self {
            Self::Sign => "sign",
            Self::Opaque => "sign_opaque",
            Self::Message => "sign_message",
        }
    }
}

/// What a rule can ask. Amounts are in ten-thousandths.
#[derive(Debug, Clone)]
pub enum Expr {
    AssetIs(Asset),
    AmountAtMost(u64),
    AmountAbove(u64),
    FeeAtMost(u64),
    ToIsIn(usize),
    ToIs(usize),
    HourBefore(u64),
    BytesAtMost(u64),
    /// `hour + (MAX - n) > 0`, which fails from the hour n + 1 on.
    Overflows(u64),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Not(Box<Expr>),
    If(Box<Expr>, Box<Expr>, Box<Expr>),
}

#[derive(Debug, Clone)]
pub enum Who {
    Anyone,
    Group(&'static str),
    Client(&'static str),
}

#[derive(Debug, Clone)]
pub struct Rule {
    pub id: String,
    pub permits: bool,
    pub who: Who,
    pub action: Action,
    pub key: Option<&'static str>,
    pub when: Vec<Expr>,
    pub unless: Option<Expr>,
    /// (group, how many)
    pub approvals: Vec<(&'static str, usize)>,
}

#[derive(Debug, Clone)]
pub struct Limit {
    pub id: String,
    pub key: Option<&'static str>,
    pub client: Option<&'static str>,
    pub asset: Option<Asset>,
    pub list: Option<usize>,
    pub to: Option<usize>,
    pub action: Option<Action>,
    /// In whole units of the asset, or a count.
    pub most: u128,
    pub counts: bool,
    pub by: Vec<&'static str>,
}

#[derive(Debug, Clone)]
pub struct World {
    pub rules: Vec<Rule>,
    pub limits: Vec<Limit>,
    /// Which addresses are in which list.
    pub lists: [Vec<usize>; 2],
}

#[derive(Debug, Clone)]
pub struct Asked {
    pub client: &'static str,
    pub key: &'static str,
    pub hour: u64,
    pub what: What,
    pub approved: Vec<&'static str>,
    pub rejected: Vec<&'static str>,
}

#[derive(Debug, Clone)]
pub enum What {
    Transfer { moves: Vec<Move>, fee: u128 },
    Opaque { to: usize },
    Message { bytes: u64 },
}

#[derive(Debug, Clone)]
pub struct Move {
    pub asset: Asset,
    /// None is more than anyone can count.
    pub amount: Option<u128>,
    pub to: usize,
}

fn decimal(ten_thousandths: u64) -> String {
    format!("decimal(\"{}.{:04}\")", ten_thousandths / 10_000, ten_thousandths % 10_000)
}

impl Expr {
    fn cedar(&self, record: &str) -> String {
        match self {
            Self::AssetIs(asset) => format!("context.tx.asset == \"{}\"", asset.symbol()),
            Self::AmountAtMost(n) => format!("context.tx.amount.lessThanOrEqual({})", decimal(*n)),
            Self::AmountAbove(n) => format!("context.tx.amount.greaterThan({})", decimal(*n)),
            Self::FeeAtMost(n) => format!("context.tx.fee.lessThanOrEqual({})", decimal(*n)),
            Self::ToIsIn(list) => format!("context.{record}.to in List::\"{}\"", LISTS[*list]),
            Self::ToIs(to) => format!("context.{record}.to == Address::\"{}\"", ADDRESSES[*to]),
            Self::HourBefore(n) => format!("context.now.hour < {n}"),
            Self::BytesAtMost(n) => format!("context.message.bytes <= {n}"),
            Self::Overflows(n) => format!("context.now.hour + {} > 0", i64::MAX as u64 - n),
            Self::And(a, b) => format!("({} && {})", a.cedar(record), b.cedar(record)),
            Self::Or(a, b) => format!("({} || {})", a.cedar(record), b.cedar(record)),
            Self::Not(a) => format!("!({})", a.cedar(record)),
            Self::If(a, b, c) => {
                format!("(if {} then {} else {})", a.cedar(record), b.cedar(record), c.cedar(record))
            }
        }
    }
}

impl Rule {
    fn cedar(&self) -> String {
        let mut text = format!("@id(\"{}\")", self.id);
        if !self.approvals.is_empty() {
            let quorums: Vec<_> = self.approvals.iter().map(|(group, n)| format!("{n} of {group}")).collect();
            write!(text, " @approvals(\"{}\")", quorums.join(", ")).unwrap();
        }
        let who = match &self.who {
            Who::Anyone => "principal".to_owned(),
            Who::Group(group) => format!("principal in Group::\"{group}\""),
            Who::Client(client) => format!("principal == Client::\"{client}\""),
        };
        let key = self.key.map_or("resource".to_owned(), |key| format!("resource == Key::\"{key}\""));
        let effect = if self.permits { "permit" } else { "forbid" };
        write!(text, "\n{effect} ({who}, action == Action::\"{}\", {key})", self.action.word()).unwrap();
        for when in &self.when {
            write!(text, "\nwhen {{ {} }}", self.written(when)).unwrap();
        }
        if let Some(unless) = &self.unless {
            write!(text, "\nunless {{ {} }}", self.written(unless)).unwrap();
        }
        text + ";\n"
    }

    /// A condition as people read it.
    pub fn written(&self, condition: &Expr) -> String {
        condition.cedar(if self.action == Action::Opaque { "opaque" } else { "tx" })
    }
}

impl Limit {
    fn toml(&self) -> String {
        let mut text = format!("[[limit]]\nid = \"{}\"\nper = \"1d\"\n", self.id);
        let mut field = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                writeln!(text, "{name} = \"{value}\"").unwrap();
            }
        };
        field("key", self.key);
        field("client", self.client);
        field("asset", self.asset.map(Asset::symbol));
        field("list", self.list.map(|list| LISTS[list]));
        field("to", self.to.map(|to| ADDRESSES[to]));
        field("action", self.action.map(Action::word));
        let most = if self.counts { format!("count = {}", self.most) } else { format!("max = \"{}\"", self.most) };
        let by: Vec<_> = self.by.iter().map(|by| format!("\"{by}\"")).collect();
        writeln!(text, "{most}\nby = [{}]", by.join(", ")).unwrap();
        text
    }
}

impl World {
    pub fn policy(&self) -> String {
        self.rules.iter().map(Rule::cedar).collect()
    }

    pub fn limits(&self) -> String {
        self.limits.iter().map(Limit::toml).collect()
    }

    pub fn files(&self) -> tally_policy::Files {
        let mut files: tally_policy::Files =
            tally_policy::EXAMPLE.into_iter().map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec())).collect();
        files.retain(|path, _| !path.starts_with("tests/"));
        let mut put = |path: &str, text: String| files.insert(path.to_owned(), text.into_bytes());
        put("policy.cedar", self.policy());
        put("limits.toml", self.limits());
        put("groups.toml", groups());
        for (name, entries) in LISTS.iter().zip(&self.lists) {
            let lines: Vec<_> = entries.iter().map(|to| ADDRESSES[*to]).collect();
            put(&format!("lists/{name}.txt"), lines.join("\n"));
        }
        files
    }
}

fn groups() -> String {
    let mut text = String::new();
    for (name, seed, client) in PERSONS {
        let key = tally_domain::dsse::SigningKey::ed25519(&[seed; 32]).verifying_key();
        let clients: Vec<_> = client.iter().map(|client| format!("\"{client}\"")).collect();
        writeln!(text, "[[person]]\nname = \"{name}\"\nkeys = [\"{key}\"]\nclients = [{}]", clients.join(", "))
            .unwrap();
    }
    for (name, persons) in GROUPS {
        let persons: Vec<_> = persons.iter().map(|person| format!("\"{person}\"")).collect();
        writeln!(text, "[[group]]\nname = \"{name}\"\npersons = [{}]", persons.join(", ")).unwrap();
    }
    text
}
