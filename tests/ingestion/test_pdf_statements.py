"""Financial statements in PDFs: one table each, values under their names, labels whole."""

from __future__ import annotations

import re
from collections import Counter

from ingestion.convert.formats import convert
from tests.fakes.files import pdf

Lines = list[tuple[float, float, float, str]]


def right(x: float, y: float, text: str) -> tuple[float, float, float, str]:
    """A number that ends at `x`."""
    return x - 5.2 * len(text.replace("\\", "")), y, 10, text


class Statement:
    """Lines of a statement, written from the top of a page."""

    def __init__(self, *columns: float) -> None:
        self.columns = columns
        self.lines: Lines = []
        self.y = 730.0

    def row(
        self, label: str, *values: str, indent: int = 0, dollar: bool = False, gap: float = 13
    ) -> None:
        if label:
            self.lines.append((50 + indent, self.y, 10, label))
        for x, value in zip(self.columns, values, strict=False):
            if dollar:
                self.lines.append((x - 50, self.y, 10, "$"))
            self.lines.append(right(x, self.y, value))
        self.y -= gap


def tables(lines: Lines) -> list[list[str]]:
    """The rows of each table of a page."""
    document = convert(pdf(lines), "a.pdf")
    return [
        document.text[b.start : b.end].splitlines() for b in document.blocks if b.kind == "table"
    ]


def balance() -> Lines:
    made = Statement(420, 520)
    made.row("", "June 30,", "December 31,")
    made.row("", "2024", "2023", gap=16)
    made.row("ASSETS")
    made.row("Current assets:")
    made.row("Cash and cash equivalents", "8,563", "3,389", indent=10, dollar=True)
    made.row("Marketable securities", "26,237", "22,595", indent=10)
    made.row("Prepaid expenses and other current", indent=10)
    made.row("assets", "4,026", "3,080", indent=20)
    made.row("Total current assets", "38,826", "29,064", indent=20)
    made.row("Property and equipment, net", "4,885", "3,914")
    made.row("Total assets", "43,711", "32,978", dollar=True, gap=21)
    made.row("LIABILITIES")
    made.row("Accounts payable", "3,680", "2,699", indent=10, dollar=True)
    made.row("Short-term debt", r"\(250\)", "1,250", indent=10)
    made.row("Total liabilities", "3,430", "3,949", dollar=True)
    return made.lines


def test_a_balance_sheet_is_one_table() -> None:
    assert tables(balance()) == [
        [
            "|  | June 30, 2024 | December 31, 2023 |",
            "| --- | --- | --- |",
            "| ASSETS |  |  |",
            "| Current assets: |  |  |",
            "| Cash and cash equivalents | $ 8,563 | $ 3,389 |",
            "| Marketable securities | 26,237 | 22,595 |",
            "| Prepaid expenses and other current assets | 4,026 | 3,080 |",
            "| Total current assets | 38,826 | 29,064 |",
            "| Property and equipment, net | 4,885 | 3,914 |",
            "| Total assets | $ 43,711 | $ 32,978 |",
            "| LIABILITIES |  |  |",
            "| Accounts payable | $ 3,680 | $ 2,699 |",
            "| Short-term debt | (250) | 1,250 |",
            "| Total liabilities | $ 3,430 | $ 3,949 |",
        ]
    ]


def test_no_word_of_a_statement_is_lost() -> None:
    written = Counter(re.findall(r"[\w$]+", " ".join(text for *_, text in balance())))
    assert Counter(re.findall(r"[\w$]+", convert(pdf(balance()), "a.pdf").text)) == written


def test_names_over_several_columns_stay_above_them() -> None:
    made = Statement(340, 410, 480, 550)
    made.lines = [(300, 756, 10, "Three Months Ended"), (440, 756, 10, "Six Months Ended")]
    made.row("", "2024", "2023", "2024", "2023")
    made.row("Revenue", "30,040", "13,507", "56,084", "20,699", dollar=True)
    made.row("Operating expenses")
    made.row("Research and development", "3,090", "2,040", "5,810", "3,916", indent=10)
    made.row("Sales, general and", indent=10)
    made.row("administrative", "842", "622", "1,618", "1,255", indent=10)
    made.row("Change", "12%", r"\(4\)%", "-", "7%")
    assert tables(made.lines) == [
        [
            "|  | Three Months Ended 2024 | 2023 | Six Months Ended 2024 | 2023 |",
            "| --- | --- | --- | --- | --- |",
            "| Revenue | $ 30,040 | $ 13,507 | $ 56,084 | $ 20,699 |",
            "| Operating expenses |  |  |  |  |",
            "| Research and development | 3,090 | 2,040 | 5,810 | 3,916 |",
            "| Sales, general and administrative | 842 | 622 | 1,618 | 1,255 |",
            "| Change | 12% | (4)% | - | 7% |",
        ]
    ]


def test_values_without_names_of_columns_are_no_header() -> None:
    made = Statement(420, 520)
    made.row("Revenue", "100", "90")
    made.row("Cost", "50", "45")
    made.row("Profit", "50", "45")
    assert tables(made.lines)[0][:3] == [
        "|  |  |  |",
        "| --- | --- | --- |",
        "| Revenue | 100 | 90 |",
    ]


def test_cells_that_wrap_are_whole() -> None:
    rows = [
        ("Part", "What it does", "Price"),
        ("Valve", "Holds the water back", "12"),
        ("", "until it is needed", ""),
        ("Pump", "Moves it", "80"),
        ("Pipe, made of the best", "Leads it", "9"),
        ("copper there is", "", ""),
    ]
    lines = [
        (x, 700 - 13.0 * at, 10.0, text)
        for at, row in enumerate(rows)
        for x, text in zip((50.0, 190.0, 430.0), row, strict=True)
        if text
    ]
    assert tables(lines) == [
        [
            "| Part | What it does | Price |",
            "| --- | --- | --- |",
            "| Valve | Holds the water back until it is needed | 12 |",
            "| Pump | Moves it | 80 |",
            "| Pipe, made of the best copper there is | Leads it | 9 |",
        ]
    ]


def test_text_around_a_table_is_no_row_and_what_stands_apart_is_another_table() -> None:
    prose = "A sentence that runs over all of the columns of the table, to the right"
    made = Statement(420, 520)
    made.lines = [(50, 756, 10, prose), (50, 744, 10, prose)]
    for part in ("first", "second"):
        made.row("", "2024", "2023")
        for n in range(3):
            made.row(f"Item of the {part}", f"{n}00", f"{n}50")
        made.lines.append((50, made.y, 10, prose))
        made.y -= 13
        made.lines.append((50, made.y - 30, 16, f"Behind the {part}"))
        made.y -= 60
    found = tables(made.lines)
    assert [len(rows) for rows in found] == [5, 5]
    assert all("sentence" not in row and "Behind" not in row for rows in found for row in rows)
    assert convert(pdf(made.lines), "a.pdf").text.count(prose) == 4


def test_a_statement_with_narrow_gaps_is_a_table_too() -> None:
    rows = [
        ("", "2025", "2024", "2023"),
        ("Net sales", "$ 4,120", "$ 3,990", "$ 3,711"),
        ("Cost of goods", "2,310", "2,205", "2,101"),
        ("Gross profit", "1,810", "1,785", "1,610"),
        ("Other costs", "1,402", "1,377", "1,340"),
        ("Net income", "$ 611", "$ 590", "$ 512"),
    ]
    lines = [
        (at, 700.0 - 18 * number, 10.0, text)
        for number, row in enumerate(rows)
        for at, text in zip((50.0, 122.0, 168.0, 214.0), row, strict=True)
        if text
    ]
    (table,) = tables(lines)
    assert table[0] == "|  | 2025 | 2024 | 2023 |"
    assert table[2] == "| Net sales | $ 4,120 | $ 3,990 | $ 3,711 |"
    assert table[-1] == "| Net income | $ 611 | $ 590 | $ 512 |"
