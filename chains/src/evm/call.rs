//! What a transaction does: value sent, and the calls of token contracts that are understood. A call is understood only in
//! its one exact encoding, because a contract may read anything else in its own way.

use super::unsigned::Parts;
use super::{PERMIT2, amount, lower, most};
use alloy_primitives::{Address, U256, hex};
use alloy_sol_types::SolCall;
use tally_domain::facts::{Allowance, Amount, AssetRef, Most, Movement, STANDARD_SELECTORS};

/// Most calls within one `multicall`: each is shown to people and decided on its own.
const INNER_CALLS_MAX: usize = 32;

/// Where the offset of the list is in a `multicall`: behind the selector. The number of calls follows, if the offset is its own
/// length, as in the one encoding.
const OFFSET_AT: usize = 4;
const COUNT_AT: usize = OFFSET_AT + 32;

/// Most movements of one transaction (DESIGN 10: outputs).
const MOVEMENTS_MAX: usize = 256;

alloy_sol_types::sol! {
    function transfer(address to, uint256 amount);
    // Of ERC-721, too, where the number is that of a piece.
    function transferFrom(address from, address to, uint256 amount);
    function approve(address spender, uint256 amount);
    // ERC-2612.
    function permit(address owner, address spender, uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s);
    function setApprovalForAll(address operator, bool approved);
    function multicall(bytes[] calls);

    interface Dai {
        function permit(address holder, address spender, uint256 nonce, uint256 expiry, bool allowed, uint8 v, bytes32 r, bytes32 s);
    }
    interface Permit2 {
        function approve(address token, address spender, uint160 amount, uint48 expiration);
    }
    interface Erc721 {
        function safeTransferFrom(address from, address to, uint256 id);
    }
    interface Erc721Data {
        function safeTransferFrom(address from, address to, uint256 id, bytes data);
    }
    interface Erc1155 {
        function safeTransferFrom(address from, address to, uint256 id, uint256 amount, bytes data);
        function safeBatchTransferFrom(address from, address to, uint256[] ids, uint256[] amounts, bytes data);
    }
}

/// What a transaction does.
pub(super) struct Effects {
    /// The name of the function; `transfer` where there is none.
    pub(super) method: &'static str,
    pub(super) movements: Vec<Movement>,
    pub(super) allowances: Vec<Allowance>,
}

/// Every movement of value and every leave, or why that is not known.
pub(super) fn effects(tx: &Parts<'_>) -> Result<Effects, String> {
    let Some(contract) = tx.to else { return Err("contract creation".into()) };
    let native = moved(AssetRef::Native, amount(tx.value), None, contract);
    if tx.input.is_empty() {
        return Ok(Effects { method: "transfer", movements: vec![native], allowances: Vec::new() });
    }
    // Permit2 has none.
    let mut effects = match contract != PERMIT2 && tx.input.starts_with(&multicallCall::SELECTOR) {
        true => inner_calls(contract, tx.input)?,
        false => call(contract, tx.input)?,
    };
    // Coins sent along with a call stay with the contract: a movement of their own.
    if !tx.value.is_zero() {
        effects.movements.insert(0, native);
    }
    Ok(effects)
}

/// Whether no standard has the selector. What has one, and is not the standard's one encoding, stays opaque whatever a
/// contract's ABI says: the contract may be a token.
pub(super) fn of_no_standard(tx: &Parts<'_>) -> bool {
    let selector = tx.input.first_chunk::<4>();
    let free = selector.is_some_and(|selector| !STANDARD_SELECTORS.contains(selector));
    free && tx.to.is_some_and(|contract| contract != PERMIT2)
}

/// Each call as if it were made by itself: the contract makes them to itself, for the same sender.
fn inner_calls(contract: Address, input: &[u8]) -> Result<Effects, String> {
    // Before anything is decoded: many calls may share their bytes, so that little data could become much.
    let word = |at: usize| input.get(at..at + 32).map(U256::from_be_slice).unwrap_or_default();
    let count = word(COUNT_AT);
    if count.is_zero() || count > U256::from(INNER_CALLS_MAX) {
        return Err(format!("multicall of {count} calls; 1 to {INNER_CALLS_MAX} are looked into"));
    }
    let listed = word(OFFSET_AT) == U256::from(32);
    let outer = listed.then(|| exact::<multicallCall>(input)).flatten().ok_or_else(unlike::<multicallCall>)?;
    let mut all = Effects { method: "multicall", movements: Vec::new(), allowances: Vec::new() };
    for (at, input) in outer.calls.iter().enumerate() {
        let one = call(contract, input).map_err(|why| format!("call {} of a multicall: {why}", at + 1))?;
        all.movements.extend(one.movements);
        all.allowances.extend(one.allowances);
    }
    if all.movements.len() > MOVEMENTS_MAX {
        return Err(format!("multicall of {} movements; up to {MOVEMENTS_MAX} are looked into", all.movements.len()));
    }
    Ok(all)
}

/// One call of a token contract.
fn call(contract: Address, input: &[u8]) -> Result<Effects, String> {
    let Some((selector, _)) = input.split_first_chunk::<4>() else {
        return Err(format!("contract call with {} bytes of call data, too few for a selector", input.len()));
    };
    let selector = *selector;
    if contract == PERMIT2 && selector != Permit2::approveCall::SELECTOR {
        return Err(format!("call of Permit2 with selector {}", hex::encode_prefixed(selector)));
    }
    match selector {
        transferCall::SELECTOR => read(input, |c: transferCall| moved(token(contract), amount(c.amount), None, c.to)),
        transferFromCall::SELECTOR => {
            read(input, |c: transferFromCall| moved(token(contract), amount(c.amount), Some(c.from), c.to))
        }
        Erc721::safeTransferFromCall::SELECTOR => read(input, |c: Erc721::safeTransferFromCall| {
            moved(item(contract, c.id), Amount::from(1), Some(c.from), c.to)
        }),
        Erc721Data::safeTransferFromCall::SELECTOR => silent(input, |c: Erc721Data::safeTransferFromCall| {
            (c.data.is_empty(), moved(item(contract, c.id), Amount::from(1), Some(c.from), c.to))
        }),
        Erc1155::safeTransferFromCall::SELECTOR => silent(input, |c: Erc1155::safeTransferFromCall| {
            (c.data.is_empty(), moved(item(contract, c.id), amount(c.amount), Some(c.from), c.to))
        }),
        Erc1155::safeBatchTransferFromCall::SELECTOR => batch(contract, input),
        approveCall::SELECTOR => lets(input, |c: approveCall| Allowance {
            most: most(c.amount),
            ..leave(contract, token(contract), c.spender)
        }),
        setApprovalForAllCall::SELECTOR => lets(input, |c: setApprovalForAllCall| Allowance {
            most: all_or_nothing(c.approved),
            ..leave(contract, AssetRef::Collection(lower(contract)), c.operator)
        }),
        permitCall::SELECTOR => lets(input, |c: permitCall| Allowance {
            most: most(c.value),
            owner: lower(c.owner),
            use_by: u64::try_from(c.deadline).ok(),
            ..leave(contract, token(contract), c.spender)
        }),
        Dai::permitCall::SELECTOR => lets(input, |c: Dai::permitCall| Allowance {
            most: all_or_nothing(c.allowed),
            owner: lower(c.holder),
            use_by: u64::try_from(c.expiry).ok().filter(|expiry| *expiry != 0),
            ..leave(contract, token(contract), c.spender)
        }),
        Permit2::approveCall::SELECTOR if contract == PERMIT2 => lets(input, |c: Permit2::approveCall| Allowance {
            most: most(U256::from(c.amount)),
            ends: u64::try_from(c.expiration).ok(),
            ..leave(contract, token(c.token), c.spender)
        }),
        _ => Err(format!("contract call with selector {}", hex::encode_prefixed(selector))),
    }
}

/// The call, if the data is exactly what encoding it gives.
fn exact<C: SolCall>(input: &[u8]) -> Option<C> {
    C::abi_decode(input).ok().filter(|call| call.abi_encode() == input)
}

fn unlike<C: SolCall>() -> String {
    format!("call whose data is not the one encoding of {}", C::SIGNATURE)
}

fn read<C: SolCall>(input: &[u8], movement: impl FnOnce(C) -> Movement) -> Result<Effects, String> {
    let movements = vec![movement(exact(input).ok_or_else(unlike::<C>)?)];
    Ok(Effects { method: name::<C>(), movements, allowances: Vec::new() })
}

/// A call that can have data for the recipient.
fn silent<C: SolCall>(input: &[u8], movement: impl FnOnce(C) -> (bool, Movement)) -> Result<Effects, String> {
    match movement(exact(input).ok_or_else(unlike::<C>)?) {
        (true, movement) => Ok(Effects { method: name::<C>(), movements: vec![movement], allowances: Vec::new() }),
        (false, _) => Err(with_data::<C>()),
    }
}

fn lets<C: SolCall>(input: &[u8], allowance: impl FnOnce(C) -> Allowance) -> Result<Effects, String> {
    let allowances = vec![allowance(exact(input).ok_or_else(unlike::<C>)?)];
    Ok(Effects { method: name::<C>(), movements: Vec::new(), allowances })
}

fn batch(contract: Address, input: &[u8]) -> Result<Effects, String> {
    type Batch = Erc1155::safeBatchTransferFromCall;
    let c: Batch = exact(input).ok_or_else(unlike::<Batch>)?;
    if c.ids.len() != c.amounts.len() || c.ids.is_empty() || c.ids.len() > MOVEMENTS_MAX {
        return Err(format!("batch of {} kinds and {} amounts", c.ids.len(), c.amounts.len()));
    }
    if !c.data.is_empty() {
        return Err(with_data::<Batch>());
    }
    let kinds = c.ids.iter().zip(&c.amounts);
    let movements = kinds.map(|(id, n)| moved(item(contract, *id), amount(*n), Some(c.from), c.to)).collect();
    Ok(Effects { method: name::<Batch>(), movements, allowances: Vec::new() })
}

/// The recipient may do anything upon the data. Only none is understood.
fn with_data<C: SolCall>() -> String {
    format!("{} with data for the recipient", C::SIGNATURE)
}

/// The function's name without its arguments.
fn name<C: SolCall>() -> &'static str {
    C::SIGNATURE.split_once('(').map_or(C::SIGNATURE, |(name, _)| name)
}

fn token(contract: Address) -> AssetRef {
    AssetRef::Contract(lower(contract))
}

fn item(contract: Address, id: U256) -> AssetRef {
    AssetRef::Item { contract: lower(contract), id: amount(id) }
}

fn moved(asset: AssetRef, amount: Amount, from: Option<Address>, to: Address) -> Movement {
    Movement { asset, amount, from: from.map(lower).unwrap_or_default(), to: lower(to) }
}

/// Leave to move nothing of the key's own, for ever.
fn leave(keeper: Address, asset: AssetRef, spender: Address) -> Allowance {
    let (most, keeper, spender) = (Most::UpTo(Amount::from(0)), lower(keeper), lower(spender));
    Allowance { asset, most, owner: String::new(), keeper, spender, use_by: None, ends: None }
}

fn all_or_nothing(all: bool) -> Most {
    if all { Most::Unlimited } else { Most::UpTo(Amount::from(0)) }
}
