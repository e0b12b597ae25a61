//! What a client can want, what the content of an intent can be, and the numbers of both.

use crate::scheme::{HsmScheme, Purpose, Scheme};

/// What the client wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Sign the content with the key.
    Sign,
    /// Create the key by distributed key generation; the content is a [`super::KeySpec`].
    CreateKey,
    /// Create the key in a node's HSM; the content is a [`crate::hsm_key::HsmKeySpec`].
    CreateHsmKey,
    /// Draw a data key and wrap it with the KEK; the content is a [`crate::wrap::WrapSpec`], here and in the next three.
    GenerateDataKey,
    /// Wrap with the KEK what travels beside the intent.
    Wrap,
    /// Open what the KEK has wrapped.
    Unwrap,
    /// Open what the KEK has wrapped and wrap it anew.
    Rewrap,
    /// Create the KEK in a node's HSM; the content is a [`crate::kek::KekSpec`].
    CreateKek,
    /// Change the KEK; the content is a [`crate::kek::KekSpec`].
    ChangeKek,
    /// Freeze the key, or everything; the content is a [`crate::freeze::FreezeSpec`].
    Freeze,
    /// Have freezes lifted; the content is a [`crate::freeze::UnfreezeSpec`].
    Unfreeze,
    /// Have a policy bundle vetoed; the content is a [`crate::activation::VetoSpec`].
    VetoPolicy,
    /// Make a token domain in a node's HSM; the content is what the domain is.
    CreateDomain,
    /// Rotate, suspend or delete a token domain; the content says which.
    ChangeDomain,
    /// Have a card number kept and a token given for it; the content is a token call, here and in all below.
    Tokenize,
    /// Have a card number shown, or part of it.
    Reveal,
    /// Find the tokens of a card number.
    SearchToken,
    /// Have shown what may be told of a token.
    ShowToken,
    /// Destroy the card number of a token, or of all of a subject.
    DeleteToken,
    /// Have a token neither used nor revealed until it is resumed.
    SuspendToken,
    /// Let a suspended token be used again.
    ResumeToken,
    /// Open a stream of card numbers to be kept.
    TokenizeMany,
    /// Open a stream of tokens to be revealed.
    RevealMany,
}

impl Action {
    /// The name in answers, logs and commands.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sign => "sign",
            Self::CreateKey => "create_key",
            Self::CreateHsmKey => "create_hsm_key",
            Self::GenerateDataKey => "generate_data_key",
            Self::Wrap => "wrap",
            Self::Unwrap => "unwrap",
            Self::Rewrap => "rewrap",
            Self::CreateKek => "create_kek",
            Self::ChangeKek => "change_kek",
            Self::Freeze => "freeze",
            Self::Unfreeze => "unfreeze",
            Self::VetoPolicy => "veto_policy",
            Self::CreateDomain => "create_domain",
            Self::ChangeDomain => "change_domain",
            Self::Tokenize => "tokenize",
            Self::Reveal => "reveal",
            Self::SearchToken => "search_token",
            Self::ShowToken => "show_token",
            Self::DeleteToken => "delete_token",
            Self::SuspendToken => "suspend_token",
            Self::ResumeToken => "resume_token",
            Self::TokenizeMany => "tokenize_many",
            Self::RevealMany => "reveal_many",
        }
    }
}

/// What the content is, and so how every node decodes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentKind {
    /// A raw unsigned EVM transaction (EIP-2718 type byte and RLP).
    EvmTransaction,
    /// A message: signed as it is by Ed25519, under the EIP-191 prefix by threshold ECDSA, by Taproot keys as BIP-340's
    /// tagged hash. With a key in an HSM the bytes as they are, hashed with SHA-256 where the scheme signs a digest (JWS).
    Message,
    /// A [`super::KeySpec`].
    KeySpec,
    /// Thirty-two bytes that are signed without looking behind them; for keys of purpose [`Purpose::Raw`]. With a Taproot key
    /// for an output that commits to scripts, their Merkle root follows (BIP-341).
    RawDigest,
    /// A file of bank payments (ISO 20022 pain.001): its exact bytes are signed.
    Iso20022,
    /// A [`crate::hsm_key::HsmKeySpec`].
    HsmKeySpec,
    /// A [`crate::wrap::WrapSpec`].
    WrapSpec,
    /// A [`crate::kek::KekSpec`].
    KekSpec,
    /// A [`crate::freeze::FreezeSpec`].
    FreezeSpec,
    /// A [`crate::freeze::UnfreezeSpec`].
    UnfreezeSpec,
    /// A [`crate::activation::VetoSpec`].
    VetoSpec,
    /// What a token domain is.
    DomainSpec,
    /// What is to become of a token domain.
    DomainChange,
    /// What is to be done with cards and tokens.
    TokenCall,
    /// Typed data (EIP-712) as the JSON that wallets are given; for keys of purpose [`Purpose::Transaction`], because
    /// contracts move value upon it.
    TypedData,
    /// A message under the EIP-191 prefix, whatever backs the key.
    PersonalMessage,
}

/// Numbers on the wire; zero is never a value, so that a missing field is refused.
macro_rules! numbers {
    ($t:ident { $($v:ident = $n:literal),+ $(,)? }) => {
        impl $t {
            /// The number on the wire.
            pub fn number(self) -> u32 {
                match self { $(Self::$v => $n),+ }
            }

            /// Reads the number on the wire.
            pub fn from_number(n: u32) -> Option<Self> {
                match n { $($n => Some(Self::$v),)+ _ => None }
            }
        }
    };
}
numbers!(Action {
    Sign = 1,
    CreateKey = 2,
    CreateHsmKey = 3,
    GenerateDataKey = 4,
    Wrap = 5,
    Unwrap = 6,
    Rewrap = 7,
    CreateKek = 8,
    ChangeKek = 9,
    Freeze = 20,
    Unfreeze = 21,
    VetoPolicy = 30,
    CreateDomain = 40,
    ChangeDomain = 41,
    Tokenize = 42,
    Reveal = 43,
    SearchToken = 44,
    ShowToken = 45,
    DeleteToken = 46,
    TokenizeMany = 47,
    RevealMany = 48,
    SuspendToken = 49,
    ResumeToken = 50,
});
numbers!(ContentKind {
    EvmTransaction = 1,
    Message = 2,
    KeySpec = 3,
    RawDigest = 4,
    Iso20022 = 5,
    HsmKeySpec = 6,
    WrapSpec = 7,
    KekSpec = 8,
    FreezeSpec = 20,
    UnfreezeSpec = 21,
    VetoSpec = 30,
    DomainSpec = 40,
    DomainChange = 41,
    TokenCall = 42,
    TypedData = 50,
    PersonalMessage = 51,
});
numbers!(Scheme { EcdsaSecp256k1 = 1, Ed25519 = 2, Taproot = 3 });
numbers!(HsmScheme { EcdsaP256 = 1, EcdsaSecp256k1 = 2, Ed25519 = 3, Rsa3072 = 4 });
numbers!(Purpose { Transaction = 1, Message = 2, Raw = 3, Wrap = 4, Tokenize = 5 });
