"""The filter of system calls: what the kernel would make of it, by its own rules."""

import re
import struct
from pathlib import Path

import pytest

from repave_agent.providers.syscalls import ABSENT, DENIED, I386, MACHINES, X32_BIT, X86_64, Calls, filter_for

ALLOWED, ERRNO = 0x7FFF_0000, 0x0005_0000
CLONE_NEWUSER, CLONE_THREAD = 0x1000_0000, 0x0001_0000


def verdict(machine: str, audited: int, number: int, flags: int = 0) -> int:
    """Runs the program as the kernel does."""
    program = list(struct.iter_unpack("=HBBI", filter_for(machine)))
    call = struct.pack("<IIQQ", number, audited, 0, flags)
    at, held = 0, 0
    while True:
        code, yes, no, value = program[at]
        at += 1
        match code:
            case 0x20:
                (held,) = struct.unpack_from("<I", call, value)
            case 0x15 | 0x35 | 0x45:
                is_so = {0x15: held == value, 0x35: held >= value, 0x45: bool(held & value)}[code]
                at += yes if is_so else no
            case 0x06:
                return int(value)
            case _:
                raise AssertionError(f"the kernel refuses {code:#x}")


KINDS = [(machine, kind) for machine, kinds in MACHINES.items() for kind in kinds]


@pytest.mark.parametrize(("machine", "kind"), KINDS)
def test_what_is_denied_is_answered_so_and_all_else_is_allowed(machine: str, kind: Calls) -> None:
    assert len(kind.denied) == len(DENIED)
    assert len(kind.absent) == len(ABSENT)
    for number in range(600):
        expected = ERRNO | 1 if number in kind.denied else ERRNO | 38 if number in kind.absent else ALLOWED
        offset = 16  # of the first argument, beside the instruction pointer
        assert offset == struct.calcsize("<IIQ")
        assert verdict(machine, kind.audited, number) == expected
    assert verdict(machine, kind.audited, kind.clone, CLONE_THREAD) == ALLOWED
    assert verdict(machine, kind.audited, kind.clone, CLONE_THREAD | CLONE_NEWUSER) == ERRNO | 1


def test_other_kinds_of_programs_make_no_call() -> None:
    assert verdict("x86_64", 0x4000_0028, 1) == ERRNO | 38  # ARM's
    assert verdict("x86_64", X86_64.audited, X32_BIT | 1) == ERRNO | 38
    assert filter_for("riscv64") == b""


@pytest.mark.parametrize(("kind", "header"), [(X86_64, "unistd_64.h"), (I386, "unistd_32.h")])
def test_the_numbers_are_those_of_the_kernel_s_headers(kind: Calls, header: str) -> None:
    file = Path("/usr/include/x86_64-linux-gnu/asm") / header
    if not file.exists():
        pytest.skip("the kernel's headers are not installed")
    known = {name: int(number) for name, number in re.findall(r"#define __NR_(\w+) (\d+)", file.read_text())}
    named = dict(zip((*DENIED, *ABSENT, "clone"), (*kind.denied, *kind.absent, kind.clone), strict=True))
    assert {name: known.get(name) for name in named} == named
