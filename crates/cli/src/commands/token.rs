//! `tidegate token`.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tidegate_tokens::{
    JwtIssuerConfig, JwtVerifier, TokenError, UnverifiedToken, VerifiedToken, unverified,
};

use crate::output::{print_json, print_line, timestamp};
use crate::registry_access::block_on;

/// Longest text that is read from standard input, in bytes.
const MAX_INPUT: u64 = 1 << 20;

/// Check tokens of OpenID Connect issuers
#[derive(Debug, Args)]
pub(super) struct Token {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Show who a token speaks for, or why it is refused
    Inspect(Inspect),
}

#[derive(Debug, Args)]
struct Inspect {
    /// The token. `-` reads it from standard input, so that it is not in the shell's history
    #[arg(value_name = "TOKEN", default_value = "-")]
    token: String,
    /// The issuer, exactly as in the token's `iss`
    #[arg(long, value_name = "URL")]
    issuer: String,
    /// A name that the token's `aud` may have; can be repeated
    #[arg(long = "audience", value_name = "NAME", required = true)]
    audiences: Vec<String>,
    /// Where the issuer's keys are; by default its metadata tells
    #[arg(long, value_name = "URL")]
    jwks_url: Option<String>,
    /// A PEM file of authorities that the issuer's certificate may be signed with
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// How many seconds the issuer's clock may differ from ours
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    clock_skew_s: u32,
    /// The claim with the subject
    #[arg(long, value_name = "CLAIM", default_value = "sub")]
    subject_claim: String,
    /// The claim with the tenant
    #[arg(long, value_name = "CLAIM")]
    tenant_claim: Option<String>,
    /// The claim with the groups or roles, such as `realm_access.roles`
    #[arg(long, value_name = "CLAIM")]
    groups_claim: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Token {
    pub(super) fn run(self) -> Result<ExitCode> {
        match self.command {
            TokenCommand::Inspect(args) => block_on(args.run()),
        }
    }
}

impl Inspect {
    /// The exit status is that of a refused token, 1, so that scripts can ask.
    async fn run(self) -> Result<ExitCode> {
        let token = read_token(&self.token)?;
        let verifier = JwtVerifier::start(&[self.config()])?;
        let verified = verifier.verify_with_new_keys(&token).await;
        match self.json {
            true => print_json(&as_json(&verified))?,
            false => print(&verified, unverified(&token)),
        }
        Ok(match verified {
            Ok(_) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        })
    }

    fn config(&self) -> JwtIssuerConfig {
        JwtIssuerConfig {
            issuer: self.issuer.clone(),
            audiences: self.audiences.clone(),
            jwks_url: self.jwks_url.clone(),
            ca_file: self.ca_file.clone(),
            clock_skew_s: self.clock_skew_s,
            subject_claim: self.subject_claim.clone(),
            tenant_claim: self.tenant_claim.clone(),
            groups_claim: self.groups_claim.clone(),
            ..JwtIssuerConfig::default()
        }
    }
}

fn read_token(argument: &str) -> Result<String> {
    let mut text = argument.to_owned();
    if argument == "-" {
        text.clear();
        let mut input = std::io::stdin().lock().take(MAX_INPUT);
        input
            .read_to_string(&mut text)
            .context("cannot read the token from standard input")?;
    }
    Ok(text.trim().to_owned())
}

fn as_json(verified: &Result<Arc<VerifiedToken>, TokenError>) -> Value {
    match verified {
        Ok(token) => json!({
            "accepted": true,
            "issuer": token.issuer,
            "subject": token.subject,
            "tenant": token.tenant,
            "groups": token.groups,
            "expires_at": token.expires_at,
        }),
        Err(error) => json!({ "accepted": false, "reason": error.to_string() }),
    }
}

fn print(verified: &Result<Arc<VerifiedToken>, TokenError>, said: Option<UnverifiedToken>) {
    match verified {
        Ok(token) => print_verified(token),
        Err(error) => {
            print_line!("{:<12}{error}", "refused");
            if let Some(said) = said {
                print_line!("what it says, which nobody has verified:");
                print_line!("{:<12}{}", "header", Value::Object(said.header));
                print_line!("{:<12}{}", "claims", Value::Object(said.claims));
            }
        }
    }
}

fn print_verified(token: &VerifiedToken) {
    print_line!("{:<12}{}", "issuer", token.issuer);
    print_line!("{:<12}{}", "subject", token.subject);
    if let Some(tenant) = &token.tenant {
        print_line!("{:<12}{tenant}", "tenant");
    }
    if !token.groups.is_empty() {
        print_line!("{:<12}{}", "groups", token.groups.join(", "));
    }
    let expires = timestamp(token.expires_at.saturating_mul(1000));
    print_line!("{:<12}{expires}", "expires");
}
