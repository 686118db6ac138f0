//! A token endpoint that gives out numbered tokens, and fails on request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, StatusCode};

use crate::http_server::{CloseConnection, HttpServer};

/// A running endpoint; dropping it closes its port.
#[derive(Debug)]
pub struct TokenServer {
    server: HttpServer,
    state: Arc<Mutex<State>>,
}

/// How the endpoint answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// With the next token: `token-1`, `token-2` …
    Good,
    /// Not: the connection is closed.
    Gone,
    /// With each of a failing status, no JSON, a token with a line break, and a good one, in turn.
    Flapping,
}

#[derive(Debug)]
struct State {
    mood: Mood,
    fetches: u64,
    tokens: u64,
}

impl TokenServer {
    /// Listens on any free port.
    ///
    /// # Errors
    /// There is none.
    pub async fn start(mood: Mood) -> Result<Self> {
        let state = Arc::new(Mutex::new(State { mood, fetches: 0, tokens: 0 }));
        let shared = Arc::clone(&state);
        let server = HttpServer::start(0, move |_| {
            let answer = lock(&shared).answer();
            async move { answer }
        });
        Ok(Self { server: server.await?, state })
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.server.address().port()
    }

    /// From now on it answers so.
    pub fn set(&self, mood: Mood) {
        lock(&self.state).mood = mood;
    }

    /// How often it was asked.
    pub fn fetches(&self) -> u64 {
        lock(&self.state).fetches
    }

    /// The newest token that it gave out; `token-0` before the first.
    pub fn newest(&self) -> String {
        token(lock(&self.state).tokens)
    }
}

impl State {
    fn answer(&mut self) -> Result<Response<Full<Bytes>>, CloseConnection> {
        self.fetches += 1;
        let (status, body) = match (self.mood, self.fetches % 4) {
            (Mood::Gone, _) => return Err(CloseConnection),
            (Mood::Flapping, 1) => (StatusCode::SERVICE_UNAVAILABLE, String::new()),
            (Mood::Flapping, 2) => (StatusCode::OK, "<html>maintenance</html>".to_owned()),
            (Mood::Flapping, 3) => (StatusCode::OK, r#"{"access_token": "a\r\nx-admin: yes"}"#.to_owned()),
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

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tokens_are_numbered_and_the_mood_decides() {
        let server = TokenServer::start(Mood::Good).await.unwrap();
        let url = format!("http://127.0.0.1:{}/", server.port());
        let fetch = async || reqwest::get(&url).await.map(|answer| answer.status().as_u16());
        assert_eq!(fetch().await.unwrap(), 200);
        server.set(Mood::Gone);
        assert!(fetch().await.is_err());
        server.set(Mood::Flapping);
        let statuses = [fetch().await.unwrap(), fetch().await.unwrap(), fetch().await.unwrap()];
        assert_eq!(statuses, [200, 200, 503], "from the third fetch on");
        assert_eq!((server.fetches(), server.newest()), (5, "token-2".to_owned()));
    }
}
