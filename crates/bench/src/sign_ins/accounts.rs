//! Existing accounts, and names of unknown accounts.

use anyhow::{Context, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;

use crate::latency::services::Services;

/// Concurrent registrations: fewer than the hashing queue holds.
const AT_ONCE: usize = 4;

/// Name of the existing account with this number.
pub fn name(number: usize) -> String {
    format!("known-{number}")
}

/// Name of an unknown account, of the same length.
pub fn unknown_name(number: usize) -> String {
    format!("other-{number}")
}

/// E-mail address of an account.
pub fn email(name: &str) -> String {
    format!("{name}@example.org")
}

/// Password of an account.
pub fn password(number: usize) -> String {
    format!("lamp ostrich kettle {number}")
}

/// Client address with this number, in a private network.
pub fn address(number: usize) -> String {
    let [_, a, b, c] = u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes();
    format!("10.{a}.{b}.{c}")
}

/// Registers this many accounts.
pub async fn register(services: &Services, many: usize) -> anyhow::Result<()> {
    let http = &reqwest::Client::builder().no_proxy().build()?;
    let registered = stream::iter(0..many).map(|number| async move {
        let name = name(number);
        let user = json!({"username": name, "email": email(&name), "password": password(number)});
        let request = http.post(format!("{}/v1/users", services.url)).bearer_auth(&services.token).json(&user);
        let response = request.send().await.context("no user can be added")?;
        let status = response.status();
        ensure!(status == 201, "adding a user was answered by {status}: {}", response.text().await?);
        Ok(())
    });
    registered.buffer_unordered(AT_ONCE).try_collect().await
}
