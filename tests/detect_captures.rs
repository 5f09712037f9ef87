//! What happens to a kernel's words on their way into a file: symbolizers, mail
//! programs, journals, carriage returns, lines that are lost.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write;

use kvet::detect::{Class, Finding, Scanner, Sighting, scan};

fn titles(log: &str) -> Vec<String> {
    let name = |finding: Finding| {
        let damaged = if finding.damaged { " (damaged)" } else { "" };
        format!("{}{damaged}", finding.title)
    };
    scan(log.as_bytes()).into_iter().map(name).collect()
}

const STACK: &str = "\
Call Trace:
 <TASK>
 frob_release+0x3c/0x60
 __fput+0x90/0x2a0
 do_syscall_64+0x57/0x190
 entry_SYSCALL_64_after_hwframe+0x76/0x7e
 </TASK>
---[ end trace 0000000000000000 ]---
";

#[test]
fn what_a_symbolizer_adds_names_nothing() {
    let log = format!(
        "general protection fault, probably for non-canonical address 0xdead000000000122: 0000 [#1] SMP\n\
         CPU: 0 PID: 321 Comm: worker Not tainted 6.12.0 #1\n\
         RIP: 0010:frob_peek include/linux/frob.h:12 [inline]\n\
         RIP: 0010:frob_put+0x68/0x480 fs/frob.c:77\n{STACK}"
    );
    assert_eq!(titles(&log), ["general protection fault in frob_put"]);
    let log = format!(
        "WARNING: CPU: 0 PID: 321 at fs/frob.c:77 frob_peek fs/frob.c:77 [inline]\n\
         WARNING: CPU: 0 PID: 321 at fs/frob.c:77 frob_grab fs/frob.c:80 [inline]\n\
         WARNING: CPU: 0 PID: 321 at fs/frob.c:77 frob_put+0x68/0x480 fs/frob.c:99\n\
         CPU: 0 PID: 321 Comm: worker Not tainted 6.12.0 #1\n{STACK}"
    );
    assert_eq!(titles(&log), ["WARNING in frob_put"]);
    // The first line once more belongs to it, another one does not.
    let twice = log.replace(
        "6.12.0 #1\n",
        "6.12.0 #1\nWARNING: CPU: 0 PID: 9 at fs/frob.c:5 frob_add+0x1/0x2\n",
    );
    assert_eq!(titles(&twice).len(), 2);
    let decoded = "\
Unable to handle kernel paging request at virtual address 0000000000100111
Internal error: Oops: 0000000096000006 [#1] PREEMPT SMP
CPU: 2 PID: 321 Comm: worker Not tainted 6.12.0 #1
pc : frob_merge (mm/frob.c:952 (discriminator 1))
lr : frob_merge (mm/frob.c:945)
Call trace:
 frob_merge (mm/frob.c:952 (discriminator 1))
 frob_fixup (mm/frob.c:676) frob
 el0t_64_sync (arch/arm64/kernel/entry.S:591)
---[ end trace 0000000000000000 ]---
";
    assert_eq!(
        titles(decoded),
        ["BUG: unable to handle kernel paging request in frob_merge"]
    );
    let finding = &scan(decoded.as_bytes())[0];
    let fixup = finding.frames.iter().find(|f| f.function == "frob_fixup");
    assert_eq!(fixup.unwrap().module.as_deref(), Some("frob"));
}

#[test]
fn locks_are_named_after_where_they_were_taken() {
    let log = "\
WARNING: possible circular locking dependency detected
6.12.0 #1 Not tainted
worker/321 is trying to acquire lock:
ffff888012345678 (&mm->mmap_lock){++++}-{4:4}, at: __might_fault+0xaa/0x120
but task is already holding lock:
ffff888012345688 (&frob->lock){+.+.}-{4:4}, at: frob_lookup include/linux/frob.h:5 [inline]
ffff888012345688 (&frob->lock){+.+.}-{4:4}, at: frob_ioctl+0x3c/0x60 fs/frob.c:77
stack backtrace:
Call Trace:
 <TASK>
 lock_acquire+0x120/0x360
 __might_fault+0xaa/0x120
 _copy_to_user+0x26/0x130
 frob_copy_out+0x3c/0x60
 frob_ioctl+0x3c/0x60
 do_syscall_64+0x57/0x190
 entry_SYSCALL_64_after_hwframe+0x76/0x7e
 </TASK>
";
    assert_eq!(titles(log), ["possible deadlock in frob_ioctl"]);
    let own = log.replace(
        "__might_fault+0xaa/0x120\nbut",
        "frob_copy_out+0x3c/0x60\nbut",
    );
    assert_eq!(titles(&own), ["possible deadlock in frob_copy_out"]);
}

#[test]
fn messages_that_were_broken_in_two_are_whole() {
    let hung = "\
[  484.467834] INFO: task worker:321 blocked for more than
122 seconds.
[  484.469885]       Not tainted 6.12.0 #1
[  484.473934] Call Trace:
[  484.473938]  __schedule+0x4d7/0x11a0
[  484.473944]  schedule+0x27/0xf0
[  484.473977]  frob_drain+0x3c/0x60 [frob]
[  484.473979]  do_syscall_64+0x82/0x190
[  484.473980]  entry_SYSCALL_64_after_hwframe+0x76/0x7e
";
    assert_eq!(titles(hung), ["INFO: task hung in frob_drain"]);
    assert_eq!(scan(hung.as_bytes())[0].first_line, 1);
    // A stamp begins another message.
    let other = hung.replace(" blocked", "\n[  484.467835] blocked");
    assert_eq!(titles(&other), [""; 0]);
    let warning = format!(
        "[   12.000001] WARNING: CPU: 3 PID: 321 at lib/refcount.c:28\n\
         refcount_warn_saturate+0xba/0x110\n{STACK}"
    );
    assert_eq!(titles(&warning), ["WARNING: refcount bug in frob_release"]);
    let lockup = "BUG: workqueue lockup -\npool cpus=0 node=0 flags=0x0 nice=0 stuck for 65s!\n";
    assert_eq!(titles(lockup), ["BUG: workqueue lockup"]);
}

#[test]
fn a_carriage_return_hides_nothing() {
    let bug = |text: &str| format!("{text}\nRIP: 0010:frob_put+0x1/0x2\n{STACK}");
    let wanted = ["kernel BUG in frob_put"];
    for text in [
        "kernel BUG at fs/frob.c:1!",
        "kernel BUG at fs/\rfrob.c:1!",
        "kernel BUG at fs/frob.c:1!\rall is well",
        "loading  10%\rkernel BUG at fs/frob.c:1!",
        "one\rkernel BUG at fs/frob.c:1!\rtwo\r",
    ] {
        assert_eq!(titles(&bug(text)), wanted, "{text:?}");
    }
}

#[test]
fn long_messages_are_found_and_their_titles_bounded() {
    let log = format!("BUG: the frob is {}\n", "very ".repeat(100_000));
    let findings = scan(log.as_bytes());
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].class, Class::BugOther);
    assert!(findings[0].title.len() < 700);
    let log = format!(
        "BUG: frob {} is not in the list of those that are in use by anyone at all, which it should be at this point of time\n",
        "x".repeat(40)
    );
    assert_eq!(titles(&log).len(), 1);
}

#[test]
fn titles_hold_no_addresses() {
    for (log, title) in [
        (
            "BUG frob_cache (Not tainted): Padding overwritten. 0x0000000043411dd0-0x0000000043411f5f @offset=3536\n",
            "BUG: Padding overwritten",
        ),
        (
            "BUG: frob at ffff888012345678 is gone\n",
            "BUG: frob at ADDR is gone",
        ),
    ] {
        assert!(titles(log)[0].starts_with(title), "{:?}", titles(log));
    }
}

#[test]
fn ordinary_reboots_are_none_of_ours() {
    let banner = "kernel: Linux version 6.1.0-9-amd64 (builder@host) (gcc 12.2.0) #1 SMP";
    for between in [
        "-- Boot 0123456789abcdef0123456789abcdef --",
        "-- Reboot --",
        "Nov 22 15:00:00 host systemd[1]: Reached target reboot.target - System Reboot.",
        "Nov 22 15:00:00 host rsyslogd: [origin software=\"rsyslogd\" x-pid=\"7\"] exiting on signal 15.",
        "Nov 22 15:00:00 host cron[7]: nothing that explains it",
    ] {
        let log = format!(
            "Nov 22 14:00:00 host {banner}\nNov 22 14:00:01 host kernel: frob: up\n{between}\n\
             Nov 22 15:01:00 host {banner}\n"
        );
        assert_eq!(titles(&log), [""; 0], "{between}");
    }
    // A console has every line: here nothing announced it.
    let log = "[    0.000000] Linux version 6.1.0 (a@b) #1 SMP\n[    9.000000] frob: up\n\
               [    0.000000] Linux version 6.1.0 (a@b) #1 SMP\n";
    assert_eq!(titles(log).len(), 1);
}

/// Programs show a kernel's log on its console: `dmesg`, `cat /proc/version`.
#[test]
fn what_a_console_shows_once_more_is_no_restart() {
    let boot = "[    0.000000] Linux version 6.1.0 (a@b) #1 SMP\n\
                [    0.004000] Command line: quiet\n[    0.104217] frob: up\n\
                [    0.804345] frob: ready\n[    1.200345] Run /init as init process\n";
    let version = "Linux version 6.1.0 (a@b) #1 SMP\n";
    let late = "[    9.000001] frob: busy\n";
    assert_eq!(titles(&format!("{boot}{version}{late}")), [""; 0]);
    assert_eq!(titles(&format!("{boot}# dmesg\n{boot}{late}")), [""; 0]);
    assert_eq!(titles(&format!("{boot}{boot}{late}{boot}")), [""; 0]);
    // Whatever hides in its lines, and however wide the terminal is.
    let hidden = boot.replace("frob", "fr\x01ob").replace("init", "in\x01it");
    assert_eq!(titles(&format!("{hidden}{hidden}{late}")), [""; 0]);
    let mut broken = String::new();
    for line in boot.lines() {
        let line = format!("{line} {}", "x".repeat(90));
        let (first, rest) = line.split_at(80);
        broken.extend([first, "\n", rest, "\n"]);
    }
    assert_eq!(titles(&format!("{broken}{broken}{late}")), [""; 0]);
    // Without what tells it from other boots, or with other times, it is one.
    let other = boot.replace("0.104217", "0.104593").replace("345", "678");
    assert_eq!(titles(&format!("{boot}{other}{late}")).len(), 1);
    // Two lines come at the same time by chance.
    let other = boot.replace("0.104217", "0.104593");
    assert_eq!(titles(&format!("{boot}{other}{late}")).len(), 1);
    // So is another boot that was announced, and shown after that.
    let log = format!("{boot}[    9.1] reboot: Restarting system\n{other}{other}");
    assert_eq!(titles(&log), [""; 0]);
}

/// Clocks begin in all boots alike.
#[test]
fn early_lines_with_the_same_times_are_of_other_boots() {
    let boot = "[    0.000000] Linux version 6.1.0 (a@b) #1 SMP\n\
                [    0.000003] clocksource: kvm-clock: mask: 0xffffffffffffffff\n\
                [    0.000006] tsc: Detected 2899.998 MHz processor\n\
                [    0.000011] last_pfn = 0x80000 max_arch_pfn = 0x400000000\n\
                [    0.104217] frob: up\n[    0.804345] frob: ready\n\
                [    1.200345] Run /init as init process\n";
    let other = boot
        .replace("0.804345", "0.804678")
        .replace("1.200", "1.201");
    assert_eq!(titles(&format!("{boot}{other}")).len(), 1);
}

/// A kernel without stamps may follow one that has them.
#[test]
fn a_banner_without_a_stamp_may_be_a_reset_s() {
    let boot = "[    0.000000] Linux version 6.1.0 (a@b) #1 SMP\n\
                [    0.104217] frob: up\n[    9.200345] Run /init as init process\n";
    let bare = "Linux version 6.1.0 (a@b) #1 SMP\nCommand line: quiet\nfrob: up\n";
    let late = "[   10.100000] frob: busy\n";
    assert_eq!(titles(&format!("{boot}{bare}")).len(), 1);
    assert_eq!(titles(&format!("{boot}{bare}{late}")), [""; 0]);
    // A program shows one line of it.
    let version = "Linux version 6.1.0 (a@b) #1 SMP\n";
    assert_eq!(titles(&format!("{boot}{version}login:\n")), [""; 0]);
    assert_eq!(titles(&format!("{boot}{version}{boot}")).len(), 1);
}

#[test]
fn a_reset_is_told_before_what_came_after_it() {
    let boot = "[    0.000000] Linux version 6.1.0 (a@b) #1 SMP\n[    0.104217] frob: up\n";
    let again = boot.replace("217", "593");
    let bug =
        "[    1.000001] kernel BUG at fs/frob.c:1!\n[    1.000002] RIP: 0010:frob_put+0x1/0x2\n";
    let told = titles(&format!("{boot}{again}{bug}"));
    assert_eq!(told.len(), 2);
    assert!(told[0].starts_with("unexpected kernel reboot"), "{told:?}");
    let begun: Vec<u64> = Scanner::new()
        .push(format!("{boot}{again}{bug}").as_bytes())
        .iter()
        .filter_map(|sighting| match sighting {
            Sighting::Begun { line, .. } => Some(*line),
            Sighting::Complete(_) => None,
        })
        .collect();
    assert_eq!(begun, [3, 5]);
}

/// A line may end at a terminal's last column because there is no more of it.
#[test]
fn a_line_that_is_just_as_long_as_a_terminal_is_wide_is_whole() {
    let warning =
        "[   12.000001] WARNING: CPU: 0 PID: 321 at fs/frob.c:77 frob_evict_it+0x1d0/0x2f";
    let frame = "[   12.000002]  frob_release_the_whole_tree_of_everything_that_is_here+0x1d0/0x2";
    let log = |before: &str, full: &str, next: &str, after: &str| {
        assert_eq!(full.len(), 80, "{full}");
        format!("{before}{full}\n{next}\n{after}")
    };
    let call = "[   12.000003] Call Trace:\n";
    let rest = "[   12.000004]  do_syscall_64+0x57/0x190\n";
    // Nothing was ever broken there, or lines are longer than that.
    let wider = format!("[    1.000000] frob: {}\n", "x".repeat(90));
    for before in ["", &*wider] {
        let found = scan(log(before, warning, "0 tests were done", call).as_bytes());
        assert_eq!(found[0].title, "WARNING in frob_evict_it", "{before}");
        let before =
            format!("{before}[   12.000001] BUG: KASAN: use-after-free in kfree+0x1/0x2\n{call}");
        let found = scan(log(&before, frame, "0 tests were done", rest).as_bytes());
        assert_eq!(found[0].frames[0].size, Some(2), "{before}");
    }
    // What follows is a message by itself.
    let broken = format!("[    1.000000] frob: {}\nyyy\n", "x".repeat(59));
    let bug = "kernel BUG at fs/frob.c:1!";
    let last = format!("[    2.000000] frob: {}", "x".repeat(59));
    let found = titles(&log(
        &broken.repeat(2),
        &last,
        bug,
        "RIP: 0010:frob_put+0x1/0x2\n",
    ));
    assert_eq!(found.len(), 1);
}

/// The first line of a message that a terminal broke is where it begins.
#[test]
fn a_broken_message_begins_in_its_first_line() {
    let mut log = String::new();
    for message in ["a", "b", "BUG: frob"] {
        let line = format!("[  242.000001] {message} {} is gone", "x".repeat(150));
        for piece in line.as_bytes().chunks(80) {
            log += &String::from_utf8_lossy(piece);
            log += "\n";
        }
    }
    let found = scan(log.as_bytes());
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].first_line, found[0].last_line), (7, 9));
}

/// Somebody reads the list that the count tells of.
#[test]
fn a_count_of_leaks_and_their_list_are_one_finding() {
    let count = "kmemleak: 1 new suspected memory leaks (see /sys/kernel/debug/kmemleak)\n";
    let list = "unreferenced object 0xffff888004a5c1a0 (size 64):\n  \
                comm \"worker\", pid 321, jiffies 4294892300\n  backtrace (crc 0):\n    \
                __kmalloc_cache_noprof+0x28f/0x370\n    frob_alloc+0x3c/0x60\n";
    assert_eq!(titles(count), ["memory leak"]);
    let both = titles(&format!("{count}# cat /sys/kernel/debug/kmemleak\n{list}"));
    assert_eq!(both, ["memory leak in frob_alloc"]);
}

/// Two processors may say the same at once.
#[test]
fn what_two_processors_say_at_once_is_no_double() {
    let mut log = String::new();
    for line in [
        "BUG: KASAN: use-after-free in frob_put",
        "Call Trace:",
        " frob_put+0x1/0x2",
    ] {
        for caller in ["T1", "T2"] {
            writeln!(log, "[   12.000001][  {caller:>4}] {line}").unwrap();
        }
    }
    let found = scan(log.as_bytes());
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|finding| finding.frames.len() == 1));
}

/// A terminal breaks lines where they are too long for it.
#[test]
fn a_message_that_a_terminal_broke_is_whole() {
    for (broken, title) in [
        (
            "[ 1012.345678] WARNING: CPU: 11 PID: 104242 at drivers/misc/frob/frob_tree.c:1073 frob_r\n\
             ecompute_the_tree+0x1d0/0x2f0 [frob]\n",
            "WARNING in frob_recompute_the_tree",
        ),
        (
            "[ 1012.345678] WARNING: CPU: 11 PID: 104242 at drivers/misc/frob/frob_tr\n\
             ee.c:1073 frob_compute+0x1d0/0x2f0 [frob]\n",
            "WARNING in frob_compute",
        ),
        (
            "[ 1012.345678] BUG: KASAN: slab-use-after-f\nree in frob_compute+0x1d0/0x2f0 [frob]\n",
            "KASAN: slab-use-after-free in frob_release",
        ),
        // And mail programs between words.
        (
            "[ 1012.345678] WARNING: CPU: 11 PID: 104242 at drivers/frob.c:1073\n\
             frob_compute+0x1d0/0x2f0 [frob]\n",
            "WARNING in frob_compute",
        ),
    ] {
        assert_eq!(titles(&format!("{broken}{STACK}")), [title], "{broken}");
    }
}

/// All of a report's lines, those of its stack as well, at any width and in any chunks.
#[test]
fn a_report_that_a_terminal_broke_is_whole() {
    let report = format!(
        "WARNING: suspicious RCU usage\n6.12.0 #1 Not tainted\n\
         drivers/frob/table.c:77 suspicious rcu_dereference_check() usage!\n\
         stack backtrace:\nCPU: 0 PID: 321 Comm: worker Not tainted 6.12.0 #1\n{}",
        STACK.replace(
            "frob_release",
            "frob_release_the_whole_tree_of_everything_that_was_ever_in_the_table.constprop.0.isra.0"
        )
    );
    let mut broken = String::new();
    for line in report.lines() {
        let line = format!("[  242.000001][ T4242] {line}");
        for piece in line.as_bytes().chunks(80) {
            broken += &String::from_utf8_lossy(piece);
            broken += "\r\n";
        }
    }
    let title = "WARNING: suspicious RCU usage in \
                 frob_release_the_whole_tree_of_everything_that_was_ever_in_the_table";
    assert_eq!(titles(&broken), [title]);
    for cut in 0..broken.len() {
        let mut scanner = Scanner::new();
        scanner.push(&broken.as_bytes()[..cut]);
        scanner.push(&broken.as_bytes()[cut..]);
        let found = scanner.finish();
        assert_eq!(found.len(), 1, "cut at {cut}");
        assert_eq!(found[0].title, title, "cut at {cut}");
        assert_eq!((found[0].first_line, found[0].last_line), (1, 15), "{cut}");
    }
    // What ends at the last column may also be all.
    let full = format!("[  242.000001] BUG: frob {} is gone", "x".repeat(47));
    assert_eq!(full.len(), 80);
    let log = format!("{full}\n[  242.000002] BUG: frob y is gone\n");
    assert_eq!(titles(&log).len(), 2);
    assert_eq!(titles(&full).len(), 1);
}

#[test]
fn lines_that_two_consoles_print_are_of_one_report() {
    let report = format!(
        "VFS_WARN_ON_INODE(frob): inode:ffff888004a5c1a0 fs:ceph mode:100644\n\
         ------------[ cut here ]------------\n\
         WARNING: CPU: 0 PID: 321 at fs/frob.c:77 frob_evict+0x1/0x2\n\
         CPU: 0 PID: 321 Comm: worker Not tainted 6.12.0 #1\n{STACK}"
    );
    let twice = |at: usize, line: &str| format!("[   12.{at:06}] {line}\n").repeat(2);
    let log: String = report
        .lines()
        .enumerate()
        .map(|(at, line)| twice(at, line))
        .collect();
    assert_eq!(titles(&log), ["VFS_WARN_ON_INODE in frob_evict"]);
    // Without stamps a stack's function may be there twice, its first line not.
    let bug = "BUG: KASAN: use-after-free in frob_put+0x1/0x2\n";
    let log = format!("{bug}{bug}{STACK}");
    assert_eq!(titles(&log), ["KASAN: use-after-free in frob_release"]);
}

#[test]
fn a_hung_task_whose_lines_were_cut_is_one() {
    let log = "INFO: task kworker/u16:3:12345 blocked for \n      Not tainted 6.1.0-13-amd64 #1 De\n\
               Call Trace:\n <TASK>\n __schedule+0x34d/0x9e0\n schedule+0x5a/0xd0\n \
               frob_flush+0xb0/0x110\n frob_work+0x22/0x40\n process_one_work+0x1c7/0x380\n </TASK>\n";
    assert_eq!(titles(log), ["INFO: task hung in frob_flush"]);
}

#[test]
fn a_host_may_be_called_kernel() {
    for host in ["kernel", "kernel-7"] {
        let log = format!(
            "Nov 22 14:00:00 {host} kernel: BUG: workqueue lockup - pool cpus=3 node=0 flags=0x0 \
             nice=0 stuck for 41s!\n"
        );
        assert_eq!(titles(&log), ["BUG: workqueue lockup"]);
    }
}

/// A guest prints what it likes.
#[test]
fn a_line_of_nothing_but_stamps_is_read_in_no_time() {
    let log = format!("{} BUG: frob is gone\n", "a[1.000]".repeat(8000));
    assert_eq!(titles(&log), [""; 0]);
}

#[test]
fn a_report_without_its_first_line_is_one() {
    let log = format!(
        "[    1.000000] ------------[ cut here ]------------\n[    1.000000] Modules linked in: frob\n{}",
        STACK.replace("Call", "pc : frob_set+0x1/0x2\nCall")
    );
    assert_eq!(titles(&log), ["WARNING in frob_set"]);
    // With it there is one report, not two.
    let log = log.replace(
        "[    1.000000] Modules",
        "[    1.000000] WARNING: CPU: 0 PID: 1 at fs/frob.c:5 frob_set+0x1/0x2\n[    1.000000] Modules",
    );
    assert_eq!(titles(&log), ["WARNING in frob_set"]);
}

#[test]
fn one_report_may_hold_another() {
    let log = format!(
        "rcu: INFO: rcu_sched detected stalls on CPUs/tasks:\n\
         rcu: \t2-...0: (0 ticks this GP) idle=24a/1/0x4000000000000000 softirq=1/1 fqs=6896\n\
         Sending NMI from CPU 6 to CPUs 2:\n\
         NMI watchdog: Watchdog detected hard LOCKUP on cpu 2\n\
         CPU: 2 PID: 321 Comm: worker Not tainted 6.12.0 #1\n\
         RIP: 0010:_raw_spin_lock_irqsave+0xd/0x40\n{STACK}"
    );
    assert_eq!(
        titles(&log),
        [
            "INFO: rcu detected stall in frob_release",
            "BUG: hard lockup in frob_release"
        ]
    );
    // Both messages in one line: the second one counts.
    let log = format!(
        "[    1.000000] frob: read 12 of[    1.000001] kernel BUG at fs/frob.c:1!\nRIP: 0010:frob_put+0x1/0x2\n{STACK}"
    );
    assert_eq!(titles(&log), ["kernel BUG in frob_put"]);
}

#[test]
fn utf_16_is_read() {
    let text = format!("kernel BUG at fs/frob.c:1!\r\nRIP: 0010:frob_put+0x1/0x2\r\n{STACK}");
    let units = std::iter::once(0xfeff).chain(text.encode_utf16());
    let bytes: Vec<u8> = units.flat_map(u16::to_le_bytes).collect();
    assert_eq!(scan(&bytes)[0].title, "kernel BUG in frob_put");
}

#[test]
fn a_sentence_before_a_message_is_no_prefix() {
    for log in [
        "ok 1 - BUG: unable to handle page fault is not seen\nok 2 - CPU: fine\n",
        "looking for BUG: KASAN: use-after-free in frob+0x1/0x2\nCall Trace:\n frob+0x1/0x2\n",
    ] {
        assert_eq!(titles(log), [""; 0], "{log}");
    }
}
