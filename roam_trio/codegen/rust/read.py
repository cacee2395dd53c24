"""Reading of Rust source into an interface: services, and types with ``derive(Facet)``.

All checks are made here, where line and column are known: everything in the interface
has a counterpart in Python, and anything else is a problem with its place.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from typing import Any, Final, TypeVar

from attrs import frozen

from ...errors import SchemaError
from .boxes import without_boxes
from .checks import Root, check, endless
from .identity import rust_method_id
from .model import (
    Argument,
    Definition,
    Enum,
    Field,
    Interface,
    Method,
    Named,
    Parameter,
    Primitive,
    Service,
    Struct,
    Style,
    Type,
    Variant,
    types_of,
    within,
)
from .names import Names, camel, snake, words
from .problems import Problem, RustError, Unreadable
from .read_types import Scope, TypeReader
from .scope import Local, Module, modules, read_module
from .syntax import Item, Node, items, parse, refuse, text

__all__ = ["Reading", "read_rust"]

T = TypeVar("T")

_DEFINITIONS: Final = ("struct_item", "enum_item")

# Attributes of facet that change neither ids nor the encoding.
_HARMLESS: Final = words(
    "auto_traits crate default deny_unknown_fields invariants pod recursive_type "
    "rename rename_all sensitive traits transparent type_tag"
)


_RENAMING: Final = words("rename rename_all")
"""Those that set names for other formats, such as JSON."""


@frozen
class Reading:
    """Result of reading a Rust source.

    Attributes:
        interface: the services, and the types.
        left_out: unused types without a counterpart.
        notes: attributes that seem to change names or values on the wire, but do not.
    """

    interface: Interface
    left_out: tuple[Problem, ...] = ()
    notes: tuple[Problem, ...] = ()


def read_rust(source: str, name: str = "<source>") -> Reading:
    """Read the services and the types of a Rust source.

    Args:
        source: the text of one file.
        name: its name in errors.

    Raises:
        RustError: it is not Rust, or a service or a type used by one has no counterpart
            in Python. The error has all problems.
    """
    try:
        return _Reader(read_module(parse(source, name)), name).read()
    except RecursionError:
        problem = Problem(1, 1, "it is nested too deeply to be read")
        raise RustError(name, [problem]) from None


class _Reader:
    def __init__(self, root: Module, name: str) -> None:
        self._name = name
        self._found = [
            Local(module, item) for module in modules(root) for item in module.items
        ]
        self._names = Names(lambda _: False)
        self._given: dict[Item, str] = {}
        self._types: dict[str, Definition] = {}
        self._nodes: dict[str, Node] = {}
        self._roots: dict[str, list[Root]] = {}
        self._problems: list[Problem] = []
        self._type_reader = TypeReader(self._defined)

    def read(self) -> Reading:
        services: list[Service] = []
        for each in self._found:
            if each.item.node.type == "trait_item" and _is_service(each.item):
                services += self._attempt(self._service, each)
        for name in self._types:
            self._problems += self._problems_of(name)
        if self._problems:
            raise RustError(self._name, sorted(set(self._problems)))
        used = frozenset(self._types)
        for each in self._found:
            if each.item.node.type in _DEFINITIONS and _has_facet(each.item):
                self._attempt(self._define, each)
        self._leave_out(used)
        names = sorted(self._types, key=lambda name: self._nodes[name].start_byte)
        types = {name: self._types[name] for name in names}
        left_out = tuple(sorted(set(self._problems)))
        notes = tuple(sorted(set(self._notes(types))))
        return Reading(Interface(tuple(services), types), left_out, notes)

    def _notes(self, names: Container[str]) -> Iterator[Problem]:
        """Return the notes on definitions, and on their contents."""
        left = [item for item, name in self._given.items() if name in names]
        while left:
            item = left.pop()
            yield from _notes_on(item)
            left.extend(_inside(item.node))

    def _attempt(self, read: Callable[..., T], *args: Any) -> list[T]:
        try:
            return [read(*args)]
        except Unreadable as error:
            self._problems.append(error.problem)
            return []

    def _problems_of(self, name: str) -> list[Problem]:
        """Return the problems of a definition as a whole."""
        if name in endless(self._types):
            problem = (
                f"{name} contains itself without end; make the inner one an Option, or "
                "put it into a Vec"
            )
            return [refuse(self._nodes[name], problem).problem]
        return check(self._roots[name], self._types)

    def _leave_out(self, used: frozenset[str]) -> None:
        """Remove definitions without a counterpart, and those that use them."""
        gone = set(self._given.values()) - set(self._types)
        for name in set(self._types) - used:
            problems = self._problems_of(name)
            self._problems += problems
            if problems:
                gone.add(name)
        left = set(self._types) - gone
        while broken := [name for name in left if _names_in(self._types[name]) & gone]:
            for name in broken:
                missing = ", ".join(sorted(_names_in(self._types[name]) & gone))
                problem = f"{name} is made of {missing}, which has no counterpart"
                self._problems.append(refuse(self._nodes[name], problem).problem)
            gone.update(broken)
            left.difference_update(broken)
        for name in gone & set(self._types):
            del self._types[name]

    # ------------------------------------------------------------ services

    def _service(self, local: Local) -> Service:
        item = local.item
        _refuse_conditions(item)
        _refuse_generics(item.node, "a service")
        methods: dict[str, Method] = {}
        nodes: list[Node] = []
        for each in _inside(item.node):
            for method in self._attempt(self._method, each, local.module):
                if method.name in methods:
                    raise refuse(each.node, f"a second method is named {method.name}")
                methods[method.name] = method
                nodes.append(each.node)
        # Keep the r# of a keyword, as the macro of roam does.
        name = item.name.replace("r#", "r_")
        service = Service(name, tuple(methods.values()), item.doc)
        if not self._problems:
            self._check_ids(service, nodes)
        return service

    def _method(self, item: Item, module: Module) -> Method:
        node = item.node
        _refuse_conditions(item)
        modifiers = [text(each) for each in node.children if "modifiers" in each.type]
        if node.type != "function_signature_item" or "async" not in modifiers:
            raise refuse(
                node,
                "a service has `async fn` methods without bodies, and nothing else",
            )
        _refuse_generics(node, "a method")
        name = snake(item.name)
        if not name.isidentifier():
            raise refuse(node, f"no public method in Python can be named {name!r}")
        scope = Scope(module)
        parameters = node.child_by_field_name("parameters")
        given = [] if parameters is None else list(items(parameters))
        if not given or given[0].node.type != "self_parameter":
            raise refuse(node, "a method of a service takes &self first")
        args = [
            argument
            for each in given[1:]
            for argument in self._attempt(self._argument, each, scope)
        ]
        returned = node.child_by_field_name("return_type")
        for ok, error in self._attempt(self._result, returned, scope):
            return Method(name, tuple(args), ok, error, item.doc)
        return Method(name, tuple(args), Primitive("()"), None, item.doc)

    def _argument(self, item: Item, scope: Scope) -> Argument:
        _refuse_conditions(item)
        node = item.node
        pattern = node.child_by_field_name("pattern")
        type = node.child_by_field_name("type")
        if pattern is None or type is None or pattern.type != "identifier":
            raise refuse(node, "an argument has a plain name and a type")
        return Argument(text(pattern).removeprefix("r#"), self._checked(type, scope))

    def _result(self, node: Node | None, scope: Scope) -> tuple[Type, Type | None]:
        if node is None:
            return Primitive("()"), None
        parts = _result_parts(node)
        if parts is None:
            return self._checked(node, scope, "in a return type"), None
        ok, error = parts
        return (
            self._checked(ok, scope, "in a return type"),
            self._checked(error, scope, "in an error type"),
        )

    def _checked(
        self, node: Node, scope: Scope, no_channels: str | None = None
    ) -> Type:
        type = self._type_reader.read(node, scope)
        self._problems += check([Root(type, node, no_channels)], self._types)
        return type

    def _check_ids(self, service: Service, nodes: list[Node]) -> None:
        """Check the ids: Python ignores pointers, and so could confuse two types."""
        rust = Interface((service,), self._types)
        python = without_boxes(rust)
        for method, seen, node in zip(
            service.methods, python.services[0].methods, nodes, strict=True
        ):
            try:
                same = rust_method_id(rust, service, method) == rust_method_id(
                    python, service, seen
                )
            except SchemaError as error:
                self._problems.append(refuse(node, error.problem).problem)
                continue
            if not same:
                problem = (
                    "its types are recursive in a way that Python "
                    "does not distinguish, so its id would differ; box what is in "
                    "tuples everywhere, or make them structs"
                )
                self._problems.append(refuse(node, problem).problem)

    # ------------------------------------------------------------ definitions

    def _defined(self, local: Local, count: int, node: Node) -> str:
        """Return the name of a struct or an enum with this number of type arguments."""
        expected = len(_parameters(local.item.node))
        if count != expected:
            name = local.item.name
            raise refuse(node, f"{name} takes {expected} types, not {count}")
        return self._given.get(local.item) or self._define(local)

    def _define(self, local: Local) -> str:
        item = local.item
        if item in self._given:
            return self._given[item]
        if not _has_facet(item):
            raise refuse(item.node, f"{item.name} has no derive(Facet)")
        plain = item.name.removeprefix("r#")
        outer = f"{camel(local.module.name)}{plain}"
        name = self._given[item] = self._names.give(plain, outer)
        self._nodes[name] = item.node
        self._roots[name] = []
        _refuse_conditions(item)
        parameters = _parameters(item.node)
        given: dict[str, Type] = {each: Parameter(each) for each in parameters}
        this = Named(name, tuple(given.values()))
        scope = Scope(local.module, given, this)
        if item.node.type == "struct_item":
            definition: Definition = self._struct(name, item, scope, parameters)
        else:
            definition = self._enum(name, item, scope, parameters)
        self._types[name] = definition
        return name

    def _struct(
        self, name: str, item: Item, scope: Scope, parameters: tuple[str, ...]
    ) -> Struct:
        style, fields = self._fields(name, item.node, scope)
        transparent = item.has("facet", "transparent") or (
            item.has("repr", "transparent") and style == "tuple" and len(fields) == 1
        )
        if transparent and (style != "tuple" or len(fields) != 1):
            raise refuse(
                item.node, "a transparent struct is a tuple struct of exactly one field"
            )
        return Struct(name, style, fields, item.doc, transparent, parameters)

    def _enum(
        self, name: str, item: Item, scope: Scope, parameters: tuple[str, ...]
    ) -> Enum:
        variants: list[Variant] = []
        for each in _inside(item.node):
            _refuse_conditions(each)
            style, fields = self._fields(name, each.node, scope)
            plain = each.name.removeprefix("r#")
            variants.append(Variant(plain, style, fields, each.doc))
        if not variants:
            raise refuse(item.node, "an enum without variants has no values to send")
        if len(variants) == 1 and variants[0].style != "unit":
            raise refuse(
                item.node,
                "an enum with data needs two variants: Python takes a union of one "
                "class for that class; make it a struct, or add a variant",
            )
        return Enum(name, tuple(variants), item.doc, parameters)

    def _fields(
        self, name: str, owner: Node, scope: Scope
    ) -> tuple[Style, tuple[Field, ...]]:
        body = owner.child_by_field_name("body")
        if body is None:
            return "unit", ()
        style: Style = "tuple" if body.type.startswith("ordered") else "named"
        fields: list[Field] = []
        for index, each in enumerate(items(body)):
            _refuse_conditions(each)
            node = each.node
            if style == "named":
                node = each.node.child_by_field_name("type") or each.node
            type = self._type_reader.read(node, scope)
            self._roots[name].append(Root(type, node))
            plain = each.name.removeprefix("r#") if style == "named" else str(index)
            fields.append(Field(plain, type, each.doc))
        if not fields:
            raise refuse(
                body,
                "brackets without fields have a signature of their own, which nothing "
                "in Python has; leave them out",
            )
        return style, tuple(fields)


# ---------------------------------------------------------------- items


def _is_service(item: Item) -> bool:
    return any(each.path.rpartition("::")[2] == "service" for each in item.attributes)


def _has_facet(item: Item) -> bool:
    return item.has("derive", "Facet")


def _inside(node: Node) -> Iterator[Item]:
    body = node.child_by_field_name("body")
    if body is not None:
        yield from items(body)


def _result_parts(node: Node) -> tuple[Node, Node] | None:
    """Return T and E of ``Result<T, E>``, which the last word of a path identifies."""
    if node.type != "generic_type":
        return None
    name = node.child_by_field_name("type")
    given = node.child_by_field_name("type_arguments")
    if name is None or given is None or len(given.named_children) != 2:
        return None
    if text(name).rpartition("::")[2].strip() != "Result":
        return None
    ok, error = given.named_children
    return ok, error


def _parameters(node: Node) -> tuple[str, ...]:
    """Return the type parameters of a definition; lifetimes do not matter."""
    found: list[str] = []
    given = node.child_by_field_name("type_parameters")
    for each in [] if given is None else given.named_children:
        if each.type == "type_parameter":
            name = each.child_by_field_name("name")
            found.append(text(name or each))
        elif each.type == "const_parameter":
            raise refuse(
                each, "a const parameter has no counterpart; write out the number"
            )
    return tuple(found)


def _refuse_generics(node: Node, what: str) -> None:
    for name in _parameters(node):
        given = node.child_by_field_name("type_parameters")
        raise refuse(
            given or node, f"{what} cannot be generic, and here is {name}; name a type"
        )


def _refuse_conditions(item: Item) -> None:
    """Refuse attributes that could change the wire form."""
    for each in item.attributes:
        if each.path in ("cfg", "cfg_attr"):
            raise refuse(
                each.node,
                "whether this is there depends on how the program is compiled; keep "
                "what is on the wire free of conditions",
            )
        if each.path == "facet":
            for argument in each.arguments:
                first = argument.partition("::")[0]
                if argument.endswith("::proxy") or (
                    first == argument and argument not in _HARMLESS
                ):
                    raise refuse(
                        each.node,
                        f"what #[facet({argument})] does to the bytes is not known "
                        "here; leave it out of what is on the wire",
                    )


def _notes_on(item: Item) -> Iterator[Problem]:
    """Note attributes that affect other formats and not roam.

    Their author may expect the names that they set.
    """
    for each in item.attributes:
        if each.path == "serde":
            problem = (
                "no attribute of serde counts for roam: on the wire are the names and "
                "the values that the source has"
            )
            yield refuse(each.node, problem).problem
        elif each.path == "facet":
            for argument in set(each.arguments) & _RENAMING:
                problem = (
                    f"#[facet({argument})] changes nothing on the wire of roam, which "
                    "has the names of the source, and so has the class here"
                )
                yield refuse(each.node, problem).problem


# ---------------------------------------------------------------- types


def _names_in(definition: Definition) -> set[str]:
    return {
        each.name for each in within(types_of(definition)) if isinstance(each, Named)
    }
