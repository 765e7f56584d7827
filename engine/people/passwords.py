"""Passwords: which are accepted, and how one is kept and compared.

Kept as argon2id with OWASP's parameters. Comparing takes a tenth of a second of a processor and
19 MiB, so at most two run at once, each in a thread. Somebody without a password costs the same
time as somebody with another one. The library is loaded by the first comparison.
"""

from __future__ import annotations

import asyncio
import logging
import re
import unicodedata
import weakref
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import anyio
import anyio.to_thread

from engine.errors import InvalidInput

if TYPE_CHECKING:
    from argon2 import PasswordHasher

T = TypeVar("T")

log = logging.getLogger(__name__)

ALONE_MIN = 15  # characters, where a password is all that is asked for: NIST SP 800-63B-4, 3.1.1.2
WITH_FACTOR_MIN = 8  # where a second factor is asked for, too
LENGTH_MAX = 256
DISTINCT_MIN = 5  # different characters: "aaaaaaaaaaaaaaa" is no password
RUN_MIN, RUNS_MAX = 4, 0.5  # how much of it may be runs like 123456 or abcdef
MEMORY_KIB, PASSES, LANES = 19_456, 2, 1  # OWASP Password Storage Cheat Sheet, argon2id
AT_ONCE = 2
WORD_MIN = 5  # characters: shorter words are parts of many good passwords
COMMON = Path(__file__).parent / "common_passwords.txt"

# A row nobody has the password of: what an unknown address is compared with.
_NOBODY = (
    "$argon2id$v=19$m=19456,t=2,p=1$8qnjSkSVRt87a0FP080KOQ"
    "$un87vYJf6+fO6u/F2JyqO3xnUyaYRmwDE48eDsH08Sg"
)

_limiters: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, anyio.CapacityLimiter] = (
    weakref.WeakKeyDictionary()
)


def check_new(
    password: str, *, email: str = "", names: tuple[str, ...] = (), second_factor: bool = False
) -> str:
    """The password as it is kept (NFC), or `InvalidInput` that says what would be accepted."""
    password = unicodedata.normalize("NFC", password)
    shortest = WITH_FACTOR_MIN if second_factor else ALONE_MIN
    if len(password) < shortest:
        raise _refused(f"is too short: use at least {shortest} characters, for example four words.")
    if len(password) > LENGTH_MAX:
        raise _refused(f"is too long: use at most {LENGTH_MAX} characters.")
    folded = password.casefold()
    if len(set(folded)) < DISTINCT_MIN or _in_runs(folded) > len(folded) * RUNS_MAX:
        raise _refused("is easy to guess: it repeats or counts. Use a few unrelated words.")
    if _is_common(folded):
        raise _refused("is among the most common ones, or little more. Use a few unrelated words.")
    for known in (email, email.partition("@")[0], *names):
        word = known.casefold()
        if len(word) > 3 and word in folded and len(folded) - len(word) < shortest // 2:
            raise _refused("is little more than your address or a name. Use unrelated words.")
    return password


async def hash_password(password: str) -> str:
    """What to keep of a password that `check_new` has accepted."""
    return await _in_thread(lambda: _hasher().hash(password))


async def verify(stored: str | None, password: str) -> bool:
    """Whether it is the password; False, after the same time, where there is none to compare."""
    normal = unicodedata.normalize("NFC", password)[:LENGTH_MAX]
    matches = await _in_thread(lambda: _matches(stored or _NOBODY, normal))
    return matches and bool(stored) and len(password) <= LENGTH_MAX * 4


async def is_outdated(stored: str) -> bool:
    """Whether a password should be kept anew, because the parameters have changed since."""
    return await _in_thread(lambda: _hasher().check_needs_rehash(stored))


def _matches(stored: str, password: str) -> bool:
    from argon2.exceptions import InvalidHashError, VerificationError  # noqa: PLC0415 (lazy)

    try:
        return _hasher().verify(stored, password)
    except InvalidHashError:
        log.error(  # noqa: TRY400 (its message repeats the row)
            "a stored password is damaged: make a link with `scrubjay member password`"
        )
        _matches(_NOBODY, password)  # takes the same time
        return False
    except VerificationError:
        return False


@lru_cache(maxsize=1)
def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher  # noqa: PLC0415 (lazy: only who signs in needs it)

    return PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)


async def _in_thread(work: Callable[[], T]) -> T:
    loop = asyncio.get_running_loop()
    limiter = _limiters.setdefault(loop, anyio.CapacityLimiter(AT_ONCE))
    return await anyio.to_thread.run_sync(work, limiter=limiter)


def _is_common(folded: str) -> bool:
    """Whether it is a common password, or two of them, whatever digits and signs are around."""
    common, plain = _common(), folded.replace(" ", "")
    words = re.findall(r"[^\W\d_]+", folded)
    if folded in common or plain in common:
        return True
    if 0 < len(words) <= 2 and all(len(word) >= WORD_MIN and word in common for word in words):
        return True
    return any(plain[:at] in common and plain[at:] in common for at in range(4, len(plain) - 3))


@lru_cache(maxsize=1)
def _common() -> frozenset[str]:
    """The 10,000 most common passwords, and long ones among the next 20,000 (NOTICE)."""
    return frozenset(COMMON.read_text(encoding="utf-8").split())


def _in_runs(text: str) -> int:
    """How many characters are in pieces of four or more that go up, down or stay by one step."""
    total, length, step = 0, 1, None
    for before, after in [*pairwise(text), ("", "")]:
        now = ord(after) - ord(before) if after else None
        if now is not None and abs(now) <= 1 and (now == step or length == 1):
            length, step = length + 1, now
            continue
        total += length if length >= RUN_MIN else 0
        length, step = 1, None
    return total


def _refused(why: str) -> InvalidInput:
    return InvalidInput(f"This password {why}", field="password")
