//! A VM on the fake host, whose plugin writes down what reaches it.

use super::*;
use crate::fake;

#[derive(Debug, Default)]
struct Diary(Vec<String>);

impl Diary {
    fn note(&mut self, what: &str, stream: StreamId) {
        self.0.push(format!("{what} {stream:?}"));
    }
}

impl Plugin for Diary {
    fn configured() -> Option<Self> {
        (fake::with(|host| host.configuration.clone()) != b"wrong").then(Self::default)
    }

    fn log_entry(&mut self) {
        self.0.push("entry".to_owned());
    }

    fn stream_created(&mut self, stream: StreamId) {
        self.note("created", stream);
    }

    fn stream_ended(&mut self, stream: StreamId) {
        self.note("ended", stream);
    }

    fn ended(&mut self) {
        fake::with(|host| host.log.push((crate::logging::Level::Info, "ended".to_owned())));
    }
}

/// A VM with two plugins, of the root contexts 1 and 2.
fn vm() -> Vm<Diary> {
    fake::reset();
    let mut vm = Vm::default();
    for root in [1, 2] {
        vm.context_created(root, 0);
        assert!(vm.configured(root));
    }
    vm
}

fn diary(vm: &mut Vm<Diary>, root: u32) -> Vec<String> {
    vm.plugin(root).unwrap().0.clone()
}

#[test]
fn a_stream_reaches_the_plugin_that_it_was_made_for() {
    let mut vm = vm();
    vm.context_created(5, 2);
    vm.logged(5);
    vm.deleted(5);
    assert_eq!(diary(&mut vm, 1), [""; 0]);
    assert_eq!(diary(&mut vm, 2), ["created StreamId(5)", "ended StreamId(5)"]);
}

#[test]
fn a_stream_that_is_never_logged_ends_when_it_is_deleted() {
    let mut vm = vm();
    vm.context_created(5, 1);
    vm.deleted(5);
    vm.deleted(5);
    assert_eq!(diary(&mut vm, 1), ["created StreamId(5)", "ended StreamId(5)"]);
}

#[test]
fn a_log_call_on_a_root_context_is_an_access_log_entry() {
    let mut vm = vm();
    vm.logged(2);
    assert_eq!((diary(&mut vm, 1), diary(&mut vm, 2)), (vec![], vec!["entry".to_owned()]));
}

#[test]
fn contexts_that_nobody_made_do_no_harm() {
    let mut vm = vm();
    vm.logged(77);
    vm.deleted(77);
    vm.context_created(78, 99);
    vm.logged(78);
    assert_eq!(diary(&mut vm, 1), ["ended StreamId(77)"], "the first plugin counts what has lost its way");
    let mut empty = Vm::<Diary>::default();
    empty.logged(1);
    empty.deleted(1);
    assert!(empty.plugin_of(1).is_none());
}

#[test]
fn a_refused_configuration_leaves_no_plugin() {
    let mut vm = vm();
    fake::with(|host| host.configuration = b"wrong".to_vec());
    assert!(!vm.configured(1));
    vm.logged(1);
    assert!(vm.plugin_of(1).is_none());
}

#[test]
fn a_root_context_that_is_deleted_ends_its_plugin_once() {
    let mut vm = vm();
    vm.deleted(1);
    vm.deleted(1);
    assert_eq!(fake::with(|host| host.logged(crate::logging::Level::Info).len()), 1);
    assert!(vm.plugin_of(2).is_some());
}
