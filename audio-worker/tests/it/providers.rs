//! Providers against scripted servers: what a server does, and what becomes of the job, the provider and the money.

mod budget;
mod cooldown;
mod describing;
mod failures;
pub mod fake_server;
mod forms;
mod real_servers;
mod switching;
mod test_worker;
