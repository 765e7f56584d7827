"""The writing half of the embedded index: one thread, a queue, and a second thread for merges.

Calls that wait together share one commit, so many small feeds cost as few files as one large one.
Merges run beside and are installed between commits. One process writes: a lock file says which.
"""

from __future__ import annotations

import fcntl
import logging
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from engine.clock import new_id
from engine.errors import AlreadyRunning, EngineError, Unavailable
from engine.index.arrays import Damaged
from engine.index.manifest import read_manifest
from engine.index.merging import Merged, choose, merge
from engine.index.port import Space
from engine.index.snapshot import damaged
from engine.index.space import RETAIN_S, SpaceChanges, SpaceWriter

log = logging.getLogger(__name__)

LOCK = "writer.lock"
BATCH_CHUNKS = 20_000  # fed in one commit at most: bounds memory
BATCH_WINDOW_S = 0.002  # a commit waits so long for company,
BUSY_WINDOW_S = 0.03  # and so long where the one before has just ended: they come in crowds
BUSY_S = 0.1
HELD_SEGMENTS = 24  # then commits wait for the merge under way


@dataclass(frozen=True)
class WriterTask:
    """Something to do in the writer's thread: changes of one space, or anything else by itself."""

    folder: Path
    space: Space | None = None
    changes: SpaceChanges | None = None
    action: Callable[[], None] | None = None
    done: Future[None] = field(default_factory=Future)

    @property
    def chunks(self) -> int:
        return sum(len(d.chunks) for d in self.changes.feed) if self.changes else 0


class IndexWriter:
    """The single writer under a root folder. Threads start with the first task."""

    def __init__(self, root: Path, *, sync: bool = True, retain_s: float = RETAIN_S) -> None:
        self._root = root
        self._sync = sync
        self._retain_s = retain_s
        # Not SimpleQueue: when a thread is held up, its get(timeout) may wait for ever (CPython 3.11).
        self._queue: queue.Queue[WriterTask | None] = queue.Queue()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._spaces: dict[Path, SpaceWriter] = {}
        self._lock_file: IO[str] | None = None
        self._merger: ThreadPoolExecutor | None = None
        self._merging: tuple[SpaceWriter, Future[Merged]] | None = None
        self._committed_at = 0.0

    def change(self, folder: Path, space: Space, changes: SpaceChanges) -> Future[None]:
        """Queue changes of a space; done once they are committed."""
        return self._put(WriterTask(folder, space, changes))

    def drop(self, folder: Path) -> Future[None]:
        """Queue the removal of a folder, be it a space or all of a tenant's."""
        return self._put(WriterTask(folder, action=lambda: self._drop(folder)))

    def purge(self) -> Future[None]:
        """Queue the rewriting of every segment that holds dead documents."""
        return self._put(WriterTask(self._root, action=self._purge))

    def close(self) -> None:
        """Finish what is queued, then release threads, files and the lock. Blocks; idempotent."""
        with self._starting:
            self._closed = True
            thread = self._thread
        if thread is not None:
            self._queue.put(None)
            thread.join()

    def _put(self, task: WriterTask) -> Future[None]:
        with self._starting:
            if self._closed:
                raise Unavailable("The index is closed: open it again to write.")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="index-writer", daemon=True)
                self._thread.start()
            self._queue.put(task)
        return task.done

    def _run(self) -> None:
        try:
            while (task := self._queue.get()) is not None:
                self._carry_out(self._batch(task))
                self._committed_at = time.monotonic()
                self._after()
        finally:
            self._finish()

    def _batch(self, first: WriterTask) -> list[WriterTask]:
        """The first task and those that come within the window, in order."""
        batch, chunks = [first], first.chunks
        now = time.monotonic()
        until = now + (BUSY_WINDOW_S if now - self._committed_at < BUSY_S else BATCH_WINDOW_S)
        while batch[-1].changes is not None and chunks < BATCH_CHUNKS:
            try:
                task = self._queue.get(timeout=max(until - time.monotonic(), 0.0))
            except queue.Empty:
                break
            if task is None:  # closing: after this batch
                self._queue.put(None)
                break
            batch.append(task)
            chunks += task.chunks
        return batch

    def _carry_out(self, batch: Sequence[WriterTask]) -> None:
        running = [task for task in batch if task.done.set_running_or_notify_cancel()]
        by_folder: dict[Path, list[WriterTask]] = {}
        for task in running:
            if task.changes is not None:
                by_folder.setdefault(task.folder, []).append(task)
        for folder, tasks in by_folder.items():
            self._settle(tasks, lambda f=folder, t=tasks: self._apply(f, t))  # type: ignore[misc]
        for task in running:
            if task.action is not None:
                self._settle([task], task.action)

    def _settle(self, tasks: Sequence[WriterTask], act: Callable[[], None]) -> None:
        """Do it and report the outcome to those who wait."""
        error: BaseException | None = None
        try:
            self._hold_lock()
            act()
        except EngineError as refused:
            error = refused
        except Damaged as broken:
            error = damaged(tasks[0].folder, broken)
        except OSError as failed:
            error = Unavailable(
                f"The index folder {tasks[0].folder} can't be written "
                f"({failed.strerror or failed}). Nothing was changed: free space or fix the "
                "folder; Scrubjay tries again."
            )
        except Exception as unexpected:
            log.exception("index.write_failed", extra={"folder": str(tasks[0].folder)})
            error = unexpected
        if error is not None:
            # What is in memory may be ahead of the disk: read the folder afresh next time.
            self._forget(tasks[0].folder)
        for task in tasks:
            if error is None:
                task.done.set_result(None)
            else:
                task.done.set_exception(error)

    def _apply(self, folder: Path, tasks: Sequence[WriterTask]) -> None:
        space = tasks[0].space
        if space is None:
            return
        writer = self._spaces.get(folder)
        if writer is None:
            writer = SpaceWriter(folder, space, sync=self._sync, retain_s=self._retain_s)
            self._spaces[folder] = writer
        writer.check_dimension(space)
        writer.apply(task.changes for task in tasks if task.changes is not None)

    def _drop(self, folder: Path) -> None:
        """Remove a folder at once for readers (by its name), then its bytes."""
        self._settle_merge(wait=True)
        for known in [path for path in self._spaces if path == folder or folder in path.parents]:
            del self._spaces[known]
        if folder.exists():
            grave = self._root / f".dropped-{new_id()}"
            folder.rename(grave)
            shutil.rmtree(grave, ignore_errors=True)

    def _purge(self) -> None:
        self._settle_merge(wait=True)
        for folder in sorted(path.parent for path in self._root.glob("*/*/manifest")):
            self._purge_space(folder)
        for grave in self._root.glob(".dropped-*"):
            shutil.rmtree(grave, ignore_errors=True)

    def _purge_space(self, folder: Path) -> None:
        writer = self._spaces.get(folder)
        if writer is None:
            space = read_manifest(folder).space
            writer = SpaceWriter(folder, space, sync=self._sync, retain_s=self._retain_s)
            self._spaces[folder] = writer
        for segment in list(writer.segments):
            if segment.dead is not None:
                name = f"{new_id()}.segment"
                writer.install(merge(folder, name, [segment], sync=self._sync))
        writer.remove_retired(everything=True)

    def _after(self) -> None:
        """Between commits: take in a finished merge, begin the next."""
        crowded = any(len(writer.segments) > HELD_SEGMENTS for writer in self._spaces.values())
        self._settle_merge(wait=crowded)
        if self._merging is None:
            self._start_merge()

    def _start_merge(self) -> None:
        for folder, writer in self._spaces.items():
            chosen = {entry.base for entry in choose([s.entry for s in writer.segments])}
            if not chosen:
                continue
            sources = [segment for segment in writer.segments if segment.entry.base in chosen]
            if self._merger is None:
                self._merger = ThreadPoolExecutor(1, thread_name_prefix="index-merge")
            name = f"{new_id()}.segment"
            merging = self._merger.submit(merge, folder, name, sources, sync=self._sync)
            self._merging = (writer, merging)
            merging.add_done_callback(lambda _: self._queue.put(_nothing(self._root)))
            return

    def _settle_merge(self, *, wait: bool) -> None:
        """Install the merge under way if it is done, or wait for it."""
        if self._merging is None:
            return
        writer, merging = self._merging
        if not wait and not merging.done():
            return
        self._merging = None
        try:
            merged = merging.result()
            if self._spaces.get(writer.folder) is writer:  # neither dropped nor forgotten
                writer.install(merged)
        except OSError as error:  # a full disk; the segments stay as they are
            log.warning("index.merge_failed", extra={"error": str(error)})

    def _forget(self, folder: Path) -> None:
        self._spaces.pop(folder, None)

    def _hold_lock(self) -> None:
        if self._lock_file is not None:
            return
        self._root.mkdir(parents=True, exist_ok=True)
        file = (self._root / LOCK).open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            holder = file.read().strip()
            file.close()
            raise AlreadyRunning(
                f"Process {holder or 'unknown'} is writing the index in {self._root}; only one "
                "process can.",
                holder=holder,
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._lock_file = file

    def _finish(self) -> None:
        self._settle_merge(wait=True)
        if self._merger is not None:
            self._merger.shutdown()
        self._spaces.clear()
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None


def _nothing(root: Path) -> WriterTask:
    """A task that only makes the thread look around."""
    return WriterTask(root, action=lambda: None)
