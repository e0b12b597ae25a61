//! `tally`: the command line for operators, developers and auditors.
//!
//! Does: creates keys, signs, lets persons approve, wraps data keys, keeps card numbers under tokens, freezes and has that lifted,
//! shows requests, keys, policy and nodes, exports and
//! verifies audit logs offline, measures,
//! makes and runs throw-away clusters, and gives the tour ([`demo`]).
//! Does not: hold shares or decide anything. Signatures that it shows it has verified with libraries that no node uses.

mod approve;
mod audit;
mod batch;
mod bench;
mod bundle;
mod demo;
mod dev;
mod domain;
mod evm_tx;
mod foreign;
mod freeze;
mod hsm;
mod input;
mod intents;
mod key;
mod node;
mod output;
mod policy;
mod profile;
mod programs;
mod request;
mod sign;
mod token;
mod words;
mod wrap;

use clap::{Parser, Subcommand};
use output::{Out, Shown};
use std::process::ExitCode;

/// Threshold signing under policy: every node checks, t of n sign, everyone writes it down.
#[derive(Debug, Parser)]
#[command(name = "tally", version, arg_required_else_help = true)]
struct Args {
    /// Print one JSON document.
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    profile: profile::ProfileArg,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The whole tour on a throw-away cluster, with a verdict for each step.
    Demo(demo::Demo),
    /// Make and run a cluster for development on this machine.
    #[command(subcommand)]
    Dev(dev::Dev),
    /// Create and show keys.
    #[command(subcommand)]
    Key(key::Key),
    /// Stop what uses a key, or everything: at one node at once, which tells the others.
    Freeze(freeze::Freeze),
    /// Have freezes lifted; a majority of nodes must want it.
    Unfreeze(freeze::Unfreeze),
    /// Sign a transaction or a message, if policy permits it.
    Sign(sign::Sign),
    /// Sign many transactions over one stream.
    Batch(batch::Batch),
    /// Wrap data keys with keys that never leave an HSM, and open them again.
    #[command(subcommand)]
    Wrap(wrap::Wrap),
    /// Make token domains, and rotate and destroy their keys.
    #[command(subcommand)]
    Domain(domain::Domain),
    /// Keep card numbers under tokens, find them, and show them for a purpose.
    #[command(subcommand)]
    Token(token::Token),
    /// Sign that a request may be done, after seeing what every node decodes of it.
    Approve(approve::Approve),
    /// Sign that a request may not be done, which is final.
    Reject(approve::Reject),
    /// The requests that wait for persons.
    Approvals(approve::Approvals),
    /// Show requests.
    #[command(subcommand)]
    Request(request::Request),
    /// Check, sign, propose and try policy bundles, and show what is left of their limits.
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Export and verify the nodes' audit logs.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Show how nodes are.
    #[command(subcommand)]
    Node(node::Node),
    /// Show the nodes' tokens, and examine one that is to become a node's.
    #[command(subcommand)]
    Hsm(hsm::Hsm),
    /// Measure, beside a floor from the same run.
    #[command(subcommand)]
    Bench(bench::Bench),
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(wrong) => return output::misread(&wrong),
    };
    let out = Out::new(args.json);
    let shown = run(args.command, &args.profile, out).await.unwrap_or_else(|error| Shown::failure(&error));
    out.finish(shown)
}

async fn run(command: Command, profile: &profile::ProfileArg, out: Out) -> anyhow::Result<Shown> {
    match command {
        Command::Demo(demo) => demo.run(out).await,
        Command::Dev(dev) => dev.run(out).await,
        Command::Key(key) => key.run(profile).await,
        Command::Freeze(freeze) => freeze.run(profile).await,
        Command::Unfreeze(unfreeze) => unfreeze.run(profile).await,
        Command::Sign(sign) => sign.run(profile).await,
        Command::Batch(batch) => batch.run(profile).await,
        Command::Wrap(wrap) => wrap.run(profile, out).await,
        Command::Domain(domain) => domain.run(profile).await,
        Command::Token(token) => token.run(profile).await,
        Command::Approve(approve) => approve.run(&profile.client()?).await,
        Command::Reject(reject) => reject.run(&profile.client()?).await,
        Command::Approvals(approvals) => approvals.run(&profile.client()?, out).await,
        Command::Request(request) => request.run(&profile.client()?, out).await,
        Command::Policy(policy) => policy.run(profile).await,
        Command::Audit(audit) => audit.run(profile).await,
        Command::Node(node) => node.run(&profile.client()?).await,
        Command::Hsm(hsm) => hsm.run(profile).await,
        Command::Bench(bench) => bench.run(&profile.client()?).await,
    }
}
