//! Files of bank payments: decoded, decided and signed byte for byte, or refused.

use crate::harness::cluster::Cluster;
use crate::harness::orders::*;
use tally_client::Order;
use tally_domain::{Digest, Reason};

const FILE: &str = include_str!("../../../chains/tests/samples/pain.001.001.03.xml");

fn payment(file: &str) -> Order {
    Order::sign_payment(key("hot"), file.as_bytes().to_vec())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_file_is_signed_by_its_rule_and_a_wrong_one_is_refused() {
    let cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    let hot = create_hot(&client).await;
    let signed = sign(&client, payment(FILE)).await.unwrap();
    assert_eq!((signed.rule.as_str(), recovered(&signed)), ("suppliers", hot));
    assert_eq!(signed.signed_bytes, Digest::of(FILE.as_bytes()).0);

    let sum = FILE.split("<CtrlSum>").nth(1).unwrap().split('<').next().unwrap();
    let wrong_sum = FILE.replacen(&format!("<CtrlSum>{sum}<"), "<CtrlSum>1.00<", 1);
    assert_eq!(reason(sign(&client, payment(&wrong_sum)).await), Reason::PaymentInvalid);
    let entity = FILE.replacen("?>", "?><!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]>", 1);
    assert_eq!(reason(sign(&client, payment(&entity)).await), Reason::PaymentInvalid);
    let dollars = FILE.replace("\"EUR\"", "\"USD\"").replace("<Ccy>EUR</Ccy>", "<Ccy>USD</Ccy>");
    assert_eq!(reason(sign(&client, payment(&dollars)).await), Reason::PolicyDenied);
    create_fast(&client).await;
    let as_message_key = Order::sign_payment(key("fast"), FILE.as_bytes().to_vec());
    assert_eq!(reason(sign(&client, as_message_key).await), Reason::KeyPurpose);
}
