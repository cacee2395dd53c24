"""Models of pydantic on the wire: as classes with the same fields, and validated."""

from __future__ import annotations

import enum
import gc
import tracemalloc
from typing import Annotated, Any, Generic, Literal, Protocol, TypeVar

import attrs
import msgspec
import pydantic
import pytest
from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict, Field, RootModel
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from roam_trio import (
    Array,
    DecodeError,
    EncodeError,
    Fallible,
    InvalidPayload,
    SchemaError,
    Tx,
    UserError,
    channel,
    client,
    describe,
    f32,
    rpc_plan,
    service,
    transparent,
    u8,
    u32,
)
from roam_trio.codec import RpcPlan
from roam_trio.codegen.rust import interface_of, write_rust
from roam_trio.codegen.typescript import write_typescript
from roam_trio.contrib.pydantic import register_models
from roam_trio.native import NATIVE
from roam_trio.schema import kinds
from roam_trio.service.description.model import StructSchema
from roam_trio.testing import connected_pair

from ...schema.codecs import native_plan, python_plan

register_models()

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "Red"
    GREEN = "Green"


class Address(BaseModel):
    street: str
    number: Annotated[u32, Field(gt=0)]


class Person(BaseModel):
    model_config = ConfigDict(frozen=True)

    name: str = Field(min_length=1, max_length=20)
    age: u8 = Field(lt=130)
    colour: Colour = Colour.RED
    address: Address | None = None
    scores: dict[str, f32] = Field(default_factory=dict)
    tags: Array[u32, Literal[2]] = Field(default=[1, 2], max_length=2)
    initials: tuple[str, ...] = ()

    @pydantic.field_validator("name", mode="before")
    @classmethod
    def _stripped(cls, name: Any) -> Any:
        return name.strip() if isinstance(name, str) else name

    @pydantic.field_validator("name", mode="after")
    @classmethod
    def _capital(cls, name: str) -> str:
        if name[0].islower():
            raise ValueError("a name begins with a capital letter")
        if name.startswith("Secret"):
            raise ValueError(f"{name} may not be named")
        return name

    @pydantic.model_validator(mode="after")
    def _grown_up(self) -> Person:
        if self.address is not None and self.age < 18:
            raise ValueError("a minor lives with others")
        return self

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def greeting(self) -> str:
        return f"Hello, {self.name}"


@attrs.frozen
class PlainAddress:
    street: str
    number: u32


@attrs.frozen
class PlainPerson:
    name: str
    age: u8
    colour: Colour
    address: PlainAddress | None
    scores: dict[str, f32]
    tags: Array[u32, Literal[2]]
    initials: tuple[str, ...]


class Camel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)

    user_name: str
    class_: u8 = Field(alias="class")
    first_line: str = Field(alias="first-line")


class PlainCamel(
    msgspec.Struct,
    rename={"user_name": "userName", "class_": "class", "first_line": "first-line"},
):
    user_name: str
    class_: u8
    first_line: str


class Page(BaseModel, Generic[T]):
    items: list[T]
    number: u32 = 0


class Tree(BaseModel):
    name: str
    left: Tree | None = None


class GenericTree(BaseModel, Generic[T]):
    item: T
    left: GenericTree[T] | None = None


class Names(RootModel[list[str]]):
    pass


@attrs.frozen
class PlainTree:
    name: str
    left: PlainTree | None


@transparent
@attrs.frozen
class PlainNames:
    names: list[str]


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: u8


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    good: bool


class Owner(BaseModel):
    pet: Cat | Dog = Field(discriminator="kind")
    secret: str = Field(default="", exclude=True)


def _plain(title: str, /, **fields: Any) -> Any:
    return attrs.make_class(
        title, {key: attrs.field(type=each) for key, each in fields.items()}
    )


PlainOwner = _plain(
    "PlainOwner", pet=_plain("Cat", lives=u8) | _plain("Dog", good=bool)
)

ADA = Person(
    name="Ada", age=36, address=Address(street="Long", number=3), scores={"a": 1.5}
)


@pytest.fixture(params=["python"] if NATIVE is None else ["python", "native"])
def plan_of(request: pytest.FixtureRequest) -> Any:
    return python_plan if request.param == "python" else native_plan


def encoded(plan: RpcPlan[Any], value: object) -> bytes:
    return b"".join(plan.encode(value))


# ------------------------------------------------------------ shapes


@pytest.mark.parametrize(
    ("model", "plain"),
    [
        (Person, PlainPerson),
        (Camel, PlainCamel),
        (Names, PlainNames),
        (RootModel[list[str]], PlainNames),
        (Page[u32], _plain("Page", items=list[u32], number=u32)),
        (Tree, PlainTree),
        (Owner, PlainOwner),
    ],
)
def test_model_has_the_signature_of_a_class_with_its_fields(
    model: Any, plain: Any
) -> None:
    assert rpc_plan(model).signature == rpc_plan(plain).signature


@pytest.mark.parametrize(
    "value",
    [
        ADA,
        Person(name="Bea", age=3),
        Camel.model_validate({"userName": "ada", "class": 3, "first-line": "x"}),
        Names(["a", "b"]),
        Page[u32](items=[1, 300], number=3),
        Tree(name="a", left=Tree(name="b")),
        Owner(pet=Dog(good=True)),
        Owner(pet=Cat(lives=9), secret=""),
    ],
    ids=lambda value: type(value).__name__,
)
def test_model_arrives_as_it_was_sent(plan_of: Any, value: BaseModel) -> None:
    plan = plan_of(type(value))
    arrived = plan.decode(encoded(plan, value))
    assert arrived == value
    assert type(arrived) is type(value)


def test_encoding_is_that_of_a_class_with_the_same_fields(plan_of: Any) -> None:
    plain = PlainPerson(
        "Ada", 36, Colour.RED, PlainAddress("Long", 3), {"a": 1.5}, [1, 2], ()
    )
    assert encoded(plan_of(Person), ADA) == encoded(plan_of(PlainPerson), plain)


def test_validators_before_change_what_arrives(plan_of: Any) -> None:
    loose = _plain("Loose", name=str)

    class Strict(BaseModel):
        name: Annotated[str, pydantic.StringConstraints(strip_whitespace=True)]

    arrived = plan_of(Strict).decode(encoded(plan_of(loose), loose("  Ada ")))
    assert arrived == Strict(name="Ada")


def test_excluded_field_arrives_with_its_default(plan_of: Any) -> None:
    plan = plan_of(Owner)
    sent = Owner(pet=Cat(lives=9), secret="hidden")
    assert b"hidden" not in encoded(plan, sent)
    assert plan.decode(encoded(plan, sent)).secret == ""


def test_name_is_used_where_the_class_takes_it(plan_of: Any) -> None:
    class ByName(BaseModel):
        model_config = ConfigDict(populate_by_name=True)
        first: u8 = Field(alias="one")
        deep: u8 = Field(validation_alias=AliasPath("nested", 0))

    class ByChoice(BaseModel):
        first: u8 = Field(
            validation_alias=AliasChoices(AliasPath("a", 0), "b", "c"),
            serialization_alias="first",
        )

    by_name = ByName(one=1, nested=[2])  # type: ignore[call-arg]
    by_choice = ByChoice(c=7)  # type: ignore[call-arg]
    for value in (by_name, by_choice):
        plan = plan_of(type(value))
        assert plan.decode(encoded(plan, value)) == value
    assert [field.name for field in rpc_plan(ByName).shape.record.fields] == [  # type: ignore[union-attr]
        "one",
        "deep",
    ]


def test_frozen_model_is_a_key() -> None:
    class Key(BaseModel, frozen=True):
        number: u32

    plan = rpc_plan(dict[Key, u8])
    value = {Key(number=3): 4}
    assert plan.decode(encoded(plan, value)) == value
    with pytest.raises(SchemaError, match="make Address frozen"):
        rpc_plan(set[Address])


# ------------------------------------------------------------ what is refused


def refusal(plan_of: Any, **changes: Any) -> DecodeError:
    plain = PlainPerson("Ada", 36, Colour.RED, None, {}, [1, 2], ())
    data = encoded(plan_of(PlainPerson), attrs.evolve(plain, **changes))
    with pytest.raises(DecodeError) as caught:
        plan_of(Person).decode(data)
    return caught.value


@pytest.mark.parametrize(
    ("changes", "text", "without_values"),
    [
        (
            {"age": 200},
            "Person refused its fields: Input should be less than 130, got 200 "
            "- at $.age",
            "Person refused its fields: Input should be less than 130 - at $.age",
        ),
        (
            {"name": "", "age": 200},
            "Person refused its fields: String should have at least 1 character, "
            "got '' (str) (and 1 more) - at $.name",
            "Person refused its fields: String should have at least 1 character "
            "(and 1 more) - at $.name",
        ),
        (
            {"name": "ada"},
            "Person refused its fields: Value error, a name begins with a capital "
            "letter, got 'ada' (str) - at $.name",
            "Person refused its fields: ValueError: a name begins with a capital "
            "letter - at $.name",
        ),
        (
            {"name": "Secret Sam"},
            "Person refused its fields: Value error, Secret Sam may not be named, "
            "got 'Secret Sam' (str) - at $.name",
            "Person refused its fields: ValueError - at $.name",
        ),
        (
            {"address": PlainAddress("Long", 0)},
            "Address refused its fields: Input should be greater than 0, got 0 "
            "- at $.address.number",
            "Address refused its fields: Input should be greater than 0 "
            "- at $.address.number",
        ),
    ],
)
def test_refused_field_is_named_with_its_place(
    plan_of: Any, changes: dict[str, Any], text: str, without_values: str
) -> None:
    error = refusal(plan_of, **changes)
    assert str(error) == text
    assert error.without_values == without_values


def test_refused_model_is_named_with_its_place(plan_of: Any) -> None:
    error = refusal(plan_of, age=7, address=PlainAddress("Long", 3))
    assert error.path == "$"
    assert error.without_values == (
        "Person refused its fields: ValueError: a minor lives with others - at $"
    )


def refused_by(validator: Any) -> DecodeError:
    """Return the error for a text that a function refuses."""

    class Model(BaseModel):
        name: Annotated[str, pydantic.AfterValidator(validator)]

    loose = _plain("Loose", name=str)
    with pytest.raises(DecodeError) as caught:
        rpc_plan(Model).decode(encoded(rpc_plan(loose), loose("Sam")))
    return caught.value


def test_errors_of_other_kinds_are_named_by_their_kind_alone() -> None:
    def validator(name: str) -> str:
        raise PydanticCustomError("odd_name", "odd {name}", {"name": name})

    error = refused_by(validator)
    assert "odd Sam, got 'Sam' (str)" in str(error)
    assert "refused its fields: odd_name - at $.name" in error.without_values


def test_long_message_is_cut() -> None:
    def validator(name: str) -> str:
        raise ValueError("long\n" * 1000)

    error = refused_by(validator)
    assert len(str(error)) < 350
    assert len(error.without_values) < 350


def test_of_very_many_errors_the_number_is_told() -> None:
    class Words(BaseModel):
        words: list[Annotated[str, Field(max_length=1)]]

    plan = rpc_plan(Words)
    many = encoded(plan, Words.model_construct(words=["ab"] * 1001))
    few = encoded(plan, Words.model_construct(words=["ab"] * 1000))
    with pytest.raises(DecodeError, match=r"fields: 1001 errors - at \$$") as caught:
        plan.decode(many)
    assert caught.value.without_values == str(caught.value)
    with pytest.raises(DecodeError, match=r"\(and 999 more\) - at \$.words$"):
        plan.decode(few)


def test_other_exception_of_a_validator_is_told_as_of_any_class() -> None:
    def validator(name: str) -> str:
        raise LookupError("nobody")

    error = refused_by(validator)
    assert str(error).endswith("Model refused its fields: LookupError: nobody - at $")


def test_sent_model_is_not_validated_but_must_have_the_type(plan_of: Any) -> None:
    plan = plan_of(Address)
    assert encoded(plan, Address.model_construct(street="", number=0)) == b"\0\0"
    with pytest.raises(EncodeError, match=r"expected u32 .* at \$\.number"):
        plan.encode(Address.model_construct(street="", number=-1))
    with pytest.raises(EncodeError, match=r"expected Address, got \{\}"):
        plan.encode({})


def test_derived_model_with_more_fields_is_refused(plan_of: Any) -> None:
    class Flat(Address):
        floor: u8

    class Alias(Address):
        pass

    plan = plan_of(Address)
    with pytest.raises(EncodeError, match=r"more fields \('floor'\)"):
        plan.encode(Flat(street="Long", number=3, floor=2))
    assert encoded(plan, Alias(street="", number=1)) == b"\0\1"


# ------------------------------------------------------------ models without a form


class Extra(BaseModel, extra="allow"):
    pass


class ByValue(BaseModel, use_enum_values=True):
    colour: Colour


class Constant(BaseModel):
    kind: Literal["a"]


class Hidden(BaseModel):
    secret: str = Field(exclude=True)


class Deep(BaseModel):
    first: u8 = Field(validation_alias=AliasPath("values", 0))


class DeepChoice(BaseModel):
    first: u8 = Field(validation_alias=AliasChoices(AliasPath("values", 0)))


class Twice(BaseModel):
    one: u8 = Field(serialization_alias="x")
    x: u8


class TwiceTaken(BaseModel):
    one: u8 = Field(validation_alias="x", serialization_alias="one")
    x: u8


class Nowhere(BaseModel):
    other: "Absent"  # type: ignore[name-defined]  # noqa: F821, UP037


class Anything(BaseModel):
    value: Any


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (Extra, "Extra: Extra allows extra fields"),
        (ByValue, "ByValue: ByValue holds the values of enums"),
        (Constant, r"Constant\.kind: a field of a Literal .* needs a default"),
        (Hidden, r"Hidden\.secret: a field with exclude=True .* needs a default"),
        (Deep, r"Deep\.first: .* set validate_by_name=True"),
        (DeepChoice, r"DeepChoice\.first: .* set validate_by_name=True"),
        (Twice, "two fields of Twice have the alias 'x'"),
        (TwiceTaken, "two fields of TwiceTaken have the alias 'x'"),
        (Nowhere, "the model cannot be completed: .*Absent"),
        (Anything, r"Anything\.value: Any has no wire form"),
        (GenericTree[u8], r"left: a generic model cannot refer to itself"),
        (Page, r"Page\.items\[0\]: the type variable ~T has no value"),
    ],
)
def test_model_without_a_wire_form_is_refused(model: Any, problem: str) -> None:
    with pytest.raises(SchemaError, match=problem):
        rpc_plan(model)


def test_unregistered_model_is_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kinds, "_kinds", [])

    class Model(BaseModel):
        x: u8

    class Other(BaseModel):
        y: u8

    remedy = r"call roam_trio\.contrib\.pydantic\.register_models\(\)"
    with pytest.raises(SchemaError, match=f"Model has no wire form; {remedy}"):
        rpc_plan(Model)
    with pytest.raises(SchemaError, match=f"Model is none; {remedy}"):
        rpc_plan(Model | Other)
    register_models()
    register_models()
    assert len(kinds._kinds) == 1
    assert encoded(rpc_plan(Model), Model(x=1)) == b"\1"


# ------------------------------------------------------------ in services


class _Directory(Protocol):
    async def find(self, name: str) -> Fallible[Person, Missing | Hint]: ...
    async def add(self, person: Person) -> u32: ...
    async def all(self, names: Names, output: Tx[Address]) -> Page[Address]: ...


class Missing(BaseModel):
    name: str


class Hint(BaseModel):
    names: Names


class _PlainDirectory(Protocol):
    async def find(self, name: str) -> Fallible[PlainPerson, PlainErrors]: ...
    async def add(self, person: PlainPerson) -> u32: ...
    async def all(self, names: PlainNames, output: Tx[PlainAddress]) -> PlainPage: ...


PlainErrors: Any = _plain("Missing", name=str) | _plain("Hint", names=PlainNames)


@attrs.frozen
class PlainPage:
    items: list[PlainAddress]
    number: u32


Directory = service(name="Directory")(_Directory)
PlainDirectory = service(name="Directory")(_PlainDirectory)


class DirectoryImpl:
    async def find(self, name: str) -> Person:
        if name == "Ada":
            return ADA
        raise UserError(Hint(names=Names(["Ada"])) if name else Missing(name=name))

    async def add(self, person: Person) -> int:
        return person.age

    async def all(self, names: Names, output: Tx[Address]) -> Page[Address]:
        async with output:
            for number, street in enumerate(names.root, start=1):
                await output.send(Address(street=street, number=number))
        return Page[Address](items=[])


def test_methods_have_the_ids_of_those_with_plain_classes() -> None:
    ids = [method.id for method in describe(Directory).methods]
    assert ids == [method.id for method in describe(PlainDirectory).methods]


async def test_models_are_arguments_results_errors_and_items() -> None:
    async with connected_pair(Directory, DirectoryImpl()) as directory:
        assert await directory.find("Ada") == ADA
        for name, error in (("", Missing(name="")), ("x", Hint(names=Names(["Ada"])))):
            with pytest.raises(UserError) as caught:
                await directory.find(name)
            assert caught.value.error == error
        tx, rx = channel(Address)
        page = await directory.all(Names(["Long", "Short"]), tx)
        assert page == Page[Address](items=[])
        assert [each.number async for each in rx] == [1, 2]


async def test_caller_whose_model_is_refused_is_not_told_its_values() -> None:
    pair = connected_pair(Directory, DirectoryImpl())
    async with pair:
        plain = client(PlainDirectory, pair.client_session.caller)
        person = PlainPerson("secret", 36, Colour.RED, None, {}, [1, 2], ())
        with pytest.raises(InvalidPayload) as caught:
            await plain.add(person)
        assert "secret" not in str(caught.value)
        person = attrs.evolve(person, name="Ada")
        assert await plain.add(person) == 36


def test_defaults_of_models_are_in_the_description() -> None:
    schema = describe(Directory).schema
    (found,) = (each for each in schema.types if each.name == "Person")
    assert isinstance(found, StructSchema)
    defaults = {field.name: (field.default, field.computed) for field in found.fields}
    assert defaults["name"] == (msgspec.UNSET, False)
    assert defaults["colour"] == ("Red", False)
    assert defaults["scores"] == ({}, False)
    assert defaults["tags"] == ([1, 2], False)


class _Generic(Protocol):
    async def numbers(self, either: Page[u8] | Address) -> Page[u32]: ...


def test_models_are_written_in_other_languages() -> None:
    described = describe(service(name="Generic")(_Generic))
    names = {each.name for each in described.schema.types}
    assert names >= {"Page[u32]", "Page[u8] | Address"}
    assert "interface PageU32 {" in write_typescript([described])
    rust = write_rust(interface_of([described]))
    assert "pub struct PageU32 {" in rust
    assert "pub enum PageU8OrAddress {\n    Page {" in rust


def test_memory_of_models_is_known_before_they_are_decoded() -> None:
    plan = rpc_plan(list[Address])
    data = encoded(plan, [Address(street="a", number=1)] * 3000)
    plan.decode(data)
    gc.collect()
    tracemalloc.start()
    decoded = plan.decode(data)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    for weight in (
        plan.weights.of(decoded, len(data)),
        plan.weights.at_most(len(data)),
    ):
        assert taken <= weight + 4096
    assert plan.weights.of(decoded, len(data)) <= 3 * taken
