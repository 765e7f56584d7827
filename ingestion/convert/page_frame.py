"""Takes off a saved page what frames it: breadcrumbs, sidebars, footers, and templates' residue.

Pages say by their elements what is navigation (`html.py` goes by that); wikis and older pages say it
only by what they call a part. A part is never taken that holds most of the page's words.
"""

from __future__ import annotations

import re

from lxml import html

from ingestion.convert.residue import words_of

_FRAME = (
    r"bread-?crumbs?|crumbs|side-?bar|aside|footer|foot|print-?footer|nav|navbar|nav-?box|navigation"
    r"|menu|toc|table-of-contents|cat-?links|edit-?section|jump-?link|skip-?link|site-?notice|site-?sub"
    r"|page-?tools|user-?tools|site-?tools|page-?metadata|page-?meta|doc-?info"
    r"|cookie-?(?:banner|notice|consent)|pagination|prev-?next|toolbar|contentsub|mw-?panel"
    r"|mw-?head|p-personal|p-search|action-?menu|likes-and-labels[\w-]*|labels-section|comments-section"
)
# `page-footer`, `wiki-sidebar__inner`, `dokuwiki__aside`; not `has-sidebar` or `with-footer`, which
# are said of what stands beside one.
_CALLED = re.compile(
    rf"(?!(?:has|with|without|no|hide|show|is|layout|left|right)[-_])(?:[a-z0-9]+[-_]+){{0,2}}(?:{_FRAME})"
    r"(?:[-_]+(?:inner|container|wrapper|list|left|right|top|bottom|content|nav|menu|links?|section))?"
)
_LABELLED = frozenset(("breadcrumb", "breadcrumbs", "sidebar", "footer", "table of contents"))
_NAMED_BY_TITLE = frozenset(("h1", "h2", "h3", "h4", "h5", "h6", "section", "a", "dt", "figure"))
_MOST = 0.5  # of a page's words: what holds more is the page
_CODE = frozenset(("pre", "code", "kbd", "samp", "tt", "script", "style", "textarea", "template"))
_RESIDUE = re.compile(
    r"\{%[^{}\n]{0,300}%\}|(?<!\$)\{\{[^{}\n]{0,300}\}\}|\{#[^{}\n]{0,300}#\}|</?br\s*/?>",
    re.IGNORECASE,
)
_MAY_HOLD = re.compile(r"\{[{%#]|&lt;/?br", re.IGNORECASE)


def drop_frame(root: html.HtmlElement) -> None:
    """Remove the parts of a page that are called what frames one."""
    found = [element for element in root.iter() if _is_frame(element)]
    if not found:
        return
    whole = len("".join(root.itertext()).split())
    for element in found:
        if element.getparent() is None or element.tag in {"html", "body", "main", "article"}:
            continue
        if next(element.iter("main", "article", "h1"), None) is not None:
            continue
        if len("".join(element.itertext()).split()) <= _MOST * whole:
            element.drop_tree()


def drop_residue(root: html.HtmlElement, source: str) -> None:
    """Remove what a template left unfilled, and tags that were written as text; code keeps both."""
    if _MAY_HOLD.search(source) is None:
        return
    for element in root.iter():
        if not isinstance(element.tag, str):
            continue
        if element.text and not _is_code(element):
            element.text = _RESIDUE.sub(_words, element.text)
        above = element.getparent()
        if element.tail and above is not None and not _is_code(above):
            element.tail = _RESIDUE.sub(_words, element.tail)


def _words(found: re.Match[str]) -> str:
    return words_of(found[0]) or " "


def _is_code(element: html.HtmlElement) -> bool:
    return element.tag in _CODE or next(element.iterancestors(*_CODE), None) is not None


def _is_frame(element: html.HtmlElement) -> bool:
    if not isinstance(element.tag, str):
        return False
    get = element.get
    if (get("aria-label") or "").strip().lower() in _LABELLED:
        return True
    if "BreadcrumbList" in (get("itemtype") or ""):
        return True
    if element.tag in _NAMED_BY_TITLE:
        return False
    names = (get("class") or "").split()
    if "section" not in names and not _is_titled(element, get("id") or ""):
        names.append(get("id") or "")
    return any(name and _CALLED.fullmatch(name.lower()) is not None for name in names)


def _is_titled(element: html.HtmlElement, name: str) -> bool:
    """Whether a part has its id from its title: a chapter on menus is called `menu`, too."""
    title = next(element.iter("h1", "h2", "h3", "h4", "h5", "h6"), None)
    said = "" if title is None else "".join(title.itertext())
    return re.sub(r"\W+", "-", said.lower()).strip("-") == name.lower()
