"""Which system calls no host in a sandbox may make, as the program that the kernel asks (seccomp). Pure.

None of them is of use to a process without capabilities; they are the parts of the kernel that are attacked
most. All others are allowed: an application must run as it does elsewhere.
"""

import struct
from dataclasses import dataclass

EPERM, ENOSYS = 1, 38
DENIED = (
    *("mount", "umount2", "pivot_root", "chroot", "mount_setattr", "move_mount", "open_tree"),
    *("fsopen", "fsmount", "fsconfig", "fspick", "open_by_handle_at", "quotactl", "quotactl_fd"),
    *("unshare", "setns", "ptrace", "process_vm_readv", "process_vm_writev"),
    *("keyctl", "add_key", "request_key", "bpf", "perf_event_open", "userfaultfd"),
    *("init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot"),
    *("acct", "swapon", "swapoff", "settimeofday", "clock_settime", "iopl", "ioperm", "syslog"),
)
"""Answered with EPERM."""
ABSENT = ("clone3", "io_uring_setup", "io_uring_enter", "io_uring_register")
"""Answered as by a kernel that does not have them, so that programs do without: the flags of clone3 can't be
seen here, those of clone can."""
NEW_NAMESPACES = 0x7E02_0000
"""CLONE_NEW* of mounts, cgroups, host names, IPC, users, process ids and network."""
X32_BIT = 0x4000_0000


@dataclass(frozen=True, slots=True)
class Calls:
    """One way to call the kernel. `audited`: how the kernel names it; the numbers are those of its headers,
    in the order of DENIED and ABSENT, None where it has no such call."""

    audited: int
    clone: int
    denied: tuple[int | None, ...]
    absent: tuple[int, ...] = (435, 425, 426, 427)
    has_x32: bool = False


X86_64 = Calls(
    0xC000_003E,
    56,
    (
        *(165, 166, 155, 161, 442, 429, 428),
        *(430, 432, 431, 433, 304, 179, 443),
        *(272, 308, 101, 310, 311),
        *(250, 248, 249, 321, 298, 323),
        *(175, 313, 176, 246, 320, 169),
        *(163, 167, 168, 164, 227, 172, 173, 103),
    ),
    has_x32=True,
)
I386 = Calls(
    0x4000_0003,
    120,
    (
        *(21, 52, 217, 61, 442, 429, 428),
        *(430, 432, 431, 433, 342, 131, 443),
        *(310, 346, 26, 347, 348),
        *(288, 286, 287, 357, 336, 374),
        *(128, 350, 129, 283, None, 88),
        *(51, 87, 115, 79, 264, 110, 101, 103),
    ),
)
AARCH64 = Calls(
    0xC000_00B7,
    220,
    (
        *(40, 39, 41, 51, 442, 429, 428),
        *(430, 432, 431, 433, 265, 60, 443),
        *(97, 268, 117, 270, 271),
        *(219, 217, 218, 280, 241, 282),
        *(105, 273, 106, 104, 294, 142),
        *(89, 224, 225, 170, 112, None, None, 116),
    ),
)
MACHINES = {"x86_64": (X86_64, I386), "aarch64": (AARCH64,)}

LOAD, JUMP_IF_EQUAL, JUMP_IF_NOT_BELOW, JUMP_IF_ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, AUDITED, FIRST_ARGUMENT = 0, 4, 16
"""Where these stand in what the kernel shows of a call; the low half of an argument comes first."""
ALLOW, ANSWER = 0x7FFF_0000, 0x0005_0000


def filter_for(machine: str) -> bytes:
    """For `platform.machine()`; b"" where its calls are not known here. Programs of another kind than the
    machine's, as far as they are not listed, can make no call."""
    kinds = MACHINES.get(machine, ())
    code = [_step(LOAD, AUDITED)]
    for kind in kinds:
        part = _part(kind)
        code += [_step(JUMP_IF_EQUAL, kind.audited, no=len(part)), *part]
    return b"".join((*code, _step(RETURN, ANSWER | ENOSYS))) if kinds else b""


def _part(kind: Calls) -> list[bytes]:
    denied = [number for number in kind.denied if number is not None]
    jumps = [(JUMP_IF_NOT_BELOW, X32_BIT, ENOSYS)] if kind.has_x32 else []
    jumps += [(JUMP_IF_EQUAL, number, ENOSYS) for number in kind.absent]
    jumps += [(JUMP_IF_EQUAL, number, EPERM) for number in denied]
    code = [_step(LOAD, NUMBER)]
    for jump, number, answer in jumps:
        code += [_step(jump, number, no=1), _step(RETURN, ANSWER | answer)]
    code += [_step(JUMP_IF_EQUAL, kind.clone, no=3), _step(LOAD, FIRST_ARGUMENT)]
    code += [_step(JUMP_IF_ANY_BIT, NEW_NAMESPACES, no=1), _step(RETURN, ANSWER | EPERM)]
    return [*code, _step(RETURN, ALLOW)]


def _step(code: int, value: int, *, no: int = 0) -> bytes:
    """`no`: so many steps are left out when a jump's condition does not hold."""
    return struct.pack("=HBBI", code, 0, no, value)
