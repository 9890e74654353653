//! PTX for drivers older than the compiler: relabelled as version 8.0, after checking that it holds nothing newer.

/// The version that every driver for CUDA 12 takes.
const VERSION: &str = "8.0";

/// Instructions that PTX ISA 8.0 has for sm_75 and sm_80 and that kernels here may use. Before adding one, look up in the
/// manual's "PTX ISA Notes" that it is no younger than 8.0.
const INSTRUCTIONS: &str = "abs activemask add addc and atom bar barrier bfe bfi bfind bra brev clz cos cp \
    createpolicy cvt cvta div dp2a dp4a ex2 exit fence fma fns ld ldmatrix ldu lg2 lop3 mad madc match max membar min mma mov mul \
    mul24 nanosleep neg not or popc prefetch prefetchu prmt rcp red redux rem ret rsqrt sad selp set setp shf shfl shl shr sin \
    slct sqrt st sub subc tanh testp trap vote xor";

/// Parts of instructions that are younger than 8.0 although their first word is not.
const YOUNGER: [&str; 9] = ["b128", "v8", "f32x2", "e4m3x2", "e5m2x2", "e4m3", "e5m2", "ordered_metadata", "m16n16"];

/// A kernel and how many threads a block of it may have (0 if it does not say).
#[derive(Debug, PartialEq)]
pub struct Entry {
    pub name: String,
    pub threads: u32,
}

/// `text` labelled as version 8.0; an error names the first instruction that is younger.
pub fn for_old_drivers(text: &str) -> Result<String, String> {
    let version = text.lines().find(|line| line.starts_with(".version ")).ok_or("the PTX names no version")?;
    for line in text.lines() {
        for statement in line.split("//").next().unwrap_or("").split(';') {
            check(statement)?;
        }
    }
    Ok(text.replacen(version, &format!(".version {VERSION}"), 1))
}

fn check(statement: &str) -> Result<(), String> {
    let mut words = statement.trim().trim_start_matches(['{', '}']).split_whitespace();
    let mut first = words.next().unwrap_or("");
    if first.starts_with('@') {
        first = words.next().unwrap_or("");
    }
    let is_instruction = first.starts_with(|c: char| c.is_ascii_lowercase()) && !first.ends_with(':');
    let mut parts = first.split(['.', ':']);
    let name = parts.next().unwrap_or("");
    if is_instruction && !INSTRUCTIONS.split_whitespace().any(|known| known == name) {
        return Err(format!("'{first}' is no instruction that PTX {VERSION} is known to have (see build/ptx.rs)"));
    }
    match parts.find(|part| YOUNGER.contains(part)) {
        Some(part) if is_instruction => Err(format!("'{first}': .{part} is younger than PTX {VERSION}")),
        _ => Ok(()),
    }
}

/// The kernels of `text`.
pub fn entries(text: &str) -> Vec<Entry> {
    let heads = text.split(".entry ").skip(1);
    heads
        .map(|rest| {
            let name = rest.split(['(', '\n', ' ']).next().unwrap_or("").to_owned();
            let head = rest.split('{').next().unwrap_or("");
            let sizes = head.split(".maxntid").nth(1).and_then(|sizes| sizes.lines().next());
            let product =
                |sizes: &str| sizes.split(',').try_fold(1, |n, size| Some(n * size.trim().parse::<u32>().ok()?));
            Entry { name, threads: sizes.and_then(product).unwrap_or(0) }
        })
        .collect()
}
