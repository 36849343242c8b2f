//! What Redis has of this system, for the check of an erasure.

use std::collections::{BTreeMap, BTreeSet};

use crate::redis_link::connect;

/// The keys of this system.
const KEYS: &str = "sightline:*";
/// Keys that one command returns, roughly.
const BATCH: u32 = 1_000;

/// How many keys of each kind (`answer`, `limit`, `session`) have something in their name or in their text.
///
/// # Errors
/// The address is not one of Redis, or Redis cannot be read.
pub async fn redis_keys_with(url: &str, has: impl Fn(&[u8]) -> bool) -> Result<BTreeMap<String, u64>, String> {
    let mut connection = connect(url)?;
    let failed = |error: redis::RedisError| format!("Redis cannot be read: {error}; see SIGHTLINE_REDIS_URL");
    // A scan may return a key twice.
    let (mut found, mut cursor) = (BTreeSet::new(), 0_u64);
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(KEYS).arg("COUNT").arg(BATCH);
        let (next, keys): (u64, Vec<Vec<u8>>) = scan.query_async(&mut connection).await.map_err(failed)?;
        if !keys.is_empty() {
            let mut read = redis::cmd("MGET");
            read.arg(&keys);
            let texts: Vec<Option<Vec<u8>>> = read.query_async(&mut connection).await.map_err(failed)?;
            let read = keys.into_iter().zip(texts);
            let with = read.filter(|(key, text)| has(key) || text.as_deref().is_some_and(&has));
            found.extend(with.map(|(key, _)| key));
        }
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    let mut kinds = BTreeMap::new();
    for key in found {
        let key = String::from_utf8_lossy(&key);
        *kinds.entry(key.split(':').nth(1).unwrap_or_default().to_owned()).or_default() += 1;
    }
    Ok(kinds)
}
