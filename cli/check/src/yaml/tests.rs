use super::*;

fn only(text: &str) -> Node {
    let mut documents = documents(text).unwrap();
    assert_eq!(documents.len(), 1);
    documents.remove(0)
}

fn at(node: &Node, key: &str) -> (usize, usize) {
    let at = node.get(key).unwrap().node.at;
    (at.line, at.column)
}

#[test]
fn values_know_where_they_begin() {
    let node = only("a: 1\nmap:\n  key: {x: 1, ö: 2}\nlist:\n- 5\n");
    assert_eq!(at(&node, "a"), (1, 4));
    assert_eq!(node.get("map").unwrap().at, Position { line: 2, column: 1 });
    let map = &node.get("map").unwrap().node;
    assert_eq!(at(&map.get("key").unwrap().node, "ö"), (3, 18));
    let Value::List(items) = &node.get("list").unwrap().node.value else { panic!("a list") };
    assert_eq!(items[0].at, Position { line: 5, column: 3 });
}

#[test]
fn each_document_counts_the_lines_of_the_file() {
    let documents = documents("a: 1\n---\nb: 2\n").unwrap();
    assert_eq!(at(&documents[1], "b"), (3, 4));
}

#[test]
fn an_alias_is_what_it_stands_for() {
    let node = only("a: &x {k: v}\nb: *x\n");
    assert_eq!(node.get("b").unwrap().node.get("k").unwrap().node.text(), Some("v"));
}

#[test]
fn a_text_that_holds_yaml_is_placed_in_the_file_around_it() {
    let node = only("value: |\n\n    a: 1\n    list:\n      - {b: 2}\nquoted: \"{a: 1}\"\n");
    let literal = embedded(&node.get("value").unwrap().node).unwrap();
    assert_eq!(at(&literal, "a"), (3, 8));
    let Value::List(items) = &literal.get("list").unwrap().node.value else { panic!("a list") };
    assert_eq!(at(&items[0], "b"), (5, 13));
    let quoted = embedded(&node.get("quoted").unwrap().node).unwrap();
    assert_eq!(at(&quoted, "a"), (6, 9));
}

#[test]
fn what_is_no_yaml_is_told_with_its_place() {
    let error = documents("a: 1\nb: [1, 2\nc: 3\n").unwrap_err();
    assert_eq!(error.at.line, 3, "{error:?}");
    assert!(documents("a: 1\na: 2\n").is_err(), "a key twice");
    let node = only("value: |\n  a: [1, }\nnext: 1\n");
    let error = embedded(&node.get("value").unwrap().node).unwrap_err();
    assert_eq!(error.at.line, 2, "{error:?}");
}

#[test]
fn keys_may_be_in_camel_case() {
    let node = only("vmConfig: {vmId: x}\nfail_open: true\n");
    assert_eq!(node.get("vm_config").unwrap().node.get("vm_id").unwrap().node.text(), Some("x"));
    assert!(node.get("fail_open").is_some());
    assert!(node.get("vm").is_none());
}
