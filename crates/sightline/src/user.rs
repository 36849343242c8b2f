//! `sightline user`: manages users through the API of a running server, as its admin.

use std::io::BufRead;

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use crate::client::{Client, ClientArgs, ask};
use crate::out;

/// Adds users, lists them, and changes their role, quota, rate limit or password, or disables them
#[derive(Debug, Args)]
pub struct User {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Add a user; without --password-stdin, a password is generated and printed
    // Without it, the usage of an error names options that are set in the environment as if they were required.
    #[command(override_usage = "sightline user add [OPTIONS] <EMAIL>")]
    Add {
        /// E-mail address; usable to sign in
        #[arg(value_name = "EMAIL")]
        email: String,
        /// User name; usable to sign in
        #[arg(long, value_name = "NAME")]
        username: Option<String>,
        /// Display name
        #[arg(long, value_name = "NAME")]
        full_name: Option<String>,
        #[command(flatten)]
        access: Access,
        #[command(flatten)]
        server: ClientArgs,
    },
    /// List users, newest first
    List {
        /// Only users with this text in a name or the e-mail address
        #[arg(value_name = "PART")]
        search: Option<String>,
        /// Print JSON, one object a line
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ClientArgs,
    },
    /// Change the role, quota, rate limit or password of a user, or disable the user
    #[command(override_usage = "sightline user set [OPTIONS] <USER>")]
    Set {
        /// User name or e-mail address
        #[arg(value_name = "USER")]
        login: String,
        /// Disable the user, or enable it again
        #[arg(long, value_name = "YES|NO", value_enum)]
        disabled: Option<YesNo>,
        #[command(flatten)]
        access: Access,
        #[command(flatten)]
        server: ClientArgs,
    },
}

/// Rights and password of a user.
#[derive(Debug, Args)]
struct Access {
    /// `user` or `admin`
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,

    /// Frames and detections per period: a number, `unlimited` or `default`
    #[arg(long, value_name = "NUMBER")]
    quota: Option<String>,

    /// Requests per second: a number, `unlimited` or `default`
    #[arg(long, value_name = "NUMBER")]
    rate_limit: Option<String>,

    /// Read the password from the first line of standard input
    #[arg(long)]
    password_stdin: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum YesNo {
    Yes,
    No,
}

impl User {
    /// Runs the command and prints the result.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.action {
            Action::Add { email, username, full_name, access, server } => {
                let client = server.client()?;
                let given = access.password()?;
                let password = given.clone().unwrap_or_else(accounts::generate_token);
                let mut new = json!({"email": email, "password": password});
                put(&mut new, "username", username.map(Value::from));
                put(&mut new, "full_name", full_name.map(Value::from));
                let mut user: Value = ask(client.post("/v1/users")?.json(&new), &client).await?;
                let change = access.change();
                if !change.is_empty() {
                    user = ask(client.patch(&path_of(&user)?)?.json(&change), &client).await?;
                }
                print(&user)?;
                if given.is_none() {
                    out::line(format_args!("password: {password}"))?;
                }
                Ok(())
            }
            Action::List { search, json, server } => list(&server.client()?, search.as_deref(), json).await,
            Action::Set { login, disabled, access, server } => {
                let client = server.client()?;
                let mut change = access.change();
                if let Some(password) = access.password()? {
                    change.insert("password".to_owned(), password.into());
                }
                if let Some(disabled) = disabled {
                    change.insert("disabled".to_owned(), (disabled == YesNo::Yes).into());
                }
                ensure!(!change.is_empty(), "nothing to change; `sightline user set --help` lists what can be");
                let user = named(&client, &login).await?;
                print(&ask(client.patch(&path_of(&user)?)?.json(&change), &client).await?)
            }
        }
    }
}

impl Access {
    fn password(&self) -> anyhow::Result<Option<String>> {
        if !self.password_stdin {
            return Ok(None);
        }
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).context("the password cannot be read from standard input")?;
        let password = line.trim_end_matches(['\r', '\n']).to_owned();
        ensure!(!password.is_empty(), "there is no password on the first line of standard input");
        Ok(Some(password))
    }

    /// The body of the PATCH request.
    fn change(&self) -> Map<String, Value> {
        let number = |text: &String| text.parse::<u64>().map_or_else(|_| text.clone().into(), Value::from);
        let fields = [
            ("role", self.role.clone().map(Value::from)),
            ("api_request_quota", self.quota.as_ref().map(number)),
            ("rate_limit_rps", self.rate_limit.as_ref().map(number)),
        ];
        fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

fn put(object: &mut Value, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        object[name] = value;
    }
}

fn path_of(user: &Value) -> anyhow::Result<String> {
    let id = user["id"].as_str().context("the server returned a user without an id; is it another version?")?;
    Ok(format!("/v1/users/{id}"))
}

/// The user with this user name or e-mail address.
async fn named(client: &Client, login: &str) -> anyhow::Result<Value> {
    let mut cursor = None;
    loop {
        let (users, next) = page(client, Some(login), cursor.as_deref()).await?;
        let is = |user: &&Value| {
            ["username", "email"]
                .into_iter()
                .any(|name| user[name].as_str().is_some_and(|own| own.to_lowercase() == login.to_lowercase()))
        };
        if let Some(user) = users.iter().find(is) {
            return Ok(user.clone());
        }
        if next.is_none() {
            bail!("there is no user {login:?}; `sightline user list` lists them");
        }
        cursor = next;
    }
}

async fn list(client: &Client, search: Option<&str>, json: bool) -> anyhow::Result<()> {
    let mut cursor = None;
    loop {
        let (users, next) = page(client, search, cursor.as_deref()).await?;
        for user in &users {
            if json { out::line(user)? } else { print(user)? }
        }
        if next.is_none() {
            return Ok(());
        }
        cursor = next;
    }
}

async fn page(
    client: &Client,
    search: Option<&str>,
    cursor: Option<&str>,
) -> anyhow::Result<(Vec<Value>, Option<String>)> {
    let query = [("search", search), ("cursor", cursor), ("limit", Some("1000"))];
    let query: Vec<_> = query.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let page: contracts::api::Page<Value> = ask(client.get("/v1/users")?.query(&query), client).await?;
    Ok((page.items, page.next_cursor))
}

fn print(user: &Value) -> anyhow::Result<()> {
    let text = |name: &str| user[name].as_str().unwrap_or("-").to_owned();
    let limit = |name: &str| user[name].as_u64().map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    let state = if user["disabled"] == true { "disabled" } else { "active" };
    let (quota, rate) = (limit("api_request_quota"), limit("rate_limit_rps"));
    let (id, email, username, role) = (text("id"), text("email"), text("username"), text("role"));
    out::line(format_args!("{id}  {role:<5}  {state:<8}  quota {quota}, {rate}/s  {username}  {email}"))
}
