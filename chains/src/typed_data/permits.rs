//! Typed data that gives leave to move value and is understood in full: ERC-2612, DAI's older permit, and all that Permit2
//! takes. A type is taken for one of these only if all of it is the same, to the last member; but for the witness of
//! Permit2, of which Permit2 takes any: it is what the spender wants signed with the leave, and takes nothing off it.

use super::Fields;
use super::domain::Domain;
use super::hash::Leaf;
use crate::evm::{PERMIT2, lower, most};
use alloy_primitives::{Address, U256};
use tally_domain::facts::{Allowance, Amount, AssetRef, Most};

const ERC2612: &str = "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)";
const DAI: &str = "Permit(address holder,address spender,uint256 nonce,uint256 expiry,bool allowed)";
const PERMIT_SINGLE: &str = "PermitSingle(PermitDetails details,address spender,uint256 sigDeadline)\
    PermitDetails(address token,uint160 amount,uint48 expiration,uint48 nonce)";
const PERMIT_BATCH: &str = "PermitBatch(PermitDetails[] details,address spender,uint256 sigDeadline)\
    PermitDetails(address token,uint160 amount,uint48 expiration,uint48 nonce)";
const TRANSFER_FROM: &str = "PermitTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline)\
    TokenPermissions(address token,uint256 amount)";
const BATCH_TRANSFER_FROM: &str = "PermitBatchTransferFrom(TokenPermissions[] permitted,address spender,uint256 nonce,uint256 deadline)\
    TokenPermissions(address token,uint256 amount)";
/// As types begin that have a witness as their one further member (`PermitHash.sol`).
const WITNESS: &str =
    "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,";
const BATCH_WITNESS: &str =
    "PermitBatchWitnessTransferFrom(TokenPermissions[] permitted,address spender,uint256 nonce,uint256 deadline,";
const TOKEN_PERMISSIONS: &str = "TokenPermissions(address token,uint256 amount";

/// What the message gives leave to, where that is known in full. Without a chain or a contract it would hold anywhere.
pub(super) fn allowances(domain: &Domain, encode_type: &str, fields: &Fields) -> Option<Vec<Allowance>> {
    domain.chain_id?;
    let contract = domain.contract?;
    let message = Message(fields);
    match encode_type {
        ERC2612 => {
            let most = most(message.uint("value")?);
            Some(vec![message.by("owner", contract, most, message.moment("deadline"))?])
        }
        DAI => {
            let most = if message.flag("allowed")? { Most::Unlimited } else { Most::UpTo(Amount::from(0)) };
            // DAI: "expiry == 0 || now <= expiry".
            Some(vec![message.by("holder", contract, most, message.moment("expiry").filter(|at| *at != 0))?])
        }
        PERMIT_SINGLE if contract == PERMIT2 => Some(vec![message.details("details")?]),
        PERMIT_BATCH if contract == PERMIT2 => message.each("details", |path| message.details(path)),
        TRANSFER_FROM if contract == PERMIT2 => Some(vec![message.permitted("permitted")?]),
        BATCH_TRANSFER_FROM if contract == PERMIT2 => message.each("permitted", |path| message.permitted(path)),
        of if contract == PERMIT2 && has_witness(of, WITNESS) => Some(vec![message.permitted("permitted")?]),
        of if contract == PERMIT2 && has_witness(of, BATCH_WITNESS) => {
            message.each("permitted", |path| message.permitted(path))
        }
        _ => None,
    }
}

/// Whether the type begins so and has exactly one member more, whatever it is. Of no other does Permit2 compute the hash.
fn has_witness(encode_type: &str, begins: &str) -> bool {
    let rest = encode_type.strip_prefix(begins).and_then(|rest| rest.split_once(')'));
    rest.is_some_and(|(witness, types)| {
        !witness.contains(',') && types.split(')').any(|definition| definition == TOKEN_PERMISSIONS)
    })
}

struct Message<'a>(&'a Fields);

impl Message<'_> {
    fn leaf(&self, path: &str) -> Option<&Leaf> {
        self.0.iter().find(|(at, _)| at == path).map(|(_, leaf)| leaf)
    }

    fn uint(&self, path: &str) -> Option<U256> {
        if let Leaf::Uint(n) = self.leaf(path)? { Some(*n) } else { None }
    }

    fn address(&self, path: &str) -> Option<Address> {
        if let Leaf::Address(address) = self.leaf(path)? { Some(*address) } else { None }
    }

    fn flag(&self, path: &str) -> Option<bool> {
        if let Leaf::Bool(b) = self.leaf(path)? { Some(*b) } else { None }
    }

    /// A moment in seconds; what is beyond 64 bits is no end.
    fn moment(&self, path: &str) -> Option<u64> {
        u64::try_from(self.uint(path)?).ok()
    }

    /// A permit of the token's own. What was handed in lasts until it is taken back.
    fn by(&self, owner: &str, token: Address, most: Most, use_by: Option<u64>) -> Option<Allowance> {
        let (asset, owner) = (AssetRef::Contract(lower(token)), lower(self.address(owner)?));
        let (keeper, spender) = (lower(token), lower(self.address("spender")?));
        Some(Allowance { asset, most, owner, keeper, spender, use_by, ends: None })
    }

    /// Permit2's `PermitDetails`. With no expiration the leave ends within the block that it is handed in with.
    fn details(&self, path: &str) -> Option<Allowance> {
        let use_by = self.moment("sigDeadline");
        let ends = self.moment(&format!("{path}.expiration"))?;
        Some(Allowance {
            most: most(self.uint(&format!("{path}.amount"))?),
            ends: if ends == 0 { use_by } else { Some(ends) },
            ..self.permit2(path, use_by)?
        })
    }

    /// Permit2's `TokenPermissions`: used once, by the deadline.
    fn permitted(&self, path: &str) -> Option<Allowance> {
        let use_by = self.moment("deadline");
        let most = most(self.uint(&format!("{path}.amount"))?);
        Some(Allowance { most, ends: use_by, ..self.permit2(path, use_by)? })
    }

    fn permit2(&self, path: &str, use_by: Option<u64>) -> Option<Allowance> {
        Some(Allowance {
            asset: AssetRef::Contract(lower(self.address(&format!("{path}.token"))?)),
            most: Most::Unlimited,
            owner: String::new(),
            keeper: lower(PERMIT2),
            spender: lower(self.address("spender")?),
            use_by,
            ends: None,
        })
    }

    /// Each of a list; none of an empty one, of which nobody knows what it is for.
    fn each(&self, list: &str, read: impl Fn(&str) -> Option<Allowance>) -> Option<Vec<Allowance>> {
        let count = self.0.iter().filter(|(path, _)| {
            path.strip_prefix(list).is_some_and(|rest| rest.starts_with('[') && rest.ends_with("].token"))
        });
        let all: Option<Vec<_>> = (0..count.count()).map(|at| read(&format!("{list}[{at}]"))).collect();
        all.filter(|all| !all.is_empty())
    }
}
