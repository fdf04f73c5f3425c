"""What a worker gives up before it reads model text: processes, network, files, memory (Linux; elsewhere less).

Each part is tried on its own, needs no privilege, and says whether it is in force. Where a container forbids
namespaces, the filter of system calls and Landlock still hold. Sources: ``namespaces(7)``, ``landlock(7)``,
``mount_setattr(2)``, ``capset(2)``, ``setrlimit(2)``.
"""

import contextlib
import ctypes
import os
import resource
import struct
import sys
from typing import Any

from forkpoint.verify._syscalls import filter_calls

NEW_USER, NEW_PROCESSES, NEW_NETWORK, NEW_MOUNTS, NEW_IPC = 0x10000000, 0x20000000, 0x40000000, 0x00020000, 0x08000000
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38
NO_SUID, NO_DEVICES, NO_EXEC, RECURSIVE, PRIVATE = 2, 4, 8, 0x4000, 0x40000
MOUNT_SETATTR, LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 442, 444, 445, 446
"""system calls whose number is the same on every machine"""
HERE, AT_RECURSIVE, READ_ONLY = -100, 0x8000, 1
WRITE_FILE = 1 << 1
WRITES = WRITE_FILE | sum(1 << bit for bit in range(4, 13))
"""Landlock's rights that change files: write, remove, and make of every kind"""


def libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def own_namespaces() -> bool:
    """Children of this process will have a process table, a network and mounts of their own. False where forbidden."""
    if sys.platform != "linux":
        return False
    user, group = os.getuid(), os.getgid()
    if libc().unshare(NEW_USER | NEW_PROCESSES | NEW_NETWORK | NEW_MOUNTS | NEW_IPC) != 0:
        return False
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with contextlib.suppress(OSError), open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    return True


def become_supervisor(*, namespaces: bool) -> None:
    """Die with the parent, adopt what children leave behind, be no one's to trace, and see one's own processes only."""
    if sys.platform != "linux":
        return
    system = libc()
    system.prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0)
    system.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    system.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    if namespaces:
        system.mount(b"none", b"/", None, RECURSIVE | PRIVATE, None)
        system.mount(b"proc", b"/proc", b"proc", NO_SUID | NO_DEVICES | NO_EXEC, None)


def confine(folder: str, limits: dict[str, Any], *, namespaces: bool) -> dict[str, bool]:
    """Give up everything but ``folder`` and ``limits``, for good; returns what is in force."""
    processes = limits["processes"] > 0
    bounded = False
    if namespaces:
        bounded = _own_folder(folder, limits["file_mb"])
    os.chdir(folder)
    os.environ |= {"HOME": folder, "TMPDIR": folder}
    filtered = written = False
    if sys.platform == "linux":
        system = libc()
        system.prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0)
        system.capset(struct.pack("Ii", 0x20080522, 0), bytes(24))
        system.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        written = _no_writes_outside(system, folder)
        filtered = filter_calls(system, processes=processes)
    _check_room(limits["memory_mb"])
    memory = _limit_resources(limits)
    return {
        "no orphan survives": namespaces or (filtered and not processes),
        "no process is started": filtered and not processes,
        "no network": namespaces or filtered,
        "no file outside is written": written or bounded,
        "disk is bounded": bounded,
        "memory is bounded": memory,
    }


def limit_processor(seconds: float) -> None:
    """From now on at most so many seconds of processor time: the last resort, should everything above be stopped."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = int(used.ru_utime + used.ru_stime + seconds) + 2
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (most, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _own_folder(folder: str, megabytes: int) -> bool:
    """Everything read-only in a mount namespace of one's own, and a small file system in memory over ``folder``."""
    system = libc()
    if system.unshare(NEW_MOUNTS) != 0:
        return False
    attributes = struct.pack("QQQQ", READ_ONLY, 0, 0, 0)
    read_only = system.syscall(MOUNT_SETATTR, HERE, b"/", AT_RECURSIVE, attributes, len(attributes)) == 0
    options = f"size={megabytes}m,nr_inodes=1024,mode=700".encode()
    own = system.mount(b"forkpoint", folder.encode(), b"tmpfs", NO_SUID | NO_DEVICES, options) == 0
    return read_only and own


def _no_writes_outside(system: ctypes.CDLL, folder: str) -> bool:
    """By Landlock, which works in containers too. It does not cover modes and times of files; the mounts above do."""
    version = system.syscall(LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return False
    rights = WRITES | (1 << 13 if version >= 2 else 0) | (1 << 14 if version >= 3 else 0)
    rules = system.syscall(LANDLOCK_CREATE, struct.pack("Q", rights), ctypes.c_size_t(8), 0)
    if rules < 0:
        return False
    for path, allowed in ((folder, rights), (os.devnull, WRITE_FILE)):
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        system.syscall(LANDLOCK_ADD, rules, 1, struct.pack("=Qi", allowed, place), 0)
        os.close(place)
    done = system.syscall(LANDLOCK_RESTRICT, rules, 0) == 0
    os.close(rules)
    return done


def _check_room(megabytes: int) -> None:
    """Raises ValueError where the limit is reached already: every text would seem to run out of memory."""
    with contextlib.suppress(FileNotFoundError), open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize() // 2**20
        if taken >= megabytes:
            raise ValueError(f"the scorer's imports take {taken} MB of {megabytes}; raise Limits.memory_mb")


def _limit_resources(limits: dict[str, Any]) -> bool:
    """Whether the one that not every system has, on memory, is in force."""
    bounds = {
        "RLIMIT_CORE": 0,
        "RLIMIT_FSIZE": limits["file_mb"] * 2**20,
        "RLIMIT_NOFILE": limits["open_files"],
        # threads count as processes; where calls are filtered, these may start though processes may not
        "RLIMIT_NPROC": limits["processes"] + 64 if limits["processes"] else None if sys.platform == "linux" else 0,
        "RLIMIT_AS": limits["memory_mb"] * 2**20,
    }
    done: set[str] = set()
    for name, bound in bounds.items():
        if bound is not None and hasattr(resource, name):
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(getattr(resource, name), (bound, bound))
                done.add(name)
    return "RLIMIT_AS" in done
