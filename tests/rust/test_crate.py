"""What the published crates make of generated Rust: ids, and bytes of values.

Everything is built into one program, once for all of these tests.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from benchmarks.cargo import CannotBuild
from roam_trio import MethodDescriptor, describe, rpc_plan
from roam_trio.cli.app import app
from roam_trio.codegen.rust import interface_of, write_rust
from roam_trio.codegen.rust.names import snake

from .building import Question, Source, ask, program_of
from .importing import services_of
from .services import SERVICES
from .strategies import Sample, drawn, samples

pytestmark = pytest.mark.interop

ROOT = Path(__file__).parent.parent.parent


def _services_of(example: str) -> list[str]:
    module = importlib.import_module(f"examples.{example}")
    names: dict[str, str] = {}  # by that on the wire, which twins share
    for name, found in vars(module).items():
        with suppress(TypeError):
            names.setdefault(describe(found).name, name)
    return list(names.values())


EXAMPLES = {
    path.stem: _services_of(path.stem)
    for path in sorted((ROOT / "examples").glob("*.py"))
}
RANDOM_SERVICES = 110
SOURCES = {"shop": ("Shop", "Feeds"), "wide": ("Protocol",)}


class Crate(NamedTuple):
    """The program with all cases, and what it says of them."""

    program: Any
    ids: dict[str, int]
    random: list[Sample]


@pytest.fixture(scope="session")
def crate() -> Crate:
    random = drawn(samples(), RANDOM_SERVICES)
    sources = {
        "everything": _source(*SERVICES),
        **{
            f"random_{number}": _source(each.service)
            for number, each in enumerate(random)
        },
        **{f"example_{module}": _example(module) for module in EXAMPLES},
        **{name: Source(_text(name), given) for name, given in SOURCES.items()},
    }
    try:
        program = program_of(sources)
    except CannotBuild as error:
        if shutil.which("cargo") is not None:
            raise
        pytest.skip(str(error))
    ids, _ = ask(program)
    return Crate(program, ids, random)


def _source(*services: Any) -> Source:
    interface = interface_of([describe(each) for each in services])
    return Source(
        write_rust(interface), tuple(each.name for each in interface.services)
    )


def _text(name: str) -> str:
    """A source in Rust that was written by hand."""
    return (Path(__file__).parent / "sources" / f"{name}.rs").read_text("utf-8")


def _example(module: str) -> Source:
    given = [f"examples.{module}:{name}" for name in EXAMPLES[module]]
    result = CliRunner().invoke(app, ["rust", *given])
    assert result.exit_code == 0, result.output
    return Source(result.stdout, tuple(EXAMPLES[module]))


def _methods(case: str, *services: Any) -> Iterator[tuple[str, MethodDescriptor]]:
    """The methods of services, by the names that the program has for them."""
    interface = interface_of([describe(each) for each in services])
    for service, written in zip(services, interface.services, strict=True):
        for method in describe(service).methods:
            yield f"{case} {written.name}.{snake(method.name)}", method


def test_crate_gives_the_same_ids(crate: Crate) -> None:
    expected = {name: method.id for name, method in _methods("everything", *SERVICES)}
    found = {name: crate.ids[name] for name in expected}
    assert found == expected


def test_crate_gives_the_same_ids_to_random_signatures(crate: Crate) -> None:
    expected = {
        name: method.id
        for number, sample in enumerate(crate.random)
        for name, method in _methods(f"random_{number}", sample.service)
    }
    assert len(expected) >= 200
    assert {name: crate.ids[name] for name in expected} == expected


@pytest.mark.parametrize("module", EXAMPLES)
def test_service_of_example_builds(crate: Crate, module: str) -> None:
    found = importlib.import_module(f"examples.{module}")
    services = [getattr(found, name) for name in EXAMPLES[module]]
    expected = {
        name: method.id for name, method in _methods(f"example_{module}", *services)
    }
    assert {name: crate.ids[name] for name in expected} == expected


@pytest.mark.parametrize("name", SOURCES)
def test_services_written_in_rust_have_the_same_ids_in_python(
    crate: Crate, name: str
) -> None:
    services = services_of(_text(name))
    assert [describe(each).name for each in services] == list(SOURCES[name])
    for service in map(describe, services):
        case = f"{name} {service.name}."
        found = [id for method, id in crate.ids.items() if method.startswith(case)]
        assert found == [method.id for method in service.methods]


def test_crate_encodes_values_to_the_same_bytes(crate: Crate) -> None:
    questions: list[Question] = []
    plans: list[Any] = []
    for number, sample in enumerate(crate.random):
        for name, method in _methods(f"random_{number}", sample.service):
            for index, value in enumerate(sample.values[method.name]):
                if value is not None:
                    plan = rpc_plan(method.args[index].type)
                    questions.append(
                        Question(name, index, b"".join(plan.encode(value)))
                    )
                    plans.append(plan)
    assert len(questions) >= 50
    _, answers = ask(crate.program, questions)
    for question, plan, answer in zip(questions, plans, answers, strict=True):
        assert not answer.startswith("error"), (question, answer)
        # Maps and sets may come back in another order.
        back = plan.decode(bytes.fromhex(answer))
        assert back == plan.decode(question.value), question
