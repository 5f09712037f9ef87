//! Frames to source lines, with an image that the C compiler makes here.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kvet::detect::Frame;
use kvet::symbols::{SymbolError, Symbols};
use object::{Object, ObjectSymbol};

const SOURCE: &str = "\
volatile int sink;
static inline __attribute__((always_inline)) int inlined(int value)
{
\tsink = value;
\treturn sink + 1;
}
__attribute__((noinline)) int outer(int value)
{
\treturn inlined(value) * 2;
}
int main(void)
{
\treturn outer(3);
}
";

struct Image {
    directory: tempfile::TempDir,
    path: PathBuf,
}

fn image() -> Image {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("kvet.c"), SOURCE).unwrap();
    let status = Command::new("gcc")
        .args(["-g", "-O1", "-no-pie", "-o", "vmlinux", "kvet.c"])
        .current_dir(directory.path())
        .status()
        .unwrap();
    assert!(status.success());
    let path = directory.path().join("vmlinux");
    Image { directory, path }
}

fn size_of(path: &Path, function: &str) -> u64 {
    let bytes = fs::read(path).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    file.symbols()
        .find(|symbol| symbol.name() == Ok(function))
        .unwrap()
        .size()
}

fn frame(function: &str, offset: u64, size: u64) -> Frame {
    Frame {
        function: function.to_owned(),
        offset: Some(offset),
        size: Some(size),
        reliable: true,
        ..Frame::default()
    }
}

#[test]
fn a_frame_becomes_lines_with_what_was_inlined() {
    let image = image();
    let symbols = Symbols::open(&image.path, Some(image.directory.path())).unwrap();
    let size = size_of(&image.path, "outer");
    let mut inlined = false;
    for offset in 0..size {
        let places = symbols.places(&frame("outer", offset, size), false);
        assert_eq!(places.last().unwrap().function, "outer", "{places:?}");
        assert_eq!(places.last().unwrap().file.as_deref(), Some("kvet.c"));
        if places.len() == 2 {
            inlined = true;
            assert_eq!(places[0].function, "inlined");
            let line = places[0].line.unwrap();
            assert!((2..=6).contains(&line), "{places:?}");
            let text = SOURCE.lines().nth(line as usize - 1);
            assert_eq!(places[0].source.as_deref(), text);
        }
    }
    assert!(inlined, "no address of outer() was inlined code");
}

#[test]
fn frames_of_another_kernel_have_no_place() {
    let image = image();
    let symbols = Symbols::open(&image.path, None).unwrap();
    assert!(symbols.places(&frame("outer", 1, 0x4000), false).is_empty());
    assert!(symbols.places(&frame("absent", 1, 2), false).is_empty());
    let size = size_of(&image.path, "outer");
    assert!(
        symbols
            .places(&frame("outer", 0x5000, size), false)
            .is_empty()
    );
    // Suffixes of the compiler's are in the log, not always in the image.
    assert!(
        !symbols
            .places(&frame("outer.isra.0", 1, size), true)
            .is_empty()
    );
}

#[test]
fn what_is_no_image_is_refused_with_a_hint() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bzImage");
    fs::write(&path, b"no ELF at all").unwrap();
    for path in [path, directory.path().join("absent")] {
        let error = Symbols::open(&path, None).unwrap_err();
        assert!(matches!(error, SymbolError::Read { .. }), "{error}");
    }
}
