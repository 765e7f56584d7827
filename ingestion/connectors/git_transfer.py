"""Fetching a commit of a git repository without its history, over the guarded client.

Git's own transfer (version 0 of its protocol): the refs, then one pack. A pack can blow up when it is
opened, so every object is inflated in small pieces and measured before dulwich reads it.
"""

from __future__ import annotations

import base64
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import anyio.to_thread

from engine.errors import EngineError, Unavailable
from engine.sources.contract import CursorExpired, SourceRefused
from engine.sources.http import ConnectorHttp, SourceAnswer, host_of

PACK_MAX_BYTES = 1 * 2**30
REFS_MAX_BYTES = 100 * 2**20
OBJECT_MAX_BYTES = 256 * 2**20  # of one object, as it is when it is opened
OPENED_MAX_BYTES = 8 * 2**30  # of all
PIECE = 256 * 1024
HEX = frozenset("0123456789abcdef")
OFS_DELTA, REF_DELTA = 6, 7  # types of objects in packs, gitformat-pack(5)


@dataclass(frozen=True, slots=True)
class GitRemote:
    """A branch of a repository; `branch` empty: the default one. Larger files are not asked for."""

    http: ConnectorHttp
    url: str
    branch: str
    max_bytes: int

    async def ask(
        self, method: str, path: str, body: bytes | None = None, save_to: Path | None = None
    ) -> bytes:
        """What the repository answered."""
        url = f"{self.url.rstrip('/')}/{path}"
        if urlsplit(url).scheme not in {"http", "https"}:
            raise SourceRefused("A repository is read over https: give an address that begins so.")
        headers = {"Git-Protocol": "version=0"}
        if body is not None:
            headers["Content-Type"] = "application/x-git-upload-pack-request"
        answer: SourceAnswer = await self.http.request(
            method,
            url,
            hosts=[host_of(url)],
            headers=headers,
            raw=body,
            save_to=save_to,
            sign=_sign,
            max_bytes=REFS_MAX_BYTES if save_to is None else PACK_MAX_BYTES,
        )
        if answer.status != 200 or not answer.mime.startswith("application/x-git-upload-pack"):
            raise SourceRefused(
                f"{host_of(url)} has no repository at this address that may be read (it answered"
                f" {answer.status}): check the address and the credential. Nothing was removed."
            )
        return answer.data


def _sign(values: Mapping[str, str]) -> Mapping[str, str]:
    pair = f"{values['username']}:{values['token']}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


@dataclass(frozen=True, slots=True)
class Advertised:
    """What a repository has: commits by ref, its default branch, what its server can do."""

    refs: Mapping[str, str]
    default: str
    abilities: frozenset[str]


async def newest_commit(remote: GitRemote) -> tuple[str, str]:
    """The name of the branch and the commit it is at."""
    branch, commit, _ = await _head(remote)
    return branch, commit


async def _head(remote: GitRemote) -> tuple[str, str, Advertised]:
    found = parse_refs(await remote.ask("GET", "info/refs?service=git-upload-pack"))
    name = remote.branch or found.default
    if not found.refs:
        raise SourceRefused("The repository is empty: nothing was removed.")
    commit = found.refs.get(f"refs/heads/{name}") if name else found.refs.get("HEAD")
    if commit is None:
        raise SourceRefused(f"The repository has no branch {name!r}: nothing was removed.")
    return name or "HEAD", commit, found


@dataclass(frozen=True, slots=True)
class CommitTrees:
    """A commit that is open: its tree, entries of trees by name, contents of files."""

    root: bytes
    entries: Callable[[bytes], Sequence[tuple[bytes, int, bytes]]]
    content: Callable[[bytes], bytes | None]  # None: it was too large to be asked for


@dataclass(frozen=True, slots=True)
class CommitFolder:
    """Where a fetched commit is kept between two steps."""

    path: Path
    commit: str

    @contextmanager
    def opened(self) -> Iterator[CommitTrees]:
        """The commit, as long as the context is open."""
        from dulwich.objects import Blob, Commit, ObjectID, Tree  # noqa: PLC0415 (only for git sources)
        from dulwich.repo import Repo  # noqa: PLC0415

        def typed(sha: bytes, wanted: type[Any]) -> Any:  # noqa: ANN401
            found = store[ObjectID(sha)]
            if not isinstance(found, wanted):
                raise SourceRefused("The repository is damaged: nothing was removed.")
            return found

        def entries(sha: bytes) -> list[tuple[bytes, int, bytes]]:
            tree = typed(sha, Tree)
            return sorted((bytes(one.path), one.mode, bytes(one.sha)) for one in tree.iteritems())

        def content(sha: bytes) -> bytes | None:
            if ObjectID(sha) not in store:
                return None
            return bytes(typed(sha, Blob).as_raw_string())

        try:
            with Repo(str(self.path)) as repo:
                store = repo.object_store
                commit = typed(self.commit.encode(), Commit)
                yield CommitTrees(bytes(commit.tree), entries, content)
        except EngineError:
            raise
        except Exception as error:  # what a hostile pack makes of dulwich is anything
            self.delete()
            raise Unavailable("What the repository sent is damaged; it is tried again.") from error

    def delete(self) -> None:
        shutil.rmtree(self.path.parent, ignore_errors=True)


async def fetch_commit(remote: GitRemote, scratch: Path, commit: str) -> CommitFolder:
    """The commit on this machine, fetched where it is not there yet.

    Raises `CursorExpired` where the repository no longer has it.
    """
    folder = CommitFolder(scratch / "git" / commit, commit)
    in_thread = anyio.to_thread.run_sync
    if await in_thread(folder.path.is_dir):
        return folder
    _, _, advertised = await _head(remote)
    await in_thread(folder.delete)  # of other commits
    making = Path(await in_thread(lambda: _made(folder.path.parent)))
    try:
        sent, pack = making / "sent", making / "pack"
        body = _wants(commit, advertised, remote.max_bytes)
        await remote.ask("POST", "git-upload-pack", body, sent)
        await in_thread(_unpack, sent, pack, making / "repo", folder.path)
    finally:
        await in_thread(lambda: shutil.rmtree(making, ignore_errors=True))
    return folder


def _made(folder: Path) -> str:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return tempfile.mkdtemp(dir=folder, prefix=".making-")


def _wants(commit: str, advertised: Advertised, max_bytes: int) -> bytes:
    can_filter = "filter" in advertised.abilities
    abilities = "side-band-64k ofs-delta shallow no-progress agent=scrubjay"
    if can_filter:
        abilities += " filter"
    lines = _line(f"want {commit} {abilities}\n") + _line("deepen 1\n")
    if can_filter:
        lines += _line(f"filter blob:limit={max_bytes + 1}\n")
    return lines + b"0000" + _line("done\n")


def _unpack(sent: Path, pack: Path, making: Path, folder: Path) -> None:
    from dulwich.repo import Repo  # noqa: PLC0415

    with sent.open("rb") as source, pack.open("wb") as target:
        write_pack(source, target)
    with pack.open("rb") as stream:
        measure_pack(stream)
    making.mkdir(mode=0o700)
    try:
        with Repo.init_bare(str(making)) as repo, pack.open("rb") as stream:
            repo.object_store.add_thin_pack(stream.read, None)
    except Exception as error:  # as above
        raise Unavailable("What the repository sent is damaged; it is tried again.") from error
    try:
        making.rename(folder)
    except OSError:
        if not folder.is_dir():  # else another worker was faster
            raise


def _line(text: str) -> bytes:
    return f"{len(text) + 4:04x}{text}".encode()


def packet_lines(stream: IO[bytes]) -> Iterator[bytes | None]:
    """The packets of git's wire format; None for a flush. Raises `Unavailable` where it is cut."""
    while head := stream.read(4):
        try:
            size = int(head, 16) if len(head) == 4 else -1
        except ValueError:
            size = -1
        if size in {0, 1, 2}:
            yield None
            continue
        data = stream.read(size - 4) if size >= 4 else b""
        if size < 4 or len(data) != size - 4:
            raise Unavailable("What the repository sent is no git or was cut; it is tried again.")
        yield data


def parse_refs(data: bytes) -> Advertised:
    """What a repository advertises."""
    refs: dict[str, str] = {}
    said_abilities: set[str] = set()
    default = ""
    for packet in packet_lines(BytesIO(data)):
        if packet is None or packet.startswith(b"#"):
            continue
        said, _, abilities = packet.partition(b"\0")
        sha, _, name = said.decode("utf-8", "replace").strip().partition(" ")
        if len(sha) in {40, 64} and set(sha) <= HEX and set(sha) != {"0"}:
            refs[name] = sha
        said_abilities |= set(abilities.decode("utf-8", "replace").split())
    for word in said_abilities:
        if word.startswith("symref=HEAD:refs/heads/"):
            default = word.removeprefix("symref=HEAD:refs/heads/")
    return Advertised(refs, default, frozenset(said_abilities))


def write_pack(sent: IO[bytes], target: IO[bytes]) -> None:
    """Write the pack of an answer to a fetch, out of its side band."""
    size = 0
    for packet in packet_lines(sent):
        if packet is None or packet.startswith((b"shallow ", b"NAK", b"ACK ", b"unshallow ")):
            continue
        said = packet[1:200].decode("utf-8", "replace").strip()
        if packet.startswith(b"ERR ") or packet[:1] == b"\3":
            if "not our ref" in said:
                raise CursorExpired("The branch has moved while it was read.")
            raise SourceRefused(f"The repository refuses: {said[:200]}. Nothing was removed.")
        if packet[:1] == b"\1":
            size += target.write(packet[1:])
    if not size:
        raise Unavailable("The repository sent no files; it is tried again.")


def measure_pack(stream: IO[bytes]) -> None:
    """Return where everything in a pack is of a bearable size once it is opened, else refuse it."""
    head = stream.read(12)
    if len(head) < 12 or head[:4] != b"PACK":
        raise Unavailable("The repository sent no files; it is tried again.")
    reader = _PackReader(stream)
    try:
        total = sum(reader.next_size() for _ in range(int.from_bytes(head[8:12])))
    except (zlib.error, EOFError, IndexError) as error:
        raise Unavailable("What the repository sent is damaged; it is tried again.") from error
    if total > OPENED_MAX_BYTES:
        raise SourceRefused(_too_large(OPENED_MAX_BYTES))


class _PackReader:
    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._left = b""

    def _byte(self) -> int:
        data = self._take(1)
        return data[0]

    def _take(self, count: int) -> bytes:
        while len(self._left) < count:
            more = self._stream.read(PIECE)
            if not more:
                raise EOFError
            self._left += more
        data, self._left = self._left[:count], self._left[count:]
        return data

    def next_size(self) -> int:
        """The size of the next object when it is opened; one that is too large is refused."""
        byte = self._byte()
        kind, size, shift = byte >> 4 & 7, byte & 15, 4
        while byte & 128:
            byte = self._byte()
            size, shift = size | (byte & 127) << shift, shift + 7
        if kind == OFS_DELTA:
            while self._byte() & 128:
                pass
        elif kind == REF_DELTA:
            self._take(20)
        _bear(size)
        begins = self._inflate(size)
        if kind in {OFS_DELTA, REF_DELTA}:
            _, at = _number(begins, 0)
            size, _ = _number(begins, at)
            _bear(size)
        return size

    def _inflate(self, size: int) -> bytes:
        """The first bytes of what is inflated, measured piece by piece."""
        inflater = zlib.decompressobj()
        begins, seen = b"", 0
        data = self._left
        while not inflater.eof:
            if not data:
                data = self._stream.read(PIECE)
                if not data:
                    raise EOFError
            piece = inflater.decompress(data, PIECE)
            seen += len(piece)
            if seen > size:
                raise zlib.error("more than it says")
            begins += piece[: 40 - len(begins)]
            data = inflater.unconsumed_tail
        self._left = inflater.unused_data
        return begins


def _number(data: bytes, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if not byte & 128:
            return value, at


def _bear(size: int) -> None:
    if size > OBJECT_MAX_BYTES:
        raise SourceRefused(_too_large(OBJECT_MAX_BYTES))


def _too_large(limit: int) -> str:
    return f"The repository has more in it than {limit:,} bytes when it is opened: it is not read."
