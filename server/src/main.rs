//! The server binary: parses the command line and picks what to run.
//!
//! Invariant: every failure ends as one sentence on stderr and exit code 1, never as a trace.

use std::process::ExitCode;

use clap::Parser;
use tracing::level_filters::LevelFilter;
use zokor_server::cli::{Command, CommandLine, LogLevel};
use zokor_server::{
    backup, begin, bench, dev, export, import, inspect, keys, launch, log, serve, status,
};

fn main() -> ExitCode {
    let line = CommandLine::parse();
    start_log(&line);
    let ran = match &line.command {
        Command::Serve(arguments) => block_on(serve::run(arguments, launch::start)),
        Command::Dev(arguments) => block_on(dev::run(arguments, launch::start)),
        Command::Status(arguments) => Ok(status::run(&arguments.servers)),
        Command::FourLetterWord(arguments) => status::ask_and_print(arguments),
        Command::Keys(arguments) => Ok(keys::run(arguments)),
        Command::Bench(arguments) => block_on(bench::run(arguments)),
        Command::Import(arguments) => import::run(arguments),
        Command::Backup(arguments) => backup::back_up(arguments),
        Command::Restore(arguments) => backup::restore(arguments),
        Command::Join(arguments) => begin::join(arguments),
        Command::Export(arguments) => export::run(arguments),
        Command::Inspect(arguments) => inspect::run(arguments),
    };
    ran.unwrap_or_else(|sentence| {
        eprintln!("zokor: {sentence}");
        ExitCode::FAILURE
    })
}

/// Runs `work` on this thread.
fn block_on(work: impl Future<Output = Result<ExitCode, String>>) -> Result<ExitCode, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    let done = runtime.block_on(work);
    // A look-up of a name may hang for as long as the system likes: nobody needs it now.
    runtime.shutdown_background();
    done
}

fn start_log(line: &CommandLine) {
    let by_command = match line.command {
        Command::Serve(_) => LogLevel::Info,
        // Its servers come and go together, and each would complain of the others.
        Command::Dev(_) => LogLevel::Error,
        Command::Status(_)
        | Command::FourLetterWord(_)
        | Command::Keys(_)
        | Command::Import(_)
        | Command::Backup(_)
        | Command::Restore(_)
        | Command::Join(_)
        | Command::Export(_)
        | Command::Inspect(_)
        | Command::Bench(_) => LogLevel::Warn,
    };
    log::start(match line.log.unwrap_or(by_command) {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    });
}
