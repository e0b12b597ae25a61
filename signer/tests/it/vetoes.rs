//! Vetoes: one node that permits one makes it; and steps that need the bundle that decided.

use crate::world::*;
use tally_domain::activation::{BundleName, BundleVeto, VetoSpec};
use tally_domain::ports::store::{BundleWrite, Step, Write};
use tally_domain::*;
use tally_signer::admit::open;
use tally_signer::judge::{KeyView, People, judge};
use tally_signer::veto::{VetoPermit, admit_veto, while_active};

fn vetoed() -> BundleName {
    BundleName { version: 7, digest: Digest::of(b"bundle") }
}

fn veto_intent(w: &World) -> Intent {
    Intent {
        action: Action::VetoPolicy,
        key: VetoSpec::intent_key().unwrap(),
        kind: ContentKind::VetoSpec,
        purpose: Purpose::Message,
        content: VetoSpec { bundle: vetoed() }.to_bytes(),
        ..w.note()
    }
}

fn admitted(w: &World, change: impl FnOnce(&mut Intent)) -> Result<VetoPermit, Reason> {
    let mut intent = veto_intent(w);
    change(&mut intent);
    let opened = open(&w.bundle, w.seal(&intent)).unwrap();
    admit_veto(opened, &w.bundle, NOW).map_err(|r| r.reason)
}

#[test]
fn a_veto_that_a_rule_permits_is_the_nodes_own_word() {
    let w = World::new();
    let permit = admitted(&w, |_| {}).unwrap();
    assert_eq!((permit.rule(), permit.bundle()), ("veto", vetoed()));
    let made = permit.veto(&w.boots[0], NOW);
    let (by, said) = BundleVeto::open(&made.statement, w.bundle.roster()).unwrap();
    assert_eq!((by, said.bundle, said.intent), (w.boots[0].node.clone(), vetoed(), veto_intent(&w).digest()));
    let step = made.step(&w.boots[0], NOW);
    assert!(matches!(&*step.writes, [Write::Bundle(BundleWrite::Veto { bundle, .. })] if *bundle == vetoed()));
    assert_eq!(step.leaves.len(), 1);
}

#[test]
fn a_veto_in_another_form_or_time_is_refused() {
    let w = World::new();
    let refused = |change: fn(&mut Intent)| admitted(&w, change).map(drop).unwrap_err();
    assert_eq!(refused(|i| i.kind = ContentKind::FreezeSpec), Reason::Malformed);
    assert_eq!(refused(|i| i.purpose = Purpose::Raw), Reason::Malformed);
    assert_eq!(refused(|i| i.key = KeyName::parse("notes").unwrap()), Reason::Malformed);
    assert_eq!(refused(|i| i.content.push(0)), Reason::Malformed);
    assert_eq!(refused(|i| i.action = Action::Freeze), Reason::Malformed);
    assert_eq!(refused(|i| i.min_bundle_version = 99), Reason::StalePolicy);
    // The world's rule is for numbers below 100.
    assert_eq!(
        refused(|i| {
            let bundle = BundleName { version: 100, ..vetoed() };
            i.content = VetoSpec { bundle }.to_bytes();
        }),
        Reason::PolicyDenied
    );
}

#[test]
fn a_step_under_a_bundle_says_so_first() {
    let digest = Digest::of(b"bundle");
    let step = while_active(Step { writes: vec![Write::Incarnation(Incarnation(1))], leaves: vec![] }, digest);
    let expected = Write::Bundle(BundleWrite::StillActive { digest });
    assert_eq!(step.writes, [expected, Write::Incarnation(Incarnation(1))]);
}

#[test]
fn judging_says_what_deciding_does_and_mints_nothing() {
    let w = World::new();
    let judged = judge(&veto_intent(&w), KeyView::None, People::Silent, &w.bundle, NOW).unwrap().unwrap();
    assert_eq!(judged.decision, tally_policy::Decision::Permit { rule: "veto".into() });
    assert!(judged.shown.contains("veto version 7"), "{}", judged.shown);
    // A key that is not known, and a client that is not.
    let refused = |intent: &Intent| judge(intent, KeyView::None, People::Silent, &w.bundle, NOW).unwrap_err().reason;
    assert_eq!(refused(&w.note()), Reason::KeyNotFound);
    let stranger = Intent { client: ClientId::parse("nobody").unwrap(), ..veto_intent(&w) };
    assert_eq!(refused(&stranger), Reason::UnknownClient);
    let wrap = Intent { action: Action::Wrap, ..veto_intent(&w) };
    assert!(judge(&wrap, KeyView::None, People::Silent, &w.bundle, NOW).unwrap().is_none());
}
