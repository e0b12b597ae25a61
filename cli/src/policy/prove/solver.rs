//! The solver, asked about each kind of request in turn.

use crate::output::Usage;
use anyhow::{Context as _, bail};
use cedar_policy::{Authorizer, Decision, Policy, PolicySet, RequestEnv, Schema};
use cedar_policy_symcc::solver::LocalSolver;
use cedar_policy_symcc::{CedarSymCompiler, CompiledPolicy, CompiledPolicySet, Env};
use tally_policy::Bundle;

/// Longest time of one question. Those about rules as people write them take milliseconds.
const QUESTION: &str = "--tlimit-per=20000";

/// A request that shows what was asked for, in words.
pub struct Example {
    pub lines: Vec<String>,
}

/// The schema, and the solver, which is a process of its own.
pub struct Prover {
    schema: Schema,
    compiler: CedarSymCompiler<LocalSolver>,
}

impl Prover {
    pub fn new(bundle: &Bundle) -> anyhow::Result<Self> {
        let (schema, _) = Schema::from_cedarschema_str(bundle.schema()).context("the schema cannot be read")?;
        let solver = LocalSolver::cvc5_with_args([QUESTION]).map_err(|e| {
            let install = "install it (Debian, Ubuntu: apt-get install cvc5), or set CVC5 to its path";
            Usage(format!("cannot run the solver cvc5: {e}; {install}"))
        })?;
        Ok(Self { schema, compiler: CedarSymCompiler::new(solver).context("cannot talk to cvc5")? })
    }

    /// A request on which the policy ends in an error.
    pub async fn fails(&mut self, policy: &Policy) -> anyhow::Result<Option<Example>> {
        for env in self.requests() {
            let compiled = CompiledPolicy::compile(policy, &env, &self.schema)?;
            let found = self.compiler.check_never_errors_with_counterexample_opt(&compiled).await;
            if let Some(env) = found.context("cvc5 has no answer")? {
                return Ok(Some(example(&env)));
            }
        }
        Ok(None)
    }

    /// A request that `new` permits and `old` does not.
    pub async fn permits_more(&mut self, new: &PolicySet, old: &PolicySet) -> anyhow::Result<Option<Example>> {
        for env in self.requests() {
            let new_compiled = CompiledPolicySet::compile(new, &env, &self.schema)?;
            let old_compiled = CompiledPolicySet::compile(old, &env, &self.schema)?;
            let found = self.compiler.check_implies_with_counterexample_opt(&new_compiled, &old_compiled).await;
            if let Some(env) = found.context("cvc5 has no answer")? {
                let decide = |set| Authorizer::new().is_authorized(&env.request, set, &env.entities).decision();
                // What the solver says is tried out.
                if (decide(new), decide(old)) != (Decision::Allow, Decision::Deny) {
                    bail!("the solver gave an example that is none; please report it:\n{env}");
                }
                return Ok(Some(example(&env)));
            }
        }
        Ok(None)
    }

    fn requests(&self) -> Vec<RequestEnv> {
        self.schema.request_envs().collect()
    }
}

/// Who, what, with which facts; of the entities those that are in something.
fn example(env: &Env) -> Example {
    let request = &env.request;
    let shown = |uid: Option<&cedar_policy::EntityUid>| uid.map(ToString::to_string).unwrap_or_default();
    let (principal, action, resource) =
        (shown(request.principal()), shown(request.action()), shown(request.resource()));
    let mut lines = vec![format!("{principal} asks {action} with {resource}")];
    lines.extend(request.context().map(|context| format!("context {context}")));
    for entity in env.entities.iter() {
        let ancestors: Vec<_> =
            env.entities.ancestors(&entity.uid()).into_iter().flatten().map(ToString::to_string).collect();
        if !ancestors.is_empty() {
            lines.push(format!("{} is in {}", entity.uid(), ancestors.join(", ")));
        }
    }
    Example { lines }
}
