//! Where the demo sends its vehicles: the results topic of Kafka, or a running server.

use bus::{Bus, BusError, KafkaArgs, KafkaBus, TopicArgs};
use contracts::{Headers, Message, TopicRole};
use serde_json::json;

use super::{DemoVehicle, SendError};
use crate::client::{Client, ErrorResponse, WrongServer, read_error};

/// Accepts vehicles.
pub enum Destination {
    /// The messages of the reference producer: the JSON alone, without key and headers.
    Kafka(Box<KafkaBus>),
    /// `POST /v1/detections`, because only `up` itself can write its embedded log.
    Server(Client),
}

impl Destination {
    /// Connects to Kafka.
    pub async fn kafka(kafka: &KafkaArgs, topics: &TopicArgs) -> Result<Self, SendError> {
        let settings = kafka.config().and_then(|config| Ok((config, topics.load()?)));
        let (config, topics) = settings.map_err(SendError::Permanent)?;
        Ok(Self::Kafka(Box::new(KafkaBus::connect(config, &topics).await.map_err(of_bus)?)))
    }

    /// Description for the line at the start.
    pub fn describe(&self) -> String {
        match self {
            Self::Kafka(bus) => format!("topic {} of {}", bus.topic(TopicRole::Results), bus.describe()),
            Self::Server(client) => client.server().to_string(),
        }
    }

    /// Sends a vehicle and waits until it is accepted.
    pub async fn send(&self, vehicle: &DemoVehicle) -> Result<(), SendError> {
        match self {
            Self::Kafka(bus) => {
                let value = serde_json::to_vec(vehicle).map_err(|error| SendError::Permanent(error.into()))?;
                let message = Message { key: None, headers: Headers::new(), value: value.into() };
                let acknowledged = bus.producer().send(TopicRole::Results, message).map_err(of_bus)?;
                acknowledged.await.map(drop).map_err(of_bus)
            }
            Self::Server(client) => post(client, vehicle).await,
        }
    }

    /// Ends the connection.
    pub async fn close(&self) {
        if let Self::Kafka(bus) = self {
            // Every vehicle that counts as sent was acknowledged.
            drop(bus.close().await);
        }
    }
}

fn of_bus(error: BusError) -> SendError {
    if error.is_transient() { SendError::Transient(error.to_string()) } else { SendError::Permanent(error.into()) }
}

async fn post(client: &Client, vehicle: &DemoVehicle) -> Result<(), SendError> {
    let DemoVehicle { year, make, model, category } = vehicle;
    let body = json!({
        "label": contracts::vehicle::LABEL, "year": year, "make": make, "model": model, "category": category,
    });
    let request = client.post("/v1/detections").map_err(SendError::Permanent)?.json(&body);
    match request.send().await {
        Ok(response) if response.status().is_success() => Ok(()),
        Ok(response) => Err(match read_error(response).await {
            ErrorResponse::RetryAfter(_, message) => SendError::Transient(message),
            ErrorResponse::Permanent(message) => SendError::Permanent(anyhow::anyhow!(message)),
        }),
        Err(error) => Err(match client.connection_error(&error).await {
            Ok(reason) => SendError::Transient(reason),
            Err(error) if error.is::<WrongServer>() => SendError::Permanent(error),
            Err(error) => SendError::Transient(format!("{error:#}")),
        }),
    }
}
