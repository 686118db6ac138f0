;; The smallest module that evaluates a CEL list when a stream ends. Its configuration is the list. It counts
;; failures.
(module
    (import "env" "proxy_get_buffer_bytes" (func $buffer (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_call_foreign_function" (func $call (param i32 i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_increment_metric" (func $increment (param i32 i64) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 64) "expr_create" "expr_evaluate" "lists_failed")
    (func (export "proxy_abi_version_0_2_1"))
    ;; Returns the same memory each time: the previous result is not used any more.
    (func (export "malloc") (param i32) (result i32) i32.const 4096)
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
        ;; 7: the plugin's configuration.
        (if (call $buffer (i32.const 7) (i32.const 0) (i32.const 60000) (i32.const 0) (i32.const 4))
            (then unreachable))
        (if (call $call (i32.const 64) (i32.const 11) (i32.load (i32.const 0)) (i32.load (i32.const 4))
                (i32.const 8) (i32.const 12))
            (then unreachable))
        (i32.store (i32.const 16) (i32.load (i32.load (i32.const 8))))
        (if (call $define (i32.const 0) (i32.const 88) (i32.const 12) (i32.const 20)) (then unreachable))
        i32.const 1)
    (func (export "proxy_on_log") (param i32)
        (if (call $call (i32.const 75) (i32.const 13) (i32.const 16) (i32.const 4) (i32.const 8) (i32.const 12))
            (then (drop (call $increment (i32.load (i32.const 20)) (i64.const 1)))))))
