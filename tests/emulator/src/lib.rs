//! Translates PTX to C++ and compiles it, with the runtime under `runtime/`, into a stand-in for `libcuda.so.1`.

pub mod ast;
pub mod build;
pub mod lexer;
pub mod parser;
pub mod translate;
pub mod types;
