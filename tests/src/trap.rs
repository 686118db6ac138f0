//! Modules that fail: what ships, but for one callback that traps.

use anyhow::Result;
use walrus::{FunctionBuilder, Module};

use crate::repository;

/// The service, but that it traps whenever a collector answers.
///
/// # Errors
/// The module is not built.
pub fn service() -> Result<Vec<u8>> {
    let mut module = Module::from_file(repository::root().join("target/wasm/service.wasm"))?;
    let callback = module.exports.get_func("proxy_on_http_call_response")?;
    let signature = module.types.get(module.funcs.get(callback).ty());
    let (parameters, results) = (signature.params().to_vec(), signature.results().to_vec());
    let arguments = parameters.iter().map(|kind| module.locals.add(*kind)).collect();
    let mut function = FunctionBuilder::new(&mut module.types, &parameters, &results);
    function.func_body().unreachable();
    let trap = function.finish(arguments, &mut module.funcs);
    module.exports.remove("proxy_on_http_call_response")?;
    module.exports.add("proxy_on_http_call_response", trap);
    Ok(module.emit_wasm())
}
