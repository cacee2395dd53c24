"""The page of the rules: complete, true to the code, and without dead links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from roam_trio.wire import messages
from roam_trio.wire.envelope import decode_message, encode_message
from tests.rules_plugin import Rule, State, parse_rules

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "protocol.md"
PACKAGE = ROOT / "roam_trio"

FEWEST_WORDS = 6  # of a rule
MOST_WORDS = 25  # of a sentence

ANCHOR = re.compile(r'<a id="([^"]*)"></a>')
RULE = re.compile(
    r'^- <a id="rule-(?P<anchor>[^"]+)"></a>\*\*`(?P<id>[^`]+)`\*\*:\n'
    r"(?P<text>(?:  .+\n)+)",
    re.MULTILINE,
)
OUT_OF_SCOPE = re.compile(r"\*Out of scope: (.+)\.\*")
LINK = re.compile(r"\]\(([^()\s]+)\)")
DOTTED = re.compile(r"`([a-z][a-z0-9-]*(?:\.[a-z0-9-]+)+)`")
CITATION = re.compile(r"\((`[a-z0-9.-]+`(?:, `[a-z0-9.-]+`)*)\)")


@attrs.frozen
class Section:
    """What the page says of one area."""

    title: str
    rules: dict[str, str]
    files: frozenset[str]
    """The modules that its line `Code:` links to, from the root of the project."""


def read_sections(page: str) -> list[Section]:
    """Divide the page at its headings, leaving out what has no rules."""
    sections: list[Section] = []
    for part in re.split(r"^## ", page, flags=re.MULTILINE)[1:]:
        title = part.partition("\n")[0]
        rules = {found["id"]: found["text"] for found in RULE.finditer(part)}
        code = part.partition("\nCode: ")[2]
        files = frozenset(link.removeprefix("../") for link in LINK.findall(code))
        if rules:
            sections.append(Section(title, rules, files))
    return sections


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def rules() -> dict[str, Rule]:
    return parse_rules((ROOT / "tests" / "rules.toml").read_text(encoding="utf-8"))


def unwrapped(source: str) -> str:
    """Join the lines of a docstring or a comment, so that a citation is in one."""
    return re.sub(r"\s*\n\s*(?:#\s*)?", " ", source)


def cited(source: str) -> set[str]:
    """Find the rules that a module cites, as in (`link.order`)."""
    groups = CITATION.findall(unwrapped(source))
    return {each.strip("`") for group in groups for each in group.split(", ")}


def bad_citations(source: str, known: set[str]) -> list[str]:
    """Find what looks like the id of a rule and is none, or is not cited as one.

    Whatever is dotted and begins as rules do counts, and so does whatever is dotted
    and stands alone in parentheses.
    """
    areas = {each.partition(".")[0] for each in known}
    elsewhere = {
        each
        for each in DOTTED.findall(CITATION.sub("", unwrapped(source)))
        if each.partition(".")[0] in areas
    }
    in_parentheses = {each for each in cited(source) if "." in each}
    return sorted(
        [f"{each}: no such rule" for each in (elsewhere | in_parentheses) - known]
        + [f"{each}: not in parentheses" for each in elsewhere & known]
    )


def modules() -> Iterator[tuple[str, str]]:
    """Yield each module of the package, by its path from the root, and its source."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def sentences(text: str) -> list[str]:
    """Divide prose, which can go over several lines, into sentences."""
    return re.split(r"(?<=[.!?])\s+", " ".join(text.split()))


def prose(page: str) -> Iterator[str]:
    """Yield the paragraphs and the rules of a page: no tables, headings or lists."""
    for found in RULE.finditer(page):
        yield OUT_OF_SCOPE.sub("", found["text"])
    for block in page.split("\n\n"):
        if not block.startswith(("#", "|", "- ", "Code: ")):
            yield block


def slug(heading: str) -> str:
    """Make a heading's anchor, for headings on which GitHub and mkdocs agree."""
    assert re.fullmatch(r"[A-Za-z0-9, ]+", heading), heading
    return heading.lower().replace(",", "").replace(" ", "-")


# ------------------------------------------------------------ the rules


def test_the_page_has_every_rule_once_and_no_other(
    page: str, rules: dict[str, Rule]
) -> None:
    ids = [found["id"] for found in RULE.finditer(page)]
    assert sorted(ids) == sorted(rules)


def test_each_rule_is_at_the_anchor_that_its_id_makes(page: str) -> None:
    found = [(rule["anchor"], rule["id"]) for rule in RULE.finditer(page)]
    assert [id for anchor, id in found if anchor != id] == []
    assert ANCHOR.findall(page) == [f"rule-{anchor}" for anchor, _ in found]


def test_each_rule_has_a_text(page: str) -> None:
    short = [
        rule["id"]
        for rule in RULE.finditer(page)
        if len(OUT_OF_SCOPE.sub("", rule["text"]).split()) < FEWEST_WORDS
    ]
    assert short == []


def test_no_two_rules_have_the_same_text(page: str) -> None:
    texts = [" ".join(rule["text"].split()) for rule in RULE.finditer(page)]
    assert len(set(texts)) == len(texts)


def test_no_sentence_is_long(page: str) -> None:
    long = [
        sentence
        for text in prose(page)
        for sentence in sentences(text)
        if len(sentence.split()) > MOST_WORDS
    ]
    assert long == []


def test_what_is_out_of_scope_is_marked_with_the_reason(
    page: str, rules: dict[str, Rule]
) -> None:
    marked = {
        rule["id"]: reason
        for rule in RULE.finditer(page)
        for reason in OUT_OF_SCOPE.findall(rule["text"])
    }
    assert marked == {
        id: rule.area for id, rule in rules.items() if rule.state is State.OUT_OF_SCOPE
    }


def test_the_page_counts_the_rules(page: str, rules: dict[str, Rule]) -> None:
    counts = re.search(r"its\s+(\d+)\s+rules", page)
    assert counts is not None
    assert int(counts[1]) == len(rules)


# ------------------------------------------------------------ the code


def test_each_rule_that_the_code_cites_is_on_the_page(page: str) -> None:
    known = {found["id"] for found in RULE.finditer(page)}
    bad = {
        module: found
        for module, source in modules()
        if (found := bad_citations(source, known))
    }
    assert bad == {}


def test_each_section_links_to_the_modules_that_cite_its_rules(page: str) -> None:
    missing = [
        f"## {section.title}: add [{module.removeprefix('roam_trio/')}](../{module})"
        for module, source in modules()
        for section in read_sections(page)
        if not cited(source).isdisjoint(section.rules) and module not in section.files
    ]
    assert missing == []


def test_each_section_links_to_code_and_says_what_roam_trio_does(page: str) -> None:
    parts = re.split(r"^## ", page, flags=re.MULTILINE)
    with_rules = [part for part in parts if RULE.search(part)]
    silent = [
        part.partition("\n")[0]
        for part in with_rules
        if "\n**In roam_trio.** " not in part or "\nCode: " not in part
    ]
    assert with_rules
    assert silent == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('"""Send (`link.order`)."""', []),
        ('"""Send (`link.order`,\n    `link.split`)."""', []),
        ("# Why it waits\n    # (`link.order`).", []),
        ('"""As `link.split()` does, for `trio.Nursery`."""', []),
        ('"""Send (`link.odrer`)."""', ["link.odrer: no such rule"]),
        ('"""Send (`lnik.order`)."""', ["lnik.order: no such rule"]),
        ('"""Send, see `link.odrer`."""', ["link.odrer: no such rule"]),
        ('"""`link.order`."""', ["link.order: not in parentheses"]),
        ('"""`link.order` (`link.order`)."""', ["link.order: not in parentheses"]),
        (
            '"""Send (`link.split`,\n    `link.odrer`)."""',
            ["link.odrer: no such rule"],
        ),
    ],
)
def test_a_wrong_citation_is_found(source: str, found: list[str]) -> None:
    assert bad_citations(source, {"link", "link.order", "link.split"}) == found


# ------------------------------------------------------------ links


def test_no_anchor_is_there_twice(page: str) -> None:
    headings = [slug(each) for each in re.findall(r"^#+ (.+)$", page, re.MULTILINE)]
    anchors = [*ANCHOR.findall(page), *headings]
    assert len(set(anchors)) == len(anchors)


def test_the_contents_list_every_section(page: str) -> None:
    contents = page.partition("\n## Contents\n")[2].partition("\n## ")[0]
    listed = re.findall(r"^- \[(.+)\]\(#(.+)\)$", contents, re.MULTILINE)
    sections = re.findall(r"^## (.+)$", page, re.MULTILINE)
    assert listed == [(each, slug(each)) for each in sections if each != "Contents"]


@pytest.mark.parametrize(
    "document", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"]
)
def test_the_page_is_linked_from(document: str) -> None:
    path = ROOT / document
    links = LINK.findall(path.read_text(encoding="utf-8"))
    targets = [(path.parent / link.partition("#")[0]).resolve() for link in links]
    assert PAGE.resolve() in targets


# ------------------------------------------------------------ the wire format


MESSAGE_ROW = re.compile(
    r"^\| (\d+)(?:, (\d+))? \| `(\w+)` \| ([a-z_, ]+) \| `([0-9a-f ]+)` \|$",
    re.MULTILINE,
)


def message_rows(page: str) -> list[tuple[str, str, str, list[str], bytes]]:
    return [
        (tag, body, name, fields.split(", "), bytes.fromhex(example))
        for tag, body, name, fields, example in MESSAGE_ROW.findall(page)
    ]


def test_the_table_of_messages_has_every_kind(page: str) -> None:
    names = {name for _, _, name, _, _ in message_rows(page)}
    kinds = {kind.__name__ for kind in messages.Message.__args__}
    assert names == kinds


def test_the_table_of_messages_has_the_fields_of_the_classes(page: str) -> None:
    fields = {name: fields for _, _, name, fields, _ in message_rows(page)}
    assert fields == {
        kind.__name__: list(kind.__struct_fields__[1:])
        for kind in messages.Message.__args__
    }


def test_the_examples_of_messages_are_those_messages(page: str) -> None:
    for tag, body, name, _, example in message_rows(page):
        message = decode_message(example)
        assert type(message).__name__ == name
        assert b"".join(encode_message(message)) == example
        assert example[1] == int(tag)
        if body:
            assert example[3] == int(body)
