//! One line of a stack trace to a [`Frame`], in the shapes that x86, arm,
//! arm64, powerpc, riscv, mips and s390 print, and with the `file:line` that
//! symbolizers add.

use super::finding::Frame;

/// What a line means for the stack that is being read.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum StackLine {
    /// A function; arm32 names its caller on the same line.
    Frame {
        frame: Frame,
        mark: Option<Mark>,
        caller: Option<Box<Frame>>,
    },
    /// Only a mark.
    Mark(Mark),
}

/// Where a stack changes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// `<IRQ>`, `<NMI>`, an exception stack: interrupt context begins.
    Enter,
    /// `</IRQ>`, `<EOI>`, `<TASK>`: back in the task.
    Leave,
}

/// Reads one message as a line of a stack.
pub(super) fn parse(body: &str) -> Option<StackLine> {
    let mut rest = body.trim_start();
    let mut mark = None;
    while let Some((found, after)) = mark_at(rest) {
        mark = Some(found);
        rest = after.trim_start();
    }
    if rest.is_empty() {
        return mark.map(StackLine::Mark);
    }
    rest = skip_addresses(rest);
    let mut reliable = true;
    if let Some(after) = rest.strip_prefix("? ") {
        reliable = false;
        rest = after.trim_start();
        rest = skip_addresses(rest);
    }
    if let Some(frame) = offset_frame(rest, reliable) {
        return Some(StackLine::Frame {
            frame,
            mark,
            caller: None,
        });
    }
    if let Some((frame, caller)) = arm_frame(rest, reliable) {
        return Some(StackLine::Frame {
            frame,
            mark,
            caller: Some(Box::new(caller)),
        });
    }
    let frame = decoded_frame(rest, reliable).or_else(|| inlined_frame(rest, reliable));
    frame.map(|frame| StackLine::Frame {
        frame,
        mark,
        caller: None,
    })
}

fn mark_at(text: &str) -> Option<(Mark, &str)> {
    let inner = text.strip_prefix('<')?;
    let end = inner.get(..inner.len().min(12))?.find('>')?;
    let mark = match &inner[..end] {
        "IRQ" | "NMI" | "SOFTIRQ" | "HARDIRQ" | "ENTRY_TRAMPOLINE" => Mark::Enter,
        "/IRQ" | "/NMI" | "/SOFTIRQ" | "/HARDIRQ" | "EOI" | "EOE" | "TASK" | "/TASK" => Mark::Leave,
        word if word.starts_with('#') => Mark::Enter,
        word if word.starts_with("/#") || word == "/ENTRY_TRAMPOLINE" => Mark::Leave,
        _ => return None,
    };
    Some((mark, &inner[end + 1..]))
}

/// Skips `[<ffffffff81234567>] ` and powerpc's two columns of `[c000…]`.
fn skip_addresses(text: &str) -> &str {
    let mut rest = text;
    loop {
        let inner = rest.strip_prefix("([").or_else(|| rest.strip_prefix('['));
        let Some(inner) = inner else { return rest };
        let Some(end) = inner.get(..inner.len().min(24)).and_then(|t| t.find(']')) else {
            return rest;
        };
        let address = inner[..end].trim_matches(['<', '>']);
        let hex = address.bytes().all(|b| b.is_ascii_hexdigit());
        if address.len() < 8 || !(hex || address.contains("ptrval")) {
            return rest;
        }
        rest = inner[end + 1..].trim_start();
    }
}

/// A function's name as its author wrote it: Rust's are mangled in symbols.
fn readable(function: &str) -> String {
    if !function.starts_with("_R") {
        return function.to_owned();
    }
    match rustc_demangle::try_demangle(function) {
        Ok(name) => format!("{name:#}"),
        Err(_) => function.to_owned(),
    }
}

fn is_name(text: &str) -> bool {
    let Some(first) = text.bytes().next() else {
        return false;
    };
    (first.is_ascii_alphabetic() || matches!(first, b'_' | b'.' | b'<' | b'$'))
        && text.bytes().all(|b| {
            b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'$' | b':' | b'<' | b'>' | b'@')
        })
}

/// `function+0x1a/0x30 [module] file.c:12`, anywhere after the addresses.
pub(super) fn offset_frame(text: &str, reliable: bool) -> Option<Frame> {
    let text = text.strip_prefix('(').unwrap_or(text);
    let plus = memchr::memmem::find(text.as_bytes(), b"+0x")?;
    // powerpc prints `.function` for a function's entry point.
    let function = text[..plus].strip_prefix('.').unwrap_or(&text[..plus]);
    if !is_name(function) {
        return None;
    }
    let rest = &text[plus + 3..];
    let (offset, rest) = hex_at(rest)?;
    let (size, rest) = match rest.strip_prefix("/0x").and_then(hex_at) {
        Some((size, rest)) => (Some(size), rest),
        None => (None, rest),
    };
    let (module, place, unreliable) = trailer(rest);
    Some(Frame {
        function: readable(function),
        offset: Some(offset),
        size,
        module,
        place,
        reliable: reliable && !unreliable,
        ..Frame::default()
    })
}

fn hex_at(text: &str) -> Option<(u64, &str)> {
    let end = text
        .bytes()
        .position(|b| !b.is_ascii_hexdigit())
        .unwrap_or(text.len());
    let value = u64::from_str_radix(&text[..end], 16).ok()?;
    Some((value, &text[end..]))
}

/// What follows a function: `[module]`, `(unreliable)`, `file:line`.
fn trailer(text: &str) -> (Option<String>, Option<String>, bool) {
    let (mut module, mut place, mut unreliable) = (None, None, false);
    for word in text.split_ascii_whitespace().take(4) {
        if let Some(name) = word.strip_prefix('[').map(|w| w.trim_end_matches(']')) {
            if module.is_none() && name != "inline" && !name.is_empty() {
                module = Some(name.to_owned());
            }
        } else if word.starts_with("(unreliable)") {
            unreliable = true;
        } else if is_place(word) {
            place = Some(word.to_owned());
        }
    }
    (module, place, unreliable)
}

/// Whether the word is a `dir/file.c:12` of a kernel tree.
pub(super) fn is_place(word: &str) -> bool {
    let Some((file, line)) = word.rsplit_once(':') else {
        return false;
    };
    let kind = [".c", ".h", ".S", ".rs", ".s"];
    (kind.iter().any(|end| file.ends_with(end)) && !line.is_empty())
        && line.bytes().all(|b| b.is_ascii_digit())
}

/// `(function) from [<address>] (caller+0x1/0x2)`, also without the brackets.
fn arm_frame(text: &str, reliable: bool) -> Option<(Frame, Frame)> {
    let (function, rest) = text.split_once(" from ")?;
    let function = function.trim_start_matches('(').trim_end_matches(')');
    if !is_name(function) {
        return None;
    }
    let caller = offset_frame(skip_addresses(rest.trim_start()), true)?;
    let frame = Frame {
        function: readable(function),
        reliable,
        ..Frame::default()
    };
    Some((frame, caller))
}

/// `function file.c:12 [inline]`, as symbolizers add it; without the mark
/// where they had no offset to print.
pub(super) fn inlined_frame(text: &str, reliable: bool) -> Option<Frame> {
    let mut words = text.split_ascii_whitespace();
    let (function, place) = (words.next()?, words.next()?);
    let tail = words.next();
    (is_name(function) && is_place(place) && matches!(tail, None | Some("[inline]"))).then(|| {
        Frame {
            function: readable(function),
            place: Some(place.to_owned()),
            reliable,
            inlined: tail.is_some(),
            ..Frame::default()
        }
    })
}

/// `function (file.c:12 (discriminator 1)) module`, as `scripts/decode_stacktrace.sh`
/// writes a line over; with `(inlined by)` or several places for what was
/// inlined.
pub(super) fn decoded_frame(text: &str, reliable: bool) -> Option<Frame> {
    let (function, rest) = text.split_once(" (")?;
    let place = rest.split([' ', ')']).next()?;
    if !is_name(function) || !is_place(place) {
        return None;
    }
    let module = rest
        .rsplit_once(')')
        .map_or("", |(_, module)| module.trim());
    let module = module.trim_matches(['[', ']']);
    Some(Frame {
        function: readable(function),
        place: Some(place.to_owned()),
        module: (!module.is_empty() && is_name(module)).then(|| module.to_owned()),
        reliable,
        inlined: rest.contains("(inlined"),
        ..Frame::default()
    })
}

/// Where a line of registers says the kernel was.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Instruction {
    /// In this function.
    Kernel(Frame),
    /// At an address that is no function: a wild jump.
    Nowhere,
    /// In user space.
    User,
}

/// Reads the instruction pointer out of a line of registers.
pub(super) fn instruction(body: &str) -> Option<Instruction> {
    let text = body.trim_start();
    if let Some(rest) = text
        .strip_prefix("RIP:")
        .or_else(|| text.strip_prefix("EIP:"))
        .or_else(|| text.strip_prefix("RIP "))
    {
        return x86_instruction(rest.trim_start());
    }
    for name in [
        "IP:",
        "EIP is at ",
        "PC is at ",
        "pc : ",
        "pc: ",
        "epc : ",
        "epc: ",
        "epc   : ",
        "NIP ",
        "PC:",
        "Krnl PSW : ",
    ] {
        if let Some(rest) = text.strip_prefix(name) {
            let rest = rest.trim_start();
            return match memchr::memmem::find(rest.as_bytes(), b"+0x") {
                Some(plus) => {
                    let start = rest[..plus]
                        .rfind([' ', '(', '[', ']'])
                        .map_or(0, |at| at + 1);
                    offset_frame(&rest[start..], true).map(Instruction::Kernel)
                }
                None => match decoded_frame(rest, true).or_else(|| inlined_frame(rest, true)) {
                    Some(frame) => Some(Instruction::Kernel(frame)),
                    None => (name == "PC is at " || name == "IP:").then_some(Instruction::Nowhere),
                },
            };
        }
    }
    None
}

fn x86_instruction(rest: &str) -> Option<Instruction> {
    let mut rest = rest;
    if let Some((segment, after)) = rest.split_once(':')
        && segment.len() == 4
        && let Ok(selector) = u16::from_str_radix(segment, 16)
    {
        // The two low bits are the privilege level.
        if selector & 3 == 3 {
            return Some(Instruction::User);
        }
        rest = after;
    }
    let rest = skip_addresses(rest.trim_start());
    if let Some(frame) = offset_frame(rest, true) {
        return Some(Instruction::Kernel(frame));
    }
    if let Some(frame) = decoded_frame(rest, true).or_else(|| inlined_frame(rest, true)) {
        return Some(Instruction::Kernel(frame));
    }
    rest.starts_with("0x").then_some(Instruction::Nowhere)
}

/// A function's name without what compilers append (`.isra.0`, `.cold`).
#[must_use]
pub fn plain(function: &str) -> &str {
    function.split('.').next().unwrap_or(function)
}

/// A function as titles spell it, then as the stack did: architectures put
/// prefixes of their own before system calls.
pub(super) fn spellings(name: &str) -> Vec<String> {
    for start in [
        "__x64_sys_",
        "__ia32_sys_",
        "__arm64_sys_",
        "__s390x_sys_",
        "__s390_sys_",
        "__riscv_sys_",
        "__ia32_compat_sys_",
        "__x64_compat_sys_",
        "__arm64_compat_sys_",
        "__se_sys_",
        "__do_sys_",
    ] {
        if let Some(bare) = name.strip_prefix(start) {
            return vec![format!("sys_{bare}"), name.to_owned()];
        }
    }
    for start in ["SyS_", "SYSC_", "ksys_", "compat_SyS_"] {
        if let Some(bare) = name.strip_prefix(start)
            && !bare.is_empty()
        {
            return vec![bare.to_owned(), name.to_owned()];
        }
    }
    vec![name.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Frame {
        match parse(text) {
            Some(StackLine::Frame { frame, .. }) => frame,
            other => panic!("{text:?} gave {other:?}"),
        }
    }

    #[test]
    fn reads_every_architecture() {
        for text in [
            " evict+0x1a/0x30",
            " evict+0x1a/0x30 [ceph]",
            "  [<ffffffff81234567>] evict+0x1a/0x30",
            "  <IRQ>  [<ffffffff81234567>] evict+0x1a/0x30",
            " [<ffffffff81234567>] evict+0x1a/0x30 fs/inode.c:12",
            " evict+0x1a/0x30 (P)",
            "[c00000001a2b3c40] [c000000000abcdec] .evict+0x1a/0x30",
            "([<000000000011c0f6>] evict+0x1a/0x30)",
        ] {
            let frame = one(text);
            assert_eq!(
                (&*frame.function, frame.offset, frame.size, frame.reliable),
                ("evict", Some(0x1a), Some(0x30), true),
                "{text}"
            );
        }
        assert_eq!(
            one(" evict+0x1a/0x30 [ceph]").module.as_deref(),
            Some("ceph")
        );
        assert!(!one("  ? evict+0x1a/0x30").reliable);
        assert!(!one(" [<ffffffff81234567>] ? evict+0x1a/0x30").reliable);
        assert!(!one("[c0000000] [c0000001] evict+0x1a/0x30 (unreliable)").reliable);
    }

    #[test]
    fn reads_arm_and_inlined() {
        let Some(StackLine::Frame { frame, caller, .. }) =
            parse("[<80c0a110>] (__schedule) from [<80c0a4f0>] (schedule+0x44/0x90)")
        else {
            panic!()
        };
        assert_eq!(frame.function, "__schedule");
        assert_eq!(caller.unwrap().function, "schedule");
        let Some(StackLine::Frame { frame, caller, .. }) =
            parse(" unwind_backtrace from show_stack+0x10/0x14")
        else {
            panic!()
        };
        assert_eq!(frame.function, "unwind_backtrace");
        assert_eq!(caller.unwrap().function, "show_stack");
        assert_eq!(
            one(" kzalloc include/linux/slab.h:12 [inline]").function,
            "kzalloc"
        );
    }

    #[test]
    fn names_of_rust_are_as_they_were_written() {
        assert_eq!(
            one(" _RNvNtCs1_4frob4core3put+0x1/0x2").function,
            "frob::core::put"
        );
        assert_eq!(one(" _Runner+0x1/0x2").function, "_Runner");
    }

    #[test]
    fn rejects_what_only_looks_like_it() {
        for text in [
            "hardirqs last  enabled at (2): [<ffffffff81300010>] evict+0x50/0xc0",
            " #0:  (&inode->i_mutex/1){+.+.+.}, at: [<ffffffff81300020>] evict+0x5c/0x90",
            "RIP: 0010:d_walk+0x840/0xc80",
            "Modules linked in: ceph",
            "Code: 48 8b",
            "a message from x",
            "",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse("  <IRQ> "), Some(StackLine::Mark(Mark::Enter)));
        assert_eq!(parse(" </TASK>"), Some(StackLine::Mark(Mark::Leave)));
    }

    #[test]
    fn reads_instruction_pointers() {
        for text in [
            "RIP: 0010:evict+0x1/0x2",
            "RIP: 0010:[<ffffffff81300030>]  [<ffffffff81300030>] evict+0x1/0x2",
            "RIP  [<ffffffff81300030>] evict+0x1/0x2",
            "IP: evict+0x1/0x2",
            "IP: [<ffffffff81300030>] evict+0x1/0x2",
            "EIP: evict+0x1/0x2",
            "EIP is at evict+0x1/0x2",
            "PC is at evict+0x1/0x2",
            "pc : evict+0x1/0x2",
            "epc : evict+0x1/0x2",
            "NIP [c000000000123456] evict+0x1/0x2",
            "Krnl PSW : 0704c00180000000 0000000000123456 (evict+0x1/0x2)",
        ] {
            match instruction(text) {
                Some(Instruction::Kernel(frame)) => assert_eq!(frame.function, "evict", "{text}"),
                other => panic!("{text:?} gave {other:?}"),
            }
        }
        assert_eq!(instruction("RIP: 0033:0x452ac9"), Some(Instruction::User));
        assert_eq!(instruction("RIP: 0010:0x0"), Some(Instruction::Nowhere));
        assert_eq!(instruction("Code: 48"), None);
    }
}
