//! `ov3d`: what the library does for a program, for a person.

#![allow(clippy::print_stderr, reason = "a command-line tool reports errors on stderr")]

/// Prints a line; a reader that went away (`ov3d ... | head`) ends the tool quietly.
macro_rules! say {
    ($($argument:tt)*) => {
        $crate::say_line(format_args!($($argument)*))
    };
}

mod agreement;
mod bench;
mod convert;
mod demo;
mod devices;
mod engine;
mod eval;
mod formats;
mod info;
mod picture;
mod progress;
mod query;
mod report;
mod segment;
mod superpoints;
mod verify;
mod vocab;
mod words;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Open-vocabulary 3D point-cloud segmentation.
#[derive(Parser)]
#[command(version, max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Args),
    Devices(devices::Args),
    Segment(Box<segment::Args>),
    Query(Box<query::Args>),
    Superpoints(superpoints::Args),
    Eval(eval::Args),
    Convert(convert::Args),
    Info(info::Args),
    Vocab(vocab::Args),
    Verify(verify::Args),
    Bench(bench::Args),
}

fn say_line(line: std::fmt::Arguments<'_>) {
    use std::io::Write;
    if writeln!(std::io::stdout(), "{line}").is_err() {
        std::process::exit(0);
    }
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Devices(args) => devices::run(&args),
        Command::Segment(args) => segment::run(&args),
        Command::Query(args) => query::run(&args),
        Command::Superpoints(args) => superpoints::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Info(args) => info::run(&args),
        Command::Vocab(args) => vocab::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Bench(args) => bench::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
