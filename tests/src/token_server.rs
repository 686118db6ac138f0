//! A token endpoint that issues numbered tokens. Tests can make it fail.

use std::sync::{Arc, Mutex};

use anyhow::Result;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, StatusCode};

use crate::http_server::{CloseConnection, HttpServer, lock};

/// A running endpoint; dropping it closes its port.
#[derive(Debug)]
pub struct TokenServer {
    server: HttpServer,
    state: Arc<Mutex<State>>,
}

/// How the endpoint responds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenServerMode {
    /// Issues the next token: `token-1`, `token-2` …
    Healthy,
    /// Closes the connection without a response.
    Down,
    /// Responds in turn with status 503, a body that is not JSON, a token with a line break, and a valid
    /// token.
    Flapping,
}

#[derive(Debug)]
struct State {
    mode: TokenServerMode,
    fetches: u64,
    tokens: u64,
}

impl TokenServer {
    /// Listens on any free port of 127.0.0.1.
    pub async fn start(mode: TokenServerMode) -> Result<Self> {
        let state = Arc::new(Mutex::new(State { mode, fetches: 0, tokens: 0 }));
        let shared = Arc::clone(&state);
        let server = HttpServer::start(0, move |_| {
            let answer = lock(&shared).respond();
            async move { answer }
        });
        Ok(Self { server: server.await?, state })
    }

    /// Returns the port on which the server listens.
    pub fn port(&self) -> u16 {
        self.server.address().port()
    }

    /// Changes how the endpoint responds.
    pub fn set_mode(&self, mode: TokenServerMode) {
        lock(&self.state).mode = mode;
    }

    /// Returns the number of requests that were received.
    pub fn fetches(&self) -> u64 {
        lock(&self.state).fetches
    }

    /// Returns the latest issued token; `token-0` if no token was issued.
    pub fn newest(&self) -> String {
        token(lock(&self.state).tokens)
    }
}

impl State {
    fn respond(&mut self) -> Result<Response<Full<Bytes>>, CloseConnection> {
        self.fetches += 1;
        let (status, body) = match (self.mode, self.fetches % 4) {
            (TokenServerMode::Down, _) => return Err(CloseConnection),
            (TokenServerMode::Flapping, 1) => (StatusCode::SERVICE_UNAVAILABLE, String::new()),
            (TokenServerMode::Flapping, 2) => (StatusCode::OK, "<html>maintenance</html>".to_owned()),
            (TokenServerMode::Flapping, 3) => {
                (StatusCode::OK, r#"{"access_token": "a\r\nx-admin: yes"}"#.to_owned())
            }
            _ => {
                self.tokens += 1;
                (StatusCode::OK, format!(r#"{{"access_token": "{}", "expires_in": 60}}"#, token(self.tokens)))
            }
        };
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        Ok(response)
    }
}

fn token(number: u64) -> String {
    format!("token-{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tokens_are_numbered_and_the_mode_decides_the_answer() {
        let server = TokenServer::start(TokenServerMode::Healthy).await.unwrap();
        let url = format!("http://127.0.0.1:{}/", server.port());
        let fetch = async || reqwest::get(&url).await.map(|answer| answer.status().as_u16());
        assert_eq!(fetch().await.unwrap(), 200);
        server.set_mode(TokenServerMode::Down);
        assert!(fetch().await.is_err());
        server.set_mode(TokenServerMode::Flapping);
        let statuses = [fetch().await.unwrap(), fetch().await.unwrap(), fetch().await.unwrap()];
        assert_eq!(statuses, [200, 200, 503], "continues with the third request");
        assert_eq!((server.fetches(), server.newest()), (5, "token-2".to_owned()));
    }
}
