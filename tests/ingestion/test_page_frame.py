"""Saved pages: what frames them, and what their templates left unfilled, is no text."""

from __future__ import annotations

import pytest

from ingestion.convert.formats import convert

CONTENT = "<h1>Pumps</h1><p>" + "The pump is checked in May by two people. " * 5 + "</p>"
TEXT = "# Pumps\n\n" + ("The pump is checked in May by two people. " * 5).strip()


def page(body: str) -> str:
    return convert(
        f"<html><head><title>P</title></head><body>{body}</body></html>".encode(), "a.html"
    ).text


@pytest.mark.parametrize(
    "frame",
    [
        '<div id="breadcrumbs"><a href="/">Home</a> / Ops / Pumps</div>',
        '<ol class="breadcrumb"><li>Home</li><li>Ops</li></ol>',
        '<div class="wiki-sidebar"><ul><li>Page one</li><li>Page two</li></ul></div>',
        '<div id="sidebar-left"><p>Recent changes</p></div>',
        '<div class="page-footer">Powered by Wiki 9.1</div>',
        '<div id="footer"><p>Powered by Wiki 9.1</p></div>',
        '<div id="dokuwiki__aside"><p>Start</p></div>',
        '<div id="mw-panel"><p>Main page</p></div>',
        '<div id="catlinks" class="catlinks">Categories: Pumps</div>',
        '<div class="printfooter">Retrieved from a wiki</div>',
        '<span class="mw-editsection">[edit]</span>',
        '<div class="toc"><ul><li>1 Pumps</li></ul></div>',
        '<p aria-label="breadcrumb">Home > Ops</p>',
        '<div itemtype="https://schema.org/BreadcrumbList">Home</div>',
        '<div class="page-metadata"><ul><li>Created by Ann</li></ul></div>',
    ],
)
@pytest.mark.parametrize("within_main", [True, False])
def test_a_saved_wiki_page_loses_its_frame(frame: str, within_main: bool) -> None:
    whole = f"{frame}{CONTENT}{frame}"
    assert (
        page(f"<main>{whole}</main>" if within_main else f"<div id=content>{whole}</div>") == TEXT
    )


@pytest.mark.parametrize(
    "start",
    [
        '<div class="has-sidebar">',
        '<div class="layout with-footer">',
        '<div id="sidebar">',  # and holds the page
        '<div class="navigation">',
        '<div class="footer-notes-explained">',
    ],
)
def test_what_holds_the_page_is_never_its_frame(start: str) -> None:
    assert page(f"{start}{CONTENT}</div>") == TEXT


@pytest.mark.parametrize(
    "chapter",
    [
        "<section id=menu><h2>Menu</h2><p>Press F10.</p></section>",
        '<div class="section" id="footer"><h2>Footer</h2><p>Set it here.</p></div>',
        "<div id=sidebar><h2>Sidebar</h2><p>Drag it.</p></div>",
        "<h2 id=navigation>Navigation</h2><p>Use arrows.</p>",
    ],
)
def test_a_chapter_on_sidebars_is_no_sidebar(chapter: str) -> None:
    assert page(f"<main>{CONTENT}{chapter}</main>").count("\n## ") == 1


def test_text_after_a_part_that_is_taken_off_stays() -> None:
    assert page(f'{CONTENT}<p>One <span class="toc">x</span> two.</p>').endswith("\n\nOne two.")


def test_what_a_template_left_unfilled_is_no_text() -> None:
    text = page(
        f"{CONTENT}<p>Dear {{{{ user.name }}}}, {{% if late %}}pay now{{% endif %}}.&lt;br/&gt;Thanks.</p>"
        "<p>{{ footer }}</p><p>Costs {5} or ${{ x }}.</p>"
    )
    assert text.endswith("\n\nDear , pay now . Thanks.\n\nCosts {5} or ${{ x }}.")


def test_templates_within_code_are_text() -> None:
    text = page(
        f"{CONTENT}<p>Write <code>{{{{ name }}}}</code>.</p><pre>{{% raw %}}&lt;br&gt;</pre>"
    )
    assert "`{{ name }}`" in text
    assert "{% raw %}<br>" in text


def test_lines_of_markdown_with_nothing_but_residue_belong_to_no_block() -> None:
    source = "One.\n\n{{ content }}\n\n{{< figure src=a.png >}}\n\n<br>\n\nTwo.\n<br/>\nThree `{{ x }}`.\n"
    document = convert(source.encode(), "a.md")
    said = [document.text[block.start : block.end] for block in document.blocks]
    assert said == ["One.", "Two.", "Three `{{ x }}`."]


def test_residue_within_sentences_of_markdown_is_no_text_and_links_keep_where_they_lead() -> None:
    source = (
        "See [ours]({{site.base_url}}/us).<br>\nDear {{ name }}, {% if x %}pay"
        " now{% endif %}.<br/>Or `{% raw %}` it, ${{ secrets.KEY }}.\n\n```\n{{ kept }} <br> {% x %}\n```\n\n"
        "Text.\n\n    x = {{ kept.too }}<br>\n"
    )
    document = convert(source.encode(), "a.md")
    said = [document.text[block.start : block.end] for block in document.blocks]
    assert said == [
        "See [ours](/us).\nDear , pay now. Or `{% raw %}` it, ${{ secrets.KEY }}.",
        "```\n{{ kept }} <br> {% x %}\n```",
        "Text.",
        "    x = {{ kept.too }}<br>",
    ]
    assert document.text.count("\n") == source.count("\n")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ('See {% include "menu.html" %} here.', "See  here."),
        ("See {% include 'a.html' with x=\"50%\" %} here.", "See  here."),
        ('{% link_to "page.md" %}Text.', "Text."),
        ('A {{< glossary_tooltip text="Pod" term_id="pod" >}} runs.', "A Pod runs."),
        ("A {{% tooltip title='node pool' id='x' %}} runs.", "A node pool runs."),
        ('{% trans "Sign in" %} first.', "Sign in first."),
        ('Press {{ _("Save") }} now.', "Press Save now."),
        ('Press {{ "Save" | t }} now.', "Press Save now."),
        ("So {% if page.name == 'a' %}yes{% endif %}.", "So yes."),
        ("It's {{ count }} o'clock {% now 'H:i' %}.", "It's  o'clock ."),
        ("Use `{% include 'a' %}` as is.", "Use `{% include 'a' %}` as is."),
    ],
)
def test_a_tag_with_quotes_keeps_only_words_meant_for_readers(written: str, read: str) -> None:
    assert convert(f"{written}\n".encode(), "a.md").text.strip() == read


def test_a_saved_page_keeps_the_words_of_its_tags() -> None:
    assert "Press Save now." in page(f"{CONTENT}<p>Press {{{{ _('Save') }}}} now.</p>")
