//! `function+0x1a/0x30` to file and line, with the functions inlined there.
//!
//! Takes a vmlinux with debug information and, where it is at hand, the source
//! tree; needs no external tool. Frames name functions, not addresses, so it
//! makes no difference where KASLR put the kernel.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use addr2line::Loader;
use miette::Diagnostic;
use object::{Object, ObjectSymbol, SymbolKind};

use crate::detect::{Finding, Frame, plain};
use crate::error::{Exit, Fault};

/// Why symbols cannot be had.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum SymbolError {
    /// The image cannot be read.
    #[error("cannot read the kernel image {path}: {problem}")]
    #[diagnostic(help("symbols need the uncompressed vmlinux of the kernel that printed the log"))]
    Read {
        /// The image.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The image has no functions.
    #[error("the kernel image {path} has no symbols")]
    #[diagnostic(help("use the vmlinux from the build tree; the one in /boot is stripped"))]
    Stripped {
        /// The image.
        path: PathBuf,
    },
}

impl Fault for SymbolError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// A place in the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The function, which may have been inlined.
    pub function: String,
    /// The file, relative to the tree where that is known.
    pub file: Option<String>,
    /// The line in it, from 1.
    pub line: Option<u32>,
    /// The line's text, if the tree is there.
    pub source: Option<String>,
}

#[derive(Debug, Clone, Copy)]
struct Function {
    address: u64,
    size: u64,
}

/// The symbols of one kernel image.
pub struct Symbols {
    functions: HashMap<String, Vec<Function>>,
    loader: Loader,
    tree: Option<PathBuf>,
}

impl std::fmt::Debug for Symbols {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Symbols")
            .field("functions", &self.functions.len())
            .field("tree", &self.tree)
            .finish_non_exhaustive()
    }
}

impl Symbols {
    /// Reads the image's symbol table; debug information is read as it is
    /// asked for.
    pub fn open(image: &Path, tree: Option<&Path>) -> Result<Self, SymbolError> {
        let read = |problem: String| SymbolError::Read {
            path: image.to_owned(),
            problem,
        };
        let functions = functions(image, &read)?;
        if functions.is_empty() {
            return Err(SymbolError::Stripped {
                path: image.to_owned(),
            });
        }
        let loader = Loader::new(image).map_err(|error| read(error.to_string()))?;
        Ok(Self {
            functions,
            loader,
            tree: tree.map(Path::to_owned),
        })
    }

    /// Whether the image knows lines, not functions alone.
    #[must_use]
    pub fn has_lines(&self) -> bool {
        let mut functions = self.functions.values().flatten().take(64);
        functions.any(|function| {
            let location = self.loader.find_location(function.address);
            location.is_ok_and(|found| found.is_some_and(|found| found.line.is_some()))
        })
    }

    /// Where the frame is: the innermost inlined function first, the frame's
    /// own last. `called` says that the frame's address is a return address,
    /// as all but the first of a stack are. Empty if the image has no such
    /// function, or one of another size: then it is not this kernel's.
    #[must_use]
    pub fn places(&self, frame: &Frame, called: bool) -> Vec<Place> {
        let Some(address) = self.address(frame) else {
            return Vec::new();
        };
        // A return address may be the first byte of the next line.
        let probe = address - u64::from(called && frame.offset != Some(0));
        let mut places = Vec::new();
        if let Ok(mut frames) = self.loader.find_frames(probe) {
            while let Ok(Some(found)) = frames.next() {
                let function = found
                    .function
                    .and_then(|name| name.demangle().ok().map(std::borrow::Cow::into_owned));
                let location = found.location;
                places.push(self.place(
                    function.unwrap_or_else(|| plain(&frame.function).to_owned()),
                    location.as_ref().and_then(|place| place.file),
                    location.as_ref().and_then(|place| place.line),
                ));
            }
        }
        places
    }

    /// Fills in `file:line` of every frame of a finding.
    pub fn annotate(&self, finding: &mut Finding) {
        for (index, frame) in finding.frames.iter_mut().enumerate() {
            let place = self.places(frame, index > 0).pop();
            if let Some(Place {
                file: Some(file),
                line: Some(line),
                ..
            }) = place
            {
                frame.place = Some(format!("{file}:{line}"));
            }
        }
    }

    fn address(&self, frame: &Frame) -> Option<u64> {
        let offset = frame.offset?;
        let candidates = self
            .functions
            .get(&frame.function)
            .or_else(|| self.functions.get(plain(&frame.function)))?;
        // Static functions of one name differ in size. The size that is
        // printed reaches to the next symbol, padding and all.
        let fits = |function: &&Function| {
            frame
                .size
                .is_none_or(|size| function.size <= size && size - function.size < 64)
        };
        let mut fitting = candidates.iter().filter(fits);
        let function = fitting.next()?;
        (offset <= function.size.max(frame.size.unwrap_or(0)))
            .then(|| function.address.checked_add(offset))?
    }

    fn place(&self, function: String, file: Option<&str>, line: Option<u32>) -> Place {
        let file = file.map(|file| self.relative(file));
        let source = file
            .as_deref()
            .zip(line)
            .and_then(|(file, line)| self.source(file, line));
        Place {
            function,
            file,
            line,
            source,
        }
    }

    /// The file's path within the tree.
    fn relative(&self, file: &str) -> String {
        let tree = self.tree.as_deref();
        let inside = tree
            .and_then(|tree| Path::new(file).strip_prefix(tree).ok())
            .map(|path| path.display().to_string());
        let path = inside.unwrap_or_else(|| file.to_owned());
        path.trim_start_matches("./").to_owned()
    }

    fn source(&self, file: &str, line: u32) -> Option<String> {
        let tree = fs::canonicalize(self.tree.as_deref()?).ok()?;
        // The image names the file: it must not lead out of the tree.
        let path = fs::canonicalize(tree.join(file)).ok()?;
        if !path.starts_with(&tree) {
            return None;
        }
        let lines = BufReader::new(File::open(path).ok()?).lines();
        let index = usize::try_from(line).ok()?.checked_sub(1)?;
        lines.map_while(Result::ok).nth(index)
    }
}

/// What an image begins with.
const MAGIC: &[u8] = b"\x7fELF";

/// Bytes of an image, at most: with all debug information and sanitizers one has a
/// gigabyte.
const LARGEST: u64 = 4 << 30;

/// An image's content. What is none, such as a device without end, is not read on.
fn read_image(image: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(image)?;
    let mut bytes = Vec::new();
    (&mut file)
        .take(MAGIC.len() as u64)
        .read_to_end(&mut bytes)?;
    if bytes != MAGIC {
        return Err(std::io::Error::other("it is not an ELF file"));
    }
    let room = LARGEST - MAGIC.len() as u64;
    if (&mut file).take(room).read_to_end(&mut bytes)? as u64 == room {
        return Err(std::io::Error::other("it has more than 4 GiB"));
    }
    Ok(bytes)
}

fn functions(
    image: &Path,
    read: &dyn Fn(String) -> SymbolError,
) -> Result<HashMap<String, Vec<Function>>, SymbolError> {
    let bytes = read_image(image).map_err(|error| read(error.to_string()))?;
    let file = object::File::parse(&*bytes).map_err(|error| read(error.to_string()))?;
    let mut functions: HashMap<String, Vec<Function>> = HashMap::new();
    for symbol in file.symbols() {
        if symbol.kind() == SymbolKind::Text
            && symbol.is_definition()
            && let Ok(name) = symbol.name()
        {
            functions
                .entry(name.to_owned())
                .or_default()
                .push(Function {
                    address: symbol.address(),
                    size: symbol.size(),
                });
        }
    }
    Ok(functions)
}
