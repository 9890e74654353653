//! nvcc as a program: slower than NVRTC, but what a CUDA toolkit has.

use super::compiler::{Compiled, OPTIONS};
use super::target::Target;
use std::path::Path;
use std::process::Command;

fn answer(program: &Path, argument: &str) -> Result<String, String> {
    let output = Command::new(program).arg(argument).output();
    let output = output.map_err(|e| format!("'{}' cannot be run: {e}", program.display()))?;
    if !output.status.success() {
        return Err(format!("'{} {argument}' failed: {}", program.display(), output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Its release, from the line `..., release 12.9, V12.9.86`.
pub fn version(program: &Path) -> Result<(u32, u32), String> {
    let text = answer(program, "--version")?;
    let release = text.split("release ").nth(1).and_then(|rest| rest.split([',', '\n']).next());
    let parts = release.and_then(|release| release.trim().split_once('.'));
    parts
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)))
        .ok_or_else(|| format!("'{} --version' names no release", program.display()))
}

/// Ten times the compute capabilities it compiles for.
pub fn capabilities(program: &Path) -> Result<Vec<u32>, String> {
    let text = answer(program, "--list-gpu-arch")?;
    Ok(text.lines().filter_map(|line| line.trim().strip_prefix("compute_")?.parse().ok()).collect())
}

/// Compiles one file for one target.
pub fn compile(program: &Path, source: &Path, target: Target) -> Result<Compiled, String> {
    let image = std::env::temp_dir().join(format!("ov3d-{}-{target}.image", std::process::id()));
    let capability = target.capability();
    let mut command = Command::new(program);
    command.args(OPTIONS).arg(if target.is_ptx() { "--ptx" } else { "--cubin" });
    command.arg(format!("--generate-code=arch=compute_{capability},code={target}"));
    command.arg("-I").arg(source.parent().unwrap_or(Path::new("."))).arg("-o").arg(&image).arg(source);
    let output = command.output().map_err(|e| format!("'{}' cannot be run: {e}", program.display()))?;
    let log = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(format!("{} for {target}:\n{log}", source.display()));
    }
    let bytes = std::fs::read(&image).map_err(|e| format!("nvcc wrote no '{}': {e}", image.display()))?;
    // Left over it is only clutter in the folder for temporary files.
    let _ = std::fs::remove_file(&image);
    Ok(Compiled { image: bytes, log })
}
