"""A filter of system calls for one process, by seccomp (Linux, x86-64 and aarch64): no privilege is needed.

Denied calls fail with EPERM: sockets, signals to anyone, tracing, namespaces, io_uring (it goes round filters); and,
where a scorer may start no process, fork, exec and their kin. Threads stay possible. Source: the kernel's
``Documentation/userspace-api/seccomp_filter.rst`` and its tables of system calls.
"""

import ctypes
import platform
import struct

X86_64 = {
    "clone": 56, "fork": 57, "vfork": 58, "execve": 59, "kill": 62, "socket": 41, "ptrace": 101, "mount": 165,
    "tkill": 200, "tgkill": 234, "rt_sigqueueinfo": 129, "rt_tgsigqueueinfo": 297, "unshare": 272, "setns": 308,
    "process_vm_readv": 310, "process_vm_writev": 311, "execveat": 322, "perf_event_open": 298, "bpf": 321,
}  # fmt: skip
AARCH64 = {
    "clone": 220, "execve": 221, "kill": 129, "socket": 198, "ptrace": 117, "mount": 40,
    "tkill": 130, "tgkill": 131, "rt_sigqueueinfo": 138, "rt_tgsigqueueinfo": 240, "unshare": 97, "setns": 268,
    "process_vm_readv": 270, "process_vm_writev": 271, "execveat": 281, "perf_event_open": 241, "bpf": 280,
}  # fmt: skip
BOTH = {"pidfd_send_signal": 424, "io_uring_setup": 425, "clone3": 435}
STARTS = ("fork", "vfork", "execve", "execveat")
"""what starts a process, besides ``clone``, which starts threads too"""

MACHINES = {"x86_64": (0xC000003E, X86_64 | BOTH), "aarch64": (0xC00000B7, AARCH64 | BOTH)}
EPERM, ENOSYS = 1, 38
CLONE_THREAD = 0x00010000
X32 = 0x40000000
"""a second set of numbers for the same calls on x86-64"""

LOAD, EQUAL, ABOVE, HAS, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, DENY, KILL = 0x7FFF0000, 0x00050000, 0x80000000
NUMBER, MACHINE, FIRST_ARGUMENT = 0, 4, 16
"""offsets in the data a filter sees; a clone's flags are its first argument"""

PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2


def program(machine: str, *, processes: bool) -> bytes:
    """The filter, as instructions of 8 bytes: (code, jump if true, jump if false, value).

    >>> len(program("x86_64", processes=True)) % 8
    0
    """
    word, numbers = MACHINES[machine]
    steps = [(LOAD, 0, 0, MACHINE), (EQUAL, 1, 0, word), (RETURN, 0, 0, KILL), (LOAD, 0, 0, NUMBER)]
    steps += [(ABOVE, 0, 1, X32), (RETURN, 0, 0, DENY | EPERM)]
    for name, number in numbers.items():
        if name == "clone3":  # its flags lie in memory, out of a filter's sight; libraries then fall back to clone
            steps += [] if processes else [(EQUAL, 0, 1, number), (RETURN, 0, 0, DENY | ENOSYS)]
        elif name != "clone" and not (processes and name in STARTS):
            steps += [(EQUAL, 0, 1, number), (RETURN, 0, 0, DENY | EPERM)]
    if not processes:
        steps += [(EQUAL, 0, 3, numbers["clone"]), (LOAD, 0, 0, FIRST_ARGUMENT)]
        steps += [(HAS, 1, 0, CLONE_THREAD), (RETURN, 0, 0, DENY | EPERM)]
    steps.append((RETURN, 0, 0, ALLOW))
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def filter_calls(libc: ctypes.CDLL, *, processes: bool) -> bool:
    """Put this process and all it starts under the filter; needs ``no_new_privs``. False where that cannot be."""
    if platform.machine() not in MACHINES:
        return False
    code = program(platform.machine(), processes=processes)
    held = ctypes.create_string_buffer(code, len(code))

    class Program(ctypes.Structure):
        _fields_ = (("count", ctypes.c_ushort), ("first", ctypes.c_void_p))

    described = Program(len(code) // 8, ctypes.cast(held, ctypes.c_void_p))
    return libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(described), 0, 0) == 0
