"""Resolution of paths in a Rust source: modules, ``use``, other crates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from attrs import define, field, frozen

from .syntax import Item, Node, items, text

__all__ = ["Elsewhere", "Found", "Local", "Module", "modules", "read_module"]

_MAX_USES = 50
_TYPES = ("struct_item", "enum_item", "union_item", "type_item", "trait_item")


@define(eq=False)
class Module:
    """A module with its items.

    Attributes:
        name: its name; empty for the file.
        types: all items that name a type.
        constants: constants and their values.
        uses: the paths of the names that ``use`` imports.
        globs: the paths of which all items are imported.
    """

    name: str
    parent: Module | None = None
    items: list[Item] = field(factory=list[Item])
    types: dict[str, Item] = field(factory=dict[str, Item])
    constants: dict[str, Node] = field(factory=dict[str, Node])
    modules: dict[str, Module] = field(factory=dict[str, "Module"])
    uses: dict[str, tuple[str, ...]] = field(factory=dict[str, tuple[str, ...]])
    globs: list[tuple[str, ...]] = field(factory=list[tuple[str, ...]])

    @property
    def root(self) -> Module:
        return self if self.parent is None else self.parent.root

    def find(self, path: Sequence[str]) -> Found:
        """Return the item of a path in this module, or the path to it elsewhere."""
        return self._find(tuple(path), 0)

    def _find(self, path: tuple[str, ...], uses: int) -> Found:
        first, rest = path[0], path[1:]
        if not rest and first in self.types:
            return Local(self, self.types[first])
        inner = self._module(first)
        if rest and inner is not None:
            return inner._find(rest, uses)
        if first in self.uses and uses < _MAX_USES:
            used = self.uses[first]
            # As in `use roam;`: a name that refers to itself.
            return (
                Elsewhere((*used, *rest))
                if used[0] == first and first not in self.modules
                else self._find((*used, *rest), uses + 1)
            )
        for glob in self.globs:
            module = self._module_at(glob)
            if module is not None and not rest and first in module.types:
                return Local(module, module.types[first])
        return Elsewhere(tuple(each for each in path if each))

    def _module(self, name: str) -> Module | None:
        match name:
            case "self":
                return self
            case "crate":
                return self.root
            case "super":
                return self.parent
            case _:
                return self.modules.get(name)

    def _module_at(self, path: Sequence[str]) -> Module | None:
        found: Module | None = self
        for name in path:
            found = None if found is None else found._module(name)
        return found


@frozen(eq=False)
class Local:
    """An item of the source, and its module."""

    module: Module
    item: Item


@frozen
class Elsewhere:
    """A path to another crate or file."""

    path: tuple[str, ...]


Found: TypeAlias = Local | Elsewhere


def read_module(body: Node, name: str = "", parent: Module | None = None) -> Module:
    """Return the module with this body: a source file, or the part between braces."""
    module = Module(name, parent)
    for item in items(body):
        match item.node.type:
            case "mod_item":
                inner = item.node.child_by_field_name("body")
                if inner is not None and not item.has("cfg", "test"):
                    module.modules[item.name] = read_module(inner, item.name, module)
            case "use_declaration":
                argument = item.node.child_by_field_name("argument")
                assert argument is not None  # the grammar requires it
                _read_use(argument, (), module)
            case "const_item":
                value = item.node.child_by_field_name("value")
                if value is not None:
                    module.constants[item.name] = value
            case kind if kind in _TYPES:
                module.types[item.name] = item
                module.items.append(item)
            case _:
                pass
    return module


def modules(module: Module) -> Iterator[Module]:
    """Yield a module, and all modules in it."""
    yield module
    for each in module.modules.values():
        yield from modules(each)


def _read_use(node: Node, prefix: tuple[str, ...], module: Module) -> None:
    match node.type:
        case "use_list":
            for each in node.named_children:
                _read_use(each, prefix, module)
        case "scoped_use_list":
            path = node.child_by_field_name("path")
            inner = node.child_by_field_name("list")
            assert inner is not None
            _read_use(inner, (*prefix, *_segments(path)), module)
        case "use_as_clause":
            path = node.child_by_field_name("path")
            alias = node.child_by_field_name("alias")
            assert alias is not None
            module.uses[text(alias)] = (*prefix, *_segments(path))
        case "use_wildcard":
            inside = node.named_children[0] if node.named_children else None
            module.globs.append((*prefix, *_segments(inside)))
        case "self" if prefix:
            module.uses[prefix[-1]] = prefix
        case _:
            found = (*prefix, *_segments(node))
            module.uses[found[-1]] = found


def _segments(path: Node | None) -> tuple[str, ...]:
    return () if path is None else tuple(text(path).replace(" ", "").split("::"))
