//! One message to one address, a few times at most. Nothing that is said of it
//! holds the address: not even where the library's errors would.

use std::fmt;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Url, redirect};

use super::template::Message;
use crate::tls::choose_cryptography;

/// Where messages go. A secret: `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Address(Url);

impl Address {
    /// Reads an `http` or `https` address; what is wrong with it otherwise,
    /// without saying it.
    pub fn read(text: &str) -> Result<Self, String> {
        let url: Option<Url> = text.trim().parse().ok();
        url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .map(Self)
            .ok_or_else(|| "is not an address that begins with https://".to_owned())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Address(…)")
    }
}

/// How long and how often a message is tried.
#[derive(Debug, Clone)]
pub struct Patience {
    /// Attempts in all.
    pub attempts: u32,
    /// The most that one takes.
    pub each: Duration,
    /// The pause after the first; the next ones are twice as long each.
    pub pause: Duration,
}

impl Default for Patience {
    /// Half a minute and some seconds in all.
    fn default() -> Self {
        Self {
            attempts: 3,
            each: Duration::from_secs(10),
            pause: Duration::from_secs(2),
        }
    }
}

/// Why an attempt failed, and whether another one may do better.
struct Failure {
    reason: String,
    worth_another: bool,
}

/// Sends the message, or says why it did not arrive.
pub async fn deliver(
    address: &Address,
    message: &Message,
    patience: &Patience,
) -> Result<(), String> {
    choose_cryptography();
    // Where a redirect leads, the secret was not given to.
    let client = Client::builder()
        .user_agent(concat!("kvet/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .timeout(patience.each)
        .build()
        .map_err(|_| "no client could be made".to_owned())?;
    let mut pause = patience.pause;
    for attempt in 1.. {
        let Err(failure) = once(&client, address, message, patience).await else {
            return Ok(());
        };
        if !failure.worth_another || attempt >= patience.attempts {
            return Err(match attempt {
                1 => failure.reason,
                _ => format!("{}, {attempt} times", failure.reason),
            });
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    Ok(())
}

async fn once(
    client: &Client,
    address: &Address,
    message: &Message,
    patience: &Patience,
) -> Result<(), Failure> {
    let request = client
        .post(address.0.clone())
        .header(CONTENT_TYPE, message.kind)
        .body(message.text.clone());
    let response = request.send().await.map_err(|error| Failure {
        reason: if error.is_timeout() {
            let each = humantime::format_duration(patience.each);
            format!("it did not answer within {each}")
        } else if error.is_connect() {
            "no connection to it".to_owned()
        } else {
            "the connection was cut".to_owned()
        },
        worth_another: true,
    })?;
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    Err(Failure {
        reason: format!("it answered {}", status.as_u16()),
        worth_another: status.is_server_error() || status.as_u16() == 429,
    })
}
