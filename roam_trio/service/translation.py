"""Clients for peers that offer another version of a service.

The caller translates: it writes what the peer's schema says, and reads that into its
own classes, so that the peer sees only what it knows. The plans are compiled for the
pair of services. They are kept, so that connections to the same peer share them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import cached_property
from operator import itemgetter
from typing import Any, Final

from attrs import evolve

from ..codec import ChannelPlan, ResultPlan, RpcPlan
from ..errors import IncompatibleService, SchemaError
from ..legible import legible
from ..rpc.expected_service import OfferedSchema
from ..rpc.method_names import remember_method_of_peer
from ..schema.derive import MAX_DEPTH
from ..schema.shape import TupleShape
from ..schema.shared_work import SharedWork
from ..wire.ids import MethodId
from .description.encoding import schema_from_wire
from .description.fingerprints import Layouts, fingerprint
from .description.matching import matched_methods
from .description.model import MethodSchema, ServiceSchema
from .description.rebuilding import MethodMaker
from .description.translating import MOST_STEPS, MOST_STEPS_OF_A_METHOD, Translator
from .descriptor import MethodDescriptor, ServiceDescriptor

__all__ = ["MOST_TRANSLATIONS", "translated", "translated_service"]

MOST_TRANSLATIONS: Final = 64
"""Maximum number of pairs of services whose clients are kept, the most recently used
ones.
"""

_kept: OrderedDict[tuple[ServiceDescriptor, bytes], Callable[..., Any]] = OrderedDict()


def translated(
    mine: ServiceDescriptor,
    offered: OfferedSchema,
    class_of: Callable[[ServiceDescriptor], Callable[..., Any]],
) -> Callable[..., Any]:
    """Return the class of the clients of a service for a peer with another version.

    Args:
        mine: the service as this side knows it.
        offered: what the peer has told about its own.
        class_of: makes the class of the clients of a service.

    Raises:
        IncompatibleService: calls cannot be translated, or the peer has sent no schema,
            or none that is right.
    """
    if offered.deflated is None and offered.fetched is None:
        raise IncompatibleService(
            "the peer offers another version of the service, and has not sent its "
            "schema, without which calls cannot be translated: it is too long, or the "
            f"peer has schemas=False{offered.missing and f'; {offered.missing}'}; let "
            "it offer reflection, or use the same version on both sides",
            mine.name,
        )
    key = mine, offered.fingerprint
    # Each step works whatever threads with a loop of their own do in between.
    made = _kept.pop(key, None)
    if made is None:
        theirs = _schema_of(mine, offered)
        made = class_of(translated_service(mine, theirs))
    _kept[key] = made
    if len(_kept) > MOST_TRANSLATIONS:
        _kept.popitem(last=False)
    return made


def _schema_of(mine: ServiceDescriptor, offered: OfferedSchema) -> ServiceSchema:
    """Return the schema that a peer has sent, checked."""
    try:
        if isinstance(offered.fetched, ServiceSchema):
            theirs = offered.fetched
        else:
            assert offered.deflated is not None
            theirs = schema_from_wire(offered.deflated)
        told = fingerprint(theirs)
    except (SchemaError, RecursionError, ValueError) as cause:
        raise _wrong(mine, cause) from cause
    if told != offered.fingerprint:
        raise IncompatibleService(
            "the schema of the peer is not that of its fingerprint", mine.name
        )
    return theirs


def translated_service(
    mine: ServiceDescriptor, theirs: ServiceSchema
) -> ServiceDescriptor:
    """Return a service with the values of this side, and the bytes of the peer.

    Args:
        mine: the service as this side knows it.
        theirs: the checked schema of the peer.

    Raises:
        IncompatibleService: calls cannot be translated; names the place of the first
            fault.
    """
    try:
        matched = matched_methods(mine.schema, theirs)
        methods = _translated_methods(mine, theirs, matched)
    except (SchemaError, RecursionError) as cause:
        raise _wrong(mine, cause) from cause
    return ServiceDescriptor(mine.name, methods, mine.doc, mine.schema)


def _wrong(mine: ServiceDescriptor, cause: Exception) -> IncompatibleService:
    reason = str(cause)
    if isinstance(cause, RecursionError):
        reason = (
            f"types are nested deeper than Python can follow; at most {MAX_DEPTH} may "
            "be within one another"
        )
    return IncompatibleService(
        f"the schema of the peer cannot be used: {legible(reason, 1000)}", mine.name
    )


def _translated_methods(
    mine: ServiceDescriptor, theirs: ServiceSchema, matched: Mapping[str, MethodSchema]
) -> tuple[MethodDescriptor, ...]:
    ours = {each.name: each for each in mine.schema.methods}
    most_steps = MOST_STEPS + MOST_STEPS_OF_A_METHOD * len(ours)
    work = SharedWork(most_steps, "MOST_STEPS, MOST_STEPS_OF_A_METHOD")
    translator, maker = Translator(theirs, work), MethodMaker(theirs, work=work)
    here, there = Layouts(mine.schema), Layouts(theirs)

    def translated_method(method: MethodDescriptor) -> MethodDescriptor:
        other = matched[method.name]
        if other.id == method.id:
            layout = there.of(other)
            work.count_text(layout)
            if layout == here.of(ours[method.name]):
                return method
        # The same checks as for a type of a program: its values are finite, and few
        # bytes cannot become many objects.
        maker.checked(other)
        remember_method_of_peer(MethodId(other.id), str(method))
        return _translated_method(translator, method, other)

    return tuple(map(translated_method, mine.methods))


def _translated_method(
    translator: Translator, method: MethodDescriptor, theirs: MethodSchema
) -> MethodDescriptor:
    plan, result = method.args_plan, method.result_plan
    assert isinstance(plan.shape, TupleShape)
    shape, places = translator.arguments(plan.shape, theirs.args)
    ok = RpcPlan[Any](result.ok.type, translator.read(result.ok.shape, theirs.returns))
    error = None
    if result.error is not None and theirs.fails is not None:
        error = RpcPlan[Any](
            result.error.type, translator.read(result.error.shape, theirs.fails)
        )
    return evolve(
        method,
        id=MethodId(theirs.id),
        args_plan=_arguments(plan, shape, places),
        result_plan=ResultPlan(ok, error),
    )


def _arguments(
    plan: RpcPlan[tuple[Any, ...]], shape: TupleShape, places: list[int | None]
) -> RpcPlan[tuple[Any, ...]]:
    assert isinstance(plan.shape, TupleShape)
    if places == [*range(len(plan.shape.items))]:
        return RpcPlan(plan.type, shape)
    return _PickedArguments(plan.type, shape, len(plan.shape.items), places)


class _PickedArguments(RpcPlan[tuple[Any, ...]]):
    """Encodes the arguments of this side in the order of the peer, which may lack some
    and have others.

    Args:
        type: see `RpcPlan`.
        shape: the shape of the arguments of the peer.
        count: number of arguments of this side.
        places: the place of each argument of the peer among those of this side; None
            for one that only the peer has.
    """

    def __init__(
        self, type: Any, shape: TupleShape, count: int, places: list[int | None]
    ) -> None:
        super().__init__(type, shape)
        self._pick = _picker([count if each is None else each for each in places])

    @cached_property
    def encode(self) -> Callable[[tuple[Any, ...]], list[bytes | memoryview]]:
        encode, pick = self._codec.encode, self._pick
        return lambda value: encode(pick((*value, None)))

    def collect_channels(self, value: tuple[Any, ...]) -> list[tuple[Any, ChannelPlan]]:
        return super().collect_channels(self._pick((*value, None)))


def _picker(places: list[int]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    if len(places) > 1:
        return itemgetter(*places)
    return lambda value: tuple(value[each] for each in places)
