"""Arrays of numpy on the wire: without copies, and checked when they arrive."""

from __future__ import annotations

from typing import Annotated, Any, Protocol

import attrs
import msgspec
import numpy as np
import pytest
import trio
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from roam_trio import (
    DecodeError,
    EncodeError,
    InvalidPayload,
    Rx,
    SchemaError,
    channel,
    client,
    describe,
    rpc_plan,
    service,
    u8,
    u64,
)
from roam_trio.codec import RpcPlan
from roam_trio.contrib.numpy import ArrayOf
from roam_trio.contrib.numpy.dtypes import DTYPES
from roam_trio.contrib.pydantic import register_models
from roam_trio.native import NATIVE
from roam_trio.schema.types import WireForm
from roam_trio.testing import connected_pair

from ...schema.codecs import native_plan, python_plan

register_models()

Points = Annotated[NDArray[np.float32], ArrayOf(shape=(None, 3))]
Numbers = Annotated[np.ndarray, ArrayOf()]
Flags = Annotated[NDArray[np.bool_], ArrayOf()]
Floats = Annotated[np.ndarray, ArrayOf("f8")]

LARGE = 5000


class PlainFixed(msgspec.Struct):
    shape: list[u64]
    data: bytes


class PlainAny(msgspec.Struct):
    dtype: str
    shape: list[u64]
    data: bytes


@pytest.fixture(params=["python"] if NATIVE is None else ["python", "native"])
def plan_of(request: pytest.FixtureRequest) -> Any:
    return python_plan if request.param == "python" else native_plan


def encoded(plan: RpcPlan[Any], value: object) -> bytes:
    return b"".join(plan.encode(value))


def OfNoOrder() -> Any:
    """A dtype without byte order, where numpy has one."""
    kind = getattr(np.dtypes, "StringDType", None)
    return np.dtype(object) if kind is None else kind()


def points(count: int = LARGE) -> NDArray[np.float32]:
    return np.arange(count * 3, dtype="<f4").reshape(count, 3)


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.setflags(write=False)
    return array


# ------------------------------------------------------------ the form on the wire


@pytest.mark.parametrize(
    ("array", "plain"),
    [
        (Points, PlainFixed),
        (Floats, PlainFixed),
        (Numbers, PlainAny),
        (Annotated[NDArray[Any], ArrayOf()], PlainAny),
        (Annotated[np.ndarray[Any, Any], ArrayOf()], PlainAny),
        (Annotated[NDArray[np.floating[Any]], ArrayOf()], PlainAny),
        (Annotated[NDArray[np.floating[Any]], ArrayOf("f4")], PlainFixed),
    ],
)
def test_array_has_the_signature_of_a_struct(array: Any, plain: Any) -> None:
    assert rpc_plan(array).signature == rpc_plan(plain).signature


def test_encoding_is_that_of_a_struct(plan_of: Any) -> None:
    array = np.array([[1.5, -2.0]], dtype=">f8")
    data = bytes.fromhex("000000000000f83f00000000000000c0")
    expected = encoded(rpc_plan(PlainAny), PlainAny("<f8", [1, 2], data))
    assert encoded(plan_of(Numbers), array) == expected
    expected = encoded(rpc_plan(PlainFixed), PlainFixed([1, 2], data))
    assert encoded(plan_of(Floats), array) == expected


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (4,), (2, 2), (1, 2, 1, 2)])
def test_array_arrives_as_it_was_sent(
    plan_of: Any, name: str, shape: tuple[int, ...]
) -> None:
    array = np.resize(np.array([1, 0, 1, 1]), shape).astype(name)
    plan = plan_of(Numbers)
    arrived = plan.decode(encoded(plan, array))
    assert arrived.dtype == array.dtype
    assert arrived.shape == shape
    assert np.array_equal(arrived, array)
    assert not arrived.flags.writeable


@pytest.mark.parametrize(
    "array",
    [
        points(8)[::2],
        np.asfortranarray(points(8)),
        points(8).astype(">f4"),
        points(8)[::-1, ::-1],
        np.broadcast_to(np.ones(3, "f4"), (8, 3)),
    ],
)
def test_array_of_any_layout_arrives_in_c_order(plan_of: Any, array: Any) -> None:
    plan = plan_of(Points)
    arrived = plan.decode(encoded(plan, array))
    assert np.array_equal(arrived, array)
    assert arrived.flags.c_contiguous


# ------------------------------------------------------------ copies


def test_read_only_array_is_sent_by_reference(plan_of: Any) -> None:
    array = read_only(points())
    *_, last = plan_of(Points).encode(array)
    assert np.shares_memory(np.frombuffer(last, np.uint8), array)


def test_writable_array_may_change_after_it_was_encoded(plan_of: Any) -> None:
    array = points()
    plan = plan_of(Points)
    pieces = plan.encode(array)
    array[:] = 0
    assert np.array_equal(plan.decode(b"".join(pieces)), points())


def test_received_array_is_a_view_of_the_buffer(plan_of: Any) -> None:
    plan = plan_of(Points)
    buffer = memoryview(encoded(plan, points()))
    arrived = plan.decode(buffer)
    assert np.shares_memory(arrived, np.frombuffer(buffer, np.uint8))
    assert not arrived.flags.writeable


def test_array_in_a_writable_buffer_is_read_only(plan_of: Any) -> None:
    plan = plan_of(Points)
    buffer = memoryview(bytearray(encoded(plan, points())))
    assert not plan.decode(buffer).flags.writeable


def test_received_array_is_sent_on_without_a_copy(plan_of: Any) -> None:
    plan = plan_of(Points)
    buffer = encoded(plan, points())
    *_, last = plan.encode(plan.decode(buffer))
    shown = np.frombuffer(last, np.uint8)
    assert np.shares_memory(shown, np.frombuffer(buffer, np.uint8))


# ------------------------------------------------------------ what a peer sends


@pytest.mark.parametrize(
    ("array", "sent", "text", "without_values"),
    [
        (
            Points,
            PlainFixed([2, 4], bytes(32)),
            "expected an array of shape (any, 3), got (2, 4) - at $",
            "expected an array of shape (any, 3) - at $",
        ),
        (
            Points,
            PlainFixed([6], bytes(24)),
            "expected an array of shape (any, 3), got (6,) - at $",
            "expected an array of shape (any, 3) - at $",
        ),
        (
            Points,
            PlainFixed([2, 3], bytes(23)),
            "expected as many bytes as the shape and the dtype need, got 23 for (2, 3) "
            "of float32 - at $",
            "expected as many bytes as the shape and the dtype need - at $",
        ),
        (
            Points,
            PlainFixed([2**62 + 1, 3], bytes(12)),
            "expected as many bytes as the shape and the dtype need, got 12 for "
            "(4611686018427387905, 3) of float32 - at $",
            "expected as many bytes as the shape and the dtype need - at $",
        ),
        (
            Floats,
            PlainFixed([1] * 33, bytes(8)),
            "expected at most 32 axes, got 33 - at $",
            "expected at most 32 axes - at $",
        ),
        (
            Floats,
            PlainFixed([2**40, 0], b""),
            "expected axes of an array without items whose lengths, without the zeros, "
            "have a product of at most 65536, got (1099511627776, 0) - at $",
            "expected axes of an array without items whose lengths, without the zeros, "
            "have a product of at most 65536 - at $",
        ),
        (
            Flags,
            PlainFixed([3], b"\0\1\2"),
            "expected bools (00 or 01), got another byte - at $",
            "expected bools (00 or 01), got another byte - at $",
        ),
        (
            Numbers,
            PlainAny("|O", [1], bytes(8)),
            "expected one of the dtypes |b1, |i1, |u1, <i2, <i4, <i8, <u2, <u4, <u8, "
            "<f2, <f4, <f8, <c8, <c16, got '|O' (str) - at $",
            "expected one of the dtypes |b1, |i1, |u1, <i2, <i4, <i8, <u2, <u4, <u8, "
            "<f2, <f4, <f8, <c8, <c16 - at $",
        ),
    ],
)
def test_wrong_array_is_refused(
    plan_of: Any, array: Any, sent: Any, text: str, without_values: str
) -> None:
    data = encoded(rpc_plan(type(sent)), sent)
    with pytest.raises(DecodeError) as caught:
        plan_of(array).decode(data)
    assert str(caught.value) == text
    assert caught.value.without_values == without_values


def test_long_name_of_a_dtype_is_cut_in_the_error() -> None:
    data = encoded(rpc_plan(PlainAny), PlainAny("x" * 10_000, [], b""))
    with pytest.raises(DecodeError) as caught:
        rpc_plan(Numbers).decode(data)
    assert len(str(caught.value)) < 300


# ------------------------------------------------------------ what is not sent


@pytest.mark.parametrize(
    ("array", "value", "problem"),
    [
        (Points, points(2).astype("f8"), r"float32, got .* array\.astype\('float32'\)"),
        (Points, points(2).T, r"expected an array of shape \(any, 3\), got \(3, 2\)"),
        (Numbers, np.array(["a"]), "expected an array of numbers, got one of <U1"),
        (Numbers, np.array([None]), "expected an array of numbers, got one of object"),
        (Numbers, np.zeros(1, "f4,i4"), "expected an array of numbers"),
        (Numbers, np.zeros(1, "M8[s]"), "expected an array of numbers"),
        (Numbers, np.ma.masked_array([1], [True]), "got MaskedArray, .* could be lost"),
        (Numbers, [1, 2], "expected ndarray, got"),
    ],
)
def test_other_values_are_refused(
    plan_of: Any, array: Any, value: Any, problem: str
) -> None:
    with pytest.raises(EncodeError, match=problem):
        plan_of(array).encode(value)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: ArrayOf("O"), "arrays of object have no wire form"),
        (lambda: ArrayOf("f4,i4"), "have no wire form"),
        (lambda: ArrayOf("M8[s]"), r"for dates, send array\.view\('i8'\)"),
        (lambda: ArrayOf("nonsense"), "not a dtype of numpy"),
        (lambda: ArrayOf(shape=(-1, 3)), "the shape of an array is a tuple"),
        (lambda: ArrayOf(shape=(True,)), "the shape of an array is a tuple"),
        (
            lambda: rpc_plan(Annotated[NDArray[np.float32], ArrayOf("f8")]),
            "ArrayOf has the dtype <f8, and the array is annotated with <f4",
        ),
        (
            lambda: rpc_plan(Annotated[NDArray[np.object_], ArrayOf()]),
            "arrays of object have no wire form",
        ),
        (lambda: rpc_plan(Annotated[list[u8], ArrayOf()]), "ArrayOf is for numpy"),
        (lambda: ArrayOf("f4", 3), "the shape of an array is a tuple of .* not 3"),
        (lambda: ArrayOf(OfNoOrder()), "arrays of .* have no wire form"),
        (lambda: rpc_plan(list[np.ndarray]), r"\[0\]: ndarray has no wire form; annot"),
        (lambda: rpc_plan(NDArray[np.float32]), "a marker of roam_trio.contrib.numpy"),
    ],
)
def test_wrong_annotations_are_refused(make: Any, problem: str) -> None:
    with pytest.raises(SchemaError, match=problem):
        make()


def test_marker_says_its_dtype_and_shape() -> None:
    assert repr(ArrayOf("f4", [None, 3])) == "ArrayOf(dtype='<f4', shape=(None, 3))"
    assert ArrayOf() != ArrayOf("f8")  # although numpy.dtype("f8") == None
    assert ArrayOf(">f4") == ArrayOf(np.float32)
    with pytest.raises(NotImplementedError):
        WireForm().conversion(int)


# ------------------------------------------------------------ in services


@attrs.frozen(eq=False)
class Cloud:
    name: str
    points: Points


class Frame(msgspec.Struct):
    pixels: Annotated[NDArray[np.uint8], ArrayOf(shape=(2, 2))]


class Sample(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    values: Numbers


@service
class Scanner(Protocol):
    async def scan(self, cloud: Cloud, scale: Floats) -> Points: ...
    async def film(self, frames: Rx[Frame]) -> list[Numbers]: ...
    async def sample(self, sample: Sample | None) -> Sample: ...


class PlainCloud(msgspec.Struct):
    name: str
    points: PlainFixed


class PlainFrame(msgspec.Struct):
    pixels: PlainFixed


class PlainSample(msgspec.Struct):
    values: PlainAny


@service(name="Scanner")
class PlainScanner(Protocol):
    async def scan(self, cloud: PlainCloud, scale: PlainFixed) -> PlainFixed: ...
    async def film(self, frames: Rx[PlainFrame]) -> list[PlainAny]: ...
    async def sample(self, sample: PlainSample | None) -> PlainSample: ...


class ScannerImpl:
    async def scan(self, cloud: Cloud, scale: NDArray[Any]) -> NDArray[np.float32]:
        assert cloud.points.base is not None
        return cloud.points * np.float32(scale[()])

    async def film(self, frames: Rx[Frame]) -> list[NDArray[Any]]:
        return [frame.pixels.sum(axis=0) async for frame in frames]

    async def sample(self, sample: Sample | None) -> Sample:
        return sample or Sample(values=np.arange(3, dtype="i2"))


def test_methods_have_the_ids_of_those_with_structs() -> None:
    ids = [method.id for method in describe(Scanner).methods]
    assert ids == [method.id for method in describe(PlainScanner).methods]


async def test_arrays_are_arguments_fields_results_and_items() -> None:
    async with connected_pair(Scanner, ScannerImpl()) as scanner:
        scaled = await scanner.scan(Cloud("a", points()), np.array(2.0))
        assert np.array_equal(scaled, points() * 2)
        assert scaled.base is not None
        frame = Frame(np.array([[1, 2], [3, 4]], np.uint8))
        tx, rx = channel(Frame)

        async def send() -> None:
            async with tx:
                await tx.send(frame)
                await tx.send(frame)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            sums = await scanner.film(rx)
        assert [each.tolist() for each in sums] == [[4, 6]] * 2
        sample = await scanner.sample(None)
        assert sample.values.dtype == np.int16
        assert (await scanner.sample(sample)).values.tolist() == [0, 1, 2]


async def test_caller_whose_array_is_refused_gets_invalid_payload() -> None:
    pair = connected_pair(Scanner, ScannerImpl())
    async with pair:
        plain = client(PlainScanner, pair.client_session.caller)
        cloud = PlainCloud("a", PlainFixed([1, 3], bytes(11)))
        with pytest.raises(InvalidPayload):
            await plain.scan(cloud, PlainFixed([], bytes(8)))
