//! Tells cargo which directories are part of the program, the program which
//! source it was made of, and the linker that `kvet-agent` needs no loader.

use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() -> io::Result<()> {
    // `src/library.rs` includes these, and a file that is new in one of them is
    // to be in the program, too.
    for directory in ["jobs", "kconfigs", "patches", "rootfs"] {
        println!("cargo::rerun-if-changed={directory}");
    }
    for input in ["src", "Cargo.lock", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={input}");
    }
    println!("cargo::rustc-env=KVET_SOURCE={:016x}", source()?);
    link_agent_statically()
}

/// Has `kvet-agent` linked without shared libraries: as an emulated guest's PID 1
/// its loader would cost a twentieth of the boot.
///
/// Cargo has no setting for one of several programs, and the compiler names the C
/// library and `libgcc_s` as shared ones. So they are found in a directory of ours
/// first, where each is a script that names the static one. Where there are none
/// the agent stays as it is: it is copied into the guest with its libraries.
fn link_agent_statically() -> io::Result<()> {
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    let native = env::var_os("HOST") == env::var_os("TARGET");
    let gnu = is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu");
    let already = env::var("CARGO_CFG_TARGET_FEATURE").is_ok_and(|on| on.contains("crt-static"));
    if !(native && gnu) || already || !["libc.a", "libgcc_eh.a"].into_iter().all(linker_has) {
        return Ok(());
    }
    let scripts = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("static");
    fs::create_dir_all(&scripts)?;
    fs::write(scripts.join("libgcc_s.so"), "INPUT(-l:libgcc_eh.a)\n")?;
    let c_library = "GROUP(-l:libc.a -l:libgcc_eh.a -l:libgcc.a)\n";
    fs::write(scripts.join("libc.so"), c_library)?;
    let search = format!("-L{}", scripts.display());
    // What is weak and nowhere is null: there is no loader to say so later.
    for argument in ["-static-pie", "-Wl,-z,nodynamic-undefined-weak", &search] {
        println!("cargo::rustc-link-arg-bin=kvet-agent={argument}");
    }
    Ok(())
}

/// Whether the C compiler, which links, has this library at a place of its own.
fn linker_has(library: &str) -> bool {
    let linker = env::var_os("RUSTC_LINKER").unwrap_or_else(|| "cc".into());
    let asked = Command::new(linker)
        .arg(format!("-print-file-name={library}"))
        .output();
    // It answers with the bare name if it has none.
    asked.is_ok_and(|answer| {
        answer.status.success() && String::from_utf8_lossy(&answer.stdout).contains('/')
    })
}

/// A number over the whole source: `kvet` and `kvet-agent` carry it, and so are
/// known to be of one build (see `rootfs::agent`).
fn source() -> io::Result<u64> {
    let mut files = vec![PathBuf::from("Cargo.lock"), PathBuf::from("Cargo.toml")];
    list(Path::new("src"), &mut files)?;
    files.sort();
    let mut number = DefaultHasher::new();
    for file in &files {
        number.write(file.as_os_str().as_encoded_bytes());
        number.write(&fs::read(file)?);
    }
    Ok(number.finish())
}

/// Adds all files below a directory.
fn list(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
