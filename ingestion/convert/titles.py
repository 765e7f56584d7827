"""Which of a file's own names is its title: metadata hold file names, filing numbers and addresses too.

What programs put there by themselves loses to the heading that the file shows its readers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ingestion.convert.document import Block

TITLE_CHARS = 500
_OPENING = 4  # of the first blocks one is the title: an address, a date, a logo's words may lead

_PROGRAM = re.compile(
    r"^(?:microsoft|ms)?\s*(?:office\s+)?(?:word|powerpoint|excel|publisher|visio|outlook)\s+-\s+",
    re.IGNORECASE,
)
_TEMPLATES = re.compile(
    r"(?:new |blank |my )?(?:microsoft )?"
    r"(?:untitled|unbenannt|sans titre|sin t[íi]tulo|senza titolo|naamloos|bez tytułu|без имени|無題|无标题"
    r"|no title|title|none|null|n/a|anonymous|document|dokument|documento|doc|presentation"
    r"|präsentation|présentation|presentación|presentazione|book|workbook|sheet|tabelle|mappe|feuil"
    r"|classeur|slide|folie|layout|page|cover|scan|scanned document|template|sample|print|report"
    r"|word document|powerpoint presentation|powerpoint[- ]präsentation|présentation powerpoint"
    r"|presentación de powerpoint|presentazione standard di powerpoint|apresentação do powerpoint"
    r"|презентация powerpoint|full page photo|slide title|click to (?:add|edit) (?:the )?title"
    r"|enter title|your title here|title of (?:the )?(?:document|paper)|latex template)"
    r"[\s_-]*\d{0,3}(?:\s*\(\d+\))?",
    re.IGNORECASE,
)
# Parts that documents of all kinds have: they name the part, not the document.
_PARTS = re.compile(
    r"(?:[\dIVX]+[.)]?\s+)?(?:(?:table of )?contents|index|abstract|introduction|overview|foreword"
    r"|preface|acknowledge?ments|summary|executive summary|inhalt|inhaltsverzeichnis|einleitung|vorwort"
    r"|zusammenfassung|sommaire|table des matières|résumé|avant-propos|índice|contenido|resumen"
    r"|introducción|indice|introduzione|sommario|sumário|conteúdo|introdução|inhoud|inhoudsopgave"
    r"|inleiding|spis treści|wstęp|innehåll|indhold|innhold|sisällys|obsah|tartalom|cuprins|içindekiler"
    r"|содержание|оглавление|введение|зміст|περιεχόμενα|目次|目录|目錄|もくじ|概要|摘要|はじめに|목차|차례|개요"
    r"|المحتويات|תוכן עניינים|สารบัญ|mục lục)[.:]?",
    re.IGNORECASE,
)
_FILE = re.compile(
    r"\.(?:docx?|docm|dotx?|odt|rtf|txt|md|tex|dvi|e?ps|pdf|indd?|qx[dp]|p6[5p]|pmd|fm|book|cdr|ai"
    r"|psd|xlsx?|xlsm|ods|csv|pptx?|ppsx?|odp|key|pages|numbers|html?|xht(?:ml)?|xml|json|sgml?|mif"
    r"|wp[ds5]?|pub|vsdx?|dwg|dxf|jpe?g|png|gif|tiff?|bmp|eml|msg|zip|hwpx?|tmp|bak)$",
    re.IGNORECASE,
)
_PATH = re.compile(r"^(?:[A-Za-z]:[\\/]|\\\\|~?/\S+/\S|file:)")
_ADDRESS = re.compile(
    r"^(?:[a-z][a-z0-9+.-]*://\S*|www\.\S+|[\w.+-]+@[\w-]+\.[\w.-]+"
    r"|(?:[a-z0-9-]+\.)+(?:com|org|net|gov|edu|mil|int|info|io|eu|[a-z]{2})(?:[/:?#]\S*)?)$",
    re.IGNORECASE,
)
_SLUG = re.compile(r"[^\W_]+(?:_[^\W_]+)+|[a-z0-9]+(?:[-.][a-z0-9]+){2,}")
_BROKEN = re.compile("\ufffd|\u00fe\u00ff|&#\\d+;|^[<{\\[(].*[>}\\])]$")


def given_title(value: str) -> str:
    """A title somebody gave, from a file's metadata; nothing where a program put it there."""
    value = _PROGRAM.sub("", " ".join(value.split())).strip()
    return value[:TITLE_CHARS] if looks_like_title(value) and not is_part(value) else ""


def looks_like_title(value: str) -> bool:
    """Whether people would name a document so, rather than file it under that."""
    value = " ".join(value.split())
    letters = sum(map(str.isalpha, value))
    digits = sum(map(str.isdigit, value))
    if letters < 2 and not _is_ideographic(value):
        return False
    if _TEMPLATES.fullmatch(value) or _FILE.search(value) or _BROKEN.search(value):
        return False
    if _PATH.match(value) or _ADDRESS.match(value) or digits > letters:
        return False
    # One word with digits is a number of something; words joined by other than spaces a file name.
    single = " " not in value and not _is_ideographic(value)
    return not (single and (digits > 1 or _SLUG.fullmatch(value)))


def document_title(given: str, blocks: Sequence[Block], styled: str = "") -> str:
    """The title of a document without pages: its metadata's, its title line's, its only main heading's."""
    return given_title(given) or styled[:TITLE_CHARS] or _opening_title(blocks)


def is_part(value: str) -> bool:
    """Whether a heading names a part that most documents have, as "Contents" does."""
    return _PARTS.fullmatch(" ".join(value.split())) is not None


def shown_title(blocks: Sequence[Block]) -> str:
    """The first of the largest headings on the first page that has one, else nothing."""
    headings = [block for block in blocks if block.kind == "heading" and block.heading_path]
    named = [block for block in headings if looks_like_title(block.heading_path[-1])]
    # On the page of the first heading only: pages behind the table of contents begin a chapter.
    whole = [b for b in named if b.page == named[0].page and not is_part(b.heading_path[-1])]
    named = whole or named
    if not named:
        return headings[0].heading_path[-1] if headings else ""
    page = named[0].page
    first = min((block for block in named if block.page == page), key=lambda block: block.level)
    return first.heading_path[-1]


def _opening_title(blocks: Sequence[Block]) -> str:
    """The heading that a document begins with, where it stands over all others; else nothing."""
    headings = [block for block in blocks if block.kind == "heading" and block.heading_path]
    if not headings or headings[0] not in blocks[:_OPENING]:
        return ""
    first = headings[0]
    title = first.heading_path[-1]
    alone = all(block.level > first.level for block in headings[1:])
    return title if alone and looks_like_title(title) and not is_part(title) else ""


def _is_ideographic(value: str) -> bool:
    return any("\u3040" <= letter <= "\u9fff" or "\uac00" <= letter <= "\ud7a3" for letter in value)
