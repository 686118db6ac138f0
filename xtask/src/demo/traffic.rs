//! The requests that the demo sends: a small shop with several routes, methods and statuses, and a failing upstream.

use anyhow::Result;
use tributary_tests::load::{Mix, Shape};
use tributary_tests::upstream::UpstreamFault;

/// Any number; a fixed one makes every run send the same.
const SEED: u64 = 2;
const SLOW_MS: u64 = 20;
const SLOWEST_MS: u64 = 120;

/// The mixture; every request of it gets a complete answer, so that all four counts must be equal.
pub(crate) fn mix() -> Result<Mix> {
    Mix::new(
        SEED,
        [
            Shape::get("read a user", "/users/1").weight(300),
            Shape::new("create a user", "POST", "/users").body(r#"{"name":"x"}"#).status(201).weight(100),
            Shape::new("delete a user", "DELETE", "/users/2").status(204).weight(30),
            Shape::get("miss a user", "/users/3").status(404).weight(40),
            Shape::get("list orders", "/orders").body_bytes(2000).weight(180),
            Shape::new("look at an order", "HEAD", "/orders/1").weight(30),
            Shape::new("change an order", "PUT", "/orders/1").body("{}").weight(50),
            Shape::new("clash over an order", "PUT", "/orders/2").body("{}").status(409).weight(20),
            Shape::get("search orders", "/orders?q=x").delay_ms(SLOW_MS).weight(20),
            Shape::new("pay", "POST", "/payments").body("{}").weight(80),
            Shape::new("pay slowly", "POST", "/payments").body("{}").delay_ms(SLOWEST_MS).weight(3),
            Shape::new("pay in vain", "POST", "/payments").body("{}").status(502).weight(7),
            Shape::get("failing upstream", "/payments/1").fault(UpstreamFault::Reset).weight(20),
            Shape::get("health", "/health").weight(100),
            Shape::get("no route", "/favicon.ico").weight(20),
        ],
    )
}
