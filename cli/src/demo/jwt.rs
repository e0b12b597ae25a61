//! The step with a key in an HSM.

use super::tour::{Told, Tour};
use crate::key;
use anyhow::{Context as _, bail, ensure};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};
use tally_client::{KeyBacking, KeyInfo, Order};
use tally_domain::{HsmKeySpec, HsmScheme, KeyName, Purpose};

/// How long the token is good for.
const VALID_SECONDS: u64 = 300;

/// A JWT by a key in the HSM of one node, asked for at another.
pub async fn signed(tour: &Tour) -> Told {
    let client = tour.client()?;
    let home = client.node().await?.node;
    let spec = HsmKeySpec { scheme: HsmScheme::EcdsaP256, purpose: Purpose::Message, home };
    let intent = client.seal(Order::create_hsm_key(KeyName::parse("jwt")?, &spec).note("demo"))?;
    let created = client.create_key(&intent).await?;
    let key = created.key;
    let KeyBacking::Hsm { home, .. } = &key.backing else { bail!("no key in an HSM was made") };
    ensure!(key.state == "active" && *home == spec.home, "the key is {} at {home}", key.state);

    let head = json!({ "alg": "ES256", "typ": "JWT", "kid": "jwt" });
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_secs();
    let claims = json!({ "iss": "tally-demo", "sub": "invoice-7", "iat": now, "exp": now + VALID_SECONDS });
    let input = format!("{}.{}", part(&head), part(&claims));
    // Another node sends the client on to the home.
    let intent = client.seal(Order::sign_message(key.name.clone(), input.clone().into_bytes()))?;
    let signed = client.rotated(1).sign(&intent).await?;
    let token = format!("{input}.{}", BASE64_URL_SAFE_NO_PAD.encode(&signed.signature));
    ensure!(verified(&key, &token)? == claims, "the token says something else than was signed");
    let other = json!({ "iss": "tally-demo", "sub": "invoice-8", "iat": now, "exp": now + VALID_SECONDS });
    ensure!(verified(&key, &token.replace(&part(&claims), &part(&other))).is_err(), "a changed token was verified");
    Ok(vec![
        format!("jwt: {} in the HSM of {home} by rule {}", key.backing.scheme(), created.rule),
        format!("PERMITTED by rule {}, asked for at another node; the jsonwebtoken crate verifies it", signed.rule),
        token,
    ])
}

/// A message for the key.
pub fn order(message: &[u8]) -> anyhow::Result<Order> {
    Ok(Order::sign_message(KeyName::parse("jwt")?, message.to_vec()))
}

/// What a token says, if the `jsonwebtoken` crate verifies it under the exported key.
fn verified(key: &KeyInfo, token: &str) -> anyhow::Result<Value> {
    let public = key.to_public_key().context("the public key does not read")?;
    let jwk: Jwk = serde_json::from_value(key::jwk(key, &public))?;
    let read = jsonwebtoken::decode::<Value>(token, &DecodingKey::from_jwk(&jwk)?, &Validation::new(Algorithm::ES256));
    Ok(read.context("the jsonwebtoken crate refuses the token")?.claims)
}

fn part(json: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(json.to_string())
}
