//! From the configuration to whom the hub lets do what.

use std::{error::Error, fs, num::NonZeroU32, path::Path, sync::Arc};

use towncrier_auth::{
    Demands, JwksOptions, JwksSource, Key, LoginTimes, Minter, PasswordOptions, Passwords, Sealer, SealingKey, Secret,
    Users, Verifier,
};
use towncrier_backplane::Accounts;
use towncrier_http::{Attempts, Auth, Directory, Logins, Public, Registration, SameSite, Sealing, Tokens};
use towncrier_wire::Name;

use crate::config::{self, AuthMode, Config, CookieSecure, Subscribing};

/// Largest file of keys or secrets, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

pub(super) fn auth(config: &Config, accounts: Arc<dyn Accounts>) -> Result<Auth, Box<dyn Error>> {
    let auth = &config.auth;
    if auth.mode == AuthMode::Open {
        return Ok(Auth::Open);
    }
    let secret = secret(config)?;
    let mut keys = Vec::new();
    if let Some(secret) = &secret {
        keys.push(Key::hs256(secret, None).map_err(|error| format!("auth.hs256_secret: {error}"))?);
    }
    if !auth.hs256_old_secret.is_empty() {
        let old = Secret::from(auth.hs256_old_secret.reveal().to_owned());
        keys.push(Key::hs256(&old, None).map_err(|error| format!("auth.hs256_old_secret: {error}"))?);
    }
    if let Some(path) = &auth.public_key {
        let pem = read(path, "auth.public_key")?;
        keys.extend(
            Key::from_pem(&pem, None).map_err(|error| format!("auth.public_key: {}: {error}", path.display()))?,
        );
    }
    let source = match &auth.jwks_url {
        Some(url) => {
            let source = JwksSource::start(JwksOptions::new(url.clone()));
            Some(Arc::new(source.map_err(|error| format!("auth.jwks_url: {error}"))?))
        }
        None => None,
    };
    let demands = Demands {
        issuers: auth.issuers.clone(),
        audiences: auth.audiences.clone(),
        leeway: auth.leeway,
        expiry: auth.require_expiry,
    };
    let is_public = |who| who == Subscribing::Public;
    let namespaces = config.namespaces.iter();
    Ok(Auth::Tokens(Arc::new(Tokens {
        verifier: Verifier::new(keys, source, demands)?,
        cookie: auth.cookie.clone(),
        public: Public {
            fallback: is_public(auth.subscribe),
            namespaces: namespaces.filter_map(|own| Some((own.prefix.clone(), is_public(own.subscribe?)))).collect(),
        },
        public_metrics: is_public(auth.metrics),
        logins: secret.map(|secret| logins(config, &secret, accounts)).transpose()?,
    })))
}

fn logins(config: &Config, secret: &Secret, kept: Arc<dyn Accounts>) -> Result<Logins, Box<dyn Error>> {
    let auth = &config.auth;
    let registration = auth.register.then(|| Registration {
        subscribe: auth.registered_subscribe.clone(),
        publish: auth.registered_publish.clone(),
    });
    if let Some(registration) = &registration {
        let somebody = Name::new("somebody")?;
        registration
            .rights(&somebody)
            .map_err(|what| format!("auth.registered_subscribe, auth.registered_publish: {what}"))?;
    }
    let users = config.users.iter().map(|user| user.0.clone()).collect();
    Ok(Logins {
        minter: Minter::hs256(secret, None)?,
        directory: Directory { configured: Users::new(users)?, kept, registration },
        times: LoginTimes::new(auth.login_lifetime, auth.login_max_lifetime.max(auth.login_lifetime))?,
        passwords: Passwords::new(PasswordOptions::default()),
        attempts: Attempts::new(NonZeroU32::new(auth.login_attempts).unwrap_or(NonZeroU32::MIN))?,
        always_secure: auth.cookie_secure == CookieSecure::Always,
        same_site: match auth.cookie_same_site {
            config::SameSite::Strict => SameSite::Strict,
            config::SameSite::Lax => SameSite::Lax,
            config::SameSite::None => SameSite::None,
        },
    })
}

/// What seals payloads, if any are to be sealed.
pub(super) fn sealing(config: &Config) -> Result<Option<Arc<Sealing>>, Box<dyn Error>> {
    let encryption = &config.encryption;
    let namespaces: Vec<_> =
        config.namespaces.iter().filter_map(|own| Some((own.prefix.clone(), own.encrypted?))).collect();
    if !encryption.enabled && namespaces.iter().all(|(_, sealed)| !sealed) {
        return Ok(None);
    }
    let text = match &encryption.keys_file {
        Some(path) => String::from_utf8(read(path, "encryption.keys_file")?)
            .map_err(|_| "encryption.keys_file: it is not UTF-8".to_owned())?,
        None => encryption.keys.reveal().to_owned(),
    };
    let key = |one: &str| {
        let (kid, base64) = one.split_once(':').ok_or("encryption.keys: a key is ID:BASE64")?;
        let key = SealingKey::new(kid, &Secret::from(base64.to_owned()));
        key.map_err(|error| format!("encryption.keys: {kid}: {error}"))
    };
    let keys = text.split_whitespace().map(key).collect::<Result<Vec<_>, String>>()?;
    let sealer = Sealer::new(keys).map_err(|error| format!("encryption.keys: {error}"))?;
    Ok(Some(Arc::new(Sealing { sealer, fallback: encryption.enabled, namespaces })))
}

/// The secret of HS256 tokens, wherever it is.
pub(crate) fn secret(config: &Config) -> Result<Option<Secret>, Box<dyn Error>> {
    let auth = &config.auth;
    if let Some(path) = &auth.hs256_secret_file {
        let mut bytes = read(path, "auth.hs256_secret_file")?;
        // Editors and `echo` end files so.
        while bytes.last().is_some_and(|byte| b"\r\n".contains(byte)) {
            bytes.pop();
        }
        return Ok(Some(Secret::new(bytes)));
    }
    Ok((!auth.hs256_secret.is_empty()).then(|| Secret::from(auth.hs256_secret.reveal().to_owned())))
}

fn read(path: &Path, key: &str) -> Result<Vec<u8>, String> {
    let wrong = |what: &dyn std::fmt::Display| format!("{key}: {}: {what}", path.display());
    let size = fs::metadata(path).map_err(|error| wrong(&error))?.len();
    if size > FILE_BYTES_MAX {
        return Err(wrong(&format_args!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    fs::read(path).map_err(|error| wrong(&error))
}
