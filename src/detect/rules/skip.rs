//! Functions that no title is named after, by family. A name ending in `*`
//! stands for every function that begins so. `.isra.0` and the like are taken
//! off before looking.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::super::frame::plain;

/// What prints reports and takes exceptions.
const REPORTING: &str = "
    check_slab_allocation check_page_allocation poison_slab_object unpoison_slab_object
    do_tag_check* do_tag_recovery report_kernel_fault* __phys_addr* virt_to_* __virt_*
    dump_stack* __dump_stack show_stack* dump_backtrace* unwind_backtrace show_trace*
    show_regs* __show_regs* sched_show_task _sched_show_task print_address_description*
    print_report* print_memory_metadata end_report kasan_* __kasan_* __asan_* __hwasan_*
    hwasan_* check_memory_region* kmsan_* __kmsan_* __msan_* kcsan_* __kcsan_* __tsan_*
    kfence_* __kfence_* __sanitizer_* sanitizer_* write_comp_data check_canary* ubsan_*
    __ubsan_* handle_overflow val_to_string panic vpanic nmi_panic panic_* __warn*
    warn_slowpath* warn_bogus* report_bug* __report_bug handle_bug exc_* asm_exc_*
    do_error_trap do_invalid_op invalid_op fixup_bug* die die_* __die* oops_* no_context
    __bad_area* bad_area* do_page_fault* __do_page_fault page_fault* async_page_fault
    do_async_page_fault do_kern_addr_fault do_user_addr_fault do_trap* do_general_protection
    general_protection brk_handler bug_handler* call_break_hook do_debug_exception
    debug_exception_* el1_dbg el1_sync* el1_abort el1_da el1_undef el1_brk* el1h_64_*
    do_el1_* __do_kernel_fault* do_translation_fault do_mem_abort do_alignment_fault
    do_bad_area do_sea do_DataAbort __dabt_svc __und_svc* do_undefinstr* __pabt_svc
    do_PrefetchAbort handle_exception ret_from_exception program_check_* do_program_check
    bad_page_fault handle_page_fault fault_in_kernel_space print_*_bug* print_circular_bug*
    print_usage_bug* print_irq_inversion* print_bad_* print_deadlock_bug* print_lock_*
    print_unlock_* print_freed_* print_kernel_* check_noncircular check_prev* check_deadlock
    check_irq_usage check_usage* check_wait_context validate_chain* __lock_acquire*
    lock_acquire* lock_release* __lock_release* lock_downgrade lock_is_held* lock_set_class
    find_lock_task* mark_lock* mark_usage mark_held_locks mark_irqflags* valid_state*
    register_lock_class assign_lock_key look_up_lock_class lockdep_* __lockdep_* save_trace*
    save_stack* __save_stack* stack_trace_* stack_depot_* __stack_depot_* ___might_sleep*
    __might_sleep* __might_resched* __might_fault* might_fault might_sleep* __schedule_bug
    __cant_sleep __cant_migrate check_preemption_disabled __this_cpu_preempt_check
    debug_smp_processor_id debug_check_no_locks* debug_lockdep_* rcu_lockdep_*
    rcu_read_lock* rcu_read_unlock* rcu_note_context_switch* spin_dump spin_bug rwlock_bug*
    __spin_lock_debug refcount_* __refcount_* debug_print_object* debug_object_*
    __debug_object_* debug_check_no_obj_freed __debug_check_no_obj_freed debug_dma_*
    check_unmap check_sync err_printk fortify_panic __fortify_panic __fortify_report
    usercopy_abort check_heap_object* __check_object_size* __check_heap_object* should_fail*
    fail_* __stack_chk_fail stack_overflow* handle_stack_overflow df_debug do_double_fault
    double_fault trace_hardirqs_* trace_irq_* __trace_hardirqs* irqentry_*
    nmi_cpu_backtrace* nmi_trigger_* arch_trigger_* trigger_all_* trigger_single_* printk*
    vprintk* _printk check_panic_on_warn instrumentation_* object_err slab_err slab_bug*
    print_trailer object_is_* set_track* track_slab* kmemleak_* create_object*
    __create_object* bust_spinlocks crash_* __crash_* kunit_* cfi_* __cfi_* do_breakpoint
    exception_* check_bug_trap do_bp handle_bp* ex_handler_* fixup_exception _copy_trace
";

/// The locks' own functions, and what takes one on a caller's behalf.
const LOCKS: &str = "
    inode_lock* inode_unlock* spin_lock* spin_unlock* i_mmap_lock_* i_mmap_unlock_* netif_tx_lock* local_lock* class_* mmap_read_* mmap_write_* write_seqlock* read_seqlock*
    _atomic_* iput lockref_* reiserfs_write_lock* _raw_* __raw_* raw_spin_* do_raw_* spin_*
    read_lock* write_lock* queued_* native_queued_* pv_queued_* __pv_queued_* pv_wait*
    kvm_wait* virt_spin_lock osq_lock mcs_* mutex_* __mutex_* ww_mutex_* down_* __down* up_*
    __up* rwsem_* call_rwsem_* rt_mutex_* rt_spin_* rtlock_* rwbase_* percpu_down_*
    percpu_up_* __percpu_down* percpu_rwsem_* __percpu_rwsem* seqcount_* down up
";

/// Reference counts, bits, lists, strings: what every subsystem calls.
const HELPERS: &str = "
    wake_up* __wake_up __wake_up_common_lock __wake_up_sync* __wake_up_locked* rb_erase*
    rb_insert* __rb_erase* __rb_insert* strn* strpbrk strsep strspn strim skip_spaces
    finish_wait prepare_to_wait* timer_is_static_object del_timer* mod_timer* add_timer*
    __mod_timer timer_delete* timer_shutdown* try_to_del_timer* detach_if_pending
    try_to_grab_pending __cancel_work* cancel_work* cancel_delayed_work* flush_work*
    __flush_work* flush_delayed_work work_grab_pending hrtimer_active hrtimer_try_to_cancel
    hrtimer_cancel kthread_stop* __kobject_* kobj* crc* dput dput_* fast_dput folio_unlock
    unlock_page rcu_segcblist_* debug_check_* cmp_ex_* atomic_* atomic64_* arch_atomic*
    raw_atomic* __atomic_* instrument_* test_bit set_bit clear_bit test_and_* __test_and_*
    variable_test_bit constant_test_bit arch_test_* arch_set_bit arch_clear_bit _test_bit*
    generic_test_bit __read_once_* __write_once_* read_word_* __xchg* cmpxchg* try_cmpxchg*
    list_* __list_* hlist_* __hlist_* ___hlist* llist_* kset_* kref_* klist_* memcpy*
    __memcpy* memset* __memset* memmove* __memmove* memcmp* memchr* memscan strlen* strcmp*
    strcpy* strlcpy* strscpy* strchr* strstr* strcat* sized_str* vsnprintf snprintf sprintf
    vsprintf number pointer __arch_copy_* rep_movs* rep_stos* csum_* __csum_* do_csum jhash*
    bcmp _find_* find_next_* find_first_* find_held_lock copy_to_user* copy_from_user*
    _copy_to_user* _copy_from_user* __copy_to_user* __copy_from_user* raw_copy_* copy_user_*
    _copy_to_iter* _copy_from_iter* copy_to_iter* copy_from_iter* copyout* copyin*
    copy_page_to_iter* copy_page_from_iter* clear_user __clear_user fault_in_* put_user_*
    copy_*_iter* native_read_msr* native_write_msr* rcu_is_watching rcu_dynticks*
    debug_*_disabled bitmap_* __bitmap_* refcount_* percpu_ref_* percpu_counter_*
    __percpu_counter_* get_page* put_page* folio_get* folio_put* __folio_put* page_ref_*
    kthread_data rcu_read_* srcu_* __srcu_* preempt_* get_user put_user __get_user_nocheck*
    __get_user_1 __get_user_2 __get_user_4 __get_user_8 __put_user_* copy_page
    copy_page_regs clear_page clear_page_erms clear_page_rep clear_page_orig string
    string_nocheck
";

/// Allocation and freeing.
const ALLOCATION: &str = "
    kmalloc* __kmalloc* __do_kmalloc* kmem_cache_* __kmem_cache_* slab_* ___slab_* __slab_*
    kzalloc* kcalloc* kfree kfree_const __kfree kfree_sensitive kzfree kfree_rcu* kvfree*
    __kvfree* kvmalloc* __kvmalloc* kvzalloc* vmalloc* __vmalloc* vzalloc* vfree* __vfree*
    vunmap* vm_map_ram krealloc* __krealloc __do_krealloc kmemdup* memdup_user*
    vmemdup_user* kstrdup* kstrndup* kvasprintf* kasprintf kvmemdup* __alloc_pages*
    __alloc_frozen_pages* alloc_page* __get_free_page* get_zeroed_page get_free_page*
    free_pages* free_unref_* __free_page* prep_new_page get_page_from_freelist folio_alloc*
    __folio_alloc* allocate_slab new_slab do_slab_free cache_alloc_* cache_grow*
    cache_free_* ____cache_alloc* ___cache_free __cache_free __do_cache_alloc qlist_*
    quarantine_* free_large_kmalloc large_* ___kmalloc* mempool_* __large_* __cache_alloc*
    fallback_alloc devm_k* devm_add_action* alloc_slab_page alloc_empty_sheaf __pcs_*
    refill_* __alloc_percpu* pcpu_alloc* free_percpu __vunmap dma_alloc_* __dma_alloc*
    xmalloc sock_kmalloc kthread_create* __kthread_create*
";

/// Waiting for something: what a hung task is found in.
const WAITING: &str = "
    __switch_to* context_switch __schedule* schedule* preempt_schedule* _cond_resched
    __cond_resched* cond_resched io_schedule* wait_* __wait_* do_wait_for_common
    do_wait_intr* bit_wait* out_of_line_wait* prepare_to_wait* finish_wait folio_wait_*
    __folio_lock* folio_lock* __lock_page* lock_page* lock_buffer __lock_buffer lock_folio*
    sleep_on_* kthread_stop* kthread_park kthread_flush_* flush_work* __flush_work*
    flush_delayed_* drain_workqueue* destroy_workqueue start_flush_work cancel_work*
    cancel_delayed_* __cancel_* del_timer_sync try_to_del_timer_sync timer_delete_sync
    hrtimer_cancel tasklet_kill exp_funnel_lock rcu_exp_* completion_* usleep_* msleep*
    nanosleep* do_nanosleep hrtimer_nanosleep common_nsleep* __lock_sock rcu_sync_*
    congestion_wait balance_dirty_* freezer_* __refrigerator read_descend dput_* __ldsem_*
    ldsem_* tty_lock* __filemap_fdatawait* filemap_fdatawait* filemap_fdatawrite*
    rwsem_down_* __bio_wait* submit_bio_wait _raw_* device_lock* mutex_lock*
    wb_wait_for_completion writeback_inodes_sb* __writeback_inodes_sb* lock_two_*
    inode_lock* p9_wait_* uart_*_wait super_lock super_*lock* get_anon_bdev
";

/// Waits that tell what for: in signatures, not in titles.
const NAMED_WAITS: &str = "
    inode_wait_for_writeback __inode_wait_for_writeback inode_sleep_on_writeback
";

/// Reference drops and teardown that many subsystems go through.
const TEARDOWN: &str = "
    tty_unregister_device tty_register_device* kfree_skb* __kfree_skb* consume_skb
    sk_skb_reason_drop __sk_skb_reason_drop skb_unref skb_queue_purge* __skb_queue_purge*
    dev_kfree_skb* __dev_kfree_skb* napi_consume_skb put_device get_device* device_release
    device_del device_unregister device_destroy cdev_device_* cdev_del device_add
    device_register device_create* device_initialize unregister_netdev* rollback_registered*
    dev_close* cleanup_glue_dir sysfs_remove_* sysfs_create_* internal_create_*
    kernfs_remove kernfs_remove_by_name* add_uevent_var destroy_inode device_pm_*
";

/// Allocation of what every subsystem passes around.
const CONSTRUCTION: &str = "
    __alloc_skb* alloc_skb* dev_alloc_skb* __dev_alloc_skb* netdev_alloc_skb*
    __netdev_alloc_skb* napi_alloc_skb* skb_clone skb_copy* pskb_copy* sock_alloc_send_*
    kmem_* mempool_* post_alloc_hook create_object kmemleak_* dup_iter alloc_workqueue*
    kobject_set_name* dev_set_name bio_alloc* sg_alloc* sgl_alloc*
";

/// Where the kernel is entered and work is dispatched: too far out to name.
const ENTRY: &str = "
    __primary_switch* __secondary_switched secondary_start_kernel
    entry_* do_syscall_* __do_syscall_* do_fast_syscall* __do_fast_syscall* do_SYSENTER*
    do_int80* x64_sys_call ia32_sys_call ret_fast_syscall ret_from_* el0_* el0t_* do_el0_*
    __el0_* invoke_syscall* el1_irq __sys_trace* system_call* sysenter_* ret_slow_syscall
    syscall_* handle_sys* start_kernel rest_init x86_64_start_* secondary_startup*
    start_secondary cpu_startup_entry do_idle kthread kthread_worker_fn worker_thread
    process_one_work process_scheduled_works rescuer_thread kernel_init kernel_init_freeable
    do_one_initcall do_initcall* do_basic_setup __do_softirq _stext handle_softirqs
    do_softirq* ____do_softirq call_on_* irq_exit* __irq_exit* invoke_softirq run_ksoftirqd
    smpboot_thread_fn __local_bh_enable_ip do_work_pending sysvec_* asm_sysvec_*
    smp_apic_timer_interrupt apic_timer_interrupt ret_to_user work_pending 0x*
";

/// Timers, interrupts and the watchdogs in them: on top of a stalled stack.
const TIMER: &str = "
    default_idle* native_safe_halt* safe_halt cpuidle_* acpi_idle* acpi_safe_halt
    acpi_processor_* intel_idle* mwait_idle* poll_idle call_cpuidle cpu_do_idle
    pv_native_safe_halt amd_e400_idle rcu_sched_clock_irq rcu_check_callbacks rcu_pending
    check_cpu_stall* print_cpu_stall* print_other_cpu_stall* rcu_dump_cpu_stacks*
    update_process_times tick_* __hrtimer_* hrtimer_* __run_hrtimer
    local_apic_timer_interrupt __sysvec_* __irq_svc gic_handle_irq* handle_percpu_devid_irq
    generic_handle_* __handle_domain_irq handle_domain_irq handle_irq* arch_timer_handler*
    watchdog_timer_fn softlockup_* is_softlockup do_interrupt_handler el1_interrupt
    __el1_irq arch_cpu_idle profile_tick perf_event_nmi_handler default_do_nmi do_nmi
    end_repeat_nmi nmi nmi_* watchdog_overflow_callback watchdog_hardlockup_*
    __perf_event_overflow perf_event_overflow handle_pmi_common intel_pmu_* x86_pmu_*
    native_apic_* apic_* timer_interrupt* __timer_interrupt decrementer_*
    riscv_timer_interrupt riscv_intc_irq do_irq do_IRQ common_interrupt*
    asm_common_interrupt flush_smp_call_function_queue __flush_smp_call_function_queue
    generic_smp_call_* csd_* __csd_* smp_call_function_* on_each_cpu* tsc_* delay_tsc
    __delay __const_udelay interrupt_entry retint_* restore_regs_* arch_local_* do_IPI ipi_*
    handle_IPI asm_exc_nmi exc_nmi call_on_irq_stack irq_work_* timekeeping_* ktime_*
";

/// What many operations share on their way in: a stall is named after the
/// operation, not after these.
const DISPATCH: &str = "
    compat_writev compat_readv compat_blkdev_ioctl compat_sock_ioctl do_compat_* vfs_read
    vfs_write vfs_readv vfs_writev __vfs_read __vfs_write new_sync_read new_sync_write
    full_proxy_read full_proxy_write
    do_iter_* do_readv* do_writev* call_read_iter call_write_iter do_loop_readv_writev*
    vfs_ioctl do_vfs_ioctl file_ioctl blkdev_ioctl __blkdev_driver_ioctl blkdev_driver_ioctl
    blkdev_common_ioctl sock_ioctl sock_do_ioctl* inet_ioctl inet6_ioctl sock_sendmsg*
    __sock_sendmsg sock_recvmsg* sock_write_iter sock_read_iter kernel_sendmsg
    kernel_recvmsg inet_sendmsg inet6_sendmsg inet_recvmsg sock_common_setsockopt
    sock_common_recvmsg sock_common_getsockopt do_sock_setsockopt do_sock_getsockopt
    netlink_sendmsg netlink_unicast* netlink_rcv_skb netlink_dump* __netlink_dump_start
    netlink_recvmsg rtnetlink_rcv* genl_* nfnetlink_rcv* nfnl_* ____sys_* ___sys_*
    __sys_sendmsg __sys_recvmsg __sys_sendto __sys_recvfrom __sys_sendmmsg __sys_recvmmsg
    do_recvmmsg __sys_setsockopt __sys_getsockopt do_splice* direct_splice_actor
    iter_file_splice_write generic_file_splice_read splice_* __do_splice do_sendfile
    do_sys_poll do_poll* do_select core_sys_select kern_select path_openat do_filp_open
    do_sys_open* vfs_open do_open* do_dentry_open chrdev_open blkdev_open net_rx_action
    net_tx_action process_backlog __napi_poll napi_* __netif_receive_skb* netif_receive_skb*
    gro_* run_timer_softirq __run_timers* __run_timer_base run_timer_base call_timer_fn*
    expire_timers tasklet_action* tasklet_hi_action rcu_core* rcu_do_batch
    rcu_process_callbacks invoke_rcu_* blk_done_softirq run_rebalance_domains
    hrtimer_run_softirq __run_hrtimer process_timeout rcu_gp_kthread task_work_run
    exit_to_user_mode* __exit_to_user_mode* prepare_exit_to_usermode do_notify_resume
    get_signal do_signal arch_do_signal* do_group_exit do_exit exit_mm* mmput __mmput __fput
    ____fput exit_files put_files_struct close_files filp_close close_fd tracehook_*
    exit_task_work
";

/// System calls that say nothing about what they did.
const MULTIPLEXED: &str = "
    read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 ioctl sendmsg
    sendmmsg sendto send recvmsg recvmmsg recvfrom setsockopt getsockopt  
     poll ppoll select pselect6 socketcall
    io_submit
";

/// A set of function names and beginnings of names.
pub(in crate::detect) struct Names {
    exact: HashSet<&'static str>,
    /// Beginnings, by their first byte.
    beginnings: Vec<Vec<&'static str>>,
}

impl Names {
    fn new(families: &[&'static str]) -> Self {
        let mut names = Self {
            exact: HashSet::new(),
            beginnings: vec![Vec::new(); 256],
        };
        for name in families.iter().flat_map(|family| family.split_whitespace()) {
            match name.strip_suffix('*') {
                Some(start) if !start.contains('*') => {
                    names.beginnings[usize::from(start.as_bytes()[0])].push(start);
                }
                _ => {
                    names.exact.insert(name);
                }
            }
        }
        names
    }

    /// Whether the function is one of them.
    pub(in crate::detect) fn contains(&self, function: &str) -> bool {
        let name = plain(function);
        let Some(first) = name.bytes().next() else {
            return true;
        };
        self.beginnings[usize::from(first)]
            .iter()
            .any(|start| name.starts_with(start))
            || self.exact.contains(name)
    }
}

/// Never in a title.
pub(in crate::detect) static ALWAYS: LazyLock<Names> =
    LazyLock::new(|| Names::new(&[REPORTING, LOCKS, HELPERS, ALLOCATION, TEARDOWN, ENTRY]));
/// Not in the title of a bad access: there the allocator may be the place.
pub(in crate::detect) static FAULT: LazyLock<Names> =
    LazyLock::new(|| Names::new(&[REPORTING, LOCKS, HELPERS, ALLOCATION, TEARDOWN, ENTRY]));
/// Not in the title of a hang.
pub(in crate::detect) static HANG: LazyLock<Names> = LazyLock::new(|| {
    Names::new(&[
        REPORTING,
        LOCKS,
        HELPERS,
        ALLOCATION,
        ENTRY,
        WAITING,
        NAMED_WAITS,
    ])
});
/// Not in the title of a stall, seen from outside.
pub(in crate::detect) static STALL: LazyLock<Names> =
    LazyLock::new(|| Names::new(&[REPORTING, LOCKS, HELPERS, ENTRY, TIMER, DISPATCH]));
/// The timer and what it runs, on top of what it interrupted.
pub(in crate::detect) static INTERRUPT: LazyLock<Names> =
    LazyLock::new(|| Names::new(&[TIMER, REPORTING]));
/// Below these lies the kernel's entry, not a subsystem.
pub(in crate::detect) static OUTSIDE: LazyLock<Names> = LazyLock::new(|| Names::new(&[ENTRY]));
/// Waiting and locking: on top of the frame that blocks.
pub(in crate::detect) static BLOCKING: LazyLock<Names> =
    LazyLock::new(|| Names::new(&[REPORTING, WAITING, LOCKS, HELPERS]));

/// Not in the title of a leak.
pub(in crate::detect) static LEAK: LazyLock<Names> =
    LazyLock::new(|| Names::new(&[REPORTING, LOCKS, HELPERS, ALLOCATION, ENTRY, CONSTRUCTION]));
/// The entry, the timer and the idle loop: no work at all.
pub(in crate::detect) static IDLE: LazyLock<Names> =
    LazyLock::new(|| Names::new(&[REPORTING, ENTRY, TIMER]));
/// What prints reports: a stack of nothing else is no stack.
pub(in crate::detect) static DUMPERS: LazyLock<Names> = LazyLock::new(|| Names::new(&[REPORTING]));
/// Not in the title of a complaint about locks.
pub(in crate::detect) static LOCKING: LazyLock<Names> =
    LazyLock::new(|| Names::new(&[REPORTING, LOCKS, HELPERS, ALLOCATION, WAITING, ENTRY]));

/// Whether a system call's name tells nothing about the operation.
pub(in crate::detect) fn is_multiplexed(call: &str) -> bool {
    MULTIPLEXED.split_whitespace().any(|known| known == call)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_beginnings() {
        assert!(HANG.contains("schedule_timeout"));
        assert!(HANG.contains("mutex_lock_nested.isra.0"));
        assert!(HANG.contains("inode_wait_for_writeback"));
        assert!(!BLOCKING.contains("inode_wait_for_writeback"));
        assert!(!ALWAYS.contains("evict"));
        assert!(ALWAYS.contains(""));
    }
}
