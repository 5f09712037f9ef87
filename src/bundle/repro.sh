#!/bin/sh
# Carries out the trial of this bundle again, on its own kernel or on another.
#
#   ./repro.sh                       the kernel of the bundle
#   ./repro.sh ~/linux               a built tree, or its arch/x86/boot/bzImage
#   ./repro.sh --trials 10 KERNEL    more than once
#
# Needs QEMU, for a cluster Ceph's daemons (Debian: qemu-system-x86 ceph-mon ceph-mgr
# ceph-osd ceph-mds python3-rados python3-cephfs), unshare, nsenter and ip. No root,
# where users may make namespaces. See README.md for the rest.
#
# Exit: 0 nothing was seen, 1 it was seen again, 125 that cannot be told: fit for
# `git bisect run`. 128: this host lacks something.
set -eu
here=$(cd -- "$(dirname -- "$0")" && pwd)
case "${1-}" in
-h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p;}' "$0"; exit 0 ;;
esac
if [ "$(uname -sm)" != "Linux x86_64" ]; then
    echo "repro.sh: this needs Linux on x86-64" >&2
    exit 128
fi
# With the loader and libraries of the host that it comes from: it runs whatever
# libc this host has.
exec "$here/host/ld.so" --library-path "$here/host" "$here/host/kvet" replay "$here" "$@"
