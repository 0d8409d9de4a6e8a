//! Logs: JSON lines on standard output, or text for people.

mod json;
mod sink;

use clap::{Args, ValueEnum};
use tracing::Subscriber;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

pub use sink::{Flusher, Sink};

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

/// Starts logging to standard output. What is returned writes the last lines when it is dropped: keep it in `main`.
///
/// # Errors
/// When the level cannot be understood, or logging was started before.
pub fn start(args: &LogArgs) -> anyhow::Result<Flusher> {
    let (sink, flusher) = sink::start(std::io::stdout())?;
    tracing::subscriber::set_global_default(subscriber(args, sink)?)?;
    Ok(flusher)
}

/// The same to any writer.
///
/// # Errors
/// When the level cannot be understood.
pub fn subscriber<W>(args: &LogArgs, writer: W) -> anyhow::Result<Box<dyn Subscriber + Send + Sync>>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(&args.level)
        .map_err(|error| anyhow::anyhow!("the log level \"{}\" cannot be understood: {error}", args.level))?;
    // A log that cannot be written is no reason to write to standard error, which may be closed as well.
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).log_internal_errors(false);
    Ok(match args.format {
        LogFormat::Json => Box::new(logs.event_format(json::JsonLines).finish()),
        LogFormat::Text => Box::new(logs.with_ansi(false).finish()),
    })
}

/// Starts logging as text into a file, for a command whose own output is for people.
///
/// # Errors
/// As [`start`].
pub fn start_in_file(args: &LogArgs, file: std::fs::File) -> anyhow::Result<()> {
    let args = LogArgs { format: LogFormat::Text, ..args.clone() };
    Ok(tracing::subscriber::set_global_default(subscriber(&args, std::sync::Mutex::new(file))?)?)
}
