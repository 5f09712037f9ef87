//! The newc cpio format, as the kernel's initramfs loader reads it
//! (Documentation/driver-api/early-userspace/buffer-format.rst). Written with
//! no times, owners or device numbers of the host's: the same tree gives the
//! same bytes.

use std::io::{self, Read, Write};

/// The kinds of things an archive can hold, with their mode bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A directory, mode 0755.
    Directory,
    /// A file that may be executed, mode 0755.
    Program,
    /// A file, mode 0644.
    File,
    /// A symbolic link to this target.
    Link(String),
    /// A character device of this major and minor number, mode 0600.
    Device(u32, u32),
}

/// Writes an archive, one node after the other; parents come first.
#[derive(Debug)]
pub struct Archive<W> {
    out: W,
    inode: u32,
    written: u64,
}

impl<W: Write> Archive<W> {
    /// An empty archive.
    pub fn new(out: W) -> Self {
        Self {
            out,
            inode: 0,
            written: 0,
        }
    }

    /// Adds a node without content of its own; `path` has no leading slash.
    pub fn node(&mut self, path: &str, node: &Node) -> io::Result<()> {
        match node {
            Node::Link(target) => self.entry(path, node, target.len() as u64, target.as_bytes()),
            _ => self.entry(path, node, 0, io::empty()),
        }
    }

    /// Adds a file of exactly `length` bytes, read from `content`.
    pub fn file(
        &mut self,
        path: &str,
        node: &Node,
        length: u64,
        content: impl Read,
    ) -> io::Result<()> {
        self.entry(path, node, length, content)
    }

    fn entry(
        &mut self,
        path: &str,
        node: &Node,
        length: u64,
        content: impl Read,
    ) -> io::Result<()> {
        let size = u32::try_from(length)
            .map_err(|_| io::Error::new(io::ErrorKind::FileTooLarge, "over 4 GiB"))?;
        self.inode += 1;
        self.header(self.inode, node, size, path)?;
        let copied = io::copy(&mut content.take(length), &mut self.out)?;
        if copied != length {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file became shorter while it was read",
            ));
        }
        self.written += length;
        self.pad()
    }

    fn header(&mut self, inode: u32, node: &Node, size: u32, path: &str) -> io::Result<()> {
        use std::fmt::Write as _;
        let (mode, links, device) = match node {
            Node::Directory => (0o040_755, 2, (0, 0)),
            Node::Program => (0o100_755, 1, (0, 0)),
            Node::File => (0o100_644, 1, (0, 0)),
            Node::Link(_) => (0o120_777, 1, (0, 0)),
            Node::Device(major, minor) => (0o020_600, 1, (*major, *minor)),
        };
        let name_size = u32::try_from(path.len() + 1).map_err(io::Error::other)?;
        // inode, mode, owner, group, links, time, size, device (2), own
        // device (2), length of the name with its zero, checksum (unused).
        let fields = [
            inode, mode, 0, 0, links, 0, size, 0, 0, device.0, device.1, name_size, 0,
        ];
        let mut header = String::from("070701");
        for field in fields {
            write!(header, "{field:08x}").map_err(io::Error::other)?;
        }
        self.out.write_all(header.as_bytes())?;
        self.out.write_all(path.as_bytes())?;
        self.out.write_all(&[0])?;
        self.written += header.len() as u64 + u64::from(name_size);
        self.pad()
    }

    /// Names and contents each end on a multiple of four.
    fn pad(&mut self) -> io::Result<()> {
        while !self.written.is_multiple_of(4) {
            self.out.write_all(&[0])?;
            self.written += 1;
        }
        Ok(())
    }

    /// Ends the archive and gives back what it was written to.
    pub fn finish(mut self) -> io::Result<W> {
        let trailer = Node::Device(0, 0);
        // The trailer is a node without a mode; only its name counts.
        self.header(0, &trailer, 0, "TRAILER!!!")?;
        self.out.flush()?;
        Ok(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut archive = Archive::new(Vec::new());
        archive.node("dev", &Node::Directory).unwrap();
        archive.node("dev/console", &Node::Device(5, 1)).unwrap();
        archive
            .file("bin", &Node::Program, 5, &b"hello"[..])
            .unwrap();
        archive.node("init", &Node::Link("bin".into())).unwrap();
        archive.finish().unwrap()
    }

    #[test]
    fn every_header_is_where_the_format_says() {
        let bytes = sample();
        let mut at = 0;
        let mut names = Vec::new();
        loop {
            let header = std::str::from_utf8(&bytes[at..at + 110]).unwrap();
            assert!(header.starts_with("070701"), "{header}");
            let field =
                |n: usize| usize::from_str_radix(&header[6 + n * 8..14 + n * 8], 16).unwrap();
            let (size, name_size) = (field(6), field(11));
            assert_eq!(field(5), 0, "a time");
            let name = &bytes[at + 110..at + 110 + name_size - 1];
            names.push((
                String::from_utf8(name.to_vec()).unwrap(),
                field(1),
                (field(9), field(10)),
            ));
            if name == b"TRAILER!!!" {
                break;
            }
            at = (at + 110 + name_size).next_multiple_of(4);
            at = (at + size).next_multiple_of(4);
        }
        assert_eq!(
            names[..4],
            [
                ("dev".into(), 0o040_755, (0, 0)),
                ("dev/console".into(), 0o020_600, (5, 1)),
                ("bin".into(), 0o100_755, (0, 0)),
                ("init".into(), 0o120_777, (0, 0)),
            ]
        );
    }

    #[test]
    fn the_same_tree_gives_the_same_bytes() {
        assert_eq!(sample(), sample());
    }

    #[test]
    fn a_file_that_shrank_is_an_error() {
        let mut archive = Archive::new(Vec::new());
        assert!(archive.file("a", &Node::File, 10, &b"short"[..]).is_err());
    }

    #[test]
    fn cpio_itself_reads_it() {
        use std::process::{Command, Stdio};
        let Ok(mut child) = Command::new("cpio")
            .args(["--list", "--quiet"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
        else {
            let full = std::env::var_os("KVET_CHECK_FULL").is_some();
            assert!(!full, "cpio is not here");
            return;
        };
        child.stdin.take().unwrap().write_all(&sample()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            "dev\ndev/console\nbin\ninit\n"
        );
    }
}
