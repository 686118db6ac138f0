//! A third-party plugin that uses only the public SDK and nothing of Tributary. Its configuration is
//! `HEADER=COUNTER`: the plugin writes the value of the shared counter COUNTER into the header HEADER of
//! every response.

#![expect(missing_docs, reason = "the SDK's macro writes a function without")]

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Plugin::default()));
}}

#[derive(Clone, Default)]
struct Plugin {
    header: String,
    counter: String,
}

impl RootContext for Plugin {
    fn on_configure(&mut self, _: usize) -> bool {
        let configuration = self.get_plugin_configuration().unwrap_or_default();
        let text = String::from_utf8_lossy(&configuration).into_owned();
        let Some((header, counter)) = text.split_once('=') else { return false };
        (self.header, self.counter) = (header.to_owned(), counter.to_owned());
        true
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(self.clone()))
    }
}

impl Context for Plugin {}

impl HttpContext for Plugin {
    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        let (value, _) = self.get_shared_data(&format!("tributary.counter.{}", self.counter));
        let text = match value.as_deref().map(<[u8; 8]>::try_from) {
            None => "nothing was counted yet".to_owned(),
            Some(Ok(bytes)) => u64::from_le_bytes(bytes).to_string(),
            Some(Err(_)) => "no counter".to_owned(),
        };
        self.set_http_response_header(&self.header, Some(&text));
        Action::Continue
    }
}
