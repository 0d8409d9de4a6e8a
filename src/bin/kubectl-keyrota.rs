//! The kubectl plugin. Its verbs come with the console; until then it says so and fails.

use std::process::ExitCode;

fn main() -> ExitCode {
    eprintln!("kubectl-keyrota: no verbs yet; use kubectl get krsa, and keyrota --help");
    ExitCode::FAILURE
}
