//! Tests the exit codes and the JSON output of `tributary check`.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

#[test]
fn the_exit_code_depends_on_the_findings() -> Result<()> {
    for (arguments, code) in [
        (&["minimal.yaml"][..], 0),
        (&["lds_alone.yaml"], 0),
        (&["--strict", "lds_alone.yaml"], 1),
        (&["failure.yaml"], 1),
        (&["others.yaml"], 1),
        (&["--json", "failure.yaml", "not_yaml.yaml"], 2),
        (&["no_such_file.yaml"], 2),
        (&[], 2),
    ] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_tributary"));
        program.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("check/tests/cases"));
        let output = program.arg("check").args(arguments).output()?;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        if arguments.contains(&"--json") {
            let json: serde_json::Value = serde_json::from_slice(&output.stdout)?;
            assert_eq!(json["unreadable"][0]["file"], "not_yaml.yaml");
            assert_eq!(json["findings"][0]["rule"], "failure-policy");
            assert!(json["findings"][0]["line"].is_u64());
        }
    }
    Ok(())
}
