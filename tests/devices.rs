//! The device list: with and without device code, with and without a driver, with drivers and devices of many kinds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests fail by panicking")]
#![cfg(target_os = "linux")]

#[path = "cuda/stand_in.rs"]
mod stand_in;

use openvocab3d::ErrorKind;
use openvocab3d::backend::cuda::{Buffer, Context, Images, Module, Stream, device_code};
use openvocab3d::backend::{DeviceKind, cuda, devices};
use std::path::Path;
use std::sync::Arc;

fn has_device_code() -> bool {
    !Images::embedded().unwrap().is_empty()
}

/// One line per CUDA device (or the reason for there being none), as the inner run of a test prints it.
fn print_cuda() {
    match cuda::devices() {
        Ok(devices) => {
            for device in devices {
                let (major, minor) = device.capability.unwrap_or_default();
                let (ordinal, memory) = (device.cuda_ordinal.unwrap(), device.memory >> 30);
                let uuid = device.uuid[15];
                let state = device.obstacle.unwrap_or_else(|| "usable".to_owned());
                println!(
                    "device {ordinal}: {}, {major}.{minor}, {memory} GiB, uuid ..{uuid:02x}: {state}",
                    device.name
                );
            }
        }
        Err(error) => println!("none: {error}"),
    }
}

#[test]
fn the_cpu_is_first_and_cuda_follows_or_says_why_not() {
    let [cpu, others @ ..] = devices() else { panic!("no devices") };
    assert_eq!((cpu.kind, &cpu.obstacle, cpu.cuda_ordinal), (DeviceKind::Cpu, &None, None));
    assert!(cpu.name.starts_with("CPU, "), "{}", cpu.name);
    assert!(!others.is_empty() && others.iter().all(|device| device.kind == DeviceKind::Cuda));
    for device in others {
        println!("{device:?}");
        assert!(device.cuda_ordinal.is_some() || device.obstacle.is_some());
    }
    if !has_device_code() {
        let [cuda] = others else { panic!("{others:?}") };
        assert_eq!((cuda.obstacle.as_deref(), cuda.cuda_ordinal), (Some(device_code()), None));
        assert!(device_code().starts_with("this library was built "), "{}", device_code());
    }
}

/// What the inner run prints under the stand-in with `variables`.
fn listed(folder: &Path, variables: &[(&str, &str)]) -> String {
    let output = stand_in::run_inner("drivers_and_devices_are_told_apart", folder, variables);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{variables:?}\n{text}{}", String::from_utf8_lossy(&output.stderr));
    let lines = text.lines().filter(|line| line.starts_with("device ") || line.starts_with("none: "));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn drivers_and_devices_are_told_apart() {
    if stand_in::is_inner() {
        return print_cuda();
    }
    let folder = stand_in::build("listed", &[]);
    if !has_device_code() {
        assert_eq!(listed(&folder, &[]), format!("none: {}", device_code()), "the driver is not even asked");
        return;
    }
    let nowhere = tempfile::tempdir().unwrap();
    for (variables, words) in [
        (&[][..], &["device 0: Stand-in 0, 9.0, 1 GiB, uuid ..0f: usable"][..]),
        (
            &[("STAND_IN_DEVICES", "90,70,75")][..],
            &[
                "device 1: Stand-in 1, 7.0, 2 GiB, uuid ..1f: this library has no image for compute capability 7.0",
                "7.5 or newer",
                "device 2: Stand-in 2, 7.5, 3 GiB, uuid ..2f: usable",
            ][..],
        ),
        (&[("STAND_IN_DEVICES", "121")], &["12.1", ": usable"]),
        (&[("STAND_IN_DEVICES", "")], &["none: the NVIDIA driver finds no device"]),
        (&[("STAND_IN_INIT", "100")], &["none: the NVIDIA driver finds no device"]),
        (&[("STAND_IN_INIT", "34")], &["none: there is no NVIDIA driver", "stub"]),
        (&[("STAND_IN_INIT", "803")], &["none: the NVIDIA driver does not start", "unsupported display driver"]),
        (
            &[("STAND_IN_VERSION", "11080")],
            &["none: the NVIDIA driver is for CUDA 11.8; this library needs one for 12.0"],
        ),
        (&[("STAND_IN_VERSION", "13010")], &[": usable"]),
        (&[("STAND_IN_MODE", "2")], &["9.0", "compute mode is 'prohibited'"]),
    ] {
        let text = listed(&folder, variables);
        assert!(words.iter().all(|word| text.contains(word)), "{variables:?}:\n{text}");
    }
    let lacking = stand_in::build("lacking", &["-DWITHOUT_LAUNCH"]);
    assert!(listed(&lacking, &[]).contains("lacks cuLaunchKernel"));
    let none = listed(nowhere.path(), &[]);
    let real = Path::new("/dev/nvidiactl").exists();
    assert!(real || none == "none: there is no NVIDIA driver (libcuda.so.1 was not found)", "{none}");
}

/// Uses everything that needs the context; nothing here launches a kernel.
fn use_a_device() {
    let context = Context::new(0).unwrap();
    let stream = Stream::new(&context).unwrap();
    let buffer = Buffer::new(&context, 5, "numbers").unwrap();
    buffer.upload(&[1_u32, 2, 3, 4], &stream).unwrap();
    assert_eq!(buffer.download(4, &stream).unwrap(), [1, 2, 3, 4]);
    buffer.fill_bytes(0xFF, &stream).unwrap();
    assert_eq!(buffer.download(5, &stream).unwrap(), [u32::MAX; 5]);
    assert_eq!(buffer.upload(&[0; 6], &stream).unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(Buffer::<u8>::new(&context, 0, "nothing").unwrap().address(), 0);
    let error = Buffer::<u64>::new(&context, 1 << 40, "the keys").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    assert!(error.to_string().contains("8796093022208 bytes of device memory: CUDA: the keys"), "{error}");
    assert_eq!(Buffer::<u64>::new(&context, usize::MAX, "too many").unwrap_err().kind(), ErrorKind::OutOfMemory);
    let images = Images::embedded().unwrap();
    let module = Module::load(&context, &images, "keys").unwrap();
    assert_eq!(module.function("nothing", 32).unwrap_err().kind(), ErrorKind::Device);
    drop(module.function("ov3d_point_keys", 256).unwrap());
    assert_eq!(Module::load(&context, &images, "nowhere").unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(Context::new(7).unwrap_err().kind(), ErrorKind::Device);
    assert_eq!(Arc::strong_count(&context), 4, "stream, buffer, module and this");
}

#[test]
fn every_call_puts_the_current_context_back_and_frees_what_it_made() {
    if stand_in::is_inner() {
        return use_a_device();
    }
    if !has_device_code() {
        println!("skipped: {}", device_code());
        return;
    }
    let folder = stand_in::build("entered", &[]);
    let log = tempfile::NamedTempFile::new().unwrap();
    for (current, devices) in [("0", "90"), ("4660", "90"), ("4660", "110")] {
        std::fs::write(log.path(), "").unwrap();
        let variables = [
            ("STAND_IN_LOG", log.path().to_str().unwrap()),
            ("STAND_IN_CURRENT", current),
            ("STAND_IN_DEVICES", devices),
        ];
        let name = "every_call_puts_the_current_context_back_and_frees_what_it_made";
        let output = stand_in::run_inner(name, &folder, &variables);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = std::fs::read_to_string(log.path()).unwrap();
        let count = |what: &str| text.lines().filter(|line| line.starts_with(what)).count();
        assert_eq!((count("retain"), count("release")), (1, 1), "{text}");
        assert_eq!((count("allocate"), count("free")), (1, 1), "{text}");
        let loaded = (count("load cubin"), count("load PTX"));
        assert_eq!(loaded, if devices == "110" { (0, 1) } else { (1, 0) }, "{text}");
        let moves: Vec<&str> = text.lines().filter(|l| l.starts_with("enter") || l.starts_with("leave")).collect();
        let left = if current == "0" { "leave 0" } else { "leave 1234" };
        // Calls within a call find the context current and leave it so.
        assert!(moves.len() > 10 && moves.chunks(2).all(|pair| pair == ["enter 0", left]), "{moves:?}");
    }
}
