//! `sightline books publish`: puts a book up for sale, after its price was set if one is given.

use clap::Args;
use contracts::api::BookView;
use contracts::{BookId, Currency, Money};
use serde_json::json;
use settings::{Check, SettingErrors};

use super::requests::Requests;
use super::{line_of, price};
use crate::client::ClientArgs;
use crate::out;

/// Puts a book up for sale
#[derive(Debug, Args)]
pub struct Publish {
    /// Id of the book
    #[arg(value_name = "BOOK")]
    book: BookId,

    /// New price, such as 12.99
    #[arg(long, value_name = "AMOUNT")]
    price: Option<String>,

    /// Currency of the price, as its code of ISO 4217
    #[arg(long, value_name = "CODE", default_value = "EUR")]
    currency: Currency,

    #[command(flatten)]
    client: ClientArgs,
}

impl Check for Publish {
    fn check(&self, errors: &mut SettingErrors) {
        errors.collect(self.money().map_err(anyhow::Error::msg));
    }
}

impl Publish {
    fn money(&self) -> Result<Option<Money>, String> {
        self.price.as_deref().map(|text| price::parse(text, self.currency)).transpose()
    }

    /// Asks the server, and prints the book.
    pub async fn run(self) -> anyhow::Result<()> {
        let client = self.client.client()?;
        let requests = Requests::new(&client, None);
        if let Some(money) = self.money().map_err(anyhow::Error::msg)? {
            let path = format!("/v1/books/{}", self.book);
            requests.ask::<BookView>(|| Ok(client.patch(&path)?.json(&json!({"price": money})))).await?;
        }
        let path = format!("/v1/books/{}/publish", self.book);
        let book: BookView = requests.ask(|| client.post(&path)).await?;
        out::line(line_of(&book))
    }
}
