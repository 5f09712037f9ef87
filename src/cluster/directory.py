"""Makes a guest's directory, the objects of which have a namespace of their own.

The right to make it in the root is the administrator's: the guest's own key
ends at the directory.
"""

import sys

import cephfs

conf, filesystem, path, namespace = sys.argv[1:5]
fs = cephfs.LibCephFS(conffile=conf, auth_id="admin")
fs.mount(filesystem_name=filesystem.encode())
fs.mkdir(path.encode(), 0o755)
fs.setxattr(path.encode(), "ceph.dir.layout.pool_namespace", namespace.encode(), 0)
fs.shutdown()
