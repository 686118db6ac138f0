;; The smallest module that Envoy loads and calls when a stream ends.
(module
    (memory (export "memory") 1)
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "malloc") (param i32) (result i32) i32.const 1024)
    (func (export "proxy_on_log") (param i32)))
