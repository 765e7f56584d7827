"""Whether time tells who has an account: `python -m benchmarks.sign_in_timing`.

Samples a refused sign-in, and a request for a link to reset a password, for an address with an
account, for one without, for a deactivated member and for one without a password, in turn, so that
the machine's load is the same for all. It reports the median of each in milliseconds, and how far
apart the furthest two are.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from sqlalchemy import update

from benchmarks.results import write_results
from engine.config import load_settings
from engine.db.tables import User
from engine.domain import Role
from engine.errors import Unauthenticated
from engine.mail.mail import Mail
from engine.people.inviting import MailedLinks
from engine.people.sessions import SignInClient
from engine.people.sign_in import SignIn
from engine.runtime import open_engine
from engine.secrets import Secrets
from engine.settings import MailSettings

SAMPLES = 200
WHO = ("account", "nobody", "deactivated", "invited")
PASSWORD = "plum kettle orbit 42"
Try = Callable[[str], Awaitable[None]]


class Unlimited:
    """Lets every attempt through: what is measured is what comes after."""

    async def take(self, key: str, **rate: float) -> float:
        del key, rate
        return 0.0

    async def acquire(self, key: str, holder: str, **lease: float) -> bool:
        del key, holder, lease
        return False  # as in a minute that has its audit row


async def measure(home: Path, samples: int) -> dict[str, dict[str, float]]:
    settings = load_settings(home, None, {"embedding.model": "hashing"})
    async with open_engine(settings) as engine:
        owner = await engine.people.owner()
        for name in ("account", "deactivated", "invited"):
            await engine.people.add_member(owner, f"{name}@x.org", name=name, role=Role.MEMBER)
            link = await engine.people.sign_in.make_password_link(owner, f"{name}@x.org")
            await engine.people.sign_in.set_password(link, PASSWORD)
        await engine.people.change_member(owner, "deactivated@x.org", active=False)
        async with engine.db.write() as session:
            await session.execute(
                update(User).where(User.email == "invited@x.org").values(password_hash=None)
            )
        secrets, limits = Secrets(["k" * 40]), Unlimited()
        mail = Mail(
            engine.db,
            secrets,
            MailSettings(host="127.0.0.1", sender="kb@example.com"),
            public_url="https://x.org",
        )
        sign_in = SignIn(engine.db, secrets, limits, mail, issuer="x")  # type: ignore[arg-type]
        links = MailedLinks(engine.db, secrets, limits, mail)  # type: ignore[arg-type]
        client = SignInClient(address="192.0.2.1")

        async def enter(name: str) -> None:
            try:
                await sign_in.with_password(f"{name}@x.org", "wrong", kind="api", client=client)
            except Unauthenticated:
                return
            raise RuntimeError("a wrong password was taken")

        async def reset(name: str) -> None:
            await links.request_reset(f"{name}@x.org", client)

        return {"sign_in": await _medians(enter, samples), "reset": await _medians(reset, samples)}


async def _medians(attempt: Try, samples: int) -> dict[str, float]:
    took: dict[str, list[float]] = {name: [] for name in WHO}
    for at in range(samples):
        for name in (
            WHO[at % len(WHO) :] + WHO[: at % len(WHO)]
        ):  # no place in the round is one's own
            start = time.perf_counter()
            await attempt(name)
            took[name].append(time.perf_counter() - start)
    found = {name: round(statistics.median(times) * 1000, 2) for name, times in took.items()}
    return found | {
        "spread_percent": round((max(found.values()) / min(found.values()) - 1) * 100, 1)
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Whether time tells who has an account.")
    parser.add_argument("--samples", type=int, default=SAMPLES)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        found = asyncio.run(measure(Path(home), chosen.samples))
    print(json.dumps(found, indent=2))
    write_results("sign_in_timing", {"samples": chosen.samples, **found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
