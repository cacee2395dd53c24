"""The syntax tree of a Rust source: items with their attributes and docs.

The source is only parsed: no macros are expanded, and no code runs.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator

import tree_sitter_rust
from attrs import field, frozen
from tree_sitter import Language, Node, Parser

from .problems import Problem, RustError, Unreadable

__all__ = ["Attribute", "Item", "Node", "items", "parse", "refuse", "text"]

_COMMENTS = ("line_comment", "block_comment")


@frozen
class Attribute:
    """An attribute, ``#[path(arguments)]``.

    Attributes:
        path: its path, as in ``roam::service``.
        arguments: the first words of its arguments; a path is one word.
    """

    node: Node
    path: str
    arguments: tuple[str, ...]


@frozen(eq=False)
class Item:
    """An item, a field or a variant, with its attributes and its docs."""

    node: Node
    attributes: tuple[Attribute, ...] = ()
    doc: str = ""
    name: str = field(default="")

    def has(self, path: str, argument: str) -> bool:
        """Return True if an attribute `path` has an argument with this last word."""
        return any(
            each.path == path and given.rpartition("::")[2] == argument
            for each in self.attributes
            for given in each.arguments
        )


def parse(source: str, name: str) -> Node:
    """Return the root of the syntax tree.

    Args:
        source: the text.
        name: its name in errors.

    Raises:
        RustError: it is not Rust, according to the grammar.
    """
    parser = Parser(Language(tree_sitter_rust.language()))
    root = parser.parse(source.encode()).root_node
    if root.has_error:
        wrong = _first_error(root)
        what = f"{wrong.type} is missing" if wrong.is_missing else "this is not Rust"
        problem = _problem(wrong, f"{what}; does it compile?")
        raise RustError(name, [problem])
    return root


def _first_error(node: Node) -> Node:
    """Return the first error at or below a node that has one."""
    while not (node.is_error or node.is_missing):
        node = next(each for each in node.children if each.has_error or each.is_missing)
    return node


def text(node: Node) -> str:
    """Return the source of a node."""
    assert node.text is not None
    return node.text.decode()


def refuse(node: Node, problem: str) -> Unreadable:
    """Return the error for a node without a counterpart."""
    return Unreadable(_problem(node, problem))


def _problem(node: Node, problem: str) -> Problem:
    line, column = node.start_point
    assert node.text is not None
    # tree-sitter counts columns in bytes, and people count characters.
    root = node
    while root.parent is not None:
        root = root.parent
    whole = root.text or b""
    # The text of the root begins after white space at the start of the source.
    end = node.start_byte - root.start_byte
    left = whole[max(end - column, 0) : end]
    column -= len(left) - len(left.decode())
    return Problem(line + 1, column + 1, problem)


def items(body: Node) -> Iterator[Item]:
    """Yield the items of a body, with their attributes and docs."""
    attributes: list[Attribute] = []
    docs: list[str] = []
    for node in body.named_children:
        if node.type in _COMMENTS:
            if node.child_by_field_name("outer") is not None:
                docs.append(_comment(node))
        elif node.type == "attribute_item":
            attribute = _attribute(node)
            attributes.append(attribute)
            if attribute.path == "doc":
                docs.append(_doc_attribute(node))
        elif node.type == "inner_attribute_item":
            continue
        elif node.type == "visibility_modifier":
            # For a field without a name, the type follows.
            continue
        else:
            named = node.child_by_field_name("name")
            name = "" if named is None else text(named)
            doc = inspect.cleandoc("\n".join(docs)) if docs else ""
            yield Item(node, tuple(attributes), doc, name)
            attributes, docs = [], []


def _comment(node: Node) -> str:
    doc = node.child_by_field_name("doc")
    found = "" if doc is None else text(doc).removesuffix("\n")
    if node.type == "line_comment":
        return found.removeprefix(" ")
    lines = (each.strip().removeprefix("*") for each in found.split("\n"))
    return "\n".join(each.removeprefix(" ") for each in lines).strip()


def _attribute(node: Node) -> Attribute:
    (inner,) = [each for each in node.named_children if each.type == "attribute"]
    path = text(inner.named_children[0]).replace(" ", "")
    tokens = inner.child_by_field_name("arguments")
    return Attribute(node, path, () if tokens is None else tuple(_arguments(tokens)))


def _arguments(tokens: Node) -> Iterator[str]:
    """Yield the path at the start of each argument."""
    word, complete = "", False
    for token in tokens.children[1:-1]:
        if token.type == ",":
            if word:
                yield word
            word, complete = "", False
        elif token.type == "::" and not complete:
            word += "::"
        elif token.type in ("identifier", "crate", "self", "super", "primitive_type"):
            if word and not word.endswith("::"):
                complete = True
            if not complete:
                word += text(token)
        else:
            complete = True
    if word:
        yield word


def _doc_attribute(node: Node) -> str:
    (inner,) = [each for each in node.named_children if each.type == "attribute"]
    value = inner.child_by_field_name("value")
    if value is None or value.type not in ("string_literal", "raw_string_literal"):
        return ""
    content = [each for each in value.named_children]
    return "".join(_unescaped(each) for each in content).removeprefix(" ")


def _unescaped(node: Node) -> str:
    written = text(node)
    if node.type != "escape_sequence":
        return written
    if written.startswith("\\u{"):
        return chr(int(written[3:-1].replace("_", ""), 16))
    if written == "\\\n":
        return ""
    return str(ast.literal_eval(f'"{written}"'))
