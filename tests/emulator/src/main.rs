//! `ptx-emulator --out FOLDER [options] FILE.ptx...`

use ptx_emulator::build::{Options, build};
use std::process::ExitCode;

const USAGE: &str = "\
usage: ptx-emulator --out FOLDER [options] FILE.ptx...

Translates PTX files to C++ and builds FOLDER/libcuda.so.1, a stand-in for NVIDIA's driver that runs them on the CPU.
A program finds it with LD_LIBRARY_PATH=FOLDER. README.md lists what it can be told by environment variables.

  --compiler NAME      a C++20 compiler, g++ or clang++ (default: $CXX, else g++)
  --sanitize LIST      build with -fsanitize=LIST, such as undefined or address,undefined
  --cache FOLDER       where objects are kept between builds (default: FOLDER/objects)
  --jobs N             compilations at the same time (default: one per core)
";

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)).and_then(|options| build(&options)) {
        Ok(library) => {
            println!("{}", library.display());
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options::new("");
    while let Some(argument) = arguments.next() {
        if !argument.starts_with("--") {
            options.ptx.push(argument.into());
            continue;
        }
        let value = arguments.next().ok_or_else(|| format!("{argument} without a value\n{USAGE}"))?;
        match argument.as_str() {
            "--out" => options.out = value.into(),
            "--compiler" => options.compiler = value,
            "--sanitize" => options.sanitize = value,
            "--cache" => options.cache = Some(value.into()),
            "--jobs" => options.jobs = value.parse().map_err(|_| format!("--jobs {value}: no number"))?,
            _ => return Err(format!("unknown option {argument}\n{USAGE}")),
        }
    }
    if options.out.as_os_str().is_empty() || options.ptx.is_empty() {
        return Err(USAGE.into());
    }
    Ok(options)
}
