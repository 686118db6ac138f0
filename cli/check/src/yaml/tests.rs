use super::*;

fn only(text: &str) -> Node {
    let mut documents = documents(text).unwrap();
    assert_eq!(documents.len(), 1);
    documents.remove(0)
}

fn at(node: &Node, key: &str) -> (usize, usize) {
    let at = node.get(key).unwrap().at;
    (at.line, at.column)
}

#[test]
fn values_have_their_positions() {
    let node = only("a: 1\nmap:\n  key: {x: 1, ö: 2}\nlist:\n- 5\n");
    assert_eq!(at(&node, "a"), (1, 4));
    assert_eq!(at(&node, "map.key.ö"), (3, 18));
    assert_eq!(node.get("list").unwrap().items()[0].at, Position { line: 5, column: 3 });
}

#[test]
fn positions_count_the_lines_of_the_file() {
    let documents = documents("a: 1\n---\nb: 2\n").unwrap();
    assert_eq!(at(&documents[1], "b"), (3, 4));
}

#[test]
fn an_alias_has_the_value_of_its_anchor() {
    let node = only("a: &x {k: v}\nb: *x\n");
    assert_eq!(node.get("b.k").unwrap().text(), Some("v"));
}

#[test]
fn embedded_yaml_has_positions_in_the_enclosing_file() {
    let node = only("value: |\n\n    a: 1\n    list:\n      - {b: 2}\nquoted: \"{a: 1}\"\n");
    let literal = embedded(node.get("value").unwrap()).unwrap();
    assert_eq!(at(&literal, "a"), (3, 8));
    assert_eq!(at(&literal.get("list").unwrap().items()[0], "b"), (5, 13));
    let quoted = embedded(node.get("quoted").unwrap()).unwrap();
    assert_eq!(at(&quoted, "a"), (6, 9));
}

#[test]
fn a_syntax_error_has_its_position() {
    let error = documents("a: 1\nb: [1, 2\nc: 3\n").unwrap_err();
    assert_eq!(error.at.line, 3, "{error:?}");
    assert!(documents("a: 1\na: 2\n").is_err(), "a key twice");
    let node = only("value: |\n  a: [1, }\nnext: 1\n");
    let error = embedded(node.get("value").unwrap()).unwrap_err();
    assert_eq!(error.at.line, 2, "{error:?}");
}

#[test]
fn keys_may_be_in_camel_case() {
    let node = only("vmConfig: {vmId: x}\nfail_open: true\n");
    assert_eq!(node.get("vm_config.vm_id").unwrap().text(), Some("x"));
    assert!(node.get("fail_open").is_some());
    assert!(node.get("vm").is_none());
}
