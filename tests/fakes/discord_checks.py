"""What Discord refuses: the limits of messages, components, modals and commands, and its errors.

`Refused` is an answer of Discord's with its status and code. The checks name the field as Discord
does, so that a bad message fails a test where it was made. Limits after Discord's reference.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Json = dict[str, Any]

CONTENT_MAX, DISPLAY_MAX, EMBEDS_MAX, FILES_MAX = 2000, 4000, 10, 10
EMBED_TOTAL_MAX, COMPONENTS_MAX, ROWS_MAX, OPTIONS_MAX = 6000, 40, 5, 25
LABEL_MAX, CUSTOM_ID_MAX, PLACEHOLDER_MAX, COMMAND_TOTAL_MAX = 80, 100, 150, 8000
SUPPRESS_EMBEDS, EPHEMERAL, SILENT, COMPONENTS_V2 = 1 << 2, 1 << 6, 1 << 12, 1 << 15
ROW, BUTTON, STRING_SELECT, TEXT_INPUT, SECTION, TEXT = 1, 2, 3, 4, 9, 10
THUMBNAIL, GALLERY, FILE, SEPARATOR, CONTAINER, LABEL, UPLOAD = 11, 12, 13, 14, 17, 18, 19
SELECTS = frozenset({3, 5, 6, 7, 8})
ONLY_V2 = frozenset({SECTION, TEXT, THUMBNAIL, GALLERY, FILE, SEPARATOR, CONTAINER})
IN_LABELS = frozenset({*SELECTS, TEXT_INPUT, UPLOAD, 21, 22, 23})
LINK, PREMIUM = 5, 6  # button styles without a custom id
COMMAND_NAME = re.compile(r"^[-_'\w]{1,32}$")
GROUP, SUBCOMMAND = 2, 1


class Refused(Exception):
    """What Discord answers instead."""

    def __init__(self, status: int, code: int, message: str, errors: Json | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body: Json = {"message": message, "code": code} | (
            {"errors": errors} if errors else {}
        )


def invalid(field: str, message: str, code: str = "BASE_TYPE_BAD_LENGTH") -> Refused:
    """Discord's `Invalid Form Body`, with the field as a path of keys: `embeds.0.title`."""
    errors: Json = {"_errors": [{"code": code, "message": message}]}
    for key in reversed(field.split(".")):
        errors = {key: errors}
    return Refused(400, 50035, "Invalid Form Body", errors)


def _length(value: object, field: str, most: int, *, least: int = 0) -> str:
    if not isinstance(value, str):
        raise invalid(field, "Could not interpret as string.", "STRING_TYPE_CONVERT")
    if not least <= len(value) <= most:
        raise invalid(field, f"Must be between {least} and {most} in length.")
    return value


# Messages


def check_message(payload: Mapping[str, Any], files: int = 0, *, ephemeral: bool = False) -> None:
    """A message to be sent; `ephemeral` where an interaction may ask for one."""
    check_flags(int(payload.get("flags") or 0), ephemeral=ephemeral)
    check_body(payload, v2=bool(int(payload.get("flags") or 0) & COMPONENTS_V2))
    if files > FILES_MAX:
        raise invalid("attachments", f"Must be {FILES_MAX} or fewer in length.")
    if "nonce" in payload and payload["nonce"] is not None:
        _length(str(payload["nonce"]), "nonce", 25)
    says = ("content", "embeds", "components", "sticker_ids", "poll")
    if not files and not any(payload.get(key) for key in says):
        raise Refused(400, 50006, "Cannot send an empty message")


def check_edit(before: Mapping[str, Any], payload: Mapping[str, Any]) -> None:
    """An edit of an existing message: Components V2 can't be taken off, nor joined to content."""
    was_v2 = bool(before["flags"] & COMPONENTS_V2)
    flags = payload.get("flags")
    if flags is not None:
        check_flags(int(flags), ephemeral=bool(before["flags"] & EPHEMERAL))
        if was_v2 and not int(flags) & COMPONENTS_V2:
            raise invalid("flags", "IS_COMPONENTS_V2 can't be removed.", "MESSAGE_FLAGS_V2")
    v2 = was_v2 or bool(int(flags or 0) & COMPONENTS_V2)
    check_body(payload, v2=v2)
    if v2 and not was_v2:
        for key in ("content", "embeds"):
            if before.get(key) and payload.get(key, before[key]):
                raise invalid(key, "Must be emptied for IS_COMPONENTS_V2.", "MESSAGE_CANNOT_USE_V2")
    after = {**before, **payload}
    if not any(after.get(key) for key in ("content", "embeds", "components", "attachments")):
        raise Refused(400, 50006, "Cannot send an empty message")


def check_flags(flags: int, *, ephemeral: bool = False) -> None:
    """Only what a bot may set; an ephemeral message only where an interaction is answered."""
    allowed = SUPPRESS_EMBEDS | SILENT | COMPONENTS_V2 | (EPHEMERAL if ephemeral else 0)
    if flags & ~allowed:
        raise invalid("flags", f"Flags {flags & ~allowed} can't be set here.", "MESSAGE_FLAGS")


def check_body(payload: Mapping[str, Any], *, v2: bool) -> None:
    """Content, embeds, components and allowed mentions."""
    content, embeds = payload.get("content"), payload.get("embeds")
    if v2:
        for key in ("content", "embeds", "poll", "sticker_ids"):
            if payload.get(key):
                raise invalid(
                    key,
                    "The 'content' and 'embeds' can't be used with V2.",
                    "MESSAGE_CANNOT_USE_V2",
                )
    if content is not None:
        _length(content, "content", CONTENT_MAX)
    check_embeds(embeds or [])
    check_components(payload.get("components") or [], v2=v2)
    check_allowed_mentions(payload.get("allowed_mentions"))


def check_embeds(embeds: Sequence[Mapping[str, Any]]) -> None:
    """Ten embeds with 6,000 characters in all."""
    if len(embeds) > EMBEDS_MAX:
        raise invalid("embeds", f"Must be {EMBEDS_MAX} or fewer in length.")
    total = 0
    for number, embed in enumerate(embeds):
        at = f"embeds.{number}"
        parts = [
            (embed.get("title"), f"{at}.title", 256),
            (embed.get("description"), f"{at}.description", 4096),
            ((embed.get("footer") or {}).get("text"), f"{at}.footer.text", 2048),
            ((embed.get("author") or {}).get("name"), f"{at}.author.name", 256),
        ]
        fields = embed.get("fields") or []
        if len(fields) > 25:
            raise invalid(f"{at}.fields", "Must be 25 or fewer in length.")
        for index, one in enumerate(fields):
            parts.append((one.get("name") or "", f"{at}.fields.{index}.name", 256))
            parts.append((one.get("value") or "", f"{at}.fields.{index}.value", 1024))
        for value, field, most in parts:
            if value is not None:
                total += len(_length(value, field, most))
    if total > EMBED_TOTAL_MAX:
        raise invalid("embeds", f"Embeds exceed {EMBED_TOTAL_MAX} characters.", "MAX_EMBED_SIZE")


def check_allowed_mentions(allowed: object) -> None:
    """`parse`, `users`, `roles`, `replied_user`; a kind is parsed or listed, never both."""
    if allowed is None:
        return
    if not isinstance(allowed, Mapping):
        raise invalid("allowed_mentions", "Only dictionaries may be used.", "DICT_TYPE_CONVERT")
    if unknown := set(allowed) - {"parse", "users", "roles", "replied_user"}:
        raise invalid(f"allowed_mentions.{min(unknown)}", "Unknown key.", "UNKNOWN_KEY")
    parse = set(allowed.get("parse") or ())
    if parse - {"users", "roles", "everyone"}:
        raise invalid("allowed_mentions.parse", "Not a kind of mention.", "BASE_TYPE_CHOICES")
    for kind in ("users", "roles"):
        listed = allowed.get(kind) or []
        if len(listed) > 100:
            raise invalid(f"allowed_mentions.{kind}", "Must be 100 or fewer in length.")
        if listed and kind in parse:
            text = f"parse:[{kind!r}] and {kind}: [ids] are mutually exclusive."
            raise invalid("allowed_mentions", text, "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE")


# Components


def walk(components: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Every component, nested ones after what holds them."""
    for component in components:
        yield component
        yield from walk(component.get("components") or [])
        for key in ("accessory", "component"):
            if isinstance(component.get(key), Mapping):
                yield from walk([component[key]])


def check_components(components: Sequence[Mapping[str, Any]], *, v2: bool) -> None:
    """Rows of buttons and selects, or with V2 layouts of 40 components and 4,000 characters."""
    everything = list(walk(components))
    if v2:
        if len(everything) > COMPONENTS_MAX:
            raise invalid("components", f"Must be {COMPONENTS_MAX} or fewer.", "TOO_MANY")
        shown = sum(len(item.get("content") or "") for item in everything if item["type"] == TEXT)
        if shown > DISPLAY_MAX:
            raise invalid("components", f"Text exceeds {DISPLAY_MAX} characters.", "TOO_LONG")
    elif len(components) > ROWS_MAX:
        raise invalid("components", f"Must be {ROWS_MAX} or fewer in length.")
    named = [str(item["custom_id"]) for item in everything if item.get("custom_id")]
    if len(named) != len(set(named)):
        raise invalid("components", "Component custom id cannot be duplicated", "DUPLICATED")
    numbered = [item["id"] for item in everything if item.get("id")]
    if len(numbered) != len(set(numbered)):
        raise invalid("components", "Component id cannot be duplicated", "DUPLICATED")
    for number, one in enumerate(components):
        at = f"components.{number}"
        if not v2 and one.get("type") != ROW:
            raise invalid(at, "Value of field 'type' must be one of (1,).", "BASE_TYPE_CHOICES")
        if one.get("type") not in {ROW, *ONLY_V2}:
            raise invalid(at, "Can't stand at the top.", "BASE_TYPE_CHOICES")
        _check_component(one, at)


def _check_component(one: Mapping[str, Any], at: str) -> None:
    kind = one.get("type")
    if kind in SELECTS:
        _check_select(one, at)
    elif kind in _CHECKS:
        _CHECKS[kind](one, at)
    elif kind not in {THUMBNAIL, FILE, SEPARATOR}:
        raise invalid(at, f"Type {kind} can't be used here.", "UNION_TYPE_CHOICES")


def _check_section(one: Mapping[str, Any], at: str) -> None:
    texts = one.get("components") or []
    if not 1 <= len(texts) <= 3 or any(text.get("type") != TEXT for text in texts):
        raise invalid(f"{at}.components", "Must be 1 to 3 texts.")
    accessory = one.get("accessory") or {}
    if accessory.get("type") not in {BUTTON, THUMBNAIL}:
        raise invalid(f"{at}.accessory", "This field is required", "BASE_TYPE_REQUIRED")
    for text in texts:
        _check_text(text, at)
    _check_component(accessory, f"{at}.accessory")


def _check_text(one: Mapping[str, Any], at: str) -> None:
    _length(one.get("content"), f"{at}.content", DISPLAY_MAX, least=1)


def _check_gallery(one: Mapping[str, Any], at: str) -> None:
    if not 1 <= len(one.get("items") or []) <= 10:
        raise invalid(f"{at}.items", "Must be between 1 and 10 in length.")


def _check_container(one: Mapping[str, Any], at: str) -> None:
    inner = one.get("components") or []
    if not inner:
        raise invalid(f"{at}.components", "Must be 1 or more in length.")
    for number, child in enumerate(inner):
        if child.get("type") == CONTAINER:
            raise invalid(f"{at}.components.{number}", "No container in one.", "NESTED")
        _check_component(child, f"{at}.components.{number}")


def _check_row(row: Mapping[str, Any], at: str) -> None:
    inner = row.get("components") or []
    selects = [item for item in inner if item.get("type") in SELECTS]
    if not 1 <= len(inner) <= 5 or (selects and len(inner) > 1):
        raise invalid(f"{at}.components", "Five buttons, or one select.", "COMPONENT_LAYOUT_WIDTH")
    for number, one in enumerate(inner):
        where = f"{at}.components.{number}"
        if one.get("type") not in {BUTTON, *SELECTS}:
            raise invalid(where, "Can't stand in a row.", "UNION_TYPE_CHOICES")
        _check_component(one, where)


def _check_button(one: Mapping[str, Any], at: str) -> None:
    style = one.get("style")
    if style not in range(1, 7):
        raise invalid(f"{at}.style", "Must be one of 1 to 6.", "BASE_TYPE_CHOICES")
    if style == LINK:
        if not re.match(r"^(https?|discord)://", str(one.get("url") or "")):
            raise invalid(f"{at}.url", "Scheme must be http or https.", "URL_TYPE_INVALID_SCHEME")
        _length(one["url"], f"{at}.url", 512)
    elif style != PREMIUM:
        _length(one.get("custom_id"), f"{at}.custom_id", CUSTOM_ID_MAX, least=1)
    if style in {LINK, PREMIUM} and one.get("custom_id"):
        raise invalid(f"{at}.custom_id", "A link has none.", "BUTTON_COMPONENT_CUSTOM_ID")
    if one.get("label") is not None:
        _length(one["label"], f"{at}.label", LABEL_MAX)
    if not one.get("label") and not one.get("emoji") and style != PREMIUM:
        raise invalid(f"{at}.label", "A button needs a label or an emoji.", "BASE_TYPE_REQUIRED")


_CHECKS: dict[int | None, Callable[[Mapping[str, Any], str], None]] = {
    ROW: _check_row,
    BUTTON: _check_button,
    SECTION: _check_section,
    TEXT: _check_text,
    GALLERY: _check_gallery,
    CONTAINER: _check_container,
}


def _check_select(one: Mapping[str, Any], at: str) -> None:
    _length(one.get("custom_id"), f"{at}.custom_id", CUSTOM_ID_MAX, least=1)
    if one.get("placeholder") is not None:
        _length(one["placeholder"], f"{at}.placeholder", PLACEHOLDER_MAX)
    if one["type"] != STRING_SELECT:
        return
    options = one.get("options") or []
    if not 1 <= len(options) <= OPTIONS_MAX:
        raise invalid(f"{at}.options", f"Must be between 1 and {OPTIONS_MAX} in length.")
    for number, option in enumerate(options):
        _length(option.get("label"), f"{at}.options.{number}.label", 100, least=1)
        _length(option.get("value"), f"{at}.options.{number}.value", 100, least=1)
        _length(option.get("description") or "", f"{at}.options.{number}.description", 100)
    if len({option["value"] for option in options}) != len(options):
        raise invalid(f"{at}.options", "The value is already used.", "SELECT_DUPLICATE_VALUE")


def check_modal(modal: Mapping[str, Any]) -> None:
    """A form: five labelled fields or texts, each with its own id."""
    _length(modal.get("title"), "title", 45, least=1)
    _length(modal.get("custom_id"), "custom_id", CUSTOM_ID_MAX, least=1)
    components = modal.get("components") or []
    if not 1 <= len(components) <= 5:
        raise invalid("components", "Must be between 1 and 5 in length.")
    for number, one in enumerate(components):
        at = f"components.{number}"
        if one.get("type") == TEXT:
            continue
        if one.get("type") == LABEL:
            _length(one.get("label"), f"{at}.label", 45, least=1)
            _length(one.get("description") or "", f"{at}.description", 100)
            _check_field(one.get("component") or {}, f"{at}.component")
        elif one.get("type") == ROW and len(one.get("components") or []) == 1:
            _check_field(one["components"][0], f"{at}.components.0")
        else:
            raise invalid(at, "A modal holds labels.", "UNION_TYPE_CHOICES")


def _check_field(one: Mapping[str, Any], at: str) -> None:
    if one.get("type") not in IN_LABELS:
        raise invalid(at, "Can't stand in a modal.", "UNION_TYPE_CHOICES")
    _length(one.get("custom_id"), f"{at}.custom_id", CUSTOM_ID_MAX, least=1)
    if one["type"] == TEXT_INPUT:
        _length(one.get("placeholder") or "", f"{at}.placeholder", 100)
        _length(one.get("value") or "", f"{at}.value", 4000)
        if not 1 <= int(one.get("max_length") or 4000) <= 4000:
            raise invalid(
                f"{at}.max_length", "int value should be at most 4000.", "NUMBER_TYPE_MAX"
            )
    elif one["type"] in SELECTS:
        _check_select(one, at)


# Commands


def check_commands(commands: object) -> None:
    """Everything an application registers at once: names, lengths, counts, two levels of groups."""
    if not isinstance(commands, list):
        raise invalid("commands", "Only iterables may be used in a ListType", "LIST_TYPE_CONVERT")
    for kind, most in ((1, 100), (2, 15), (3, 15)):
        here = [command.get("name") for command in commands if command.get("type", 1) == kind]
        if len(here) > most:
            text = f"Maximum number of application commands reached ({most})"
            raise Refused(400, 30032, text)
        if len(here) != len(set(here)):
            text = "Application command names must be unique"
            raise invalid("name", text, "APPLICATION_COMMANDS_DUPLICATE_NAME")
    for number, command in enumerate(commands):
        _check_command(command, str(number))


def _check_command(command: Mapping[str, Any], at: str) -> None:
    if command.get("type", 1) != 1:
        _length(command.get("name"), f"{at}.name", 32, least=1)
        if command.get("description") or command.get("options"):
            raise invalid(f"{at}.description", "Context menus have none.", "APPLICATION_COMMAND")
        return
    _check_name(command.get("name"), f"{at}.name")
    _length(command.get("description"), f"{at}.description", 100, least=1)
    if _total(command) > COMMAND_TOTAL_MAX:
        raise invalid(at, f"Command exceeds maximum size ({COMMAND_TOTAL_MAX})", "TOO_LARGE")
    _check_options(command.get("options") or [], f"{at}.options", depth=0)


def _check_name(value: object, field: str) -> None:
    name = _length(value, field, 32, least=1)
    if not COMMAND_NAME.match(name) or name != name.lower():
        raise invalid(field, "Command name is invalid", "APPLICATION_COMMAND_INVALID_NAME")


def _total(command: Mapping[str, Any]) -> int:
    own = len(str(command.get("name") or "")) + len(str(command.get("description") or ""))
    choices = sum(
        len(str(item.get("name"))) + len(str(item.get("value")))
        for item in command.get("choices") or ()
    )
    return own + choices + sum(_total(item) for item in command.get("options") or ())


def _check_options(options: Sequence[Mapping[str, Any]], at: str, *, depth: int) -> None:
    if len(options) > OPTIONS_MAX:
        raise invalid(at, f"Must be {OPTIONS_MAX} or fewer in length.")
    names = [option.get("name") for option in options]
    if len(names) != len(set(names)):
        raise invalid(at, "Option names must be unique", "APPLICATION_COMMAND_OPTIONS_NAME")
    nested = [option for option in options if option.get("type") in {GROUP, SUBCOMMAND}]
    if nested and len(nested) != len(options):
        raise invalid(at, "Sub-command and values can't be mixed", "APPLICATION_COMMAND_OPTIONS")
    needed = [bool(option.get("required")) for option in options]
    if needed != sorted(needed, reverse=True):
        text = "Required options must be placed before non-required options"
        raise invalid(at, text, "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID")
    for number, one in enumerate(options):
        where = f"{at}.{number}"
        _check_name(one.get("name"), f"{where}.name")
        _length(one.get("description"), f"{where}.description", 100, least=1)
        kind = one.get("type")
        if (kind == GROUP and depth > 0) or (kind == SUBCOMMAND and depth > 1):
            raise invalid(where, "Nested too deeply", "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID")
        if kind in {GROUP, SUBCOMMAND}:
            _check_options(one.get("options") or [], f"{where}.options", depth=depth + 1)
        elif kind in range(3, 12):
            _check_value(one, where)
        else:
            raise invalid(f"{where}.type", "Unknown type", "BASE_TYPE_CHOICES")


def _check_value(option: Mapping[str, Any], at: str) -> None:
    choices = option.get("choices") or []
    if choices and option.get("autocomplete"):
        raise invalid(
            at, "Choices or autocomplete, not both", "APPLICATION_COMMAND_OPTIONS_CHOICES"
        )
    check_choices(choices, f"{at}.choices")


def check_choices(choices: Sequence[Mapping[str, Any]], at: str = "data.choices") -> None:
    """Choices of an option, or what autocomplete offers."""
    if len(choices) > OPTIONS_MAX:
        raise invalid(at, f"Must be {OPTIONS_MAX} or fewer in length.")
    for number, one in enumerate(choices):
        _length(one.get("name"), f"{at}.{number}.name", 100, least=1)
        if isinstance(one.get("value"), str):
            _length(one["value"], f"{at}.{number}.value", 100)
        elif one.get("value") is None:
            raise invalid(f"{at}.{number}.value", "This field is required", "BASE_TYPE_REQUIRED")
