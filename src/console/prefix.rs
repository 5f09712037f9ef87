//! One raw line to a [`Line`]: takes off what stands in front of the message.
//!
//! The kernel's own prefix is `[    1.234567]` with an optional caller
//! (`[  T123]`, `[    C0]`) after it. In front of that, or instead of it, may
//! stand a level (`<6>`, `kern  :info  :`), a syslog or journal prefix ending
//! in `kernel:`, a capture's own time, a login prompt. A line that another
//! program than the kernel logged (`host sshd[12]: …`) is marked as such.

use std::borrow::Cow;
use std::fmt;

use memchr::{memchr, memmem};

use super::record::{self, Record};
use super::text;

/// Which context printed a line (`CONFIG_PRINTK_CALLER`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Caller {
    /// A task, by its thread id: `T123`.
    Task(u32),
    /// A CPU in interrupt context: `C0`.
    Cpu(u32),
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(id) => write!(f, "T{id}"),
            Self::Cpu(id) => write!(f, "C{id}"),
        }
    }
}

/// One line of a log, taken apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Line<'a> {
    /// Seconds since boot, if the kernel stamped the line.
    pub time: Option<f64>,
    /// The context that printed it, if the kernel says so.
    pub caller: Option<Caller>,
    /// The syslog severity, 0 to 7, where it was kept.
    pub level: Option<u8>,
    /// Whether a prefix names a program other than the kernel as its source.
    pub user: bool,
    /// Whether syslog or a journal passed it on: their files go over many boots
    /// and need not hold every line.
    pub relayed: bool,
    /// When a capture wrote it by its own clock, as it spells it, where the
    /// kernel's stamp is missing.
    pub clock: Option<Box<str>>,
    /// The message: valid UTF-8, no escapes, no line end.
    pub body: Cow<'a, str>,
}

/// Takes one line apart. Never fails: what fits no format is all body.
#[must_use]
pub fn parse(raw: &[u8]) -> Line<'_> {
    let mut end = raw.len();
    while end > 0 && matches!(raw[end - 1], b'\n' | b'\r') {
        end -= 1;
    }
    let text = text::of(&raw[..end]);
    if let Some(record) = record::unpack(&text) {
        return packed(record);
    }
    match text {
        Cow::Borrowed(text) => {
            let (head, body) = split(text);
            head.line(Cow::Borrowed(body))
        }
        Cow::Owned(text) => {
            let (head, body) = split(&text);
            let body = body.to_owned();
            head.line(Cow::Owned(body))
        }
    }
}

/// The line that a record of a journal or another container holds.
fn packed(record: Record) -> Line<'static> {
    let (mut head, body) = split(&record.message);
    head.time = head.time.or(record.time);
    head.level = head.level.or(record.level);
    head.clock = head.clock.or(record.clock);
    head.user |= record.user;
    head.relayed |= record.relayed;
    let body = body.to_owned();
    head.line(Cow::Owned(body))
}

/// The rest of a message after another one's stamp in the middle of it: two
/// that were printed at once.
#[must_use]
pub fn after_stamp(body: &str) -> Option<Line<'_>> {
    let (start, ..) = find_stamp(body)?;
    if start == 0 {
        return None;
    }
    let (head, body) = split(&body[start..]);
    Some(head.line(Cow::Borrowed(body)))
}

#[derive(Default)]
struct Head {
    time: Option<f64>,
    caller: Option<Caller>,
    level: Option<u8>,
    user: bool,
    relayed: bool,
    clock: Option<Box<str>>,
}

impl Head {
    fn line(self, body: Cow<'_, str>) -> Line<'_> {
        Line {
            time: self.time,
            caller: self.caller,
            level: self.level,
            user: self.user,
            relayed: self.relayed,
            // The kernel's own time is better.
            clock: self.clock.filter(|_| self.time.is_none()),
            body,
        }
    }
}

impl Head {
    /// Keeps what was taken off as the time, without its brackets.
    fn note_clock(&mut self, before: &str, after: &str) {
        let clock = before[..before.len() - after.len()].trim_matches([' ', '[', ']']);
        if !clock.is_empty() {
            self.clock = Some(clock.into());
        }
    }
}

/// How far into a line the kernel's time stamp is looked for.
const STAMP_REACH: usize = 160;

fn split(text: &str) -> (Head, &str) {
    let mut head = Head::default();
    let mut rest = text;
    if let Some(body) = strip_record(text, &mut head) {
        return (head, body);
    }
    // netconsole's, as a syslog daemon wrote it down.
    if let Some(end) = memchr(b';', &text.as_bytes()[..text.len().min(STAMP_REACH)])
        && let Some(start) = memchr::memrchr(b' ', &text.as_bytes()[..end])
        && let Some(body) = strip_record(&text[start + 1..], &mut head)
    {
        return (head, body);
    }
    if let Some((start, len, time)) = find_stamp(rest) {
        head.level = level_in(&rest[..start]);
        // journalctl prints the program for lines that services wrote.
        head.user = logged_by_program(&rest[..start]);
        head.relayed = rest[..start].contains("kernel: ");
        head.time = Some(time);
        rest = &rest[start + len..];
        rest = rest.strip_prefix(' ').unwrap_or(rest);
        if let Some((caller, len)) = caller_at(rest) {
            head.caller = Some(caller);
            rest = &rest[len..];
            rest = rest.strip_prefix(' ').unwrap_or(rest);
        }
        rest = strip_vendor(rest);
        rest = strip_journal(rest);
        // Old kernels print a level that is not the first thing in a message.
        rest = strip_level(rest, &mut head);
        // Programs write to the kernel's log too: `systemd[1]: …`, in a journal
        // after the host's name.
        head.user |= logged_by_program(rest)
            && rest.find('[').is_some_and(|end| {
                let name = &rest[..end];
                !name.contains(':') && name.matches(' ').count() < 2
            });
        return (head, rest);
    }
    // Mail quotes what it answers.
    while let Some(quoted) = rest.strip_prefix("> ").or_else(|| {
        let inner = rest.strip_prefix('>')?;
        inner.starts_with('>').then_some(inner)
    }) {
        rest = quoted;
    }
    rest = strip_numbering(rest);
    rest = strip_level(rest, &mut head);
    rest = strip_collector(rest, &mut head);
    let timed = rest;
    rest = strip_capture_time(rest);
    head.note_clock(timed, rest);
    rest = strip_stream(rest);
    rest = strip_level(rest, &mut head);
    rest = strip_source(rest, &mut head);
    rest = strip_vendor(rest);
    if let Some((caller, len)) = caller_at(rest) {
        head.caller = Some(caller);
        rest = rest[len..].strip_prefix(' ').unwrap_or(&rest[len..]);
    }
    (head, rest)
}

/// Takes a record of /dev/kmsg or netconsole apart:
/// `6,1234,12345678,-,caller=T1;message`.
fn strip_record<'a>(text: &'a str, head: &mut Head) -> Option<&'a str> {
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let end = memchr(b';', &text.as_bytes()[..text.len().min(STAMP_REACH)])?;
    let mut fields = text[..end].split(',');
    let number = |field: Option<&str>| field?.parse::<u64>().ok();
    let priority = number(fields.next())?;
    number(fields.next())?;
    let micros = number(fields.next())?;
    // Flags, and whatever newer kernels add.
    fields.next()?;
    for field in fields {
        if let Some(id) = field.strip_prefix("caller=") {
            head.caller = caller_at(&format!("[{id}]")).map(|(caller, _)| caller);
        }
    }
    head.level = Some((priority & 7) as u8);
    #[expect(clippy::cast_precision_loss, reason = "time since boot is small")]
    let time = micros as f64 / 1e6;
    head.time = Some(time);
    Some(&text[end + 1..])
}

/// Takes off what `journalctl -o short-monotonic` puts after the stamp:
/// `host kernel: `.
fn strip_journal(text: &str) -> &str {
    let after = text.split_once(' ').and_then(|(host, rest)| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let rest = rest.strip_prefix("kernel: ")?;
        (!host.is_empty() && host.chars().all(plain)).then_some(rest)
    });
    after.unwrap_or(text)
}

/// Finds `[ 123.456789]`: where it begins, its length, its seconds.
fn find_stamp(text: &str) -> Option<(usize, usize, f64)> {
    let bytes = text.as_bytes();
    let reach = bytes.len().min(STAMP_REACH);
    let mut from = 0;
    while let Some(at) = memchr(b'[', &bytes[from..reach]) {
        let start = from + at;
        if let Some((len, time)) = stamp_at(&bytes[start..]) {
            return Some((start, len, time));
        }
        from = start + 1;
    }
    None
}

fn stamp_at(bytes: &[u8]) -> Option<(usize, f64)> {
    let mut at = 1;
    while bytes.get(at) == Some(&b' ') {
        at += 1;
    }
    let mut seconds: u64 = 0;
    let digits = at;
    while let Some(digit) = bytes.get(at).filter(|b| b.is_ascii_digit()) {
        seconds = seconds
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'));
        at += 1;
    }
    if at == digits || at - digits > 12 || bytes.get(at) != Some(&b'.') {
        return None;
    }
    at += 1;
    // The kernel writes six digits; some captures cut them to three, and some
    // write nine.
    let point = at;
    let (mut fraction, mut unit): (u32, u32) = (0, 1);
    while at - point < 9
        && let Some(digit) = bytes.get(at).filter(|b| b.is_ascii_digit())
    {
        fraction = fraction * 10 + u32::from(digit - b'0');
        unit *= 10;
        at += 1;
    }
    // Some have none at all.
    if (1..3).contains(&(at - point)) || bytes.get(at) != Some(&b']') {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "seconds since boot are small")]
    let time = seconds as f64 + f64::from(fraction) / f64::from(unit);
    Some((at + 1, time))
}

/// Parses `[  T123]` or `[    C0]` at the beginning.
fn caller_at(text: &str) -> Option<(Caller, usize)> {
    let inner = text.strip_prefix('[')?;
    let end = inner.get(..inner.len().min(14))?.find(']')?;
    let word = inner[..end].trim_start();
    let id: u32 = word.get(1..)?.parse().ok()?;
    let caller = match word.as_bytes().first()? {
        b'T' => Caller::Task(id),
        b'C' => Caller::Cpu(id),
        _ => return None,
    };
    Some((caller, end + 2))
}

fn level_in(before: &str) -> Option<u8> {
    let start = before.find('<')?;
    let digits = &before[start + 1..start + before[start..].find('>')?];
    digits.parse::<u16>().ok().map(severity)
}

fn severity(priority: u16) -> u8 {
    (priority & 7) as u8
}

/// Takes off `<6>` or `kern  :info  : `.
fn strip_level<'a>(text: &'a str, head: &mut Head) -> &'a str {
    if let Some(inner) = text.strip_prefix('<')
        && let Some(end) = inner.get(..inner.len().min(5)).and_then(|t| t.find('>'))
        && let Ok(priority) = inner[..end].parse::<u16>()
    {
        head.level = Some(severity(priority));
        return &inner[end + 1..];
    }
    if let Some(inner) = text.strip_prefix("kern") {
        let inner = inner.trim_start();
        if let Some(inner) = inner.strip_prefix(':')
            && let Some(end) = inner.find(": ").or_else(|| inner.find(" :"))
            && end < 12
        {
            return inner[end..].trim_start_matches([':', ' ']);
        }
    }
    text
}

/// Takes off CPU and task as the vendors of phones put them after the stamp:
/// `[4:comm: 123] `, `(3)[123:comm]`, `c3   123 `.
fn strip_vendor(text: &str) -> &str {
    let digits = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    // A letter tells an interrupt.
    let lead = text.trim_start_matches(' ');
    let lead = lead.strip_prefix(['I', 'i']).unwrap_or(lead);
    if let Some(inner) = lead.strip_prefix('[')
        && let Some((name, rest)) = inner.split_once("] ")
        && name.len() < 40
        && let Some((cpu, task)) = name.split_once(':')
        && let Some((_, pid)) = task.rsplit_once(':')
        && digits(cpu)
        && digits(pid.trim())
    {
        return rest;
    }
    if let Some(inner) = text.trim_start().strip_prefix('(')
        && let Some((cpu, rest)) = inner.split_once(")[")
        && digits(cpu)
        && let Some((task, rest)) = rest.split_once(']')
        && let Some((pid, _)) = task.split_once(':')
        && digits(pid)
    {
        return rest;
    }
    if let Some(inner) = text.strip_prefix('c')
        && let Some((cpu, rest)) = inner.split_once(' ')
        && digits(cpu)
        && let Some((pid, rest)) = rest.trim_start().split_once(' ')
        && digits(pid)
    {
        return rest;
    }
    text
}

/// Takes off a time that the capture wrote: ISO 8601 or `dmesg -T`'s.
fn strip_capture_time(text: &str) -> &str {
    let bytes = text.as_bytes();
    // `dmesg -e`: `[Nov22 14:00] ` and `[  +0.000123] `; `dmesg -d`:
    // `[   12.345678 <    0.000123>] `.
    if let Some(inner) = text.strip_prefix('[')
        && let Some(end) = memchr(b']', &inner.as_bytes()[..inner.len().min(40)])
        && is_relative(inner[..end].trim())
    {
        return inner[end + 1..].trim_start_matches(' ');
    }
    // `[Sun Nov 22 14:00:00 2026] ` and `[2026-11-22T14:00:00…] `.
    if bytes.first() == Some(&b'[')
        && let Some(end) = memchr(b']', &bytes[..bytes.len().min(48)])
        && is_clock(&text[1..end])
    {
        return text[end + 1..].trim_start_matches(' ');
    }
    // `2026-11-22T14:00:00.123Z msg`, `2026/11/22 14:00:00 msg`, `14:00:00.123 msg`.
    if bytes.first().is_some_and(u8::is_ascii_digit) {
        let mut end = 0;
        let mut saw_clock = false;
        for word in text.split_inclusive(' ').take(2) {
            let trimmed = word.trim_end();
            let digit = trimmed.bytes().next().is_some_and(|b| b.is_ascii_digit());
            if digit && (is_clock(trimmed) || is_date(trimmed)) {
                saw_clock |= is_clock(trimmed);
                end += word.len();
            } else {
                break;
            }
        }
        if saw_clock {
            return text[end..].trim_start_matches(' ');
        }
    }
    text
}

/// Whether the text is a time as `dmesg -e` and `dmesg -d` write it.
fn is_relative(text: &str) -> bool {
    let number =
        |text: &str| text.contains('.') && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if let Some(step) = text.strip_prefix('+') {
        return number(step);
    }
    if let Some((time, step)) = text.split_once(" <") {
        return number(time) && step.strip_suffix('>').is_some_and(|s| number(s.trim()));
    }
    // `Nov22 14:00`
    text.split_once(' ').is_some_and(|(day, clock)| {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        day.get(..3)
            .is_some_and(|month| month.bytes().all(|b| b.is_ascii_alphabetic()))
            && day.get(3..).is_some_and(|day| digits(day.trim()))
            && clock
                .split_once(':')
                .is_some_and(|(hour, minute)| digits(hour) && digits(minute))
    })
}

fn is_date(text: &str) -> bool {
    text.len() >= 8
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'/'))
}

/// Whether the text holds an `hh:mm:ss`.
fn is_clock(text: &str) -> bool {
    text.as_bytes().windows(8).any(|w| {
        w[2] == b':' && w[5] == b':' && [0, 1, 3, 4, 6, 7].iter().all(|i| w[*i].is_ascii_digit())
    })
}

/// Takes off the number of a line: `cat -n`, `nl`; and what test harnesses put
/// before what is no result of theirs: `# `.
fn strip_numbering(text: &str) -> &str {
    if let Some((number, rest)) = text.split_once('\t')
        && number.len() < 12
        && is_number(number.trim_start_matches(' '))
    {
        return rest;
    }
    let mut rest = text;
    while let Some(inner) = rest.strip_prefix("# ") {
        rest = inner;
    }
    rest
}

/// Takes off what collects logs of several machines or jobs puts first:
/// `job<TAB>step<TAB>`, `10.5.0.2: kern: warning: [time]: `, `(XEN) `, and what
/// phones print of their log of all sources.
fn strip_collector<'a>(text: &'a str, head: &mut Head) -> &'a str {
    if let Some((before, rest)) = text.rsplit_once('\t')
        && before.len() < STAMP_REACH
        && strip_capture_time(rest).len() < rest.len()
    {
        return rest;
    }
    if let Some((host, rest)) = text.split_once(": kern: ")
        && !host.contains(' ')
        && let Some((_, rest)) = rest.split_once(": [")
        && let Some((clock, rest)) = rest.split_once("]: ")
        && is_clock(clock)
    {
        head.relayed = true;
        head.clock = Some(clock.into());
        return rest;
    }
    if let Some(rest) = text.strip_prefix("(XEN) ") {
        return rest;
    }
    strip_logcat(text, head).unwrap_or(text)
}

/// `01-30 14:00:29.364     0     0 W kernel  : message`; the tag of the kernel's
/// lines may be empty.
fn strip_logcat<'a>(text: &'a str, head: &mut Head) -> Option<&'a str> {
    let mut words = text.split_whitespace();
    let (day, clock) = (words.next()?, words.next()?);
    let (pid, tid, level) = (words.next()?, words.next()?, words.next()?);
    let date = day.len() == 5 && day.as_bytes()[2] == b'-';
    let ids = is_number(pid) && is_number(tid);
    if !(date && is_clock(clock) && ids && matches!(level, "V" | "D" | "I" | "W" | "E" | "F")) {
        return None;
    }
    let (before, message) = text.split_once(": ")?;
    let tag = before.split_whitespace().nth(5).unwrap_or("");
    head.user = !matches!(tag, "" | "kernel");
    head.clock = Some(format!("{day} {clock}").into());
    Some(message)
}

/// Takes off what containers' and job runners' logs have after the time:
/// `stdout F `, `01O `.
fn strip_stream(text: &str) -> &str {
    for stream in ["stdout ", "stderr "] {
        if let Some(rest) = text.strip_prefix(stream)
            && let Some(rest) = rest.strip_prefix("F ").or(rest.strip_prefix("P "))
        {
            return rest;
        }
    }
    if let [tens, ones, b'O' | b'E', b' ' | b'+', ..] = text.as_bytes()
        && tens.is_ascii_hexdigit()
        && ones.is_ascii_hexdigit()
    {
        return &text[4..];
    }
    text
}

/// Takes off `Nov 22 14:00:00 host kernel: ` and its like, and marks other
/// programs' lines.
fn strip_source<'a>(text: &'a str, head: &mut Head) -> &'a str {
    let reach = floor(text, STAMP_REACH);
    // A host may be called so, too.
    for at in memmem::find_iter(&text.as_bytes()[..reach], b"kernel") {
        if at > 0 && text.as_bytes()[at - 1] != b' ' {
            continue;
        }
        if text[..at].contains(": ") {
            break;
        }
        let rest = &text[at + "kernel".len()..];
        // RFC 5424 has fields for a process, a kind and data, all of them empty;
        // some loggers give it a process: `kernel[0]: `.
        let process = rest.strip_prefix('[').and_then(|r| r.split_once("]: "));
        let message = rest
            .strip_prefix(':')
            .or(rest.strip_prefix(" - - -"))
            .or(process.filter(|(pid, _)| is_number(pid)).map(|(_, m)| m));
        if let Some(message) = message {
            head.relayed = true;
            if let Some(clock) = syslog_clock(&text[..at]) {
                head.clock = Some(clock.into());
            }
            if process.is_some() {
                return message;
            }
            // Not all put a space there; of a stack's line one is its own.
            return message.strip_prefix(' ').unwrap_or(message);
        }
    }
    head.user = logged_by_program(text);
    text
}

/// `Nov 22 14:00:00` at the beginning of a syslog line.
fn syslog_clock(before: &str) -> Option<&str> {
    let end = before.match_indices(' ').find_map(|(at, _)| {
        let word = before[..at].rsplit(' ').next()?;
        is_clock(word).then_some(at)
    })?;
    Some(before[..end].trim())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether the text begins like a syslog line of a program: `… sshd[123]: `.
fn logged_by_program(text: &str) -> bool {
    let reach = floor(text, STAMP_REACH);
    let Some(at) = memmem::find(&text.as_bytes()[..reach], b"]: ") else {
        return false;
    };
    let Some(open) = text[..at].rfind('[') else {
        return false;
    };
    let name = &text[..open];
    let pid = &text[open + 1..at];
    name.rsplit(' ').next() != Some("kernel")
        && !pid.is_empty()
        && pid.bytes().all(|b| b.is_ascii_digit())
        && name
            .bytes()
            .next_back()
            .is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b')' | b'-' | b'_'))
}

/// The greatest character boundary of `text` that is at most `at`.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(raw: &str) -> String {
        parse(raw.as_bytes()).body.into_owned()
    }

    #[test]
    fn takes_off_every_known_prefix() {
        for raw in [
            "[    1.234567] Booting",
            "[    1.234567][    T1] Booting",
            "[    1.234567] [    T1] Booting",
            "<6>[    1.234567] Booting\r\n",
            "<6>Booting",
            "kern  :info  : [    1.234567] Booting",
            "kern  :info  : Booting",
            "Nov 22 14:00:00 host kernel: [    1.234567] Booting",
            "Nov 22 14:00:00 host kernel: Booting",
            "2026-11-22T14:00:00.123456+00:00 host kernel: Booting",
            "[Sun Nov 22 14:00:00 2026] Booting",
            "2026-11-22T14:00:00.123456 [    1.234567] Booting",
            "2026/11/22 14:00:00 Booting",
            "login: [    1.234567] Booting",
            "[    1.234567] [4:    kworker/2:1: 1608] Booting",
            "[    1.234567] (3)[1608:kworker/2:1]Booting",
            "[    1.234567] c3   1608 Booting",
            "6,1234,1234567,-;Booting",
            "6,1234,1234567,-,caller=T1;Booting",
            "[    1.234567] host kernel: Booting",
            "[Nov22 14:00] Booting",
            "[  +0.000123] Booting",
            "[    1.234567 <    0.000123>] Booting",
            "[    1.234] Booting",
            "[    1.234567890] Booting",
            "[    1.234567] <6>Booting",
            "Nov 22 14:00:00 host kernel[0]: Booting",
            "Nov 22 14:00:00 host kernel[0]: [    1.234567] Booting",
            "<6>1 2026-11-22T14:00:00.123456Z host kernel - - - Booting",
            "<6>1 2026-11-22T14:00:00.123456Z host kernel - - - [    1.234567] Booting",
            "> Booting",
            ">> > Booting",
            "> [    1.234567] Booting",
            "\u{1b}[32m[    1.234567] \u{1b}[0m\u{1b}[1mBooting\u{1b}[0m",
            "\u{1b}]0;title\u{7}[    1.234567] Booting",
        ] {
            assert_eq!(body(raw), "Booting", "{raw:?}");
        }
    }

    #[test]
    fn keeps_the_indentation_of_the_message() {
        assert_eq!(
            body("[    1.234567]  schedule+0x1/0x2"),
            " schedule+0x1/0x2"
        );
        assert_eq!(body("[    1.234567][  T12]  ? a+0x1/0x2"), " ? a+0x1/0x2");
        assert_eq!(body(" schedule+0x1/0x2"), " schedule+0x1/0x2");
    }

    #[test]
    fn tells_time_caller_level() {
        let line = parse(b"<4>[   12.000345][  C11] x");
        assert_eq!(line.time, Some(12.000_345));
        assert_eq!(line.caller, Some(Caller::Cpu(11)));
        assert_eq!(line.level, Some(4));
        assert_eq!(parse(b"[ 1.000000][T42] x").caller, Some(Caller::Task(42)));
        assert_eq!(parse(b"[ 1.000000] [U] x").caller, None);
        let record = parse(b"4,77,12000345,c,caller=C11;x");
        assert_eq!(record.time, Some(12.000_345));
        assert_eq!(record.caller, Some(Caller::Cpu(11)));
        assert_eq!(record.level, Some(4));
        assert_eq!(parse(b"1,2,3 and more; x").time, None);
    }

    #[test]
    fn knows_what_programs_logged() {
        assert!(parse(b"Nov 22 14:00:00 host sshd[123]: BUG: x").user);
        assert!(parse(b"[    1.600000] systemd[1]: BUG: x").user);
        assert!(parse(b"[    1.600000] host systemd[1]: BUG: x").user);
        assert!(!parse(b"[    1.600000] host kernel: BUG: x").user);
        assert!(!parse(b"[    1.600000] libceph: mon0 (1)[::1]: x").user);
        assert!(!parse(b"Nov 22 14:00:00 host kernel: BUG: x").user);
        assert_eq!(body("Nov 22 14:00:00 kernel-7 kernel: BUG: x"), "BUG: x");
        assert_eq!(body("Nov 22 14:00:00 kernel kernel: BUG: x"), "BUG: x");
        assert!(!parse(b"Nov 22 14:00:00 host kernel[0]: BUG: x").user);
        assert!(!parse(b"Nov 22 14:00:00 host kernel[0]: [ 1.234567] BUG: x").user);
        assert!(parse(b"Nov 22 14:00:00 host mykernel[0]: BUG: x").user);
        assert!(!parse(b"BUG: x").user);
    }

    #[test]
    fn a_stack_line_is_not_a_prefix() {
        assert_eq!(
            body(" [<ffffffff81300040>] dump_stack+0x12c/0x180"),
            " [<ffffffff81300040>] dump_stack+0x12c/0x180"
        );
        assert_eq!(
            body("[<80101a0c>] (__irq_svc) from x"),
            "[<80101a0c>] (__irq_svc) from x"
        );
    }

    #[test]
    fn survives_bytes_that_are_no_text() {
        assert_eq!(body("[    1.000000] a\u{fffd}"), "a\u{fffd}");
        assert_eq!(parse(b"[    1.000000] a\xff").body, "a\u{fffd}");
        for raw in [
            &b"\x1b"[..],
            b"\x1b[",
            b"[",
            b"<",
            b"[ 1.",
            b"\r",
            b"\r\r\n",
            b"{",
            b"{\"MESSAGE\":",
            b"(XEN)",
            b"01-30 14:00:29 1 1 W",
            b"kern",
            b"<9999999>",
        ] {
            let _ = parse(raw);
        }
    }
}
