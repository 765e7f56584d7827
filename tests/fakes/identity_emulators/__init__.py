"""Identity providers of others on loopback: npm's `emulate` and the certified `oidc-provider`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path
from urllib.parse import urljoin

import httpx2

from tests.fakes.node import node_environment, node_folder

SCRIPT = Path(__file__).parent / "start.mjs"
CLIENT = ("scrubjay", "provider-secret")
_FORM = re.compile(r"<form\b([^>]*)>(.*?)</form>", re.DOTALL | re.IGNORECASE)
_INPUT = re.compile(r"<(?:input|button)\b([^>]*)>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r'([\w-]+)\s*=\s*"([^"]*)"')


@asynccontextmanager
async def open_emulator(service: str, redirect_uri: str) -> AsyncIterator[str]:
    """The address of a provider that runs while the context is open."""
    process = await asyncio.create_subprocess_exec(
        "node",
        str(SCRIPT),
        str(node_folder()),
        service,
        redirect_uri,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=node_environment(),
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        async with asyncio.timeout(120):
            while True:
                line = (await process.stdout.readline()).decode()
                if not line:
                    raise RuntimeError(f"{service} did not start")
                if line.startswith("READY "):
                    break
        yield line.split()[1]
    finally:
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 20)
        except TimeoutError:
            process.kill()
            await process.wait()


async def log_in(asked: str, person: str, back_to: str) -> str:
    """What a browser does at a provider: follow redirects, fill in forms, press the person's button.

    Returns the address that it sends the browser back to.
    """
    async with httpx2.AsyncClient(follow_redirects=False, trust_env=False, timeout=60) as browser:
        answer = await browser.get(asked)
        url = asked
        for _ in range(20):
            if answer.is_redirect:
                url = urljoin(url, answer.headers["location"])
                if url.startswith(back_to):
                    return url
                answer = await browser.get(url)
                continue
            action, fields = _filled(answer.text, person)
            url = urljoin(url, action)
            answer = await browser.post(url, data=fields)
    raise AssertionError(f"the provider did not send anybody back from {url}: {answer.text[:500]}")


def _filled(page: str, person: str) -> tuple[str, dict[str, str]]:
    """Where a page's form goes, and what it says when the person has filled it in."""
    forms = _FORM.findall(page)
    assert forms, page[:2000]
    chosen = next((form for form in forms if person in form[1]), forms[0])
    fields = {}
    for text in _INPUT.findall(chosen[1]):
        said = {name.lower(): unescape(value) for name, value in _ATTRIBUTE.findall(text)}
        if "name" in said:
            fields[said["name"]] = said.get("value", "") or person.partition("@")[0]
    attributes = dict(_ATTRIBUTE.findall(chosen[0]))
    return unescape(attributes.get("action", "")), fields
