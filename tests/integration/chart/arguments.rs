//! What the chart gives to the containers is what the binary takes.

use std::process::{Command, Stdio};

use super::tools::helm;
use super::{name, objects, pod_templates, rendered, value_sets};

#[test]
fn every_container_is_given_arguments_that_its_role_takes() {
    let Some(helm) = helm() else { return };
    let mut tried = 0;
    for set in value_sets() {
        let objects = objects(&rendered(&helm, &set));
        for container in pod_templates(&objects).flat_map(|pod| pod["spec"]["containers"].as_array().unwrap()) {
            let arguments = container["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap());
            // What comes before --help is read, its values too, and nothing is started.
            let mut command = Command::new(env!("CARGO_BIN_EXE_keyrota"));
            let output = command.args(arguments).arg("--help").stdin(Stdio::null()).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}, {}: {said}", name(&set), container["name"]);
            tried += 1;
        }
    }
    assert!(tried >= 24, "{tried}");
}
