//! Functions by what they are, in families: which of them a title passes over
//! depends on the kind of report (see `skip`). A name ending in `*` stands for
//! every function that begins so, one that begins with `*` for every function
//! that ends so. `.isra.0` and the like are taken off before looking, and outside
//! locks, page cache and teardown `_` and `__`, too (see `skip::Names`).
//!
//! A function belongs to a family for what it does for its callers, whoever
//! these are: a report that is found in it is about them.

/// What prints reports and takes exceptions.
pub(super) const REPORTING: &str = "
    check_slab_allocation check_page_allocation poison_slab_object unpoison_slab_object
    do_tag_check* do_tag_recovery report_kernel_fault* __phys_addr* virt_to_* __virt_*
    dump_stack* show_stack* dump_backtrace* unwind_backtrace show_trace* show_regs*
    end_report kasan_* __asan_* hwasan_* check_memory_region* kmsan_* kcsan_* __tsan_*
    sanitizer_* write_comp_data check_canary* ubsan_* handle_overflow val_to_string
    panic vpanic nmi_panic panic_* __warn* warn_slowpath* warn_bogus* report_bug* die
    die_* __die* oops_* check_noncircular check_prev* check_deadlock check_irq_usage
    check_usage* check_wait_context validate_chain* lock_acquire* lock_release*
    lock_downgrade lock_is_held* lock_set_class find_lock_task* mark_lock* mark_usage
    mark_held_locks mark_irqflags* valid_state* register_lock_class assign_lock_key
    look_up_lock_class lockdep_* save_trace* save_stack* stack_trace_* stack_depot_*
    might_fault might_sleep* __schedule_bug __cant_migrate check_preemption_disabled
    __this_cpu_preempt_check debug_smp_processor_id debug_check_no_locks*
    debug_lockdep_* rcu_lockdep_* rcu_read_lock* rcu_read_unlock*
    rcu_note_context_switch* spin_dump spin_bug rwlock_bug* __spin_lock_debug refcount_*
    debug_print_object* debug_object_* debug_check_no_obj_freed debug_dma_* check_unmap
    check_sync err_printk check_heap_object* __check_object_size* should_fail* fail_*
    __stack_chk_fail stack_overflow* trace_hardirqs_* trace_irq_* __trace_hardirqs*
    irqentry_* nmi_cpu_backtrace* nmi_trigger_* arch_trigger_* trigger_all_*
    trigger_single_* printk* vprintk* check_panic_on_warn instrumentation_* object_err
    slab_err slab_bug* object_is_* set_track* track_slab* kmemleak_* create_object*
    bust_spinlocks crash_* kunit_* cfi_* _copy_trace kfence_report* kfence_handle*
    kfence_print* kfence_unprotect kfence_protect perf_trace_* trace_event_raw_event_*
    __traceiter_* __bpf_trace_* bpf_trace_run* trace_call_bpf kcov_* hung_task_*
    watchdog reset_page* bad_page free_page_is_bad* set_page_owner page_owner_*
    object_dump warn_alloc show_mem* dump_page* __dump_folio hlock_class rwsem_debug_*
    *_assertfail assertfail assfail *_assert_fail __might_* cant_sleep* ref_tracker_*
    *_check_corruption __list_add_valid* __list_del_entry_valid* __list_*_or_report
    skb_panic skb_over_panic skb_under_panic rust_helper_BUG* fortify_* usercopy_*
    report_addr kernel_halt __handle_sysrq lkdtm_do_action print_* ___kasan*
    *_is_static_object msan_* sched_show_task* core::panicking::* __rustc::*
    rust_begin_unwind
";

/// Where the kernel takes exceptions: on top of, or in the middle of, what they
/// interrupted.
pub(super) const EXCEPTIONS: &str = "
    exc_* asm_exc_* do_error_trap do_invalid_op invalid_op no_context bad_area*
    do_page_fault* page_fault* async_page_fault do_async_page_fault do_kern_addr_fault
    do_user_addr_fault do_trap* do_general_protection general_protection bug_handler*
    call_break_hook do_debug_exception debug_exception_* el1_dbg el1_sync* el1_abort
    el1_da el1_undef el1_brk* el1h_64_* do_el1_* __do_kernel_fault* do_translation_fault
    do_mem_abort do_alignment_fault do_bad_area do_sea do_DataAbort __dabt_svc
    __und_svc* do_undefinstr* __pabt_svc do_PrefetchAbort handle_exception
    ret_from_exception program_check_* do_program_check bad_page_fault handle_page_fault
    fault_in_kernel_space handle_stack_overflow df_debug do_double_fault double_fault
    do_breakpoint exception_* check_bug_trap do_bp handle_bp* ex_handler_*
    fixup_exception handle_bug fixup_bug* el0t_32_* el1_pc brk_* aarch64_break_handler
    do_bti do_ptrauth_fault do_asm_exception pgm_check_handler __do_pgm_check
    monitor_event_exception illegal_op do_report_trap die_kernel_fault do_kernel_fault
    tlb_do_page_fault* do_ade do_ri do_tr do_cpu stack_overflow_* data_access_*
    instruction_access_* hash__do_page_fault do_hash_* emulate_* unaligned_*
    do_entUnaUser
";

/// The locks' own functions, and what takes one on a caller's behalf.
pub(super) const LOCKS: &str = "
    inode_lock* inode_unlock* i_mmap_lock_* i_mmap_unlock_* netif_tx_lock* local_lock*
    class_* mmap_read_* mmap_write_* write_seqlock* read_seqlock* _atomic_* iput
    lockref_* reiserfs_write_lock* _raw_* __raw_* raw_spin_* do_raw_* spin_* read_lock*
    write_lock* queued_* native_queued_* pv_queued_* __pv_queued_* pv_wait* kvm_wait*
    virt_spin_lock osq_lock mcs_* mutex_* __mutex_* ww_mutex_* down_* __down* up_* __up*
    rwsem_* call_rwsem_* rt_spin_* rtlock_* rwbase_* percpu_down_* percpu_up_*
    __percpu_down* percpu_rwsem_* __percpu_rwsem* seqcount_* down up lock_sock*
    __lock_sock* bh_lock_sock* lock_sync srcu_lock_sync refcount_dec_and_mutex_lock
    refcount_dec_and_lock* rtnl_lock* rtnl_trylock console_lock console_trylock
    device_lock* __device_lock bit_spin_* hlist_bl_* seqlock_* read_seqbegin*
    *_read_lock_nested *_spin_lock *_spin_unlock ww_acquire_* spl_mutex_* ldsem_*
    __ldsem_* tty_lock* tty_ldisc_lock* unix_state_lock* btrfs_tree_read_lock*
    btrfs_tree_lock* __btrfs_tree_*lock* btrfs_read_lock_root_node btrfs_try_tree_*
    lock_page_* trylock_* raw_write_* raw_read_* nested_lock srcu_read_* rcuwait_*
    swait_* *_lock_irq *_lock_irqsave *_lock_bh cgroup_lock* cpus_read_lock*
    cpus_write_lock* rcu_lock_acquire rcu_lock_release lock_acquire* lock_release*
    rt_mutex_lock* rt_mutex_unlock* rt_mutex_trylock* rt_mutex_adjust* rt_mutex_handle*
    task_blocks_on_rt_mutex rt_mutex_slow* ___down* __ww_mutex_* osq_unlock
    downgrade_write try_to_take_rt_mutex __init_rwsem
";

/// Reference counts, bits, lists, strings: what every subsystem calls.
pub(super) const HELPERS: &str = "
    wake_up* rb_erase* rb_insert* strn* strpbrk strsep strspn strim skip_spaces
    finish_wait prepare_to_wait* timer_is_static_object del_timer* mod_timer* add_timer*
    timer_delete* timer_shutdown* try_to_del_timer* detach_if_pending
    try_to_grab_pending cancel_work* cancel_delayed_work* flush_work* flush_delayed_work
    work_grab_pending hrtimer_active hrtimer_try_to_cancel hrtimer_cancel kthread_stop*
    kobj* dput dput_* fast_dput unlock_page rcu_segcblist_* cmp_ex_* atomic_* atomic64_*
    arch_atomic* raw_atomic* instrument_* test_bit set_bit clear_bit test_and_*
    variable_test_bit constant_test_bit arch_test_* arch_set_bit arch_clear_bit
    _test_bit* generic_test_bit __read_once_* __write_once_* read_word_* __xchg*
    cmpxchg* try_cmpxchg* list_* hlist_* ___hlist* llist_* kset_* klist_* memcpy*
    memset* memmove* memcmp* memchr* memscan strlen* strcmp* strcpy* strlcpy* strscpy*
    strchr* strstr* strcat* sized_str* vsnprintf snprintf sprintf vsprintf number
    pointer __arch_copy_* rep_movs* rep_stos* csum_* do_csum jhash* _find_* find_next_*
    find_first_* find_held_lock copy_to_user* copy_from_user* raw_copy_* copy_user_*
    copy_to_iter* copy_from_iter* copyout* copyin* clear_user fault_in_* put_user_*
    native_read_msr* native_write_msr* rcu_is_watching rcu_dynticks* refcount_*
    get_page* put_page* folio_get* folio_put* page_ref_* kthread_data rcu_read_* srcu_*
    preempt_* get_user put_user __get_user_nocheck* __get_user_1 __get_user_2
    __get_user_4 __get_user_8 copy_page copy_page_regs clear_page clear_page_erms
    clear_page_rep clear_page_orig string string_nocheck rb_next* rb_prev* rb_first*
    rb_last* rb_replace_* __rb_* idr_find idr_get_next* idr_for_each* rhashtable_* rht_*
    lock_timer_base get_timer_base sk_stop_timer* sk_reset_timer* timer_reduce
    queue_work* queue_delayed_* mod_delayed_* insert_work* queue_rcu_work schedule_work*
    autoremove_wake_* default_wake_* skb_pu* drop_nlink clear_nlink inc_nlink set_nlink
    cleanup_srcu_struct init_srcu_struct* logic_in* logic_out* __raw_read* __raw_write*
    readb readw readl readq writeb writew writel writeq ioread* iowrite* inb inw inl
    outb outw outl *_copy_to_user *_copy_from_user complete complete_all __complete*
    swake_up_* sort bsearch plist_* memdup_* kmemdup* nla_* debug_* siphash* hsiphash*
    kref* bitmap* find_bit* uaccess_* sg_copy_* sg_miter_* flush_dcache_* dcache_*
    cpu_relax page_mapping folio_mapping compound_head PageCompound put_unaligned*
    get_unaligned* rep_nop crc_* ida_destroy mas_state_* seq_printf seq_put* seq_write
    seq_escape* simple_strto* kstrto* sysfs_emit* ktime_get* timespec64_* div_* mul_*
    folio_unlock copy_page_to_iter* radix_tree_lookup* radix_tree_next_*
    radix_tree_descend radix_tree_load_root radix_tree_deref* radix_tree_tag*
    radix_tree_iter* crc32* crc64* wait_for_completion* wait_for_common*
    do_wait_for_common usb_start_wait_urb usb_bulk_msg usb_control_msg*
    usb_internal_control_msg usb_interrupt_msg usb_kill_urb* usb_kill_anchored*
    usb_poison_* call_rcu* kvfree_call_rcu copy_mc_* aes_* aesti_* aesni_*
    crypto_cipher_* cipher_crypt_* drbg_* crypto_rng_* rng_setkey sha1_* sha256_*
    sha512_* chacha_* poly1305_* xxh* lzo1x_* LZ4_* md5_* percpu_ref_get*
    percpu_ref_put* percpu_ref_tryget* percpu_ref_kill* percpu_ref_exit percpu_counter_*
    core::* <core::* alloc::* <alloc::* stpcpy strcasecmp strcspn strlcat strrchr
    strreplace match_string __sysfs_match_string bin2hex hex2bin hex_dump_to_buffer
    sort_r scnprintf vscnprintf sscanf vsscanf num_to_str format_decode put_dec*
    widen_string ip4_addr_string* ip6_addr_string* ip4_string ip6_string
    ip6_compressed_string ip_addr_string mac_address_string hex_string uuid_string
    escaped_string device_node_string fwnode_string dentry_name file_dentry_name
    symbol_string va_format ptr_to_hashval* restricted_pointer default_pointer
    check_pointer time_str seq_buf_* __do_once_* errseq_* rcuref_* seq_path* seq_dentry
    seq_file_path seq_hlist_* seq_list_* seq_mangle_path seq_pad seq_vprintf
    seq_hex_dump simple_strntoull _parse_integer*
";

/// Looking pages up, for whoever the file belongs to.
pub(super) const PAGE_CACHE: &str = "
    xas_* xa_load xa_find* xa_get_* xa_head* xa_entry*
    find_lock_entries find_get_entries find_get_entry find_lock_page* find_get_page*
    pagecache_get_page filemap_get_entry __filemap_get_folio* filemap_get_folio*
    filemap_alloc_folio* truncate_inode_pages*
";

/// Allocation and freeing.
pub(super) const ALLOCATION: &str = "
    kmalloc* __do_kmalloc* kmem_cache_* slab_* kzalloc* kcalloc* kfree kfree_const
    kfree_sensitive kfree_rcu* kvfree* kvmalloc* kvzalloc* vmalloc* vzalloc* vfree*
    vunmap* vm_map_ram krealloc* __do_krealloc kmemdup* memdup_user* vmemdup_user*
    kstrdup* kstrndup* kvasprintf* kasprintf kvmemdup* alloc_page* get_zeroed_page
    free_pages* __free_page* prep_new_page get_page_from_freelist folio_alloc*
    allocate_slab new_slab do_slab_free cache_alloc_* cache_grow* cache_free_*
    __cache_free __do_cache_alloc qlist_* quarantine_* *_kmalloc *_kzalloc large_*
    __cache_alloc* fallback_alloc devm_k* devm_add_action* alloc_slab_page
    alloc_empty_sheaf __pcs_* refill_* free_percpu dma_alloc_* __dma_alloc* xmalloc
    kthread_create* kfence_alloc* kfence_guarded_* prepare_alloc_pages alloc_frozen_*
    get_free_* *_alloc_pages_bulk* __vm_area_* __get_vm_area* alloc_vmap_area*
    kasan_populate_* kmemleak_* post_alloc_hook bpf_map_kmalloc* bpf_map_area_*
    kvrealloc* vrealloc* devres_* dma_pool_* dmam_* page_frag_* skb_page_frag_*
    memblock_* ptlock_* pte_alloc_* free_frozen_* free_unref* free_tail_* release_pages
    folio_batch_* folios_put* alloc_percpu* __percpu_init_rwsem obj_cgroup_* memcg_*
    mod_objcg_* kzfree* sheaf_* barn_* free_to_* rcu_free_* ___cache_* fs_reclaim_*
    might_alloc ksize __free_slab kfree_nolock kasprintf_strarray kfree_strarray
    vcalloc*
";

/// Waiting for something: what a hung task is found in.
pub(super) const WAITING: &str = "
    __switch_to* context_switch schedule* preempt_schedule* __cond_resched* cond_resched
    io_schedule* wait_* bit_wait* out_of_line_wait* prepare_to_wait* finish_wait
    folio_lock* lock_page* lock_buffer lock_folio* sleep_on_* kthread_stop* kthread_park
    kthread_flush_* flush_work* flush_delayed_* drain_workqueue* destroy_workqueue
    start_flush_work cancel_work* cancel_delayed_* __cancel_* del_timer_sync
    try_to_del_timer_sync timer_delete_sync tasklet_kill exp_funnel_lock rcu_exp_*
    completion_* usleep_* msleep* nanosleep* do_nanosleep common_nsleep* rcu_sync_*
    congestion_wait balance_dirty_* freezer_* __refrigerator read_descend dput_* ldsem_*
    tty_lock* __bio_wait* _raw_* device_lock* wb_wait_for_completion inode_lock*
    p9_wait_* uart_*_wait super_lock super_*lock* get_anon_bdev console_lock
    blk_mq_freeze_queue* blk_freeze_queue* do_read_cache_* read_mapping_*
    file_write_and_wait_range* filemap_write_and_wait* dma_fence_* dma_resv_wait*
    drm_syncobj_wait* rt_mutex_* cv_wait* __cv_* cv_timedwait* taskq_wait* nfs_wait_*
    rpc_wait_* var_wake* swait_* *_wait_event* do_wait_* inode_dio_wait* inode_sleep_*
    __inode_wait_* lock_mount* jbd2_log_wait_commit* synchronize_srcu* blk_io_schedule
    blk_wait_io submit_bio_wait* bio_await* blkdev_issue_* find_inode_nowait rwsem_*
    percpu_rwsem_* down_* mutex_* folio_wait* filemap_fdata* invalidate_lock*
    filemap_invalidate_lock* mmap_read_lock* mmap_write_lock* fsleep ssleep
    kthread_destroy_worker rcuwait_* hrtimer_* drm_atomic_helper_wait_* device_pm_wait_*
    dpm_wait* usb_kill_urb usb_poison_urb usb_start_wait_urb usb_control_msg
    usb_bulk_msg usb_internal_control_msg napi_disable* netdev_lock* rtnl_lock*
    lock_sock* percpu_ref_* __flush_* *_buf_lock *_buf_find_lock *_down_read
    *_down_write
";

/// Waits that tell what for: in signatures, not in titles.
pub(super) const NAMED_WAITS: &str = "
    inode_wait_for_writeback inode_sleep_on_writeback
";

/// Waiting for work that was queued, which lock validation takes for a lock.
pub(super) const FLUSHING: &str = "
    drain_workqueue* destroy_workqueue* start_flush_work flush_work* flush_delayed_*
    cancel_work* cancel_delayed_* kthread_flush_* touch_work_lockdep_map
    touch_wq_lockdep_map lock_map_*
";

/// Reference drops and teardown that many subsystems go through.
pub(super) const TEARDOWN: &str = "
    tty_unregister_device tty_register_device* kfree_skb* __kfree_skb* consume_skb
    sk_skb_reason_drop __sk_skb_reason_drop skb_unref skb_queue_purge*
    __skb_queue_purge* dev_kfree_skb* __dev_kfree_skb* napi_consume_skb put_device
    get_device* device_release device_del device_unregister device_destroy cdev_device_*
    cdev_del device_add device_register device_initialize unregister_netdev*
    rollback_registered* dev_close* cleanup_glue_dir sysfs_remove_* sysfs_create_*
    internal_create_* kernfs_remove kernfs_remove_by_name* add_uevent_var destroy_inode
    device_pm_* proc_create* proc_mkdir* proc_symlink dpm_sysfs_* i2c_del_adapter
    i2c_unregister_device __unregister_client __unregister_dummy device_for_each_child
    device_add_disk add_disk_fwnode __add_disk add_disk del_gendisk __del_gendisk
    sysfs_* device_remove_* bus_remove_device bus_add_device class_remove_* kobject_del
    __kobject_del device_create device_create_with_groups device_create_vargs
    device_create_groups_vargs
";

/// Allocation of what every subsystem passes around.
pub(super) const CONSTRUCTION: &str = "
    alloc_skb* dev_alloc_skb* netdev_alloc_skb* napi_alloc_skb* skb_copy*
    sock_alloc_send_* kmem_* post_alloc_hook create_object kmemleak_* dup_iter
    alloc_workqueue* kobject_set_name* dev_set_name sg_alloc* sgl_alloc* sk_prot_alloc
    sk_alloc sk_clone* alloc_file alloc_file_* alloc_empty_file* init_file
    kobject_create* kobject_init_and_add alloc_inode alloc_inode_sb new_inode*
    iget_locked* iget5_locked* d_alloc* dst_alloc sock_alloc_inode sock_alloc
    mempool_kmalloc mempool_alloc_slab bio_kmalloc* alloc_page* vm_area_alloc
    vm_area_dup skb_clone* pskb_* nlmsg_new* genlmsg_new* build_skb* napi_build_skb
    bpf_prog_alloc* usb_alloc_urb* request_firmware* alloc_netdev* alloc_etherdev*
    kthread_* create_worker xa_* xas_* idr_* radix_tree_* crypto_alloc_tfm*
    crypto_create_tfm* crypto_alloc_base sbitmap_* bdev_alloc key_alloc prepare_creds*
    prepare_kernel_cred* copy_fs_struct dup_fd __anon_inode_* seq_open* single_open*
    sidtab_* proc_create* register_sysctl* percpu_counter_* __percpu_* pcpu_alloc*
    *_sock_alloc
";

/// Where the kernel is entered and work is dispatched: too far out to name.
pub(super) const ENTRY: &str = "
    __primary_switch* __secondary_switched secondary_start_kernel entry_* do_syscall_*
    do_fast_syscall* do_SYSENTER* do_int80* x64_sys_call ret_fast_syscall ret_from_*
    el0_* el0t_* do_el0_* invoke_syscall* el1_irq __sys_trace* system_call* sysenter_*
    ret_slow_syscall syscall_* handle_sys* rest_init secondary_startup* start_secondary
    cpu_startup_entry do_idle kthread kthread_worker_fn worker_thread process_one_work
    process_scheduled_works rescuer_thread kernel_init kernel_init_freeable
    do_one_initcall do_initcall* do_basic_setup _stext handle_softirqs do_softirq*
    call_on_* irq_exit* invoke_softirq run_ksoftirqd smpboot_thread_fn
    __local_bh_enable_ip do_work_pending sysvec_* asm_sysvec_* smp_apic_timer_interrupt
    apic_timer_interrupt ret_to_user work_pending 0x* do_syscall psw_idle* do_ext_irq
    ext_int_handler io_int_handler do_io_irq do_trap_* handle_exception handle_riscv_irq
    vector_swi __vectors_* local_restart kernel_thread_helper kernel_thread
    kernel_thread_starter cstar_dispatch ia32_* int_ret_from_sys_call resume_userspace
    tracesys* stub_* handle_vint handle_loongson_irq do_vint do_notify_resume_user*
    smp_trace_* trace_apic_timer_interrupt* smp_*_interrupt* x86_64_start*
    common_startup* i386_start_kernel start_kernel* kthreadd run_init_process
    bringup_idle_cpu ap_starting relocate_kernel common_interrupt_return entry
    exit_to_user_mode_loop* exit_to_usermode_loop* irqentry_*
";

/// Timers, interrupts and the watchdogs in them: on top of a stalled stack.
pub(super) const TIMER: &str = "
    default_idle* native_safe_halt* safe_halt acpi_idle* acpi_safe_halt acpi_processor_*
    intel_idle* mwait_idle* poll_idle call_cpuidle cpu_do_idle pv_native_safe_halt
    amd_e400_idle rcu_check_callbacks rcu_pending check_cpu_stall* print_cpu_stall*
    print_other_cpu_stall* rcu_dump_cpu_stacks* update_process_times tick_* hrtimer_*
    __run_hrtimer local_apic_timer_interrupt __sysvec_* __irq_svc gic_handle_irq*
    handle_percpu_devid_irq generic_handle_* handle_domain_irq handle_irq*
    arch_timer_handler* watchdog_timer_fn softlockup_* is_softlockup
    do_interrupt_handler el1_interrupt __el1_irq profile_tick perf_event_nmi_handler
    default_do_nmi do_nmi end_repeat_nmi nmi nmi_* watchdog_overflow_callback
    watchdog_hardlockup_* perf_event_overflow handle_pmi_common intel_pmu_* x86_pmu_*
    native_apic_* apic_* timer_interrupt* decrementer_* riscv_timer_interrupt
    riscv_intc_irq do_irq do_IRQ common_interrupt* asm_common_interrupt
    flush_smp_call_function_queue generic_smp_call_* csd_* smp_call_function_*
    on_each_cpu* tsc_* delay_tsc __delay __const_udelay interrupt_entry retint_*
    restore_regs_* arch_local_* do_IPI ipi_* handle_IPI asm_exc_nmi exc_nmi
    call_on_irq_stack irq_work_* timekeeping_* ktime_* dump_cpu_task _sched_show_task*
    account_system_time* account_process_tick* scheduler_tick* sched_tick* task_tick_*
    run_local_timers* run_posix_cpu_timers* perf_event_task_tick* smp_trace_* psw_idle*
    enabled_wait* arch_cpu_idle* cpuidle* do_idle default_enter_idle do_ext_irq
    do_io_irq do_irq_* account_idle_* clock_comparator_* instr_sysvec_* watchdog_check_*
    rcu_stall_* rcu_sched_clock_* cpu_idle* wfi* idle_cpu kvm_clock_* pvclock_* read_tsc
    default_send_IPI* x2apic_* native_send_* native_smp_* __switch_to* context_switch
    schedule preempt_schedule* schedule_idle __schedule_loop
";

/// What many operations share on their way in: a stall is named after the
/// operation, not after these.
pub(super) const DISPATCH: &str = "
    compat_writev compat_readv compat_blkdev_ioctl compat_sock_ioctl do_compat_*
    vfs_read vfs_write vfs_readv vfs_writev new_sync_read new_sync_write full_proxy_read
    full_proxy_write do_iter_* do_readv* do_writev* call_read_iter call_write_iter
    do_loop_readv_writev* vfs_ioctl do_vfs_ioctl file_ioctl blkdev_ioctl
    blkdev_driver_ioctl blkdev_common_ioctl sock_ioctl sock_do_ioctl* inet_ioctl
    inet6_ioctl sock_sendmsg* sock_recvmsg* sock_write_iter sock_read_iter
    kernel_sendmsg kernel_recvmsg inet_sendmsg inet6_sendmsg inet_recvmsg
    sock_common_setsockopt sock_common_recvmsg sock_common_getsockopt do_sock_setsockopt
    do_sock_getsockopt netlink_sendmsg netlink_unicast* netlink_rcv_skb netlink_dump*
    netlink_recvmsg rtnetlink_rcv* genl_* nfnetlink_rcv* nfnl_* ___sys_* __sys_sendmsg
    __sys_recvmsg __sys_sendto __sys_recvfrom __sys_sendmmsg __sys_recvmmsg do_recvmmsg
    __sys_setsockopt __sys_getsockopt do_splice* direct_splice_actor
    iter_file_splice_write generic_file_splice_read splice_* do_sendfile do_sys_poll
    do_poll* do_select core_sys_select kern_select path_openat do_filp_open do_sys_open*
    vfs_open do_open* chrdev_open blkdev_open net_rx_action net_tx_action
    process_backlog napi_* netif_receive_skb* gro_* run_timer_softirq __run_timers*
    run_timer_base call_timer_fn* expire_timers rcu_core* rcu_do_batch
    rcu_process_callbacks invoke_rcu_* blk_done_softirq run_rebalance_domains
    hrtimer_run_softirq __run_hrtimer process_timeout rcu_gp_kthread task_work_run
    exit_to_user_mode* prepare_exit_to_usermode do_notify_resume get_signal do_signal
    arch_do_signal* do_group_exit do_exit exit_mm* mmput __fput exit_files
    put_files_struct close_files filp_close close_fd tracehook_* exit_task_work
    vm_mmap_pgoff ksys_mmap_pgoff vm_mmap do_mmap do_mmap_pgoff mmap_region mmap_file
    call_mmap exit_to_usermode_loop* blk_mq_end_* blk_complete_* blk_update_request
    req_bio_endio bio_endio io_worker_handle_work io_wq_worker io_wqe_worker
    io_wq_submit_work ksys_read ksys_write ksys_pread64 ksys_pwrite64 do_pwritev
    do_preadv aio_write aio_read io_submit_one __io_submit_one* io_issue_sqe
    io_queue_sqe io_submit_sqe* ip_list_rcv_finish __do_softirq do_dentry_open*
    vfs_fsync_range vfs_fsync do_fsync notifier_call_chain* raw_notifier_*
    atomic_notifier_* blocking_notifier_* call_usermodehelper_exec_async __ip_local_out*
    hrtimers_* tasklet_* workqueue_softirq_* bh_worker process_srcu
    srcu_invoke_callbacks __kernel_write* kernel_write kernel_read acct_process
    do_acct_process slow_acct_process copy_msghdr_from_user __copy_msghdr
    sendmsg_copy_msghdr recvmsg_copy_msghdr get_compat_msghdr import_iovec
    handle_mm_fault handle_pte_fault do_fault count_memcg_event* lock_mm_and_find_vma
";

/// System calls that say nothing about what they did.
pub(super) const MULTIPLEXED: &str = "
    read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 ioctl
    sendmsg sendmmsg sendto send recvmsg recvfrom setsockopt getsockopt poll ppoll
    select pselect6 socketcall io_submit mmap_pgoff mmap mmap2 old_mmap
";
