//! Reads a tree's Kconfig files: which symbols the kernel has, which decides
//! whether those that a fragment wants `where known` are asked for, and why a
//! symbol did not make it into the final .config. What value a symbol gets is
//! decided by the kernel's own `conf`.
//!
//! A file that cannot be read is an error: its symbols would be taken for ones
//! that the kernel does not have.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Files nested deeper than this are a loop.
const DEPTH_LIMIT: usize = 64;

/// All symbols of a tree.
#[derive(Debug, Default)]
pub(super) struct Kconfig {
    symbols: HashMap<String, Vec<Definition>>,
}

/// One of the places that define a symbol.
#[derive(Debug, Clone, Default)]
struct Definition {
    /// `depends on` of the symbol and of every menu and `if` around it.
    depends: Vec<Expression>,
    /// Whether a user can set it.
    prompt: bool,
    /// The condition of its prompt.
    visible: Vec<Expression>,
}

/// A condition over symbols.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Expression {
    Symbol(String),
    Not(Box<Expression>),
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
    /// A comparison: left, operator, right.
    Compare(String, &'static str, String),
}

/// A tree's Kconfig files could not be read, at this one.
#[derive(Debug, Error)]
#[error("{}: {reason}", file.display())]
pub(super) struct KconfigError {
    /// The file, relative to the tree.
    pub(super) file: PathBuf,
    /// Why.
    pub(super) reason: String,
}

/// A final configuration: symbols and their values; an absent one is `n`.
pub(crate) type Values = BTreeMap<String, String>;

/// Reads a .config: symbols without `CONFIG_`, strings with their quotes.
pub(crate) fn values(config: &str) -> Values {
    config
        .lines()
        .filter_map(|line| {
            let (symbol, value) = line.strip_prefix("CONFIG_")?.split_once('=')?;
            Some((symbol.to_owned(), value.to_owned()))
        })
        .collect()
}

impl Kconfig {
    /// Reads the Kconfig files of the tree at `root`, for x86.
    pub(super) fn read(root: &Path) -> Result<Self, KconfigError> {
        let mut kconfig = Self::default();
        kconfig.file(root, "Kconfig", &mut Vec::new(), 0)?;
        Ok(kconfig)
    }

    /// Whether the tree has the symbol at all.
    pub(super) fn knows(&self, symbol: &str) -> bool {
        self.symbols.contains_key(symbol)
    }

    /// Why `symbol` could not have the value asked for, given the final config.
    pub(super) fn explain(&self, symbol: &str, values: &Values) -> String {
        let Some(definitions) = self.symbols.get(symbol) else {
            return "this kernel has no such symbol".to_owned();
        };
        if !definitions.iter().any(|one| one.prompt) {
            return "no one can set it: other symbols select it".to_owned();
        }
        let unmet: Vec<String> = definitions
            .iter()
            .filter(|one| one.prompt)
            .map(|one| {
                let mut unmet = Vec::new();
                for expression in one.depends.iter().chain(&one.visible) {
                    expression.unmet(values, &mut unmet);
                }
                unmet.dedup();
                unmet.join(" and ")
            })
            .collect();
        if unmet.iter().any(String::is_empty) {
            return "its dependencies are met; another symbol selects it, or a choice it \
                    belongs to went to another one"
                .to_owned();
        }
        format!("it needs {}", unmet.join(", or else "))
    }

    fn file(
        &mut self,
        root: &Path,
        name: &str,
        around: &mut Vec<Expression>,
        depth: usize,
    ) -> Result<(), KconfigError> {
        let name = name.replace("$(SRCARCH)", "x86").replace("$SRCARCH", "x86");
        let failed = |reason: String| KconfigError {
            file: PathBuf::from(&name),
            reason,
        };
        if depth > DEPTH_LIMIT {
            return Err(failed("it is sourced again and again".to_owned()));
        }
        if name.contains('$') {
            return Err(failed(
                "its name has a variable that is not known".to_owned(),
            ));
        }
        if name.starts_with('/') || name.split('/').any(|part| part == "..") {
            return Err(failed("it is not in the tree".to_owned()));
        }
        let text = std::fs::read(root.join(&name)).map_err(|error| failed(error.to_string()))?;
        let text = String::from_utf8_lossy(&text);
        Reader {
            kconfig: self,
            root,
            depth,
            blocks: Vec::new(),
            around,
            entry: None,
            help: None,
        }
        .read(&text)
    }
}

/// Where the reading of a help text stands.
enum Help {
    /// At its first line.
    Begins,
    /// In it: the indentation of its first line.
    Indented(usize),
}

/// Where the reading of one file stands.
struct Reader<'a> {
    kconfig: &'a mut Kconfig,
    root: &'a Path,
    depth: usize,
    /// The length of `around` when each open block began.
    blocks: Vec<usize>,
    /// The conditions of the blocks around.
    around: &'a mut Vec<Expression>,
    /// The symbol being read.
    entry: Option<(String, Definition)>,
    /// Set while a help text is skipped. As in the kernel's own reader, its
    /// first line says how far it is indented, be it no further than the word
    /// `help`, and the text ends at the first line that is less so.
    help: Option<Help>,
}

impl Reader<'_> {
    fn read(mut self, text: &str) -> Result<(), KconfigError> {
        let outside = self.around.len();
        let mut joined = String::new();
        for line in text.lines() {
            if let Some(start) = line.strip_suffix('\\') {
                joined.push_str(start);
                continue;
            }
            joined.push_str(line);
            self.line(&joined)?;
            joined.clear();
        }
        self.close();
        self.around.truncate(outside);
        Ok(())
    }

    fn line(&mut self, line: &str) -> Result<(), KconfigError> {
        let indent = indentation(line);
        let text = line.trim();
        if self.in_help(indent, text) || text.is_empty() || text.starts_with('#') {
            return Ok(());
        }
        let (word, rest) = text
            .split_once(char::is_whitespace)
            .map_or((text, ""), |(word, rest)| (word, rest.trim()));
        match word {
            "config" | "menuconfig" => {
                self.close();
                self.entry = Some((rest.to_owned(), Definition::default()));
            }
            "menu" | "choice" => {
                self.close();
                self.blocks.push(self.around.len());
            }
            "if" => {
                self.close();
                self.blocks.push(self.around.len());
                self.around.extend(Expression::parse(rest));
            }
            "endmenu" | "endchoice" | "endif" => {
                self.close();
                if let Some(length) = self.blocks.pop() {
                    self.around.truncate(length);
                }
            }
            "source" => {
                self.close();
                let name = rest.trim_matches('"').to_owned();
                self.kconfig
                    .file(self.root, &name, self.around, self.depth + 1)?;
            }
            "help" | "---help---" => self.help = Some(Help::Begins),
            "depends" => {
                let condition = Expression::parse(rest.strip_prefix("on").unwrap_or(rest));
                match &mut self.entry {
                    Some((_, definition)) => definition.depends.extend(condition),
                    // That of the menu or choice just opened.
                    None => self.around.extend(condition),
                }
            }
            "comment" | "mainmenu" => self.close(),
            "bool" | "tristate" | "string" | "int" | "hex" | "prompt" => self.prompt(rest),
            _ => {}
        }
        Ok(())
    }

    /// Whether the line belongs to a help text.
    fn in_help(&mut self, indent: usize, text: &str) -> bool {
        match self.help {
            None => false,
            Some(_) if text.is_empty() => true,
            Some(Help::Begins) if indent > 0 => {
                self.help = Some(Help::Indented(indent));
                true
            }
            Some(Help::Indented(first)) if indent >= first => true,
            Some(_) => {
                self.help = None;
                false
            }
        }
    }

    /// A type line with a text is a prompt, with a condition after `if`.
    fn prompt(&mut self, rest: &str) {
        let Some((_, definition)) = &mut self.entry else {
            return;
        };
        let Some(quote) = rest.chars().next().filter(|c| "\"'".contains(*c)) else {
            return;
        };
        definition.prompt = true;
        let after = rest[1..].rsplit(quote).next().unwrap_or_default().trim();
        if let Some(condition) = after.strip_prefix("if ") {
            definition.visible.extend(Expression::parse(condition));
        }
    }

    fn close(&mut self) {
        if let Some((symbol, mut definition)) = self.entry.take() {
            definition.depends.extend(self.around.iter().cloned());
            self.kconfig
                .symbols
                .entry(symbol)
                .or_default()
                .push(definition);
        }
    }
}

/// The width of a line's indentation, tabs to columns of eight.
fn indentation(line: &str) -> usize {
    line.chars()
        .take_while(|c| c.is_whitespace())
        .fold(0, |width, c| match c {
            '\t' => (width / 8 + 1) * 8,
            _ => width + 1,
        })
}

impl Expression {
    fn parse(text: &str) -> Option<Self> {
        let text = text.split(" #").next().unwrap_or(text);
        let tokens = tokens(text);
        let mut rest = &tokens[..];
        Self::or(&mut rest)
    }

    fn or(tokens: &mut &[String]) -> Option<Self> {
        let mut left = Self::and(tokens)?;
        while take(tokens, "||") {
            left = Self::Or(Box::new(left), Box::new(Self::and(tokens)?));
        }
        Some(left)
    }

    fn and(tokens: &mut &[String]) -> Option<Self> {
        let mut left = Self::factor(tokens)?;
        while take(tokens, "&&") {
            left = Self::And(Box::new(left), Box::new(Self::factor(tokens)?));
        }
        Some(left)
    }

    fn factor(tokens: &mut &[String]) -> Option<Self> {
        if take(tokens, "!") {
            return Some(Self::Not(Box::new(Self::factor(tokens)?)));
        }
        if take(tokens, "(") {
            let inside = Self::or(tokens)?;
            take(tokens, ")");
            return Some(inside);
        }
        let (first, rest) = tokens.split_first()?;
        *tokens = rest;
        for operator in ["!=", "<=", ">=", "=", "<", ">"] {
            if take(tokens, operator) {
                let (right, rest) = tokens.split_first()?;
                *tokens = rest;
                return Some(Self::Compare(first.clone(), operator, right.clone()));
            }
        }
        Some(Self::Symbol(first.clone()))
    }

    /// The value in the final config: n 0, m 1, y 2.
    fn value(&self, values: &Values) -> u8 {
        match self {
            Self::Symbol(symbol) => tristate(&text_of(symbol, values)),
            Self::Not(inside) => 2 - inside.value(values),
            Self::And(left, right) => left.value(values).min(right.value(values)),
            Self::Or(left, right) => left.value(values).max(right.value(values)),
            Self::Compare(left, operator, right) => {
                let (left, right) = (text_of(left, values), text_of(right, values));
                let holds = match (*operator, number(&left), number(&right)) {
                    ("=", ..) => left == right,
                    ("!=", ..) => left != right,
                    ("<", Some(left), Some(right)) => left < right,
                    (">", Some(left), Some(right)) => left > right,
                    ("<=", Some(left), Some(right)) => left <= right,
                    (">=", Some(left), Some(right)) => left >= right,
                    _ => false,
                };
                if holds { 2 } else { 0 }
            }
        }
    }

    /// Collects the conjuncts that are `n`.
    fn unmet(&self, values: &Values, found: &mut Vec<String>) {
        if self.value(values) > 0 {
            return;
        }
        match self {
            Self::And(left, right) => {
                left.unmet(values, found);
                right.unmet(values, found);
            }
            _ => found.push(self.text(false)),
        }
    }

    fn text(&self, inner: bool) -> String {
        match self {
            Self::Symbol(symbol) => symbol.clone(),
            Self::Not(inside) => format!("!{}", inside.text(true)),
            Self::And(left, right) => group(inner, left, "&&", right),
            Self::Or(left, right) => group(inner, left, "||", right),
            Self::Compare(left, operator, right) => format!("{left}{operator}{right}"),
        }
    }
}

fn group(inner: bool, left: &Expression, operator: &str, right: &Expression) -> String {
    let text = format!("{} {operator} {}", left.text(true), right.text(true));
    if inner { format!("({text})") } else { text }
}

fn tristate(text: &str) -> u8 {
    match text {
        "y" => 2,
        "m" => 1,
        _ => 0,
    }
}

fn number(text: &str) -> Option<i64> {
    match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// A constant stands for itself, a symbol for its value.
fn text_of(word: &str, values: &Values) -> String {
    let constant =
        word.starts_with(['"', '\'']) || matches!(word, "y" | "m" | "n") || number(word).is_some();
    if constant {
        return word.trim_matches(['"', '\'']).to_owned();
    }
    values.get(word).map_or_else(
        || "n".to_owned(),
        |value| value.trim_matches('"').to_owned(),
    )
}

fn take(tokens: &mut &[String], wanted: &str) -> bool {
    match tokens.split_first() {
        Some((first, rest)) if first == wanted => {
            *tokens = rest;
            true
        }
        _ => false,
    }
}

fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let operator = ["&&", "||", "!=", "<=", ">=", "!", "=", "<", ">", "(", ")"]
            .into_iter()
            .find(|operator| rest.starts_with(operator));
        let length = if let Some(operator) = operator {
            operator.len()
        } else if first == '"' || first == '\'' {
            rest[1..].find(first).map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with("$(") {
            macro_length(rest)
        } else {
            rest.find(|c: char| c.is_whitespace() || "&|!=<>()".contains(c))
                .unwrap_or(rest.len())
                .max(first.len_utf8())
        };
        tokens.push(rest[..length].to_owned());
        rest = rest[length..].trim_start();
    }
    tokens
}

/// A macro call, with the calls inside.
fn macro_length(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth <= 1 => return at + 1,
            ')' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(
            "Kconfig",
            "mainmenu \"x\"\nsource \"arch/$(SRCARCH)/Kconfig\"\nif NET\nsource \"fs/Kconfig\"\nendif\n",
        );
        write(
            "arch/x86/Kconfig",
            "config NET\n\tbool \"Net\"\n\nconfig HAVE_X\n\tbool\n\nconfig SIZE\n\tint \"Size\"\n",
        );
        write(
            "fs/Kconfig",
            "menu \"File systems\"\n\tdepends on HAVE_X || !SIZE\n\n\
             config CEPH\n\ttristate \"Ceph\" if EXPERT\n\tdepends on INET && \\\n\t\t(BLOCK || SIZE > 4)\n\
             \thelp\n\t  Text that says:\n\n\t  depends on NONSENSE\n\tdefault n\n\
             endmenu\n\nconfig AFTER\n\tbool 'After'\n",
        );
        root
    }

    #[test]
    fn a_help_text_may_stand_below_its_word() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(
            root.path().join("Kconfig"),
            "config DRIVER\n\tbool \"Driver\"\n\thelp\n\n\tDo not change the\n\
             \tsource of this driver.\n\nconfig AFTER\n\tbool \"After\"\n\thelp\n\
             config LAST\n\tbool \"Last\"\n",
        )
        .unwrap();
        let kconfig = Kconfig::read(root.path()).unwrap();
        assert!(
            ["DRIVER", "AFTER", "LAST"]
                .iter()
                .all(|one| kconfig.knows(one))
        );
    }

    #[test]
    fn unmet_dependencies_are_named_from_everywhere() {
        let root = tree();
        let kconfig = Kconfig::read(root.path()).unwrap();
        let config = values("CONFIG_SIZE=3\nCONFIG_EXPERT=y\n# CONFIG_INET is not set\n");
        assert_eq!(
            kconfig.explain("CEPH", &config),
            "it needs INET and BLOCK || SIZE>4 and NET"
        );
        let config = values("CONFIG_SIZE=5\nCONFIG_INET=y\nCONFIG_NET=y\n");
        assert_eq!(kconfig.explain("CEPH", &config), "it needs EXPERT");
        // The menu's condition ends with the menu, the `if` with the file.
        assert_eq!(kconfig.explain("AFTER", &Values::new()), "it needs NET");
    }

    #[test]
    fn a_menu_s_condition_counts() {
        let root = tree();
        let kconfig = Kconfig::read(root.path()).unwrap();
        let config =
            values("CONFIG_SIZE=y\nCONFIG_INET=y\nCONFIG_NET=y\nCONFIG_BLOCK=y\nCONFIG_EXPERT=y\n");
        assert_eq!(kconfig.explain("CEPH", &config), "it needs HAVE_X || !SIZE");
    }

    #[test]
    fn what_cannot_be_set_is_told_apart() {
        let root = tree();
        let kconfig = Kconfig::read(root.path()).unwrap();
        let none = Values::new();
        assert_eq!(
            kconfig.explain("CEHP", &none),
            "this kernel has no such symbol"
        );
        assert!(
            kconfig
                .explain("HAVE_X", &none)
                .contains("no one can set it")
        );
        assert!(
            kconfig
                .explain("NET", &none)
                .contains("dependencies are met")
        );
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let root = tree();
        std::fs::remove_file(root.path().join("fs/Kconfig")).unwrap();
        std::fs::create_dir(root.path().join("fs/Kconfig")).unwrap();
        let error = Kconfig::read(root.path()).unwrap_err();
        assert_eq!(error.file, Path::new("fs/Kconfig"));
        for (source, expected) in [
            ("../outside", "not in the tree"),
            ("arch/$(OTHER)/Kconfig", "variable"),
            ("Kconfig", "again and again"),
        ] {
            std::fs::write(
                root.path().join("Kconfig"),
                format!("source \"{source}\"\n"),
            )
            .unwrap();
            let error = Kconfig::read(root.path()).unwrap_err();
            assert!(error.reason.contains(expected), "{error}");
        }
    }

    #[test]
    fn macros_are_single_words() {
        assert_eq!(
            tokens("$(cc-option,-f$(x))&&!A"),
            ["$(cc-option,-f$(x))", "&&", "!", "A"]
        );
    }
}
