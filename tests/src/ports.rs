//! Free TCP ports, reserved by this process until a server has bound them.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, Result};
use tokio::net::TcpSocket;

/// A port of 127.0.0.1. The system gives it to no other process while this value lives.
///
/// Its socket is bound with SO_REUSEADDR and SO_REUSEPORT and never listens. A server that sets either option
/// (Envoy and Go programs do) can therefore listen on the same port at the same time and gets every
/// connection: there is no moment at which another process could take the port.
#[derive(Debug)]
pub struct ReservedPort {
    port: u16,
    _socket: TcpSocket,
}

impl ReservedPort {
    /// Reserves an unused port.
    pub fn new() -> Result<Self> {
        let reserve = || -> std::io::Result<Self> {
            let socket = TcpSocket::new_v4()?;
            socket.set_reuseaddr(true)?;
            socket.set_reuseport(true)?;
            socket.bind(localhost(0))?;
            Ok(Self { port: socket.local_addr()?.port(), _socket: socket })
        };
        reserve().context("cannot reserve a free port of 127.0.0.1")
    }

    /// Returns the number of the port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// Returns the address `127.0.0.1:port`.
pub fn localhost(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Returns whether this process can listen on `127.0.0.1:port`.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind(localhost(port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_can_bind_a_reserved_port() {
        let reserved = ReservedPort::new().unwrap();
        let server = TcpListener::bind(localhost(reserved.port())).unwrap();
        let client = std::net::TcpStream::connect(localhost(reserved.port())).unwrap();
        let (_, peer) = server.accept().unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
    }

    #[tokio::test]
    async fn reserved_ports_differ() {
        let reserved: Vec<_> = (0..50).map(|_| ReservedPort::new().unwrap()).collect();
        let mut numbers: Vec<_> = reserved.iter().map(ReservedPort::port).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 50);
    }

    #[test]
    fn a_port_somebody_listens_on_is_not_free() {
        let listener = TcpListener::bind(localhost(0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(!is_free(port));
        drop(listener);
        assert!(is_free(port));
    }
}
