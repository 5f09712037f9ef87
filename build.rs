//! Tells cargo which directories are part of the program: `src/library.rs`
//! includes them, and a file that is new in one of them is to be in it, too.

fn main() {
    for directory in ["jobs", "kconfigs", "patches", "rootfs"] {
        emit(directory);
    }
}

fn emit(directory: &str) {
    println!("cargo::rerun-if-changed={directory}");
}
