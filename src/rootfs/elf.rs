//! What an ELF file needs to run: its interpreter, the libraries it names, and
//! how much of it is loaded at all. Read piecewise, never whole.

use std::fs::File;
use std::io;

use object::elf;
use object::read::elf::{Dyn, ElfFile64, FileHeader, ProgramHeader};
use object::read::{ReadCache, ReadRef};

/// What an ELF file says about how to load it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Image {
    /// The dynamic loader, for programs.
    pub(super) interpreter: Option<String>,
    /// Names of libraries (`DT_NEEDED`), in order.
    pub(super) needed: Vec<String>,
    /// Where to look for them first; `$ORIGIN` is the file's own directory.
    pub(super) run_path: Vec<String>,
    /// The processor (`e_machine`), which libraries must share.
    pub(super) machine: u16,
    /// How many bytes from the beginning hold everything that is loaded;
    /// after that come symbols and debug information.
    pub(super) loaded: u64,
}

/// Reads a file; `Ok(None)` if it is not a 64-bit little-endian ELF file, or one such as
/// a kernel's module, of which no part says that it is to be loaded.
pub(super) fn read(file: &File) -> io::Result<Option<Image>> {
    let data = ReadCache::new(file);
    let Ok(elf) = ElfFile64::<object::LittleEndian, _>::parse(&data) else {
        return Ok(None);
    };
    if elf.elf_program_headers().is_empty() {
        return Ok(None);
    }
    image(&elf).map(Some).map_err(io::Error::other)
}

fn image<'data, R: ReadRef<'data>>(
    elf: &ElfFile64<'data, object::LittleEndian, R>,
) -> object::Result<Image> {
    let endian = elf.endian();
    let header = elf.elf_header();
    let mut image = Image {
        machine: header.e_machine(endian).0,
        // The header and the table of segments are loaded in any case.
        loaded: 64 + header.e_phoff(endian),
        ..Image::default()
    };
    let data = elf.data();
    let segments = elf.elf_program_headers();
    let mut dynamic = None;
    for segment in segments {
        let end = segment
            .p_offset(endian)
            .saturating_add(segment.p_filesz(endian));
        image.loaded = image.loaded.max(end);
        if let Some(path) = segment.interpreter(endian, data)? {
            image.interpreter = Some(String::from_utf8_lossy(path).into_owned());
        }
        if let Some(entries) = segment.dynamic(endian, data)? {
            dynamic = Some(entries);
        }
    }
    let Some(entries) = dynamic else {
        return Ok(image);
    };
    let value = |tag: elf::DynamicTag| {
        entries
            .iter()
            .find(|entry| entry.tag(endian) == tag)
            .map(|entry| entry.d_val(endian))
    };
    let (Some(strings), Some(size)) = (value(elf::DT_STRTAB), value(elf::DT_STRSZ)) else {
        return Ok(image);
    };
    // The table's address is one in memory: find the segment that has it.
    let table = segments.iter().find_map(|segment| {
        if segment.p_type(endian) != elf::PT_LOAD {
            return None;
        }
        segment.data_range(endian, data, strings, size).ok()?
    });
    let Some(table) = table else {
        return Ok(image);
    };
    let text = |offset: u64| {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|at| table.get(at..))?;
        let end = memchr::memchr(0, rest)?;
        Some(String::from_utf8_lossy(&rest[..end]).into_owned())
    };
    let mut r_path = Vec::new();
    for entry in entries {
        let Some(name) = text(entry.d_val(endian)) else {
            continue;
        };
        let paths = || name.split(':').map(str::to_owned);
        match entry.tag(endian) {
            elf::DT_NEEDED => image.needed.push(name),
            elf::DT_RUNPATH => image.run_path.extend(paths()),
            elf::DT_RPATH => r_path.extend(paths()),
            _ => {}
        }
    }
    // The older RPATH counts only where there is no RUNPATH.
    if image.run_path.is_empty() {
        image.run_path = r_path;
    }
    Ok(image)
}

/// The beginning of an ELF file as it must be once the rest is cut off: no
/// table of sections any more.
pub(super) fn without_sections(header: &mut [u8; 64]) {
    // e_shoff at 40 (8 bytes); e_shentsize, e_shnum, e_shstrndx from 58.
    header[40..48].fill(0);
    header[58..64].fill(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_program_needs_a_loader_and_libc() {
        let file = File::open("/proc/self/exe").unwrap();
        let image = read(&file).unwrap().unwrap();
        assert!(image.interpreter.unwrap().contains("ld-linux"));
        assert!(image.needed.iter().any(|name| name == "libc.so.6"));
        // Tests carry symbols and debug information after what is loaded.
        assert!(image.loaded < file.metadata().unwrap().len());
    }

    #[test]
    fn text_is_not_elf() {
        let file = File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
        assert_eq!(read(&file).unwrap(), None);
    }

    #[test]
    fn nothing_is_cut_off_a_module() {
        // The header of a relocatable file for x86-64 without any segment.
        let mut module = vec![0; 4096];
        module[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        module[16] = 1;
        module[18] = 62;
        module[20] = 1;
        module[52] = 64;
        let path = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&path, module).unwrap();
        assert_eq!(read(path.as_file()).unwrap(), None);
    }

    #[test]
    fn what_is_cut_off_still_runs() {
        let original = std::fs::read("/bin/true").unwrap();
        let file = File::open("/bin/true").unwrap();
        let image = read(&file).unwrap().unwrap();
        let mut cut = original[..usize::try_from(image.loaded).unwrap()].to_vec();
        let header = cut.first_chunk_mut().unwrap();
        without_sections(header);
        let directory = tempfile::tempdir().unwrap();
        let (written, path) = (directory.path().join("cut"), directory.path().join("true"));
        std::fs::write(&written, &cut).unwrap();
        // Not written by this process: a child that another thread is just starting has
        // its files open, too, and what is open for writing cannot be executed.
        let install = std::process::Command::new("install")
            .args([&written, &path])
            .status();
        assert!(install.unwrap().success());
        assert!(cut.len() < original.len());
        assert!(
            std::process::Command::new(&path)
                .status()
                .unwrap()
                .success()
        );
    }
}
