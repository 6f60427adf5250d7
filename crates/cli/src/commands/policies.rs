//! `tidegate policies`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use tidegate_cedar::{CedarPolicies, Decided, PoliciesError, PolicyText, schema};
use tidegate_gateway::{
    Extent, Grant, Identity, Permission, PolicyDecision, Principal, ResourceKind, ResourcePattern,
    Role,
};

use crate::config;
use crate::output::{eprint_line, print_json, print_line, print_text};

/// Check and test the access policies of a server, which are written in Cedar
#[derive(Debug, Args)]
pub(super) struct Policies {
    #[command(subcommand)]
    command: PoliciesCommand,
}

#[derive(Debug, Subcommand)]
enum PoliciesCommand {
    /// Check policies as a server does when it reads them
    Check {
        /// A file, or a folder with files *.cedar
        #[arg(value_name = "PATH")]
        path: PathBuf,
    },
    /// Say whether a request is allowed, and which policies decide
    ///
    /// Exit status: 0 if it is allowed, 1 if it is denied.
    Test(Test),
    /// Print the schema that policies are checked against
    Schema,
}

#[derive(Debug, Args)]
struct Test {
    /// The file or folder with the policies [default: `auth.policies` of the configuration]
    #[arg(long, value_name = "PATH")]
    policies: Option<PathBuf>,
    /// The configuration of the server
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Who asks: key:NAME, user:SUBJECT@ISSUER, certificate:NAME or anonymous
    #[arg(long)]
    principal: Principal,
    /// The tenant of the principal
    #[arg(
        long,
        value_name = "TENANT",
        default_value = "",
        hide_default_value = true
    )]
    tenant: String,
    /// A group of the principal; can be repeated
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// A claim of the principal's token, as NAME=VALUE; repeat a name for several values
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = claim)]
    claims: Vec<(String, String)>,
    /// A role of the principal: viewer, caller, deployer, operator or admin
    #[arg(long)]
    role: Option<Role>,
    /// The resources that the role is on [default: everything]
    #[arg(long, value_name = "RESOURCE", requires = "role")]
    on: Vec<ResourcePattern>,
    /// The permission, such as call or view-models
    #[arg(long, value_name = "PERMISSION", value_parser = permission)]
    action: Permission,
    /// What it is asked on: KIND:NAME, or KIND:* for all resources of the kind together
    #[arg(long, value_name = "RESOURCE", value_parser = resource)]
    resource: (ResourceKind, String),
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Policies {
    pub(super) fn run(self) -> Result<ExitCode> {
        match self.command {
            PoliciesCommand::Check { path } => check(&path),
            PoliciesCommand::Test(test) => test.run(),
            PoliciesCommand::Schema => {
                print_text(&schema());
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

/// Prints every problem on a line of its own, for editors.
fn check(path: &std::path::Path) -> Result<ExitCode> {
    match CedarPolicies::parse(&PolicyText::read(path)?) {
        Ok(policies) => {
            for warning in policies.warnings() {
                eprint_line!("warning: {warning}");
            }
            print_line!("policies: {}, errors: 0", policies.len());
            Ok(ExitCode::SUCCESS)
        }
        Err(PoliciesError::Policies(problems)) => {
            for problem in problems {
                eprint_line!("{problem}");
            }
            Ok(ExitCode::FAILURE)
        }
        Err(error) => Err(error.into()),
    }
}

impl Test {
    fn run(self) -> Result<ExitCode> {
        let (kind, name) = &self.resource;
        if *kind != self.action.resource_kind() {
            bail!(
                "{} is asked on a resource of the kind {}, and not {}",
                self.action.name(),
                self.action.resource_kind().name(),
                kind.name()
            );
        }
        let path = self.path()?;
        let policies = CedarPolicies::parse(&PolicyText::read(&path)?)?;
        let identity = self.identity();
        let decided = policies.evaluate(&identity, self.action, Extent::of(name));
        let roles_permit = identity.roles_permit(self.action, name);
        let is_allowed = decided.decision.allows(roles_permit);
        match self.json {
            true => print_json(&json!({
                "allowed": is_allowed,
                "roles_permit": roles_permit,
                "policies": decided.policies,
                "errors": decided.errors,
            }))?,
            false => print_decision(&decided, roles_permit, is_allowed),
        }
        Ok(match is_allowed {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }

    fn path(&self) -> Result<PathBuf> {
        if let Some(path) = &self.policies {
            return Ok(path.clone());
        }
        let config = config::load(self.config.as_deref(), config::environment())?;
        config
            .auth
            .policies
            .context("name the policies with --policies, or set auth.policies in the configuration")
    }

    fn identity(&self) -> Identity {
        let everything = vec![ResourcePattern::everything()];
        let resources = match self.on.is_empty() {
            true => everything,
            false => self.on.clone(),
        };
        let grants = self.role.map(|role| Grant::of_role(role, resources));
        let grants = grants.into_iter().map(Arc::new).collect();
        Identity::new(self.principal.clone(), self.tenant.as_str(), grants)
            .in_groups(self.groups.clone())
            .with_claims(self.claims())
    }

    fn claims(&self) -> Map<String, Value> {
        let mut claims = Map::new();
        for (name, value) in &self.claims {
            let values = claims.entry(name.clone()).or_insert_with(|| json!([]));
            if let Some(values) = values.as_array_mut() {
                values.push(json!(value));
            }
        }
        claims
    }
}

fn print_decision(decided: &Decided, roles_permit: bool, is_allowed: bool) {
    let verdict = if is_allowed { "allow" } else { "deny" };
    let reason = match decided.decision {
        PolicyDecision::Permit => "a policy permits it",
        PolicyDecision::Forbid => "a policy forbids it",
        PolicyDecision::Failed => "a policy cannot be evaluated",
        PolicyDecision::Silent if roles_permit => "the role permits it, and no policy is about it",
        PolicyDecision::Silent => "no role and no policy permits it",
    };
    print_line!("{verdict}: {reason}");
    for policy in &decided.policies {
        print_line!("  policy {policy}");
    }
    for error in &decided.errors {
        print_line!("  error: {error}");
    }
}

fn permission(text: &str) -> Result<Permission> {
    let mut asked = Permission::ALL.into_iter();
    let found = asked.find(|known| known.name() == text && *known != Permission::Public);
    let names = Permission::ALL.map(Permission::name)[1..].join(", ");
    found.with_context(|| format!("use one of {names}"))
}

fn resource(text: &str) -> Result<(ResourceKind, String)> {
    let (kind, name) = text.split_once(':').context("write KIND:NAME or KIND:*")?;
    let mut kinds = ResourceKind::ALL.into_iter();
    let kind = kinds.find(|known| known.name() == kind).with_context(|| {
        let names = ResourceKind::ALL.map(ResourceKind::name).join(", ");
        format!("the kind is one of {names}")
    })?;
    match name {
        "" => bail!("write KIND:NAME or KIND:*"),
        "*" => Ok((kind, String::new())),
        name if name.contains('*') => bail!("name one resource, or all with {}:*", kind.name()),
        name => Ok((kind, name.to_owned())),
    }
}

fn claim(text: &str) -> Result<(String, String)> {
    let (name, value) = text.split_once('=').context("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_one_or_all_of_a_kind() {
        let named = |text: &str| resource(text).map_err(|error| error.to_string());
        let fraud = (ResourceKind::Endpoint, "fraud".to_owned());
        assert_eq!(named("endpoint:fraud"), Ok(fraud));
        assert_eq!(named("keys:*"), Ok((ResourceKind::Keys, String::new())));
        for wrong in ["fraud", "table:x", "endpoint:", "endpoint:fraud*"] {
            assert!(named(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_public_is_not_asked() {
        assert_eq!(permission("call").unwrap(), Permission::Call);
        assert!(permission("public").is_err());
    }
}
