//! Addresses of ports, such as `127.0.0.1:8080`.

use std::net::SocketAddr;

use clap::builder::{StringValueParser, TypedValueParser};

/// The value of a port that is not opened.
const OFF: &str = "off";

/// The address of a port: host and port, such as `127.0.0.1:8080`, `[::]:8080` or `localhost:8080`. Port 0 is any free port.
/// Names are not looked up.
pub fn address() -> impl TypedValueParser<Value = String> {
    StringValueParser::new().try_map(|text| if is_address(&text) { Ok(text) } else { Err(wrong("")) })
}

/// [`address`], or `off`.
pub fn address_or_off() -> impl TypedValueParser<Value = String> {
    let is_valid = |text: &str| text == OFF || is_address(text);
    StringValueParser::new().try_map(move |text| if is_valid(&text) { Ok(text) } else { Err(wrong(", or `off`")) })
}

fn wrong(or: &str) -> String {
    format!("it must be a host and a port up to 65535, such as 127.0.0.1:8080, 0.0.0.0:8080 or localhost:8080{or}")
}

fn is_address(text: &str) -> bool {
    if text.parse::<SocketAddr>().is_ok() {
        return true;
    }
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    is_port && is_host_name(host)
}

/// The characters of host names. Only digits and dots are an address that did not parse.
fn is_host_name(host: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    host.bytes().all(legal) && host.bytes().any(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for valid in ["127.0.0.1:8080", "0.0.0.0:0", "[::1]:443", "[::]:8080", "localhost:8080", "gate-1.example.com:1"]
        {
            assert!(is_address(valid), "{valid}");
        }
        for wrong in [
            "",
            ":8080",
            "8080",
            "localhost",
            "0.0.0.0:80801",
            "0.0.0.0:",
            "0.0.0.0:http",
            "localhost:+80",
            "300.0.0.1:80",
            "::1:80",
            "http://localhost:8080",
            "local host:80",
            "localhost:80:80",
            "off",
        ] {
            assert!(!is_address(wrong), "{wrong}");
        }
    }
}
