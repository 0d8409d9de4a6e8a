//! Logs: JSON lines on standard output, or text for people. Spans: to an OpenTelemetry collector, if one is named.

mod json;
#[cfg(feature = "otlp")]
mod otlp;
mod sink;
#[cfg(feature = "otlp")]
pub mod span;
#[cfg(not(feature = "otlp"))]
#[path = "telemetry/unspanned.rs"]
pub mod span;
pub mod trace;

use clap::{Args, ValueEnum};
use tracing::Subscriber;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

pub use sink::{Flusher, Sink};
pub use trace::TraceArgs;

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

/// Sends the last spans and writes the last lines when it is dropped: keep it in `main`.
pub struct Telling {
    // In this order: a span that cannot be sent is said in the log.
    _spans: Option<trace::Exporting>,
    _lines: Flusher,
}

/// Starts logging to standard output, and sending spans as `service` if there is somewhere to send them.
///
/// # Errors
/// When the level or the endpoint cannot be understood, or logging was started before.
pub fn start(log: &LogArgs, trace: &TraceArgs, service: &'static str) -> anyhow::Result<Telling> {
    // First: the format of the log knows then whether there are spans.
    let spans = trace::start(trace, service)?;
    let (sink, lines) = sink::start(std::io::stdout())?;
    tracing::subscriber::set_global_default(subscriber(log, sink)?)?;
    Ok(Telling { _spans: spans, _lines: lines })
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
        LogFormat::Json => Box::new(logs.event_format(json::JsonLines { traced: span::are_sent() }).finish()),
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
