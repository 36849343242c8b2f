//! The accounts that there are, and the names of those that there are not.

use anyhow::{Context, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;

use crate::bench::latency::stack::Stack;

/// Registrations on their way at once: fewer than may wait for hashing.
const AT_ONCE: usize = 4;

/// An account with this number that there is.
pub fn name(number: usize) -> String {
    format!("known-{number}")
}

/// One that there is not, with a name as long.
pub fn nobody(number: usize) -> String {
    format!("other-{number}")
}

/// The address of either.
pub fn email(name: &str) -> String {
    format!("{name}@example.org")
}

/// What an account signs in with.
pub fn password(number: usize) -> String {
    format!("lamp ostrich kettle {number}")
}

/// Where an attempt comes from: every number is another address of a private network.
pub fn address(number: usize) -> String {
    let [_, a, b, c] = u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes();
    format!("10.{a}.{b}.{c}")
}

/// Adds so many.
pub async fn register(stack: &Stack, many: usize) -> anyhow::Result<()> {
    let http = &reqwest::Client::builder().no_proxy().build()?;
    let registered = stream::iter(0..many).map(|number| async move {
        let name = name(number);
        let user = json!({"username": name, "email": email(&name), "password": password(number)});
        let request = http.post(format!("{}/v1/users", stack.url)).bearer_auth(&stack.token).json(&user);
        let answer = request.send().await.context("no user can be added")?;
        let status = answer.status();
        ensure!(status == 201, "adding a user was answered by {status}: {}", answer.text().await?);
        Ok(())
    });
    registered.buffer_unordered(AT_ONCE).try_collect().await
}
