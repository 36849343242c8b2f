//! The commands that `up` prints, written so that a shell on this machine runs them as they are.

use std::path::{Path, PathBuf};

use platform::http::ForClients;
use reqwest::Url;

use super::Up;
use crate::client::is_loopback;

/// The variable with the admin token, and the one with the path of its file.
const ADMIN_TOKEN: &str = "SIGHTLINE_ADMIN_TOKEN";
const ADMIN_TOKEN_FILE: &str = "SIGHTLINE_ADMIN_TOKEN_FILE";

/// Where a shell finds the admin token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// The file in the data folder, which clients find by themselves.
    DataFolder(PathBuf),
    /// A file of the operator.
    File(PathBuf),
    /// Only the operator knows it.
    Variable,
}

/// What a client needs to reach this server.
#[derive(Debug)]
pub struct ClientCommands {
    /// Name under which this program was called.
    program: String,
    port: ForClients,
    token: TokenSource,
    /// The data folder, unless it is the default.
    data_dir: Option<PathBuf>,
    /// The authority of clients' certificates, if the server demands one.
    client_ca: Option<PathBuf>,
    /// Certificate and key of a client, if they are in the folder of the server's.
    identity: Option<(PathBuf, PathBuf)>,
}

impl Up {
    pub(super) fn client_commands(
        &self,
        port: ForClients,
        token_file: Option<&Path>,
    ) -> anyhow::Result<ClientCommands> {
        let operators_file = std::env::var_os(ADMIN_TOKEN_FILE).filter(|path| !path.is_empty());
        let token = match (token_file, operators_file) {
            (Some(file), _) => TokenSource::DataFolder(std::path::absolute(file)?),
            (None, Some(file)) => TokenSource::File(std::path::absolute(file)?),
            (None, None) => TokenSource::Variable,
        };
        let beside =
            |name: &str| self.http.tls_cert.as_ref().map(|cert| cert.with_file_name(name)).filter(|file| file.exists());
        Ok(ClientCommands {
            program: std::env::args().next().unwrap_or_else(|| "sightline".to_owned()),
            port,
            token,
            data_dir: self.data_dir.chosen().map(std::path::absolute).transpose()?,
            client_ca: self.http.tls_client_ca.clone(),
            identity: beside("client.pem").zip(beside("client.key")),
        })
    }
}

impl ClientCommands {
    /// The commands, and notes on placeholders for values that this program does not know. Each is one line.
    pub fn lines(&self) -> Vec<String> {
        let (program, url) = (quoted(&self.program), quoted(&self.port.url));
        let (tls, detections) = (self.tls_options(), quoted(&format!("{}/v1/detections", self.port.url)));
        let token = self.token();
        // A client sends the token of the data folder only to the loopback interface.
        let found = matches!(self.token, TokenSource::DataFolder(_))
            && self.port.url.parse::<Url>().is_ok_and(|url| is_loopback(&url));
        let given = if found { String::new() } else { format!("SIGHTLINE_TOKEN=\"{token}\" ") };
        let mut options = String::new();
        if self.port.url != "http://127.0.0.1:8080" {
            options += &format!(" --server {url}");
        }
        if let Some(folder) = self.data_dir.as_ref().filter(|_| found) {
            options += &format!(" --data-dir {}", quoted_path(folder));
        }
        let mut lines = vec![
            format!("{given}{program} watch{options}{tls}"),
            format!("{given}{program} push photo.jpg{options}{tls}"),
            format!("curl{tls} -H \"Authorization: Bearer {token}\" {detections}"),
        ];
        lines.extend(self.notes());
        lines
    }

    /// The token, for a place between double quotes.
    fn token(&self) -> String {
        match &self.token {
            TokenSource::DataFolder(file) | TokenSource::File(file) => format!("$(cat {})", quoted_path(file)),
            TokenSource::Variable => format!("${ADMIN_TOKEN}"),
        }
    }

    /// Flags for TLS, which are the same for curl.
    fn tls_options(&self) -> String {
        let mut options = String::new();
        if let Some(file) = &self.port.authority {
            options += &format!(" --cacert {}", quoted_path(file));
        }
        match (&self.client_ca, &self.identity) {
            (None, _) => {}
            (Some(_), Some((cert, key))) => {
                options += &format!(" --cert {} --key {}", quoted_path(cert), quoted_path(key));
            }
            (Some(_), None) => options += " --cert CLIENT.pem --key CLIENT.key",
        }
        options
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.token == TokenSource::Variable {
            notes.push(format!("({ADMIN_TOKEN} is the token with which this server was started: export it there)"));
        }
        if let (Some(authority), None) = (&self.client_ca, &self.identity) {
            let authority = authority.display();
            notes.push(format!(
                "(CLIENT.pem and CLIENT.key are a certificate of an authority in {authority} and its key)"
            ));
        }
        if self.port.url.starts_with("https:") && self.port.authority.is_none() {
            notes.push(
                "(if this machine does not trust the certificate's authority, name its file with --cacert)".to_owned(),
            );
        }
        notes
    }
}

fn quoted_path(path: &Path) -> String {
    quoted(&path.display().to_string())
}

/// The text as one word of a POSIX shell.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(url: &str, token: TokenSource) -> ClientCommands {
        ClientCommands {
            program: "./sightline".to_owned(),
            port: ForClients { url: url.to_owned(), authority: None },
            token,
            data_dir: None,
            client_ca: None,
            identity: None,
        }
    }

    fn in_data_folder() -> TokenSource {
        TokenSource::DataFolder("/data/admin.token".into())
    }

    #[test]
    fn the_default_server_needs_no_flags() {
        let lines = commands("http://127.0.0.1:8080", in_data_folder()).lines();
        let curl = r#"curl -H "Authorization: Bearer $(cat /data/admin.token)" http://127.0.0.1:8080/v1/detections"#;
        assert_eq!(lines, ["./sightline watch", "./sightline push photo.jpg", curl]);
    }

    #[test]
    fn a_lan_address_gets_the_token_explicitly() {
        let commands =
            ClientCommands { data_dir: Some("/data".into()), ..commands("http://10.0.0.5:80", in_data_folder()) };
        let expected = r#"SIGHTLINE_TOKEN="$(cat /data/admin.token)" ./sightline watch --server http://10.0.0.5:80"#;
        assert_eq!(commands.lines()[0], expected);
    }

    #[test]
    fn the_token_of_the_operator_is_named_and_not_shown() {
        let lines = commands("http://127.0.0.1:8080", TokenSource::Variable).lines();
        assert_eq!(lines[0], r#"SIGHTLINE_TOKEN="$SIGHTLINE_ADMIN_TOKEN" ./sightline watch"#);
        assert!(lines[3].contains("SIGHTLINE_ADMIN_TOKEN is the token"), "{lines:?}");
        let lines = commands("http://127.0.0.1:8080", TokenSource::File("/run/a b".into())).lines();
        assert_eq!(lines[0], r#"SIGHTLINE_TOKEN="$(cat '/run/a b')" ./sightline watch"#);
    }

    #[test]
    fn unknown_certificates_are_placeholders_with_a_note() {
        let commands = ClientCommands {
            client_ca: Some("/clients.pem".into()),
            ..commands("https://localhost:1", in_data_folder())
        };
        let lines = commands.lines();
        assert!(lines[0].ends_with("--cert CLIENT.pem --key CLIENT.key"), "{lines:?}");
        assert!(lines[3].contains("/clients.pem") && lines[4].contains("--cacert"), "{lines:?}");
    }

    #[test]
    fn a_word_for_the_shell_is_quoted_where_it_must_be() {
        for (text, expected) in [
            ("/a/b-c.pem", "/a/b-c.pem"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
            ("http://[::1]:1", "'http://[::1]:1'"),
        ] {
            assert_eq!(quoted(text), expected);
        }
    }
}
