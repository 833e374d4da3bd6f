//! `towncrier token`: makes a token, for trying things out.

use std::{error::Error, path::PathBuf, time::Duration};

use towncrier_auth::{Claims, Minter, Rights, Scope, Secret, UnixTime};
use towncrier_wire::{Name, Selector};

use super::{ConfigArgs, parse_time};
use crate::{config, serve};

/// Options of `token`.
#[derive(Debug, clap::Args)]
pub(crate) struct TokenArgs {
    /// The user that it is for (claim sub)
    #[arg(long, value_name = "NAME", value_parser = name)]
    user: Option<Name>,
    /// What may be subscribed to: a topic or a pattern; repeat it for more
    #[arg(long, value_name = "SELECTOR", value_parser = selector)]
    subscribe: Vec<Selector>,
    /// What may be published to; repeat it for more
    #[arg(long, value_name = "SELECTOR", value_parser = selector)]
    publish: Vec<Selector>,
    /// What of the administration may be used: read, write; repeat it for both
    #[arg(long, value_name = "SCOPE", value_parser = scope)]
    admin: Vec<Scope>,
    /// For how long it is good
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_time)]
    expires: Duration,
    /// Who makes it (claim iss)
    #[arg(long, value_name = "TEXT")]
    issuer: Option<String>,
    /// For whom (claim aud)
    #[arg(long, value_name = "TEXT")]
    audience: Option<String>,
    /// A private key in PEM to sign with, in place of the configuration's secret
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The key's id (header kid)
    #[arg(long, value_name = "TEXT")]
    kid: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(crate) fn run(args: &TokenArgs) -> Result<(), Box<dyn Error>> {
    let minter = match &args.key {
        Some(path) => {
            let pem = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
            Minter::from_pem(&Secret::new(pem), args.kid.as_deref())?
        }
        None => {
            let config = config::load(&args.config.files)?.config;
            let secret = serve::auth::secret(&config)?;
            let secret = secret.ok_or("nothing to sign with: set auth.hs256_secret, or name a private key by --key")?;
            Minter::hs256(&secret, args.kid.as_deref())?
        }
    };
    let now = UnixTime::now();
    let claims = Claims {
        subject: args.user.clone(),
        issued_at: Some(now),
        expires_at: Some(now.plus(args.expires)),
        issuer: args.issuer.clone(),
        audience: args.audience.clone().map(|audience| vec![audience]),
        rights: Rights { subscribe: args.subscribe.clone(), publish: args.publish.clone(), admin: args.admin.clone() },
        ..Claims::default()
    };
    println!("{}", minter.mint(&claims)?);
    Ok(())
}

fn name(text: &str) -> Result<Name, String> {
    Name::new(text).map_err(|error| error.to_string())
}

fn selector(text: &str) -> Result<Selector, String> {
    Selector::new(text).map_err(|error| error.to_string())
}

fn scope(text: &str) -> Result<Scope, &'static str> {
    Scope::from_name(text).ok_or("must be read or write")
}
