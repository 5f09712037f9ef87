//! Files and lines for the functions on stacks, from the vmlinux of an arm whose
//! kernel has debug information. Looked up once, while the cache has it, and
//! kept in the record, so that reports of later days have them, too.

use std::collections::BTreeMap;

use crate::detect::{Finding, Frame};
use crate::kernel::vmlinux_of;
use crate::record::{DecodedFrame, Decoding, Record, RecordError};
use crate::store::{Key, Store};
use crate::symbols::Symbols;

/// More frames than this are not looked up for one arm.
const MOST: usize = 20_000;

/// The directory of a working tree of kvet's own, which means nothing elsewhere.
const WORKTREE: &str = "/tree/";

/// Looks up what the findings of an arm name, if its kernel can tell, and keeps
/// it.
pub(super) fn decode(record: &Record, store: &Store, arm: &str) -> Result<(), RecordError> {
    let config = record.config(arm)?.unwrap_or_default();
    let knows = config.lines().any(|line| line == "CONFIG_DEBUG_INFO=y");
    let facts = record.kernel_facts(arm)?;
    let key = facts.and_then(|facts| Key::try_from(facts.key).ok());
    let (true, Some(key)) = (knows, key) else {
        return Ok(());
    };
    let mut frames: BTreeMap<String, (Frame, bool)> = BTreeMap::new();
    for finding in record.findings(arm)? {
        for (index, frame) in finding.frames.into_iter().enumerate() {
            let called = index > 0;
            if frames.len() < MOST {
                frames.insert(name(&frame, called), (frame, called));
            }
        }
    }
    if frames.is_empty() {
        return Ok(());
    }
    let vmlinux = vmlinux_of(store, &key);
    // Symbols that cannot be read cost lines, not the run.
    let Some(symbols) = vmlinux.and_then(|path| Symbols::open(&path, None).ok()) else {
        return Ok(());
    };
    let mut decoding = Decoding::new();
    for (name, (frame, called)) in frames {
        let places = symbols.places(&frame, called).into_iter();
        let places: Option<Vec<DecodedFrame>> = places
            .map(|place| {
                Some(DecodedFrame {
                    function: place.function,
                    place: format!("{}:{}", within_tree(&place.file?), place.line?),
                })
            })
            .collect();
        if let Some(places) = places.filter(|places| !places.is_empty()) {
            decoding.insert(name, places);
        }
    }
    record.decoded(arm, &decoding)
}

/// What a frame is called in the record: where it is, and whether that is a
/// return address.
fn name(frame: &Frame, called: bool) -> String {
    let at = |value: Option<u64>| value.unwrap_or_default();
    let (offset, size) = (at(frame.offset), at(frame.size));
    let sign = if called { "<" } else { "" };
    format!("{sign}{}+{offset:#x}/{size:#x}", frame.function)
}

/// A source file as the kernel's tree has it.
fn within_tree(file: &str) -> &str {
    let inside = file.split_once(WORKTREE).map_or(file, |(_, inside)| inside);
    inside.trim_start_matches("./")
}

/// Puts files and lines on a finding's stack, and the functions inlined between.
pub(super) fn with_places(finding: &mut Finding, decoding: &Decoding) {
    let frames = std::mem::take(&mut finding.frames);
    for (index, mut frame) in frames.into_iter().enumerate() {
        let places = decoding.get(&name(&frame, index > 0));
        if let Some((own, inlined)) = places.and_then(|places| places.split_last()) {
            let inlined = inlined.iter().map(|place| Frame {
                function: place.function.clone(),
                place: Some(place.place.clone()),
                reliable: true,
                inlined: true,
                interrupt: frame.interrupt,
                ..Frame::default()
            });
            // What is inlined into a function that may not be there is noise.
            finding.frames.extend(inlined.filter(|_| frame.reliable));
            frame.place = Some(own.place.clone());
        }
        finding.frames.push(frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inlined_functions_stand_above_the_one_they_are_in() {
        let text = "[    1.000000] BUG: kernel NULL pointer dereference, address: 0\n\
                    [    1.000001] RIP: 0010:f+0x5/0x10\n[    1.000002] Call Trace:\n\
                    [    1.000003]  <TASK>\n[    1.000004]  g+0x8/0x20\n[    1.000005]  </TASK>\n\
                    [    1.000006] ---[ end trace 0000000000000000 ]---\n";
        let mut finding = crate::detect::scan(text.as_bytes()).remove(0);
        let place = |function: &str, place: &str| DecodedFrame {
            function: function.to_owned(),
            place: place.to_owned(),
        };
        let decoding = Decoding::from([
            (
                "f+0x5/0x10".to_owned(),
                vec![place("inner", "fs/a.h:1"), place("f", "fs/a.c:2")],
            ),
            ("<g+0x8/0x20".to_owned(), vec![place("g", "fs/a.c:9")]),
            ("g+0x8/0x20".to_owned(), vec![place("g", "wrong:1")]),
        ]);
        with_places(&mut finding, &decoding);
        assert_eq!(
            crate::report::stack(&finding),
            [
                "inner [inline] (fs/a.h:1)",
                "f+0x5/0x10 (fs/a.c:2)",
                "g+0x8/0x20 (fs/a.c:9)"
            ]
        );
        assert_eq!(within_tree("/root/worktrees/1/tree/./fs/a.c"), "fs/a.c");
        assert_eq!(within_tree("fs/tree.c"), "fs/tree.c");
    }
}
