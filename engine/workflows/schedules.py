"""When a schedule is due: five fields of cron in a time zone. Pure.

`cronsim` reads the fields and knows what a change of the clocks does: a time that does not exist that
day is due right after the change, and one that comes twice is due the first time.
"""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from engine.errors import InvalidInput

WORDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 1",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
CRON_MAX = 100  # characters


def check_schedule(cron: str, zone: str) -> str:
    """The five fields of a schedule; `InvalidInput` where it is none, or is never due."""
    fields = WORDS.get(cron.strip().lower(), " ".join(cron.split()))
    zone_of(zone)
    if len(fields) > CRON_MAX or len(fields.split()) != 5:
        raise InvalidInput(
            "schedule: give minute, hour, day, month and weekday, such as `0 9 * * 1`, or one of"
            f" {', '.join(WORDS)}.",
            field="schedule",
        )
    try:
        next(CronSim(fields, datetime(2026, 1, 1, tzinfo=UTC)))
    except CronSimError as error:
        raise InvalidInput(
            f"schedule: {fields!r} is no schedule: {error}.", field="schedule"
        ) from None
    except StopIteration:
        raise InvalidInput(f"schedule: {fields!r} is never due.", field="schedule") from None
    return fields


def zone_of(name: str) -> ZoneInfo:
    """A time zone by its IANA name, such as Europe/Berlin."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidInput(
            f"zone: {name[:60]!r} is no time zone: give one such as Europe/Berlin.", field="zone"
        ) from None


def next_after(cron: str, zone: str, at: datetime) -> datetime:
    """The first instant after `at` that the schedule is due, in UTC."""
    return next(CronSim(cron, at.astimezone(zone_of(zone)))).astimezone(UTC)
