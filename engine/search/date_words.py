"""Days as people name them: "yesterday", "last week", "3 months ago", "May", "2026-05". Pure.

`DATE` finds them in a text, in lower or upper case; `days_of` says which days one names.
"""

from __future__ import annotations

import re
from datetime import date, timedelta

_MONTH_NAMES = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
_MONTH = "|".join(f"{name}|{name[:3]}" for name in _MONTH_NAMES)
_DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
DATE = (
    rf"(?:\d{{4}}-\d{{2}}(?:-\d{{2}})?|(?:19|20)\d\d|yesterday|today|last (?:week|month|year|{'|'.join(_DAYS)})"
    rf"|this (?:week|month|year)|\d{{1,3}} (?:day|week|month|year)s? ago"
    rf"|(?:{_MONTH})\.?(?: \d{{1,2}}(?:st|nd|rd|th)?)?(?:,? (?:19|20)\d\d)?"
    rf"|\d{{1,2}}(?:st|nd|rd|th)? (?:{_MONTH})(?:,? (?:19|20)\d\d)?)"
)


def days_of(said: str, today: date) -> tuple[date, date]:
    """The first and the last day of what is named, at or before today where it has no year."""
    if match := re.fullmatch(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?", said):
        return _span(int(match[1]), int(match[2] or 0), int(match[3] or 0), today)
    if said in {"today", "yesterday"}:
        day = today - timedelta(days=said == "yesterday")
        return day, day
    if match := re.fullmatch(r"(\d{1,3}) (day|week|month|year)s? ago", said):
        day = days_ago(today, int(match[1]), match[2])
        return day, day
    if match := re.fullmatch(r"(last|this) (\w+)", said):
        return _relative(match[1], match[2], today)
    month = re.search(r"[a-z]{3,}", said)
    year = re.search(r"(?:19|20)\d\d", said)
    day_of = re.search(r"\b(\d{1,2})(?:st|nd|rd|th)?\b", re.sub(r"(?:19|20)\d\d", "", said))
    number = next(
        n for n, name in enumerate(_MONTH_NAMES, 1) if month and name.startswith(month.group()[:3])
    )
    chosen = int(year.group()) if year else today.year
    first, last = _span(chosen, number, int(day_of[1]) if day_of else 0, today)
    if not year and first > today:
        return _span(chosen - 1, number, int(day_of[1]) if day_of else 0, today)
    return first, last


def _relative(which: str, unit: str, today: date) -> tuple[date, date]:
    back = 1 if which == "last" else 0
    if unit == "year":
        return date(today.year - back, 1, 1), date(today.year - back, 12, 31)
    if unit == "month":
        first = days_ago(today.replace(day=1), back, "month")
        return first, days_ago(first, -1, "month") - timedelta(days=1)
    if unit == "week":
        first = today - timedelta(days=today.weekday() + 7 * back)
        return first, first + timedelta(days=6)
    days = (today.weekday() - _DAYS.index(unit)) % 7 or 7
    return today - timedelta(days=days), today - timedelta(days=days)


def days_ago(day: date, count: int, unit: str) -> date:
    """The day that is a number of days, weeks, months or years before another."""
    if unit in {"day", "week"}:
        return day - timedelta(days=count * (7 if unit == "week" else 1))
    months = day.year * 12 + day.month - 1 - count * (12 if unit == "year" else 1)
    year, month = divmod(months, 12)
    for last in (day.day, 30, 29, 28):
        try:
            return date(year, month + 1, last)
        except ValueError:
            continue
    return day


def _span(year: int, month: int, day: int, today: date) -> tuple[date, date]:
    try:
        if day:
            return date(year, month, day), date(year, month, day)
        if month:
            first = date(year, month, 1)
            return first, days_ago(first, -1, "month") - timedelta(days=1)
        return date(year, 1, 1), date(year, 12, 31)
    except ValueError:
        return today, today  # no such day
