//! Sign-in through an OpenID provider.

pub mod code_flow;
mod id_tokens;
mod real_provider;
