//! PTX for drivers older than the compiler: relabelled as version 8.0, after checking that it holds nothing newer.

/// The version that every driver for CUDA 12 takes.
const VERSION: &str = "8.0";

/// Instructions that PTX ISA 8.0 has for sm_75 and sm_80 and that kernels here may use. Before adding one, look up in the
/// manual's "PTX ISA Notes" that it is no younger than 8.0.
const INSTRUCTIONS: &str = "abs activemask add addc and atom bar barrier bfe bfi bfind bra brev call clz copysign cos cp \
    createpolicy cvt cvta div dp2a dp4a ex2 exit fence fma fns ld ldmatrix ldu lg2 lop3 mad madc match max membar min mma mov mul \
    mul24 nanosleep neg not or popc prefetch prefetchu prmt rcp red redux rem ret rsqrt sad selp set setp shf shfl shl shr sin \
    slct sqrt st sub subc tanh testp trap vote xor";

/// Parts of instructions that are younger than 8.0 although their first word is not.
const YOUNGER: [&str; 9] = ["b128", "v8", "f32x2", "e4m3x2", "e5m2x2", "e4m3", "e5m2", "ordered_metadata", "m16n16"];

/// Directives, attributes and types that PTX ISA 8.0 has and that kernels here may use.
const DIRECTIVES: &str = "version target address_size visible extern weak entry func param reg shared global local const align \
    maxntid minnctapersm reqntid maxnreg noreturn pragma branchtargets callprototype calltargets file loc pred b8 b16 b32 b64 \
    ptr u8 u16 u32 u64 s8 s16 s32 s64 f16 f16x2 f32 f64 v2 v4";

/// A pragma of PTX ISA 8.3, a hint which bytes of a load are used: left out.
const HINT: &str = ".pragma \"used_bytes_mask ";

/// A kernel and how many threads a block of it may have (0 if it does not say).
#[derive(Debug, PartialEq)]
pub struct Entry {
    pub name: String,
    pub threads: u32,
}

/// `text` labelled as version 8.0, without hints that are younger; an error names the first statement that is younger.
pub fn for_old_drivers(text: &str) -> Result<String, String> {
    let version = text.lines().find(|line| line.starts_with(".version ")).ok_or("the PTX names no version")?;
    let mut old = String::with_capacity(text.len());
    for line in text.split_inclusive('\n').filter(|line| !line.trim_start().starts_with(HINT)) {
        for statement in line.split("//").next().unwrap_or("").split(';') {
            check(statement.trim().trim_start_matches(['{', '}']).trim_start())?;
        }
        old.push_str(line);
    }
    Ok(old.replacen(version, &format!(".version {VERSION}"), 1))
}

fn check(statement: &str) -> Result<(), String> {
    if statement.starts_with('.') {
        return check_directive(statement);
    }
    let mut words = statement.split_whitespace();
    let mut first = words.next().unwrap_or("");
    if first.starts_with('@') {
        first = words.next().unwrap_or("");
    }
    let mut parts = first.split(['.', ':']);
    let name = parts.next().unwrap_or("");
    // The compiler gives each operand of a call a line of its own.
    let is_operand = name.starts_with("param") || name.starts_with("retval");
    let is_instruction = first.starts_with(|c: char| c.is_ascii_lowercase()) && !first.ends_with(':') && !is_operand;
    if is_instruction && !is_in(INSTRUCTIONS, name) {
        return Err(format!("'{first}' is no instruction that PTX {VERSION} is known to have (see build/ptx.rs)"));
    }
    match parts.find(|part| YOUNGER.contains(part)) {
        Some(part) if is_instruction => Err(format!("'{first}': .{part} is younger than PTX {VERSION}")),
        _ => Ok(()),
    }
}

fn check_directive(statement: &str) -> Result<(), String> {
    let words = statement.split(|c: char| c.is_whitespace() || "(),".contains(c));
    let mut names = words.filter(|word| word.starts_with('.')).flat_map(|word| word.split('.').skip(1));
    if let Some(name) = names.find(|name| !is_in(DIRECTIVES, name)) {
        return Err(format!("'.{name}' is no directive that PTX {VERSION} is known to have (see build/ptx.rs)"));
    }
    match statement.strip_prefix(".pragma") {
        Some(text) if text.trim() != "\"nounroll\"" => {
            Err(format!("'{statement}' is no pragma that PTX {VERSION} is known to have (see build/ptx.rs)"))
        }
        _ => Ok(()),
    }
}

fn is_in(known: &str, name: &str) -> bool {
    known.split_whitespace().any(|known| known == name)
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
