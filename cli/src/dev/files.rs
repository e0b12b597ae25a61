//! The text files of a development cluster.

use alloy_primitives::U256;
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use tally_chains::{erc20_transfer_input, parse_evm_address};
use tally_domain::facts::Amount;
use tally_domain::roster::NodeRole;

/// Name of the cluster.
pub const CLUSTER: &str = "dev";
/// Whose requests the client makes.
pub const TENANT: &str = "acme";
/// The one client.
pub const CLIENT: &str = "payouts-1";
/// A vendor on the list: the second account of every local EVM node (Anvil, Hardhat).
pub const VENDOR: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
/// Another one.
pub const SECOND_VENDOR: &str = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC";
/// USDC on Ethereum.
pub const USDC: &str = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48";

/// One USDC in its smallest unit.
pub const USDC_UNIT: u64 = 1_000_000;

/// `bundle.toml`
pub const BUNDLE: &str = "version = 1\n";

/// `assets.toml`
pub const ASSETS: &str = r#"[[asset]]
symbol = "ETH"
chain = "eip155:1"
decimals = 18

[[asset]]
symbol = "USDC"
chain = "eip155:1"
contract = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"
decimals = 6
"#;

/// The limit that the tour takes all of, in whole units; see [`LIMITS`].
pub const VENDOR_DAY: u64 = 5_000;

/// `limits.toml`
pub const LIMITS: &str = r#"# How much in all, whichever rule permits and whichever nodes sign. Counted over any 24 hours.

[[limit]]
id = "vendor-usdc-day"
key = "hot"
asset = "USDC"
max = "5_000"
per = "24h"
by = ["to"]
"#;

/// `lists/vendors.txt`
pub const VENDORS: &str = "\
# Who is paid without asking anyone. The second and third accounts of every local EVM node.
0x70997970C51812dc3A010C7d01b50e0d17dc79C8
0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC
";

/// `policy.cedar`
pub const POLICY: &str = r#"// What is permitted. All else is denied. The fee is in ETH, the most that the transaction can cost.

@id("payouts-small")
permit (principal in Group::"payouts", action == Action::"sign", resource == Key::"hot")
when { context.tx.method == "transfer" && context.tx.asset == "USDC" && context.tx.to in List::"vendors"
       && context.tx.amount.lessThanOrEqual(decimal("1000"))
       && context.tx.fee.lessThanOrEqual(decimal("0.05")) };

@id("payouts-large") @approvals("2 of treasury")
permit (principal in Group::"payouts", action == Action::"sign", resource == Key::"hot")
when { context.tx.method == "transfer" && context.tx.asset == "USDC" && context.tx.to in List::"vendors"
       && context.tx.amount.lessThanOrEqual(decimal("4000"))
       && context.tx.fee.lessThanOrEqual(decimal("0.05")) };

@id("eth-small")
permit (principal in Group::"payouts", action == Action::"sign", resource == Key::"hot")
when { context.tx.method == "transfer" && context.tx.asset == "ETH" && context.tx.to in List::"vendors"
       && context.tx.amount.lessThanOrEqual(decimal("0.5"))
       && context.tx.fee.lessThanOrEqual(decimal("0.05")) };

@id("messages")
permit (principal in Group::"payouts", action == Action::"sign_message", resource == Key::"fast");

@id("bitcoin-messages")
permit (principal in Group::"payouts", action == Action::"sign_message", resource == Key::"tap");

@id("tokens")
permit (principal in Group::"payouts", action == Action::"sign_message", resource == Key::"jwt")
when { context.message.text && context.message.bytes <= 4096 };

@id("operators-create-keys")
permit (principal in Group::"operators", action == Action::"create_key", resource);

@id("vault-keys")
permit (principal in Group::"payouts",
        action in [Action::"generate_data_key", Action::"wrap", Action::"unwrap", Action::"rewrap"],
        resource == Key::"vault")
when { context.wrap.context.contains("app=demo") && context.wrap.bytes <= 64 };

@id("operators-create-keks")
permit (principal in Group::"operators", action == Action::"create_kek", resource);

@id("operators-change-keks")
permit (principal in Group::"operators", action == Action::"change_kek", resource)
when { context.kek.change != "destroy" || context.kek.delay_hours >= 24 };

@id("keep-cards")
permit (principal in Group::"payouts",
        action in [Action::"tokenize", Action::"search_token", Action::"show_token", Action::"suspend_token",
                   Action::"resume_token", Action::"delete_token"],
        resource == Domain::"cards");

@id("cards-for-refunds")
permit (principal in Group::"payouts", action == Action::"reveal", resource == Domain::"cards")
when { context.token.purpose == "refund" && context.token.rows <= 1000000 };

@id("cards-for-support")
permit (principal in Group::"payouts", action == Action::"reveal", resource == Domain::"cards")
when { context.token.purpose == "support" && context.token.form != "full" };

@id("operators-manage-domains")
permit (principal in Group::"operators", action == Action::"manage_domain", resource);

@id("operators-freeze")
permit (principal in Group::"operators", action == Action::"freeze", resource);

@id("operators-unfreeze")
permit (principal in Group::"operators", action == Action::"unfreeze", resource);

@id("operators-veto")
permit (principal in Group::"operators", action == Action::"veto_policy", resource);
"#;

/// Who approves; the last one operates the client, and does not for what it asks.
pub const PEOPLE: [&str; 3] = ["alice", "bob", "carol"];

/// `groups.toml`, with the persons' public keys in the order of [`PEOPLE`].
pub fn groups(keys: &[String]) -> String {
    let mut text =
        String::from("# Who approves what rules with @approvals permit. Their keys are in client/people/.\n");
    for (name, key) in PEOPLE.iter().zip(keys) {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n[[person]]\nname = \"{name}\"\nkeys = [\"{key}\"]\n");
    }
    let names: Vec<_> = PEOPLE.iter().map(|name| format!("\"{name}\"")).collect();
    let _ = write!(
        text,
        "clients = [\"{CLIENT}\"]    # carol operates it: what it asks for, others approve\n\n[[group]]\n\
         name = \"treasury\"\npersons = [{}]\n",
        names.join(", ")
    );
    text
}

/// A node as its files name it.
pub struct NodeFacts {
    /// `node-1`
    pub name: String,
    /// What it does.
    pub role: NodeRole,
    /// `127.0.0.1:7101`
    pub address: String,
    /// `ed25519:<hex>`
    pub identity: String,
    /// Of its certificate.
    pub spki_sha256: String,
}

/// Who signs bundles, any two of them.
pub const ADMINS: [&str; 3] = ["alice", "bob", "carol"];

/// `roster.toml`; `admins` are the public keys of [`ADMINS`].
pub fn roster(nodes: &[NodeFacts], intent_key: &str, client_spki_sha256: &str, admins: &[String]) -> String {
    let mut text = format!("cluster = \"{CLUSTER}\"\nadmins_needed = 2\n");
    for node in nodes {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n[[node]]\nname = \"{}\"\nrole = \"{}\"\naddress = \"{}\"\nidentity = \"{}\"\ntls_spki_sha256 = \"{}\"\n",
            node.name,
            node.role.as_str(),
            node.address,
            node.identity,
            node.spki_sha256
        );
    }
    let _ = write!(
        text,
        "\n[[client]]\nid = \"{CLIENT}\"\ntenant = \"{TENANT}\"\nintent_key = \"{intent_key}\"\n\
         tls_spki_sha256 = [\"{client_spki_sha256}\"]\ngroups = [\"payouts\", \"operators\", \"auditors\"]\n"
    );
    for (name, key) in ADMINS.iter().zip(admins) {
        let _ = write!(text, "\n[[admin]]\nname = \"{name}\"\nkeys = [\"{key}\"]\n");
    }
    text
}

/// `node.toml`; `module` is the PKCS#11 module, TOML-quoted here because it is a path of this machine.
pub fn node(name: &str, address: &str, module: &Path, serial: &str) -> String {
    let module = toml::Value::String(module.display().to_string());
    format!(
        r#"cluster = "{CLUSTER}"
name = "{name}"
mode = "development"
listen = "{address}"
data_dir = "data"

[tls]
ca = "../ca.pem"
cert = "node.pem"
key = "node.key"

[hsm]
module = {module}
token_label = "tally-{name}"
token_serial = "{serial}"
pin_file = "pin"
workers = 2
env = {{ SOFTHSM2_CONF = "softhsm2.conf" }}

[log]
format = "text"
level = "info"
"#
    )
}

/// What is added to `node.toml` once there is a policy.
pub fn pinned(digest: &str) -> String {
    format!("\n[policy]\npinned = \"sha256:{digest}\"\nbundle = \"../policy.bundle\"\n")
}

/// `profile.toml`
pub fn profile(addresses: &[String]) -> String {
    let endpoints: Vec<_> = addresses.iter().map(|a| format!("\"https://{a}\"")).collect();
    format!(
        "tenant = \"{TENANT}\"\nclient = \"{CLIENT}\"\ncluster = \"{CLUSTER}\"\nendpoints = [{}]\nca = \"../ca.pem\"\n\
         cert = \"client.pem\"\nkey = \"client.key\"\nintent_key = \"intent.key\"\n",
        endpoints.join(", ")
    )
}

/// `examples/usdc-<whole>.json`: a transfer to the vendor, as `tally sign --evm-tx` reads it.
pub fn usdc_transfer(whole: u64) -> anyhow::Result<String> {
    let amount = U256::from(whole) * U256::from(USDC_UNIT);
    let input = erc20_transfer_input(parse_evm_address(VENDOR)?, Amount(amount.to_be_bytes()));
    Ok(format!(
        r#"{{
  "chainId": 1,
  "nonce": 0,
  "maxPriorityFeePerGas": "1000000000",
  "maxFeePerGas": "20000000000",
  "gasLimit": 100000,
  "to": "{USDC}",
  "value": "0",
  "input": "0x{}"
}}
"#,
        hex::encode(input)
    ))
}

/// Who may read a file.
#[derive(Debug, Clone, Copy)]
pub enum Mode {
    /// Everyone.
    Public,
    /// Its owner alone, and nobody may write.
    Secret,
}

/// Writes a new file.
pub fn write(path: &Path, text: &str, mode: Mode) -> anyhow::Result<()> {
    write_bytes(path, text.as_bytes(), mode)
}

/// The same with bytes.
pub fn write_bytes(path: &Path, bytes: &[u8], mode: Mode) -> anyhow::Result<()> {
    let bits = match mode {
        Mode::Public => 0o644,
        Mode::Secret => 0o400,
    };
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(bits).open(path);
    file.and_then(|mut f| f.write_all(bytes)).map_err(|e| anyhow::anyhow!("cannot write {}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use tally_chains::decode;
    use tally_domain::{ClientId, ContentKind, KeyName, Scheme, UnixMillis};
    use tally_policy::{Decision, DecisionRequest, PolicyAction, decide};

    fn bundle() -> tally_policy::Bundle {
        let key = |seed: u8| tally_domain::dsse::SigningKey::ed25519(&[seed; 32]).verifying_key().to_string();
        let node = |i: u8, role| NodeFacts {
            name: format!("node-{i}"),
            role,
            address: format!("127.0.0.1:710{i}"),
            identity: key(i),
            spki_sha256: format!("{i:064x}"),
        };
        let nodes = [node(1, NodeRole::Signer), node(2, NodeRole::Signer), node(3, NodeRole::Witness)];
        let admins = [key(11), key(12), key(13)];
        let roster = roster(&nodes, &key(9), &format!("{:064x}", 9), &admins);
        let groups = groups(&[key(21), key(22), key(23)]);
        let files = [
            ("groups.toml", groups.as_str()),
            ("policy.cedar", POLICY),
            ("assets.toml", ASSETS),
            ("bundle.toml", BUNDLE),
            ("roster.toml", &roster),
            ("limits.toml", LIMITS),
            ("lists/vendors.txt", VENDORS),
        ];
        let files: BTreeMap<_, _> = files.iter().map(|(p, t)| ((*p).to_owned(), t.as_bytes().to_vec())).collect();
        tally_policy::Bundle::load(&files).unwrap()
    }

    #[test]
    fn the_bundle_loads_as_a_node_loads_it() {
        let summary = bundle().summary();
        let permits = [
            "payouts-small",
            "payouts-large",
            "eth-small",
            "messages",
            "bitcoin-messages",
            "tokens",
            "operators-create-keys",
            "vault-keys",
            "operators-create-keks",
            "operators-change-keks",
            "keep-cards",
            "cards-for-refunds",
            "cards-for-support",
            "operators-manage-domains",
            "operators-freeze",
            "operators-unfreeze",
            "operators-veto",
        ];
        assert_eq!(summary.permits, permits);
        assert_eq!((summary.nodes, summary.clients, summary.lists["vendors"]), (3, 1, 2));
        assert!(VENDORS.contains(VENDOR) && VENDORS.contains(SECOND_VENDOR) && ASSETS.contains(USDC));
        assert_eq!(summary.limits, ["vendor-usdc-day"]);
        assert!(LIMITS.replace('_', "").contains(&format!("max = \"{VENDOR_DAY}\"")));
    }

    #[test]
    fn a_transfer_is_bounded_in_amount_and_in_fee() {
        let (bundle, client, key) = (bundle(), ClientId::parse(CLIENT).unwrap(), KeyName::parse("hot").unwrap());
        let ask = |whole, gas_price: &str| {
            let tx = usdc_transfer(whole).unwrap().replace("20000000000", gas_price);
            let payload = crate::evm_tx::parse(tx.as_bytes()).unwrap();
            let scheme = Scheme::EcdsaSecp256k1;
            let decoded = decode(ContentKind::EvmTransaction, scheme, &payload.chain, &payload.bytes).unwrap();
            let request = DecisionRequest { client: &client, key: &key, action: PolicyAction::Sign(&decoded.facts) };
            match decide(&bundle, &request, UnixMillis(0)) {
                Decision::Permit { rule } => rule,
                Decision::Deny(denied) => denied.near_misses.into_iter().next().unwrap().condition,
                Decision::NeedsApproval(needs) => panic!("{needs:?}"),
            }
        };
        assert_eq!(ask(250, "20000000000"), "payouts-small");
        assert_eq!(ask(5_000, "20000000000"), "context.tx.amount.lessThanOrEqual(decimal(\"1000\"))");
        // 100,000 gas at 500 and at 501 gwei: 0.05 and 0.0501 ETH.
        assert_eq!(ask(250, "500000000000"), "payouts-small");
        assert_eq!(ask(250, "501000000000"), "context.tx.fee.lessThanOrEqual(decimal(\"0.05\"))");
    }

    #[test]
    fn examples_are_transactions() {
        let payload = crate::evm_tx::parse(usdc_transfer(250).unwrap().as_bytes()).unwrap();
        assert_eq!(payload.chain, "eip155:1");
        // 250 USDC are 250,000,000 = 0x0ee6b280 units, at the end of the call data, before the empty access list.
        assert!(hex::encode(&payload.bytes).ends_with("0ee6b280c0"));
    }
}
