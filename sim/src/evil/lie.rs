//! The ways of an evil leader.

/// What it does. Where nothing else is said it does everything else right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lie {
    /// Nothing yet; it remembers what it sees.
    None,

    // Intents.
    /// One member is asked to sign another intent.
    IntentToMember,
    /// One voter is asked to vote with another intent than the vote's.
    IntentToVoter,
    /// An intent that the client has not signed.
    IntentForged,
    /// Two intents that a client has signed under one id, each to other members.
    IntentTwins,

    // Signers and sessions.
    /// S without itself.
    SignersWithoutLeader,
    /// S without the member that is asked.
    SignersWithoutMember,
    /// Another S to one member.
    SignersDiffer,
    /// Two sets at once with one attempt number.
    TwoSets,
    /// Two sessions of one set at once.
    TwoSessions,
    /// Agreed with all, then gone.
    Vanish,

    // Attempts.
    /// An attempt that has no number.
    AttemptZero,
    /// Attempt 900 at once.
    AttemptFarAhead,
    /// The first attempt again, after the others have released in it.
    AttemptAgain,
    /// The next attempt, although the others have released, with nobody's promise.
    PromiseOmitted,
    /// The same with a promise in a member's name.
    PromiseForged,
    /// The same with a member's promise of another request.
    PromiseOfAnotherRequest,
    /// The same with an own promise, which it does not mean to keep.
    PromiseBroken,

    // Bundles.
    /// A proposal under another bundle.
    BundleStale,
    /// A vote asked for under another bundle.
    BundleInVote,

    // What is claimed of limits.
    /// Nothing, though a limit applies.
    ClaimsOmitted,
    /// Units of another line.
    ClaimsOfAnotherLine,
    /// A unit less than is charged.
    ClaimsShort,
    /// A unit more.
    ClaimsLong,
    /// Units beyond the limit of a line that it calls longer.
    ClaimsOfLongerLine,
    /// A shorter window, after which the same could be had again.
    ClaimsOfShorterWindow,
    /// A line more than is charged.
    ClaimsOnMoreLines,
    /// Units outside the line.
    ClaimsOutside,
    /// Nine pieces.
    ClaimsInNinePieces,
    /// Pieces that share units.
    ClaimsOverlapThemselves,
    /// One line twice.
    ClaimsOnOneLineTwice,
    /// Bytes that are no claims.
    ClaimsMalformed,
    /// Issued six seconds ago.
    ClaimsOfThePast,
    /// Issued in six seconds.
    ClaimsOfTheFuture,
    /// Issued just not too far in the past or the future.
    ClaimsAtTheEdge,
    /// What an earlier request of its own has.
    ClaimsOfAnEarlierRequest,
    /// The last unit of what an earlier request has, and then free ones.
    ClaimsWithOneUnitTaken,
    /// Four places for one request, where three are allowed.
    ClaimsInFourPlaces,
    /// Other places to one member.
    ClaimsDifferForMembers,
    /// Another place to one voter, whose vote is then passed on.
    ClaimsDifferForVoters,

    // Votes.
    /// Keeps its own.
    OwnVoteWithheld,
    /// Passes on none, though a limit applies.
    VotesWithheld,
    /// Passes them on to all but one.
    VotesWithheldFromOne,
    /// Passes on one too few.
    VotesTooFew,
    /// Passes on one voter's vote for two.
    VotesOfOneForTwo,
    /// Passes on a vote in a voter's name.
    VotesForged,
    /// Passes on the vote of a node that is not in the roster.
    VotesOfStranger,
    /// Passes on votes for another request.
    VotesOfAnotherRequest,
    /// Passes on votes for an earlier attempt.
    VotesOfAnotherAttempt,
    /// Passes on votes that cannot be read.
    VotesMalformed,
    /// Passes on votes where no limit applies.
    VotesUnasked,
    /// Passes them on, then again.
    VotesTwice,
    /// Asks a member of S for its vote without a session, before there is one.
    VoteOfMember,
    /// Asks for a vote for signers that are none of the key.
    VoteForOtherSigners,
    /// Asks for a vote for nothing of the limit.
    VoteForNoClaims,

    // Persons.
    /// Shows members something else of persons than what they have signed of this.
    SaidToMembers,
    /// The same to voters outside S.
    SaidToVoters,

    // Results.
    /// Keeps its own partial.
    PartialWithheld,
    /// Tells others the result of another request.
    ResultOfAnother,
    /// Tells others something.
    ResultMadeUp,
    /// Tells others another signature.
    ResultChanged,
    /// Tells others another rule.
    ResultByAnotherRule,

    // Freezes.
    /// Leads although it knows that the key is frozen.
    Frozen,
    /// The same, with a lift that only it has signed.
    LiftByOne,
    /// The same, with a lift in the others' names.
    LiftForged,
    /// A freeze in another node's name.
    FreezeForged,
}

impl Lie {
    /// Whether it is about a request that the leader has let hang before.
    pub fn follows(self) -> Option<Self> {
        match self {
            Self::AttemptAgain
            | Self::PromiseOmitted
            | Self::PromiseForged
            | Self::PromiseOfAnotherRequest
            | Self::PromiseBroken => Some(Self::PartialWithheld),
            Self::VotesOfAnotherAttempt => Some(Self::VotesWithheld),
            _ => None,
        }
    }
}
