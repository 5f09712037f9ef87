//! A kernel tree of a few files, whose Makefile answers the targets that kvet
//! asks of the kernel's, and a store of its own.
#![allow(dead_code, reason = "no test uses all of it")]

use std::fmt::Write;
use std::path::{Path, PathBuf};

use kvet::kernel::{
    Configuration, Fragment, KernelImage, SourceSpec, Tree, fetch, prepare, series,
};
use kvet::store::Store;
use kvet::{Context, Error};

/// `conf` drops symbols named LOST, as the kernel's drops unknown ones.
pub(crate) const MAKEFILE: &str = "VERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 4\nEXTRAVERSION =\n\
.DELETE_ON_ERROR:\n\
allnoconfig:\n\t@grep -v LOST $(KCONFIG_ALLCONFIG) > $(O)/.config\n\
olddefconfig:\n\t@true\n\
bzImage: $(O)/inode.o $(O)/super.o\n\
\t@mkdir -p $(O)/arch/x86/boot $(O)/include/config\n\
\t@cat $^ > $(O)/arch/x86/boot/bzImage\n\
\t@cp $(O)/arch/x86/boot/bzImage $(O)/vmlinux\n\
\t@cp $(O)/arch/x86/boot/bzImage $(O)/System.map\n\
\t@echo 7.3.4-tiny > $(O)/include/config/kernel.release\n\
$(O)/%.o: fs/%.c\n\
\t@echo '  CC      $*.o'\n\
\t@if grep -q HUGE $<; then head -c 4000000 /dev/zero > $@; fi\n\
\t@if grep -q SLOW $<; then sleep 1000; fi\n\
\t@if grep -q WRONG $<; then echo \"$(CURDIR)/$<:1:5: error: WRONG is wrong\"; exit 1; fi\n\
\t@cp $< $@; printf 'savedcmd\\n' > $(O)/.$*.o.cmd\n";

pub(crate) const KCONFIG: &str =
    "config CEPH\n\tbool \"Ceph\"\n\nconfig LOST\n\tbool \"Lost\"\n\tdepends on CEPH && MISSING\n";

pub(crate) const INODE: &[&str] = &["one", "two", "three"];
pub(crate) const SUPER: &[&str] = &["alpha", "beta"];

pub(crate) struct Lab {
    pub(crate) home: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) context: Context,
    pub(crate) tree: Tree,
}

impl Lab {
    pub(crate) async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let source = home.path().join("linux");
        std::fs::create_dir_all(source.join("fs")).unwrap();
        std::fs::create_dir(home.path().join("patches")).unwrap();
        for (name, text) in [
            ("Makefile", MAKEFILE),
            ("Kconfig", KCONFIG),
            ("fs/inode.c", &(INODE.join("\n") + "\n")),
            ("fs/super.c", &(SUPER.join("\n") + "\n")),
        ] {
            std::fs::write(source.join(name), text).unwrap();
        }
        let store = Store::at(home.path().join("cache")).unwrap();
        let context = Context::default();
        let spec = SourceSpec::Directory { path: source };
        let tree = fetch(&context, &store, &spec).await.unwrap();
        Self {
            home,
            store,
            context,
            tree,
        }
    }

    /// Writes a patch for a file of these lines that replaces one of them.
    pub(crate) fn patch(&self, name: &str, file: &str, lines: &[&str], old: &str, new: &str) {
        let mut text = format!("--- a/{file}\n+++ b/{file}\n");
        writeln!(text, "@@ -1,{0} +1,{0} @@", lines.len()).unwrap();
        for line in lines {
            if *line == old {
                writeln!(text, "-{old}\n+{new}").unwrap();
            } else {
                writeln!(text, " {line}").unwrap();
            }
        }
        std::fs::write(self.home.path().join("patches").join(name), text).unwrap();
    }

    pub(crate) fn series(&self, names: &[&str]) -> Vec<kvet::kernel::SelectedSeries> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let patches = self.home.path().join("patches");
        series::select(Path::new("none"), &patches, &names, &self.tree.version).unwrap()
    }

    pub(crate) async fn build(&self, patches: &[&str], config: &str) -> Result<KernelImage, Error> {
        let fragment = Fragment::parse("tiny", config).unwrap();
        self.build_as(patches, &vec![fragment].into()).await
    }

    pub(crate) async fn build_as(
        &self,
        patches: &[&str],
        configuration: &Configuration,
    ) -> Result<KernelImage, Error> {
        let series = self.series(patches);
        let (context, store) = (&self.context, &self.store);
        prepare(context, store, &self.tree, &series, configuration, 1).await
    }

    /// Files below a kind of the store, without locks.
    pub(crate) fn entries(&self, kind: &str) -> Vec<PathBuf> {
        std::fs::read_dir(self.store.root().join(kind))
            .map(|entries| {
                entries
                    .map(|entry| entry.unwrap().path())
                    .filter(|path| !path.file_name().unwrap().to_string_lossy().starts_with('.'))
                    .collect()
            })
            .unwrap_or_default()
    }

    /// The text of a file in the source's working tree.
    pub(crate) fn working(&self, file: &str) -> String {
        let tree = self.entries("worktrees").remove(0).join("tree");
        std::fs::read_to_string(tree.join(file)).unwrap()
    }
}

pub(crate) const CONFIG: &str = "CONFIG_CEPH=y\n";

pub(crate) fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

impl Lab {
    /// The user's directory.
    pub(crate) fn source(&self) -> PathBuf {
        self.home.path().join("linux")
    }

    /// Writes a file of the user's directory.
    pub(crate) fn edit(&self, file: &str, text: &str) {
        std::fs::write(self.source().join(file), text).unwrap();
    }

    /// Takes the source as it is now.
    pub(crate) async fn fetch(&mut self, spec: &SourceSpec) {
        self.tree = fetch(&self.context, &self.store, spec).await.unwrap();
    }

    /// Builds the user's directory as it is now.
    pub(crate) async fn build_directory(&mut self) -> KernelImage {
        let path = self.source();
        self.fetch(&SourceSpec::Directory { path }).await;
        self.build(&[], CONFIG).await.unwrap()
    }
}
