//! Logs: JSON lines on standard output, or text for people.

use clap::{Args, ValueEnum};
use tracing_subscriber::filter::EnvFilter;

/// Settings of the log.
#[derive(Args, Clone, Debug)]
pub struct LogArgs {
    /// What is logged: error, warn, info, debug, trace, or directives as tracing has them
    #[arg(long = "log", env = "RUST_LOG", default_value = "info", value_name = "LEVEL", global = true)]
    pub level: String,

    /// How it is logged
    #[arg(
        long = "log-format",
        env = "KEYROTA_LOG_FORMAT",
        default_value = "json",
        value_name = "FORMAT",
        global = true
    )]
    pub format: LogFormat,
}

/// Forms of the log.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object on a line.
    Json,
    /// For people.
    Text,
}

/// Starts logging.
///
/// # Errors
/// When the level cannot be understood, or logging was started before.
pub fn start(args: &LogArgs) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&args.level)?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter);
    match args.format {
        LogFormat::Json => logs.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
        LogFormat::Text => logs.try_init(),
    }
    .map_err(|error| anyhow::anyhow!("logging cannot be started: {error}"))
}

/// Starts logging as text into a file, for a command whose own output is for people.
///
/// # Errors
/// As [`start`].
pub fn start_in_file(args: &LogArgs, file: std::fs::File) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&args.level)?;
    let logs =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(std::sync::Mutex::new(file));
    logs.try_init().map_err(|error| anyhow::anyhow!("logging cannot be started: {error}"))
}
