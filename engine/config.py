"""Settings from their three layers: defaults, then `scrubjay.toml`, then the environment.

The only reader of the environment. `load_settings` refuses a start with one error that lists every
fault: the setting, the value, where it was written and what is allowed. `origins` answers
`scrubjay config show`. The tree itself is in `engine/settings/`.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin
from urllib.parse import urlsplit, urlunsplit

import platformdirs
from pydantic import BaseModel, ByteSize, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from engine.errors import ConfigurationError
from engine.settings import Settings

__all__ = [
    "FILE_NAME",
    "SettingOrigin",
    "Settings",
    "default_home",
    "load_settings",
    "origins",
    "settings_file",
]

FILE_NAME = "scrubjay.toml"
PREFIX = "SCRUBJAY_"
MASK = "****"
LOCAL_MODELS = (
    "minilm",
    "minilm-int8",
    "multilingual",
    "hashing",
)  # what embedding.model may be without an endpoint
# Variables that steer the process rather than set something: the data folder, the settings file,
# and what the tests know about services.
OTHER_VARIABLES = frozenset({"SCRUBJAY_HOME", "SCRUBJAY_CONFIG", "SCRUBJAY_VESPA_URL"})
OTHER_PREFIXES = ("SCRUBJAY_TEST_",)


@dataclass(frozen=True, slots=True)
class Layered:
    """A value as it was written and where: a file and line, a variable, or an argument."""

    value: object
    origin: str


@dataclass(frozen=True, slots=True)
class SettingOrigin:
    """A setting as `config show` prints it: `value` is masked if it is secret."""

    name: str
    value: object
    origin: str


def default_home() -> Path:
    """The data folder: SCRUBJAY_HOME, or the platform's folder for user data."""
    named = os.environ.get("SCRUBJAY_HOME", "").strip()
    if named:
        return Path(named).expanduser().absolute()
    return Path(platformdirs.user_data_dir("scrubjay", appauthor=False))


def settings_file(
    home: Path, named: Path | None = None, *, environ: Mapping[str, str] | None = None
) -> tuple[Path, bool]:
    """The settings file of a data folder, and whether it was named (then it must exist)."""
    chosen = named or (os.environ if environ is None else environ).get("SCRUBJAY_CONFIG")
    return (Path(chosen).expanduser(), True) if chosen else (home / FILE_NAME, False)


def load_settings(
    home: Path | None = None,
    config_file: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """The settings of a data folder: defaults < file < environment < `overrides`.

    `config_file` defaults to SCRUBJAY_CONFIG, then `scrubjay.toml` in the data folder; one that was
    named must exist. `overrides` are dotted names, such as {"server.port": 0}. Raises
    `ConfigurationError` listing every fault at once.
    """
    layers, folder = _layers(home, config_file, overrides, environ)
    faults = [
        _unknown_fault(name, layered) for name, layered in layers.items() if _field(name) is None
    ]
    known = {name: layered for name, layered in layers.items() if _field(name) is not None}
    try:
        settings = Settings(home=folder, **_nested(known))
    except ValidationError as error:
        faults += [_bad_fault(".".join(map(str, e["loc"])), e, known) for e in error.errors()]
        raise ConfigurationError(_report(faults)) from None
    if faults:
        raise ConfigurationError(_report(faults))
    _require_together(settings)
    settings._origins.update({name: layered.origin for name, layered in layers.items()})  # noqa: SLF001
    settings._named_file = config_file  # noqa: SLF001 (this module fills the tree)
    return settings


def origins(settings: Settings) -> list[SettingOrigin]:
    """Every setting with its value and where it comes from, secrets masked, in the tree's order."""
    return [
        SettingOrigin(
            name,
            masked(name, _value(settings, name)),
            settings._origins.get(name, "default"),  # noqa: SLF001 (this module writes it)
        )
        for name in setting_names()
    ]


def write_setting(file: Path, section: str, name: str, value: str) -> None:
    """Set a text in a settings file, which is made where it is not there; the rest stays as it is.

    Raises `ConfigurationError`, and leaves the file alone, where it can't be read before or after.
    """
    before = file.read_text(encoding="utf-8") if file.is_file() else ""
    line = f'{name} = "{value}"'
    lines = before.splitlines()
    start = next((i for i, said in enumerate(lines) if said.strip() == f"[{section}]"), None)
    if start is None:
        lines += [*([""] if lines else []), f"[{section}]", line]
    else:
        ends = (i for i in range(start + 1, len(lines)) if lines[i].lstrip().startswith("["))
        end = next(ends, len(lines))
        said = re.compile(rf"\s*{re.escape(name)}\s*=")
        found = next((i for i in range(start + 1, end) if said.match(lines[i])), None)
        if found is None:
            lines.insert(start + 1, line)
        else:
            lines[found] = line
    after = "\n".join(lines) + "\n"
    try:
        written = tomllib.loads(after)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(
            f"{file} can't be changed ({error}): set {section}.{name} by hand."
        ) from error
    if written.get(section, {}).get(name) != value:
        raise ConfigurationError(f"{file} can't be changed: set {section}.{name} by hand.")
    file.parent.mkdir(parents=True, exist_ok=True)
    kept = file.with_name(f".{file.name}.new")
    kept.write_text(after, encoding="utf-8")
    if file.exists():
        kept.chmod(file.stat().st_mode & 0o777)
    kept.replace(file)


def setting_names() -> list[str]:
    """Every setting, dotted, in the tree's order."""
    return [f"{section}.{name}" for section, name, _ in fields()]


def fields() -> Iterator[tuple[str, str, FieldInfo]]:
    """Section, name and declaration of every setting, in the tree's order."""
    for section, info in Settings.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            for name, field in info.annotation.model_fields.items():
                yield section, name, field


def variable(name: str) -> str:
    """The environment variable of a setting: search.top_k is SCRUBJAY_SEARCH__TOP_K."""
    return PREFIX + name.upper().replace(".", "__")


def masked(name: str, value: object) -> object:
    """`value` as it may be shown: **** for a secret, a URL without its password."""
    field = _field(name)
    if field is not None and field.annotation is SecretStr:
        text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        return MASK if text else ""
    if isinstance(value, str) and "://" in value:
        return _without_password(value)
    if isinstance(value, ByteSize):
        return value.human_readable(decimal=True).replace(".0", "")
    return value


def allowed(field: FieldInfo) -> str:
    """What a setting allows, in words: the same in errors and in the reference page."""
    annotation = field.annotation
    if get_origin(annotation) is Literal:
        choices = [f'"{choice}"' for choice in get_args(annotation)]
        return choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"
    if annotation is bool:
        return "true or false"
    if annotation is ByteSize:
        return "a size, such as 100MB"
    if annotation is int or annotation is float:
        kind = "a whole number" if annotation is int else "a number"
        return " ".join([kind, *_bounds(field)])
    return "text"


def _bounds(field: FieldInfo) -> list[str]:
    low = high = ""
    for rule in field.metadata:
        if (least := getattr(rule, "ge", None)) is not None:
            low = f"from {least:g}" if isinstance(least, float) else f"from {least}"
        if (above := getattr(rule, "gt", None)) is not None:
            low = f"above {above:g}"
        if (most := getattr(rule, "le", None)) is not None:
            high = f"to {most:g}" if isinstance(most, float) else f"to {most}"
    return [words for words in (low, high) if words]


def _layers(
    home: Path | None,
    config_file: Path | None,
    overrides: Mapping[str, object] | None,
    environ: Mapping[str, str] | None,
) -> tuple[dict[str, Layered], Path]:
    """Every value given, by dotted name, the strongest layer's; and the data folder."""
    environ = os.environ if environ is None else environ
    folder = home.expanduser().absolute() if home else default_home()
    file, named = settings_file(folder, config_file, environ=environ)
    layers = _read_file(file, must=named)
    layers |= _read_environment(environ)
    layers |= {name: Layered(value, "argument") for name, value in (overrides or {}).items()}
    return layers, folder


def _read_file(path: Path, *, must: bool) -> dict[str, Layered]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if must:
            raise ConfigurationError(
                f"the settings file {path} does not exist: create it, or omit --config"
            ) from None
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the settings file {path} can't be read: {error}") from None
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from None
    return {
        name: Layered(value, f"{path}:{line}" if (line := _line_of(text, name)) else str(path))
        for name, value in _flat(tree)
    }


def _flat(tree: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for section, value in tree.items():
        if isinstance(value, dict) and value:
            yield from ((f"{section}.{name}", inner) for name, inner in value.items())
        elif value != {}:
            yield section, value


def _line_of(text: str, name: str) -> int:
    """The line of a setting; 0 if the file spells it in a way we don't look for."""
    section, _, key = name.partition(".")
    inside = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[\s*([\w.\"-]+)\s*\]", line):
            inside = header[1].strip('"')
        elif assigned := re.match(r"\s*([\w.\"-]+)\s*=", line):
            written = assigned[1].replace('"', "")
            if (f"{inside}.{written}" if inside else written) in {name, section}:
                return number
        if not key and inside == section:
            return number
    return 0


def _read_environment(environ: Mapping[str, str]) -> dict[str, Layered]:
    layers = {}
    for key in sorted(environ):
        known = key.upper() in OTHER_VARIABLES or key.upper().startswith(OTHER_PREFIXES)
        if key.upper().startswith(PREFIX) and not known:
            name = key[len(PREFIX) :].lower().replace("__", ".", 1)
            layers[name] = Layered(environ[key], key)
    return layers


def _nested(layers: Mapping[str, Layered]) -> dict[str, Any]:
    tree: dict[str, dict[str, object]] = {}
    for name, layered in layers.items():
        section, _, key = name.partition(".")
        tree.setdefault(section, {})[key] = layered.value
    return tree


def _field(name: str) -> FieldInfo | None:
    return next((f for section, key, f in fields() if f"{section}.{key}" == name), None)


def _value(settings: Settings, name: str) -> object:
    section, _, key = name.partition(".")
    return getattr(getattr(settings, section), key)


def _unknown_fault(name: str, layered: Layered) -> str:
    """An unknown name may hold a misspelt secret, so its value is not repeated."""
    near = difflib.get_close_matches(name, setting_names(), n=1, cutoff=0.6)
    hint = f"; did you mean {near[0]}?" if near else "; `scrubjay config show` lists them all"
    if not near and "." not in name and name in Settings.model_fields:
        hint = f"; {name} is a section: write its settings below [{name}]"
    return f"{name} ({layered.origin}): unknown setting{hint}"


def _bad_fault(name: str, error: Any, layers: Mapping[str, Layered]) -> str:  # noqa: ANN401
    field, layered = _field(name), layers.get(name)
    value = layered.value if layered else error["input"]
    origin = layered.origin if layered else "default"
    said = str(error["msg"]).removeprefix("Value error, ")
    takes = said if error["type"] == "value_error" or field is None else allowed(field)
    if error["type"] == "string_pattern_mismatch":
        takes = "<provider>:<name>, such as openai:gpt-5.4, or an empty text"
    if error["type"] == "string_too_short":
        takes = "a non-empty text"
    shown = masked(name, value)
    written = f'"{shown}"' if isinstance(shown, str) else str(shown)
    return f"{name} = {written} ({origin}): give {takes}"


def _require_together(settings: Settings) -> None:
    """Settings that only make sense together."""
    faults = []
    if settings.embedding.base_url and not settings.embedding.dimension:
        faults.append("embedding.dimension = 0: give the dimension of the endpoint's vectors")
    if not settings.embedding.base_url and settings.embedding.model not in LOCAL_MODELS:
        faults.append(
            f'embedding.model = "{settings.embedding.model}": give one of '
            f"{', '.join(LOCAL_MODELS)}, or set embedding.base_url to the endpoint that has it"
        )
    if settings.processing.chunk_overlap * 2 > settings.processing.chunk_size:
        faults.append(
            f"processing.chunk_overlap = {settings.processing.chunk_overlap}: give at most half of "
            f"processing.chunk_size, which is {settings.processing.chunk_size}"
        )
    if settings.storage.type == "s3" and not settings.storage.bucket:
        faults.append('storage.bucket is empty: storage.type "s3" needs the name of a bucket')
    if _given(settings.storage.access_key_id) != _given(settings.storage.secret_access_key):
        faults.append(
            "storage.access_key_id and storage.secret_access_key must be set together: give "
            "both, or neither if the machine has a role"
        )
    if settings.database.url.startswith("postgresql") and not _given(settings.system.secret_key):
        faults.append(
            f"system.secret_key is empty: with PostgreSQL every process needs the same one; set "
            f"{variable('system.secret_key')} to 32 random characters or more"
        )
    if _given(settings.system.secret_key) and len(_text(settings.system.secret_key)) < 32:
        faults.append(f"system.secret_key = {MASK}: give 32 random characters or more")
    faults += _mail_faults(settings)
    if faults:
        raise ConfigurationError(_report(faults))


def _mail_faults(settings: Settings) -> list[str]:
    mail, faults = settings.mail, []
    if not mail.is_set_up:
        return []
    if not mail.sender:
        faults.append("mail.sender is empty: mail.host needs the address that messages are from")
    if not settings.server.public_url:
        faults.append("server.public_url is empty: with mail.host, links in messages lead there")
    if mail.security == "plain" and not _is_loopback(mail.host):
        faults.append(
            'mail.security = "plain": give tls or starttls; plain is for a mail server on this'
            " machine only"
        )
    if bool(mail.username) != _given(mail.password):
        faults.append("mail.username and mail.password must be set together: give both, or neither")
    return faults


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _given(secret: SecretStr) -> bool:
    return bool(_text(secret))


def _text(secret: SecretStr) -> str:
    return secret.get_secret_value()


def _report(faults: list[str]) -> str:
    if len(faults) == 1:
        return f"invalid setting: {faults[0]}"
    return f"{len(faults)} invalid settings:" + "".join(f"\n  {fault}" for fault in faults)


def _without_password(url: str) -> str:
    try:
        parts = urlsplit(url)
        password = parts.password
    except ValueError:
        return MASK  # not a URL after all: better nothing than a piece of a password
    if not password:
        return url
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}:{MASK}@{host}"))
