//! The gateway and the cache of answers, as configured.

use std::sync::Arc;

use tidegate_gateway::{
    AuthConfig, CacheConfig, CacheError, DatabaseQuotas, Gateway, Limiter, LimitsConfig,
};
use tidegate_redaction::SecretSource;
use tidegate_redis::{RedisClient, SharedAnswers};
use tidegate_serving::{ANSWER_CODEC, AnswerCache, EndpointConfig, Fallbacks};

use super::ComponentsError;
use crate::listen::TlsConfig;

/// The largest answer that servers may share.
const MAX_SHARED_ANSWER_BYTES: usize = 64 << 20;

/// The gateway that a configuration asks for; from within a runtime. Without a database of its own for keys and quotas, it
/// uses that of the registry. With Redis, rates are those of all servers together.
///
/// # Errors
/// A resource of `auth.anonymous` that cannot be read, or a limit that is not valid.
pub fn gateway(
    auth: &AuthConfig,
    tls: &TlsConfig,
    limits: &LimitsConfig,
    registry_database: &str,
    redis: Option<&Arc<RedisClient>>,
) -> Result<Gateway, ComponentsError> {
    let gateway = match auth.enabled {
        false => Gateway::open(),
        true => protected(auth, tls.cert_file.is_some())?,
    };
    let gateway = gateway.with_tenants(&limits.tenant)?;
    if limits.rule.is_empty() {
        return Ok(gateway);
    }
    let database = auth.database.as_deref().unwrap_or(registry_database);
    let quotas = Arc::new(DatabaseQuotas::new(database));
    let limiter = Limiter::new(limits, quotas)?;
    Ok(gateway.with_limiter(match redis {
        Some(redis) => limiter.with_shared_rates(redis.clone()),
        None => limiter,
    }))
}

fn protected(auth: &AuthConfig, has_tls: bool) -> Result<Gateway, ComponentsError> {
    let gateway = Gateway::protected(auth.anonymous_grants()?).requiring_keys(auth.keys_required);
    let gateway = gateway.with_certificates(&auth.binding)?;
    let gateway = match auth.issuer.is_empty() {
        true => gateway,
        false => gateway.with_tokens(&auth.issuer, &auth.binding)?,
    };
    let gateway = match auth.policies.is_some() {
        true => gateway.requiring_policies(),
        false => gateway,
    };
    Ok(gateway.with_login(&auth.login, &auth.issuer, &auth.binding, has_tls)?)
}

/// The cache of a configuration. It keeps last answers for endpoints that fall back to them. From within
/// a runtime.
///
/// # Errors
/// What is wrong with the configuration.
pub fn answer_cache(
    config: &CacheConfig,
    endpoints: &[EndpointConfig],
    redis: Option<&Arc<RedisClient>>,
) -> Result<Arc<AnswerCache>, ComponentsError> {
    let cache = match Fallbacks::use_last_answers(endpoints) {
        true => AnswerCache::with_last_answers(config)?,
        false => AnswerCache::new(config)?,
    };
    let cache = match config.redis {
        true => cache.with_shared(shared_answers(config, redis)?, ANSWER_CODEC),
        false => cache,
    };
    Ok(Arc::new(cache))
}

fn shared_answers(
    config: &CacheConfig,
    redis: Option<&Arc<RedisClient>>,
) -> Result<SharedAnswers, CacheError> {
    let redis = redis.ok_or(CacheError::NoRedis)?.clone();
    let max_bytes = usize::try_from(config.redis_max_answer_bytes).unwrap_or(usize::MAX);
    if !(1..=MAX_SHARED_ANSWER_BYTES).contains(&max_bytes) {
        return Err(CacheError::AnswerSize);
    }
    let file = config.redis_secret_file.as_deref();
    let source = SecretSource::required(&config.redis_secret, file, "redis_secret");
    let secret = source.and_then(|source| source.read());
    let secret = secret.map_err(CacheError::Secret)?;
    SharedAnswers::start(redis, &secret, max_bytes)
        .map_err(|error| CacheError::Secret(error.to_string()))
}
