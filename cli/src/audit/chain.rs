//! The signed bundles that exported logs hold, each opened after the one before it.

use crate::policy::Read;
use std::collections::BTreeMap;
use tally_audit::verify::{BundleFacts, Bundles, ExportedLog, envelopes};
use tally_domain::activation::BundleName;
use tally_domain::{Digest, UnixMillis};
use tally_policy::{Bundle, SignedBundle, Trust, changes, tightens_only};

/// What follows a signed first bundle, and what the check needs of it; nothing where the first is a directory.
pub fn of(first: &Read, logs: &[ExportedLog]) -> (Bundles, Vec<Bundle>) {
    if first.signed.is_none() {
        return (Bundles::default(), Vec::new());
    }
    let found = logs.iter().flat_map(|log| envelopes(&log.entries));
    let mut unopened: BTreeMap<Vec<u8>, SignedBundle> =
        found.filter_map(|bytes| SignedBundle::from_bytes(&bytes).ok().map(|signed| (bytes, signed))).collect();
    let mut facts = vec![facts(&first.bundle, true)];
    let mut opened: BTreeMap<Digest, Bundle> = BTreeMap::new();
    // Each round opens what follows what is open; a bundle whose signatures are not good stays closed.
    loop {
        let find = |digest: &Digest| match *digest == first.bundle.digest() {
            true => Some(&first.bundle),
            false => opened.get(digest),
        };
        let next = unopened.iter().find_map(|(bytes, signed)| {
            let before = find(&signed.header().previous?)?;
            let after = signed.open(Trust::Voted(before), UnixMillis(0)).ok();
            Some((bytes.clone(), after.map(|after| (tightens_only(&changes(before, &after)), after))))
        });
        let Some((bytes, after)) = next else { break };
        unopened.remove(&bytes);
        if let Some((tightens, after)) = after {
            facts.push(self::facts(&after, tightens));
            opened.insert(after.digest(), after);
        }
    }
    (Bundles::after(first.bundle.digest(), facts), opened.into_values().collect())
}

fn facts(bundle: &Bundle, tightens: bool) -> BundleFacts {
    BundleFacts {
        name: BundleName { version: bundle.version(), digest: bundle.digest() },
        roster: bundle.roster().clone(),
        loosening_delay_ms: bundle.header().loosening_delay_ms,
        tightens,
    }
}
