"""Removes the directories of guests that are gone, and all that is in them.

Snapshots go first: what is in one cannot be removed otherwise.
"""

import sys

import cephfs

conf, filesystem = sys.argv[1:3]
fs = cephfs.LibCephFS(conffile=conf, auth_id="admin")
fs.mount(filesystem_name=filesystem.encode())


def entries(path):
    """What a directory holds: names, and whether each is a directory itself."""
    directory = fs.opendir(path)
    found = []
    while entry := fs.readdir(directory):
        if entry.d_name not in (b".", b".."):
            found.append((entry.d_name, entry.is_dir()))
    fs.closedir(directory)
    return found


def remove(top):
    """Removes a directory. A guest may have made it deeper than Python's stack."""
    left = [top]
    while left:
        path = left[-1]
        for name, _ in entries(path + b"/.snap"):
            # One of a directory above shows with its own name and a number.
            if not name.startswith(b"_"):
                fs.rmdir(path + b"/.snap/" + name)
        below = []
        for name, is_directory in entries(path):
            if is_directory:
                below.append(path + b"/" + name)
            else:
                fs.unlink(path + b"/" + name)
        if below:
            left.extend(below)
        else:
            fs.rmdir(path)
            left.pop()


failed = None
for name in sys.argv[3:]:
    try:
        remove(b"/" + name.encode())
    except cephfs.ObjectNotFound:
        pass
    except cephfs.Error as error:
        failed = failed or f"/{name}: {error}"
fs.shutdown()
sys.exit(failed)
