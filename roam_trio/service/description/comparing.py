"""Comparison of two descriptions of a service: what changed, and who breaks.

Each change is judged for an old client that calls a new server, and for a new client
that calls an old server. If both sides are roam_trio, the caller translates
(`convertible`); otherwise each value must have the same bytes as before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypeVar

from attrs import evolve, frozen
from msgspec import UNSET

from ...errors import SchemaError
from ...legible import legible
from ...schema.signature import kebab
from .convertible import (
    MOST_PAIRS,
    Conversion,
    Member,
    Translation,
    members,
    plainly,
    too_many_pairs,
)
from .model import (
    ArrayType,
    ChannelType,
    EnumSchema,
    ListType,
    MapType,
    MethodSchema,
    NamedType,
    OptionType,
    ServiceSchema,
    SetType,
    StructSchema,
    TupleType,
    Type,
    VariantSchema,
    parts,
)
from .type_text import type_text

__all__ = ["Breaks", "Change", "compare_schemas"]

T = TypeVar("T")

Breaks: TypeAlias = Literal["nobody", "old clients", "old servers", "both"]
"""The side that no longer works: old clients with new servers, old servers with new
clients, or both.
"""


@frozen
class Change:
    """A difference between two descriptions of a service.

    Attributes:
        where: its place: ``Shop.put(user)``, ``User.age``.
        kind: what happened: ``"field added"``.
        breaks: who breaks if both sides are roam_trio, whose callers translate.
        breaks_untranslated: who breaks otherwise: with a peer in another language, or
            one that sends no schemas.
        text: a sentence for people.
    """

    where: str
    kind: str
    breaks: Breaks
    breaks_untranslated: Breaks
    text: str

    def __str__(self) -> str:
        return (
            f"{self.where}: {self.text}; breaks {self.breaks}, and without translation "
            f"{self.breaks_untranslated}"
        )


def compare_schemas(old: ServiceSchema, new: ServiceSchema) -> list[Change]:
    """Return the differences between two descriptions, in the order of the old one.

    Docstrings, the names of classes and the order of methods make no difference.

    Args:
        old: the description to compare with.
        new: the description that has changed.

    Raises:
        SchemaError: the types are nested too deeply to be compared, or too many of them
            refer to one another.
    """
    try:
        return _Comparison(old, new).changes()
    except RecursionError as cause:
        problem = "its types are nested too deeply to be compared"
        raise SchemaError(problem, legible(new.name)) from cause


@frozen
class _Place:
    """A place of a type.

    Attributes:
        where: its name for people.
        is_sent: whether callers send values of it; otherwise callees do.
        is_hidden: whether the ids of methods do not depend on it, as on what is inside
            a result that can be an error.
        is_exact: whether different values must stay different.
    """

    where: str
    is_sent: bool = True
    is_hidden: bool = False
    is_exact: bool = False


@frozen
class _Works:
    """The sides that still work: old clients, and old servers."""

    clients: bool = True
    servers: bool = True

    def __and__(self, other: _Works) -> _Works:
        return _Works(self.clients and other.clients, self.servers and other.servers)

    @property
    def breaks(self) -> Breaks:
        if self.clients:
            return "nobody" if self.servers else "old servers"
        return "old clients" if self.servers else "both"


_ALL = _Works()
_NONE = _Works(False, False)


class _Comparison:
    def __init__(self, old: ServiceSchema, new: ServiceSchema) -> None:
        self._old = old
        self._new = new
        self._old_types = {each.name: each for each in old.types}
        self._new_types = {each.name: each for each in new.types}
        self._of_clients = Translation.between(self._old_types, self._new_types)
        self._of_servers = Translation.between(self._new_types, self._old_types)
        self._found: dict[tuple[str, str, str], tuple[_Works, _Works]] = {}
        self._compared: set[tuple[str, str, bool, bool, bool]] = set()

    def changes(self) -> list[Change]:
        old, new = self._old, self._new
        if kebab(old.name) != kebab(new.name):
            text = f"the service is named {new.name} instead of {old.name}"
            self._add(old.name, "service renamed", text, _ALL)
        self._methods()
        return [
            Change(where, kind, works.breaks, untranslated.breaks, text)
            for (where, kind, text), (works, untranslated) in self._found.items()
        ]

    def _add(
        self,
        where: str,
        kind: str,
        text: str,
        works: _Works,
        untranslated: _Works = _NONE,
    ) -> None:
        """Add a change; one that is found in several places has the worst of them."""
        key = where, kind, text
        before = self._found.get(key, (_ALL, _ALL))
        self._found[key] = before[0] & works, before[1] & untranslated

    # ------------------------------------------------------------ methods

    def _methods(self) -> None:
        name = self._old.name
        old = {kebab(each.name): each for each in self._old.methods}
        new = {kebab(each.name): each for each in self._new.methods}
        renamed = _renamed(old, new, self._is_same_method)
        for key, method in old.items():
            where = f"{name}.{method.name}"
            if key in new:
                self._method(where, method, new[key])
            elif key in renamed:
                text = f"the method is named {new[renamed[key]].name}"
                self._add(where, "method renamed", text, _NONE)
            else:
                works = _Works(clients=False)
                self._add(where, "method removed", "the method is gone", works, works)
        for key, method in new.items():
            if key not in old and key not in renamed.values():
                works = _Works(servers=False)
                where = f"{name}.{method.name}"
                self._add(where, "method added", "the method is new", works, works)

    def _is_same_method(self, old: MethodSchema, new: MethodSchema) -> bool:
        return (
            [each.name for each in old.args] == [each.name for each in new.args]
            and all(map(self._is_same_member, old.args, new.args))
            and self._is_same(old.returns, new.returns)
            and (old.fails is None) == (new.fails is None)
            and (
                old.fails is None
                or new.fails is None
                or self._is_same(old.fails, new.fails)
            )
        )

    def _method(self, where: str, old: MethodSchema, new: MethodSchema) -> None:
        if old.effect != new.effect:
            text = f"the effect of calling it again is {new.effect}, not {old.effect}"
            self._add(where, "effect changed", text, _ALL, _ALL)
        self._members(
            _Place(where),
            {each.name: each for each in old.args},
            {each.name: each for each in new.args},
            "argument",
        )
        is_hidden = old.fails is not None and new.fails is not None
        result = _Place(f"{where} -> return", is_sent=False, is_hidden=is_hidden)
        self._type(result, old.returns, new.returns)
        error = evolve(result, where=f"{where} -> error")
        if old.fails is not None and new.fails is not None:
            self._type(error, old.fails, new.fails)
        elif new.fails is not None:
            text = f"the method can fail with {type_text(new.fails)}"
            self._add(error.where, "error added", text, _Works(clients=False))
        elif old.fails is not None:
            text = f"the method fails no longer with {type_text(old.fails)}"
            self._add(error.where, "error removed", text, _Works(servers=False))

    # ------------------------------------------------------------ members

    def _members(
        self,
        place: _Place,
        old: Mapping[str, Member],
        new: Mapping[str, Member],
        what: Literal["argument", "field"],
    ) -> None:
        renamed = _renamed(old, new, self._is_same_member)
        for name, member in old.items():
            where = _within(place, name, what)
            if name in new:
                inner = evolve(place, where=where)
                self._type(inner, member.type, new[name].type)
                self._default(where, member, new[name])
            elif name in renamed:
                self._member_renamed(place, member, new[renamed[name]], what)
            else:
                text = f"the {what} of type {type_text(member.type)} is gone"
                works = self._removed(place, member)
                self._add(where, f"{what} removed", text, works)
        for name, member in new.items():
            if name not in old and name not in renamed.values():
                default = "a default" if _has_default(member) else "no default"
                text = (
                    f"the {what} of type {type_text(member.type)} is new, and has "
                    f"{default}"
                )
                works = self._added(place, member)
                self._add(_within(place, name, what), f"{what} added", text, works)
        if _order(old, new) != _order(new, old):
            text = f"the {what}s have another order: {', '.join(new)}"
            self._add(place.where, f"{what}s reordered", text, _ALL)

    def _member_renamed(
        self, place: _Place, old: Member, new: Member, what: str
    ) -> None:
        text = f"the {what} is named {new.name}"
        works = self._removed(place, old) & self._added(place, new)
        # Names of arguments are in no id, and names inside of results in none either.
        stays = what == "argument" or place.is_hidden
        self._add(
            _within(place, old.name, what),
            f"{what} renamed",
            text,
            works,
            _ALL if stays else _NONE,
        )

    def _added(self, place: _Place, member: Member) -> _Works:
        """Return which sides work if a member is only in the new description."""
        clients, servers = self._conversions(place)
        if place.is_sent:
            left_out = servers.may_be_left_out(member, exact=place.is_exact)
            return _Works(clients.has_default(member), left_out)
        left_out = clients.may_be_left_out(member, exact=place.is_exact)
        return _Works(left_out, servers.has_default(member))

    def _removed(self, place: _Place, member: Member) -> _Works:
        """Return which sides work if a member is only in the old description."""
        clients, servers = self._conversions(place)
        if place.is_sent:
            left_out = clients.may_be_left_out(member, exact=place.is_exact)
            return _Works(left_out, servers.has_default(member))
        left_out = servers.may_be_left_out(member, exact=place.is_exact)
        return _Works(clients.has_default(member), left_out)

    def _default(self, where: str, old: Member, new: Member) -> None:
        before, after = _has_default(old), _has_default(new)
        if before and not after:
            text = "there is no default any more"
            self._add(where, "default removed", text, _ALL, _ALL)
        elif after and not before:
            text = f"there is a default now: {_default_text(new)}"
            self._add(where, "default added", text, _ALL, _ALL)
        elif (old.default, old.computed) != (new.default, new.computed):
            text = f"the default is {_default_text(new)}, and was {_default_text(old)}"
            self._add(where, "default changed", text, _ALL, _ALL)

    # ------------------------------------------------------------ types

    def _conversions(self, place: _Place) -> tuple[Conversion, Conversion]:
        """Return those of old clients and those of new clients for a place."""
        if place.is_sent:
            return self._of_clients.to_callee, self._of_servers.to_callee
        return self._of_clients.from_callee, self._of_servers.from_callee

    def _type(self, place: _Place, old: Type, new: Type) -> None:
        """Compare two types part by part, as far as they are built alike."""
        match old, new:
            case NamedType(one), NamedType(other):
                self._named(place, one, other)
            case OptionType(), OptionType():
                self._parts(place, old, new)
            case ListType(_, one), ListType(_, other) if one == other:
                self._parts(place, old, new)
            case ArrayType(_, one), ArrayType(_, other) if one != other:
                text = f"the array has {other} items instead of {one}"
                self._add(place.where, "length changed", text, _NONE)
            case ArrayType(), ArrayType():
                self._parts(place, old, new)
            case SetType(), SetType():
                self._parts(evolve(place, is_exact=True), old, new)
            case MapType(key, value), MapType(new_key, new_value):
                self._type(evolve(place, is_exact=True), key, new_key)
                self._type(place, value, new_value)
            case TupleType(one), TupleType(other) if len(one) == len(other):
                self._parts(place, old, new)
            case ChannelType(), ChannelType():
                self._channel(place, old, new)
            case _ if old != new:
                self._other_type(place, old, new)
            case _:
                pass

    def _parts(self, place: _Place, old: Type, new: Type) -> None:
        olds: tuple[Type, ...] = parts(old)
        news: tuple[Type, ...] = parts(new)
        for one, other in zip(olds, news, strict=True):
            self._type(place, one, other)

    def _channel(self, place: _Place, old: ChannelType, new: ChannelType) -> None:
        if old.direction != new.direction:
            text = "the channel has the other direction"
            self._add(place.where, "direction changed", text, _NONE)
            return
        if old.credit != new.credit:
            # Ids do not depend on credit, but a sender with too much ends the session,
            # and one with too little waits for ever.
            text = f"the credit is {new.credit} instead of {old.credit}"
            self._add(place.where, "credit changed", text, _ALL)
        items = evolve(
            place, where=f"{place.where}[item]", is_sent=old.direction == "rx"
        )
        self._type(items, old.item, new.item)

    def _other_type(self, place: _Place, old: Type, new: Type) -> None:
        works = self._works(place, old, new)
        text = f"the type is {type_text(new)} instead of {type_text(old)}"
        kind = "type changed"
        if works.clients != works.servers:
            # Callers send the old type to new servers, and callees the new to old ones.
            is_wider = works.clients == place.is_sent
            kind = "type widened" if is_wider else "type narrowed"
        same_id = place.is_hidden or _in_ids(old) == _in_ids(new)
        stays = same_id and plainly(old) == plainly(new)
        self._add(place.where, kind, text, works, _ALL if stays else _NONE)

    def _works(self, place: _Place, old: Type, new: Type) -> _Works:
        clients, servers = self._conversions(place)
        exact = place.is_exact
        if place.is_sent:
            return _Works(
                clients.is_possible(old, new, exact=exact),
                servers.is_possible(new, old, exact=exact),
            )
        return _Works(
            clients.is_possible(new, old, exact=exact),
            servers.is_possible(old, new, exact=exact),
        )

    def _named(self, place: _Place, old_name: str, new_name: str) -> None:
        key = old_name, new_name, place.is_sent, place.is_hidden, place.is_exact
        if key in self._compared:
            return
        self._compared.add(key)
        if len(self._compared) > MOST_PAIRS:
            raise too_many_pairs(old_name, new_name)
        place = evolve(place, where=old_name)
        match self._old_types[old_name], self._new_types[new_name]:
            case StructSchema() as old, StructSchema() as new:
                self._records(place, old, new)
            case EnumSchema() as old, EnumSchema() as new:
                self._variants(place, old, new)
            case _:
                text = "a struct is an enum now, or an enum a struct"
                self._add(old_name, "type changed", text, _NONE)

    def _records(
        self,
        place: _Place,
        old: StructSchema | VariantSchema,
        new: StructSchema | VariantSchema,
    ) -> None:
        if old.tuple_like != new.tuple_like and old.fields and new.fields:
            text = f"the fields have {'no ' if new.tuple_like else ''}names now"
            self._add(place.where, "type changed", text, _NONE)
            return
        self._members(place, members(old), members(new), "field")

    def _variants(self, place: _Place, old: EnumSchema, new: EnumSchema) -> None:
        before = {each.name: each for each in old.variants}
        after = {each.name: each for each in new.variants}
        renamed = _renamed(before, after, self._is_same_variant)
        # The side that receives a value does not know the variant.
        sent, received = _Works(clients=False), _Works(servers=False)
        for name, variant in before.items():
            inner = evolve(place, where=f"{place.where}.{name}")
            if name in after:
                self._records(inner, variant, after[name])
            elif name in renamed:
                stays = _ALL if place.is_hidden else _NONE
                text = f"the variant is named {renamed[name]}"
                self._add(inner.where, "variant renamed", text, _NONE, stays)
            else:
                works = sent if place.is_sent else received
                self._add(inner.where, "variant removed", "the variant is gone", works)
        for name in after:
            if name not in before and name not in renamed.values():
                works = received if place.is_sent else sent
                where = f"{place.where}.{name}"
                self._add(where, "variant added", "the variant is new", works)
        if _order(before, after) != _order(after, before):
            text = f"the variants have another order: {', '.join(after)}"
            self._add(place.where, "variants reordered", text, _ALL)

    # ------------------------------------------------------------ renaming

    def _is_same(self, old: Type, new: Type) -> bool:
        """Return True if two types can be converted both ways."""
        return self._works(_Place("", is_exact=True), old, new) == _ALL

    def _is_same_member(self, old: Member, new: Member) -> bool:
        return self._is_same(old.type, new.type)

    def _is_same_variant(self, old: VariantSchema, new: VariantSchema) -> bool:
        before, after = members(old), members(new)
        return (
            old.tuple_like == new.tuple_like
            and before.keys() == after.keys()
            and all(self._is_same_member(before[name], after[name]) for name in before)
        )


def _renamed(
    old: Mapping[str, T], new: Mapping[str, T], is_same: Any
) -> dict[str, str]:
    """Return the new names of what is at the same place and only has another name."""
    places: Sequence[tuple[str, str]] = [*zip(old, new, strict=False)]
    return {
        one: other
        for one, other in places
        if one not in new and other not in old and is_same(old[one], new[other])
    }


def _in_ids(type: Type) -> Type:
    """Return the plainest of the types that are alike in the ids of methods."""
    match type:
        case "byte slice":
            return ListType("u8", slice=True)
        case ListType("u8", False):
            return "bytes"
        case ListType("u8", True) | "bytes":
            return type
        case _:
            return plainly(type)


def _order(names: Mapping[str, Any], others: Mapping[str, Any]) -> list[str]:
    """Return those names that are among others as well, in their order."""
    return [name for name in names if name in others]


def _within(place: _Place, name: str, what: str) -> str:
    return f"{place.where}({name})" if what == "argument" else f"{place.where}.{name}"


def _has_default(member: Member) -> bool:
    return member.default is not UNSET or member.computed


def _default_text(member: Member) -> str:
    return "computed" if member.computed else legible(repr(member.default), 100)
