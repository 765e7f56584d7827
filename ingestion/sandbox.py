"""Takes from the present process what reading a file needs none of. For parsing children only.

On Linux a seccomp filter refuses sockets, new processes, programs and every opening or changing of
files, so a reader that was tricked by its input can neither call out nor look around. Limits on
memory hold on every POSIX system. Where there is no seccomp, an audit hook refuses the same to what
goes through Python, which is the best that can be had there; `doctor` says which of the two it is.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from pathlib import Path

_EACCES, _EPERM, _ENOSYS = 13, 1, 38

# Numbers from the kernel's syscall tables: arch/x86/entry/syscalls/syscall_64.tbl for x86-64 and
# include/uapi/asm-generic/unistd.h for AArch64, which lacks the older calls.
_OPENING = {
    "x86_64": (2, 85, 257, 304),  # open creat openat open_by_handle_at
    "aarch64": (56, 265),
}
_REFUSED = {
    "x86_64": (
        *(41, 42, 43, 49, 50, 53, 288),  # socket connect accept bind listen socketpair accept4
        *(57, 58, 59, 322),  # fork vfork execve execveat
        *(62, 129, 200, 297, 424, 434, 438),  # kill and its kin, pidfd_*
        *(76, 82, 83, 84, 86, 87, 88, 90, 92, 94, 133),  # truncate … mknod
        *(258, 259, 260, 263, 264, 265, 266, 268, 316),  # mkdirat … renameat2
        *(101, 310, 311, 298, 321, 323),  # ptrace process_vm_* perf_event_open bpf userfaultfd
        *(161, 165, 166, 272, 308, 302),  # chroot mount umount2 unshare setns prlimit64
        *(29, 248, 249, 250, 319),  # shmget add_key request_key keyctl memfd_create
        *(425, 426, 427),  # io_uring_*: would do all of the above unseen
    ),
    "aarch64": (
        *(198, 199, 200, 201, 202, 203, 242),
        *(221, 281),
        *(129, 130, 138, 240, 424, 434, 438),
        *(33, 34, 35, 36, 37, 38, 45, 53, 54, 276),
        *(117, 270, 271, 241, 280, 282),
        *(39, 40, 51, 97, 268, 261),
        *(194, 217, 218, 219, 279),
        *(425, 426, 427),
    ),
}
_CLONE = {"x86_64": 56, "aarch64": 220}
_TGKILL = {"x86_64": 234, "aarch64": 131}
_CLONE3, _OPENAT2 = 435, 437  # the same everywhere; refused as unknown, so that libc falls back
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_CLONE_THREAD = 0x00010000
_X32 = 0x40000000  # x86-64's second table of numbers

_AUDITED = (  # beginnings of the names of audit events
    *("open", "socket.", "subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.spawn"),
    *("os.system", "os.startfile", "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link"),
    *("os.symlink", "os.truncate", "os.chmod", "os.chown", "os.kill", "os.listdir", "os.scandir"),
    *("shutil.", "urllib.", "ftplib.", "smtplib.", "ctypes.dlopen", "winreg.", "pty.spawn"),
)

_NOTED = 20  # attempts of one file

_LOAD, _JUMP_EQUAL, _JUMP_GREATER, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCH, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data

_SECCOMP = {"x86_64": 317, "aarch64": 277}
_SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_TSYNC = 1, 1
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2


def limit_memory(room_bytes: int) -> None:
    """Let this process take `room_bytes` more address space than it has now, and write no core."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 (POSIX only)

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except OSError:
        return  # macOS: the kernel does not hold RLIMIT_AS anyway
    limit = pages * resource.getpagesize() + room_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def deny_system_calls() -> str:
    """Install the filter for all threads of this process; "" or why it is not in force."""
    machine = {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    if sys.platform != "linux" or machine not in _AUDIT_ARCH or sys.maxsize < 2**32:
        return f"no seccomp filter for {sys.platform} on {machine}"
    program = _program(machine)
    libc = ctypes.CDLL(None, use_errno=True)
    filters = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(filters))
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return f"prctl: {os.strerror(ctypes.get_errno())}"
    # For all threads at once, also those that a library has started already.
    number = ctypes.c_long(_SECCOMP[machine])
    if libc.syscall(number, _SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_TSYNC, header) == 0:
        return ""
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0) != 0:
        return f"prctl: {os.strerror(ctypes.get_errno())}"
    return ""


def deny_by_audit_hook() -> None:
    """Refuse files, sockets and processes to Python code; native code is not seen by it."""

    def refuse(event: str, _: tuple[object, ...]) -> None:
        if event.startswith(_AUDITED):
            raise PermissionError(_EPERM, f"a parser may not {event}")

    sys.addaudithook(refuse)


def note_attempts() -> list[str]:
    """A list of what Python code tries from now on that is refused: files, imports, sockets.

    A converter may take the refusal for a fault of its file; this tells the two apart.
    """
    attempts: list[str] = []

    def note(event: str, arguments: tuple[object, ...]) -> None:
        what = arguments[0] if arguments else ""
        if len(attempts) >= _NOTED or isinstance(what, int):  # a descriptor that is open already
            return
        if event == "open" and str(what).endswith((".py", ".pyc")):
            return  # lines of code for a traceback; what imports is noted as an import
        if event == "import" or event.startswith(_AUDITED):
            attempts.append(f"{event} {what}"[:300])

    sys.addaudithook(note)
    return attempts


def describe() -> str:
    """What holds parsers on this system, in words."""
    machine = {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    if sys.platform == "linux" and machine in _AUDIT_ARCH and sys.maxsize > 2**32:
        status = Path("/proc/self/status")
        if not status.exists() or "\nSeccomp:" in status.read_text(encoding="ascii"):
            return "files are read behind a system call filter (seccomp)"
    return "files are read behind an audit hook, best effort: this system has no seccomp"


def _program(machine: str) -> bytes:
    """The filter: known architecture, then one comparison a refused call, else allow."""
    steps = [
        _step(_LOAD, _ARCH),
        _step(_JUMP_EQUAL, _AUDIT_ARCH[machine], 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER),
    ]
    if machine == "x86_64":
        steps += [_step(_JUMP_GREATER, _X32, 0, 1), _step(_RETURN, _KILL)]
    for number in _REFUSED[machine]:
        steps += _refuse(number, _EPERM)
    for number in _OPENING[machine]:
        steps += _refuse(number, _EACCES)
    for number in (_CLONE3, _OPENAT2):
        steps += _refuse(number, _ENOSYS)
    steps += [  # a thread is allowed, a process is not
        _step(_JUMP_EQUAL, _CLONE[machine], 0, 4),
        _step(_LOAD, _FIRST_ARGUMENT),
        _step(_JUMP_SET, _CLONE_THREAD, 1, 0),
        _step(_RETURN, _ERRNO | _EPERM),
        _step(_RETURN, _ALLOW),
    ]
    steps += [  # abort() signals its own process; nobody else's
        _step(_JUMP_EQUAL, _TGKILL[machine], 0, 3),
        _step(_LOAD, _FIRST_ARGUMENT),
        _step(_JUMP_EQUAL, os.getpid(), 1, 0),
        _step(_RETURN, _ERRNO | _EPERM),
        _step(_RETURN, _ALLOW),
    ]
    return b"".join(steps)


def _refuse(number: int, errno: int) -> list[bytes]:
    return [_step(_JUMP_EQUAL, number, 0, 1), _step(_RETURN, _ERRNO | errno)]


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)
