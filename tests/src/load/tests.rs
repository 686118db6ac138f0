use super::*;
use crate::upstream::{Upstream, UpstreamFault};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn run(target: SocketAddr, requests: u64, shapes: Vec<Shape>) -> Tally {
    let load =
        Load { limit: Duration::from_secs(10), ..Load::new(target, requests, Mix::new(7, shapes).unwrap()) };
    let mut last = 0;
    let tally = load.run(|done| last = done).await.unwrap();
    assert_eq!(last, requests, "the last call reports all requests");
    assert_eq!(tally.sent(), requests);
    assert_eq!(tally.sent_by_shape(), load.mix.expected(requests));
    tally
}

/// Starts a server that sends the same bytes to every client and closes the connection.
async fn canned(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _): (TcpStream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

#[tokio::test]
async fn outcomes_are_tallied_by_shape_and_status() {
    let upstream = Upstream::start(0).await.unwrap();
    let shapes = vec![
        Shape::get("ok", "/").weight(5),
        Shape::new("head", "HEAD", "/"),
        Shape::new("post", "POST", "/").body("text").status(201).body_bytes(100_000),
        Shape::get("empty", "/").status(204),
        Shape::get("missing", "/").status(404),
        Shape::get("truncated", "/").fault(UpstreamFault::Truncate),
        Shape::get("reset", "/").fault(UpstreamFault::Reset),
        Shape::get("abandoned", "/").delay_ms(60_000).ending(Ending::CloseBeforeResponse),
        Shape::get("half", "/").ending(Ending::HalfHeader),
    ];
    let tally = run(upstream.address(), 1000, shapes).await;
    for (name, status) in [("ok", 200), ("head", 200), ("post", 201), ("empty", 204), ("missing", 404)] {
        let shape = tally.shape(name);
        assert_eq!(shape.answered, [(status, shape.sent())].into(), "{name}");
    }
    let truncated = tally.shape("truncated");
    assert_eq!(truncated.truncated, [(200, truncated.sent())].into());
    assert_eq!(tally.aborted(), tally.shape("abandoned").sent() + tally.shape("half").sent());
    assert_eq!(tally.failed(), tally.shape("reset").sent());
    assert!(tally.first_failure.as_deref().unwrap().starts_with("reset: "));
    assert_eq!(upstream.served().reset, tally.shape("reset").sent());
}

#[tokio::test]
async fn connections_are_kept_alive() {
    let upstream = Upstream::start(0).await.unwrap();
    let tally = run(upstream.address(), 500, vec![Shape::get("ok", "/")]).await;
    assert_eq!(tally.connections, 16);
    assert_eq!(upstream.served().received, 500);
}

#[tokio::test]
async fn chunked_and_closing_answers_are_read_to_their_end() {
    let chunked =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n";
    let cut = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n01";
    let until_close = "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\r\nsorry";
    for (answer, complete) in [(chunked, true), (cut, false), (until_close, true)] {
        // One request each: the server closes the connection, so a client that kept it would fail.
        let load = Load { connections: 1, ..Load::new(canned(answer).await, 1, mix()) };
        let tally = load.run(|_| ()).await.unwrap();
        let (answered, truncated) = if complete { (1, 0) } else { (0, 1) };
        assert_eq!(
            (tally.answered(), tally.truncated(), tally.failed()),
            (answered, truncated, 0),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn refused_connections_are_failed_requests() {
    let reserved = crate::ports::ReservedPort::new().unwrap();
    let tally = run(crate::ports::localhost(reserved.port()), 3, vec![Shape::get("ok", "/")]).await;
    assert_eq!(tally.failed(), 3);
    assert!(tally.first_failure.unwrap().contains("cannot connect"));
}

#[tokio::test]
async fn a_load_that_hangs_is_an_error() {
    let upstream = Upstream::start(0).await.unwrap();
    let slow = Mix::new(1, [Shape::get("slow", "/").delay_ms(60_000)]).unwrap();
    let load = Load { limit: Duration::from_millis(50), ..Load::new(upstream.address(), 5, slow) };
    let error = load.run(|_| ()).await.unwrap_err().to_string();
    assert!(error.contains("only 0 of 5 requests"), "{error}");
}

#[test]
fn a_mix_depends_on_its_weights_and_its_seed_only() {
    let shapes = || {
        [
            Shape::get("rare", "/").weight(1),
            Shape::get("often", "/").weight(9),
            Shape::get("never", "/").weight(0),
        ]
    };
    let expected =
        |seed| Mix::new(seed, shapes()).unwrap().expected(10_000).into_values().collect::<Vec<_>>();
    assert_eq!(expected(1), expected(1));
    assert_ne!(expected(1), expected(2));
    // Sorted by name: never, often, rare.
    let [never, often, rare] = expected(1).try_into().unwrap();
    assert_eq!(never, 0);
    assert!((8_900..9_100).contains(&often) && rare == 10_000 - often, "{often} {rare}");
}

#[test]
fn a_mix_without_a_weight_or_with_duplicate_names_is_rejected() {
    assert!(Mix::new(1, []).is_err());
    assert!(Mix::new(1, [Shape::get("a", "/").weight(0)]).is_err());
    assert!(Mix::new(1, [Shape::get("a", "/"), Shape::get("a", "/b")]).is_err());
}

fn mix() -> Mix {
    Mix::new(1, [Shape::get("one", "/")]).unwrap()
}
