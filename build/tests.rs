//! The units of the build script; `tests/device_code.rs` runs them.

use super::compiler::Compiler;
use super::container::{self, Image};
use super::find::{Found, Surroundings, find};
use super::ptx::{self, Entry};
use super::report::Report;
use super::target::Target;
use openvocab3d::backend::cuda::{ImageKind, Images};
use std::ffi::OsString;
use std::path::Path;

#[test]
fn ptx_is_relabelled_unless_it_holds_something_newer() {
    let with = |line: &str| format!("// made by 12.9\n.version 8.8\n.target sm_80\n.entry k()\n{{\n{line}\n}}\n");
    let known = [
        "add.s32 %r1, %r2, %r3;",
        "@%p1 bra $L__BB0_2;",
        "@!%p1 ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%rd1]; // later: tcgen05",
        "{ .reg .pred p; setp.ne.b32 p, 0, 1; }",
        "$L__BB0_2:",
        ".pragma \"nounroll\";",
        ".shared .align 16 .b8 tile[64];",
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f1,%f2,%f3,%f4}, {%r1,%r2,%r3,%r4}, {%r5,%r6}, {%f1,%f2,%f3,%f4};",
    ];
    for line in known {
        let old = ptx::for_old_drivers(&with(line)).unwrap();
        assert_eq!(old, with(line).replace("8.8", "8.0"), "{line}");
    }
    let hint = "\t.pragma \"used_bytes_mask 15\";\n";
    assert_eq!(ptx::for_old_drivers(&with(&format!("{hint}ret;"))).unwrap(), with("ret;").replace("8.8", "8.0"));
    for line in [".blocksareclusters", ".pragma \"enable_smem_spilling\";", ".extern .attribute(.unified) .func f();"] {
        let error = ptx::for_old_drivers(&with(line)).unwrap_err();
        assert!(error.contains("is known to have"), "{error}");
    }
    for line in
        ["clusterlaunchcontrol.try_cancel.async [a];", "ld.global.b128 %rq1, [%rd1];", "@%p1 add.f32x2 a, b, c;"]
    {
        let error = ptx::for_old_drivers(&with(line)).unwrap_err();
        let name = line.trim_start_matches("@%p1 ").split(' ').next().unwrap();
        assert!(error.contains(name), "{error}");
    }
    assert!(ptx::for_old_drivers("add.s32 a, b, c;").unwrap_err().contains("version"));
}

#[test]
fn entries_have_their_block_sizes() {
    let text = ".visible .entry a(\n\t.param .u64 a_0\n)\n.maxntid 256, 1, 1\n{\nret;\n}\n.entry b()\n{\n}\n.entry c()\n.maxntid 64\n{}";
    let entry = |name: &str, threads| Entry { name: name.to_owned(), threads };
    assert_eq!(ptx::entries(text), [entry("a", 256), entry("b", 0), entry("c", 64)]);
}

#[test]
fn the_report_is_read_from_the_assemblers_log() {
    let log = "ptxas info    : 16 bytes gmem\n\
        ptxas info    : Compiling entry function 'a' for 'sm_80'\n\
        ptxas info    : Function properties for a\n\
        \x20   8 bytes stack frame, 12 bytes spill stores, 4 bytes spill loads\n\
        ptxas info    : Used 80 registers, used 1 barriers, 8192 bytes smem, 388 bytes cmem[0]\n\
        ptxas info    : Compiling entry function 'b' for 'sm_80'\n\
        ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n\
        ptxas info    : Used 9 registers, 388 bytes cmem[0]\n";
    let mut report = Report::default();
    report.note_log("m", Target::Cubin(80), log);
    report.note_entries(&[Entry { name: "a".to_owned(), threads: 128 }]);
    let lines: Vec<String> = report.to_tsv().lines().skip(1).map(str::to_owned).collect();
    assert_eq!(lines, ["m\ta\t80\t128\t80\t8192\t8\t12\t4", "m\tb\t80\t0\t9\t0\t0\t0\t0"]);
}

fn image(module: &str, target: Target, bytes: &[u8]) -> Image {
    Image { module: module.to_owned(), target, bytes: bytes.to_owned() }
}

#[test]
fn the_library_reads_what_the_build_packs() {
    let packed =
        container::pack(12000, &[image("keys", Target::Cubin(86), b"cubin"), image("keys", Target::Ptx(80), b"ptx\0")]);
    let packed = packed.unwrap();
    let images = Images::parse(&packed).unwrap();
    let found: Vec<_> = images.iter().map(|i| (i.module, i.kind, i.capability, i.bytes)).collect();
    let want = [("keys", ImageKind::Cubin, (8, 6), &b"cubin"[..]), ("keys", ImageKind::Ptx, (8, 0), &b"ptx\0"[..])];
    assert_eq!(found, want);
    assert!(images.iter().all(|i| (i.bytes.as_ptr() as usize - packed.as_ptr() as usize).is_multiple_of(64)));
    assert!(Images::parse(&container::pack(0, &[]).unwrap()).unwrap().is_empty());
    for length in 0..packed.len() {
        assert!(Images::parse(&packed[..length]).is_err(), "cut to {length} bytes");
    }
    assert!(container::pack(0, &[image("seventeen_letters", Target::Ptx(80), b"")]).is_err());
    let unterminated = container::pack(0, &[image("keys", Target::Ptx(80), b"ptx")]).unwrap();
    assert!(Images::parse(&unterminated).is_err(), "PTX without its NUL");
}

#[test]
fn a_device_gets_the_nearest_cubin_of_its_major_or_the_newest_ptx() {
    let targets = Target::ALL.into_iter().filter(|target| target.capability() <= 90);
    let images: Vec<Image> = targets.map(|target| image("keys", target, &[0])).collect();
    let packed = container::pack(12000, &images).unwrap();
    let images = Images::parse(&packed).unwrap();
    let pick = |capability, driver| images.pick("keys", capability, driver).map(|i| (i.kind, i.capability));
    use ImageKind::{Cubin, Ptx};
    for (device, want) in [
        ((7, 0), None),
        ((7, 2), None),
        ((7, 5), Some((Cubin, (7, 5)))),
        ((8, 0), Some((Cubin, (8, 0)))),
        ((8, 6), Some((Cubin, (8, 6)))),
        ((8, 7), Some((Cubin, (8, 6)))),
        ((8, 9), Some((Cubin, (8, 9)))),
        ((9, 0), Some((Cubin, (9, 0)))),
        ((10, 0), Some((Ptx, (8, 0)))),
        ((12, 1), Some((Ptx, (8, 0)))),
    ] {
        assert_eq!(pick(device, 12000), want, "{device:?}");
        assert_eq!(images.run_on(device, 12000), want.is_some(), "{device:?}");
    }
    let suiting: Vec<_> = images.suiting("keys", (8, 6), 12000).map(|image| (image.kind, image.capability)).collect();
    assert_eq!(suiting, [(Cubin, (8, 6)), (Ptx, (8, 0))], "PTX where the driver refuses the cubin");
    assert_eq!(pick((8, 0), 11080), None, "a driver for CUDA 11");
    assert_eq!(images.pick("none", (8, 0), 12000), None);
    // Cubins of a CUDA 13 compiler under a driver for CUDA 12.
    let newer = [image("keys", Target::Cubin(90), &[0]), image("keys", Target::Ptx(80), &[0])];
    let packed = container::pack(13000, &newer).unwrap();
    let images = Images::parse(&packed).unwrap();
    assert_eq!(images.pick("keys", (9, 0), 12080).unwrap().kind, Ptx);
    assert_eq!(images.pick("keys", (9, 0), 13000).unwrap().kind, Cubin);
}

/// A world without compilers, but for what `variables` name.
fn surroundings(root: &Path, variables: &[(&'static str, OsString)]) -> Surroundings {
    let variables = variables.to_owned();
    let value = move |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
    Surroundings { variable: Box::new(value), root: root.to_owned(), toolkits: Vec::new(), loader: false }
}

fn error(found: Result<Found, String>) -> String {
    found.err().expect("an error")
}

#[test]
fn what_is_named_must_work_and_nothing_is_not_an_error() {
    let empty = tempfile::tempdir().unwrap();
    let around = |variables: &[(&'static str, OsString)]| surroundings(empty.path(), variables);
    let Ok(Found::Nothing(text)) = find(&around(&[])) else { panic!("a compiler in an empty world") };
    assert!(["OV3D_NVRTC", "OV3D_NVCC", "CUDA_HOME", "PATH"].iter().all(|name| text.contains(name)), "{text}");
    let missing = empty.path().join("libnvrtc.so.12");
    let named = [("OV3D_NVRTC", missing.clone().into_os_string()), ("OV3D_CUDA_INCLUDE", empty.path().into())];
    assert!(error(find(&around(&named))).contains("no cuda_fp16.h"));
    std::fs::write(empty.path().join("cuda_fp16.h"), "").unwrap();
    assert!(error(find(&around(&named))).contains("libnvrtc.so.12"));
    assert!(error(find(&around(&[("OV3D_NVCC", missing.into_os_string())]))).contains("cannot be run"));
    // Places that are only searched may hold a broken one.
    let home = empty.path().join("home");
    std::fs::create_dir_all(home.join("lib64")).unwrap();
    std::fs::write(home.join("lib64/libnvrtc.so.12"), "no library").unwrap();
    assert!(matches!(find(&around(&[("CUDA_HOME", home.into_os_string())])), Ok(Found::Nothing(_))));
}

#[cfg(unix)]
#[test]
fn an_nvcc_is_asked_for_its_release_and_architectures() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let nvcc = |release: &str, architectures: &str| {
        let path = folder.path().join(format!("nvcc-{release}"));
        let script = format!(
            "#!/bin/sh\ncase $1 in\n--version) echo 'Cuda compilation tools, release {release}, V{release}.1' ;;\n\
             --list-gpu-arch) printf '{architectures}' ;;\nesac\n"
        );
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Compiler::nvcc(path)
    };
    let known = "compute_75\\ncompute_80\\ncompute_86\\ncompute_89\\ncompute_90\\ncompute_100\\n";
    let compiler = nvcc("13.0", known).unwrap();
    assert_eq!((compiler.describe().as_str(), compiler.driver_needed()), ("nvcc 13.0", 13000));
    let names: Vec<String> = compiler.targets().iter().map(Target::to_string).collect();
    assert_eq!(names.join(" "), "sm_75 sm_80 sm_86 sm_89 sm_90 sm_100 compute_75 compute_80");
    assert_eq!(Compiler::from_argument(&compiler.to_argument()), Ok(compiler));
    assert!(nvcc("11.8", known).unwrap_err().contains("older than 12.0"));
    assert!(nvcc("12.1", "compute_80\\n").unwrap_err().contains("sm_75"));
}
