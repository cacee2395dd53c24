"""Values have the bytes in TypeScript that the Rust crates give them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cargo import CannotBuild
from roam_trio import Fallible, ServiceDescriptor, describe
from roam_trio.codegen.typescript import write_typescript
from roam_trio.service.descriptor import method_descriptor

from ...schema.test_rust_vectors import GENERATED, RESULTS, VALUES
from .. import signatures
from ..services import Values
from ..vectors import kept
from .build import PEER, compile_in, installed

pytestmark = pytest.mark.interop

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def packages() -> Path:
    """The folder with the compiler."""
    try:
        return installed()
    except CannotBuild as error:
        pytest.skip(str(error))


def program(folder: Path, packages: Path, **sources: str) -> None:
    """Compile sources, with the options of the peer."""
    texts = {Path("src", f"{name}.ts"): text for name, text in sources.items()}
    texts[Path("tsconfig.json")] = (PEER / "tsconfig.json").read_text("utf-8")
    compile_in(folder, texts, packages)


def run(folder: Path) -> list[str]:
    """Return the lines that the compiled checks print."""
    ran = subprocess.run(
        ["node", folder / "out" / "check.js"], capture_output=True, text=True
    )
    assert (ran.stderr, ran.returncode) == ("", 0)
    return ran.stdout.splitlines()


CHECK = """
import * as made from "./made.js";

function hexOf(bytes: Uint8Array): string {
  return [...bytes].map((each) => each.toString(16).padStart(2, "0")).join("");
}

function refused<T>(codec: made.Codec<T>, bytes: Uint8Array): boolean {
  try {
    made.decode(codec, bytes);
    return false;
  } catch (error) {
    return error instanceof made.DecodeError;
  }
}

function check<T>(name: string, codec: made.Codec<T>, hex: string): void {
  const bytes = Uint8Array.from(hex.match(/../g) ?? [], (each) => parseInt(each, 16));
  const again = hexOf(made.encode(codec, made.decode(codec, bytes)));
  const problems: string[] = [];
  if (again !== hex) problems.push(`written as ${again}, not as ${hex}`);
  const more = new Uint8Array([...bytes, 0]);
  if (!refused(codec, more)) problems.push("a byte more is read");
  if (bytes.length > 0 && !refused(codec, bytes.subarray(0, -1))) {
    problems.push("a byte less is read");
  }
  for (const each of problems) console.log(`${name}: ${each}`);
}

"""


@pytest.mark.rule("zerocopy.framing.value")
def test_values_are_read_and_written_as_rust_writes_them(
    packages: Path, tmp_path: Path
) -> None:
    vectors = {**kept().values, **kept().generated_values}
    hints: dict[str, Any] = {
        name: type for name, (type, _) in {**VALUES, **GENERATED}.items()
    }
    methods = [
        method_descriptor("Vectors", f"value_{number}", {"value": hint}, None)
        for number, hint in enumerate(hints.values())
    ]
    checks = [
        f"check({json.dumps(name)}, made.vectorsValue{number}.args, "
        f"{json.dumps(vectors[name])});\n"
        for number, name in enumerate(hints)
    ]
    service = ServiceDescriptor("Vectors", tuple(methods), "")
    text = write_typescript([service])
    program(tmp_path, packages, made=text, check=CHECK + "".join(checks))
    assert len(checks) > 400
    assert run(tmp_path) == []


RESULTS_CHECK = """
import * as made from "./made.js";

function told<T, E>(method: made.Method<readonly never[], T, E>, hex: string): void {
  const bytes = Uint8Array.from(hex.match(/../g) ?? [], (each) => parseInt(each, 16));
  const outcome = made.decodeResult(method, bytes);
  console.log(typeof outcome === "string" ? outcome : outcome.ok ? "ok" : "user");
}

"""


@pytest.mark.rule("rpc.fallible.roam-error")
def test_results_mean_what_they_mean_in_rust(packages: Path, tmp_path: Path) -> None:
    methods, lines, expected = [], [], []
    for number, (name, (ok, error, kind, _)) in enumerate(RESULTS.items()):
        hint = ok if error is None else Fallible[ok, error]
        methods.append(method_descriptor("Results", f"result_{number}", {}, hint))
        vector = json.dumps(kept().values[name])
        lines.append(f"told(made.resultsResult{number}, {vector});\n")
        expected.append(kind.name.lower().replace("_", " "))
    text = write_typescript([ServiceDescriptor("Results", tuple(methods), "")])
    program(tmp_path, packages, made=text, check=RESULTS_CHECK + "".join(lines))
    assert run(tmp_path) == expected


MESSAGES_CHECK = """
import * as made from "./made.js";

function same(name: string, hex: string): void {
  const bytes = Uint8Array.from(hex.match(/../g) ?? [], (each) => parseInt(each, 16));
  const { connection, body } = made.decodeMessage(bytes);
  const again = Buffer.from(made.encodeMessage(connection, body)).toString("hex");
  console.log(`${name} ${body.is} ${again === hex}`);
}

"""


@pytest.mark.rule("session.message.payloads")
def test_messages_have_the_bytes_of_the_golden_vectors(
    packages: Path, tmp_path: Path
) -> None:
    folder = ROOT / "tests" / "data" / "golden-vectors" / "wire-v7"
    vectors = {each.stem: each.read_bytes().hex() for each in sorted(folder.iterdir())}
    vectors |= {"ping": "000901", "pong": "000aac02"}
    lines = [f"same({json.dumps(k)}, {json.dumps(v)});\n" for k, v in vectors.items()]
    program(
        tmp_path,
        packages,
        made=write_typescript([]),
        check=MESSAGES_CHECK + "".join(lines),
    )
    told = run(tmp_path)
    assert [line.split()[::2] for line in told] == [[name, "true"] for name in vectors]
    assert len({line.split()[1] for line in told}) == 16


PLACES_CHECK = """
import * as made from "./made.js";

function told(act: () => unknown): void {
  try {
    act();
    console.log("nothing");
  } catch (error) {
    console.log(error instanceof made.ValueError ? error.message : String(error));
  }
}

const { args } = made.valuesFigures;
const corner = { x: 1, y: 2 ** 31 };
const named = { label: "", figure: { is: "Polygon" as const, value: [corner] } };
told(() => made.encode(args, [[{ is: "Nothing" }, { is: "Named", value: named }]]));
told(() => made.decode(args, new Uint8Array([2, 0, 9])));
told(() => made.encode(made.treeCodec, { value: 1.5, children: [] }));
told(() => made.encode(made.str, "\\ud800"));
told(() => made.encode(made.char, "ab"));
told(() => made.decode(made.str, new Uint8Array([1, 255])));
told(() => made.decode(made.list(made.unit), new Uint8Array([255, 255, 255, 1])));
told(() => made.decode(made.u8, new Uint8Array([1, 2])));
"""

PLACES = [
    "$[0][1].Named.figure.Polygon[0].y: expected an integer from -2147483648 to "
    "2147483647, got 2147483648",
    "$[0][1]: expected a variant below 6, got 9",
    "$.value: expected an integer from -2147483648 to 2147483647, got 1.5",
    "$: expected a text without lone surrogates, got string",
    "$: expected one Unicode scalar value",
    "$: expected UTF-8, got 1 other bytes",
    "$: expected at most 65536 items without bytes",
    "$: expected the end, got 1 more bytes",
]


def test_errors_of_values_name_the_place(packages: Path, tmp_path: Path) -> None:
    made = write_typescript([describe(Values)])
    program(tmp_path, packages, made=made, check=PLACES_CHECK)
    assert run(tmp_path) == PLACES


def services_of(module: Any) -> Iterable[ServiceDescriptor]:
    found: dict[str, ServiceDescriptor] = {}  # by its name, which twins share
    for value in vars(module).values():
        if "__roam_service__" in getattr(value, "__dict__", {}):
            found.setdefault(describe(value).name, describe(value))
    return found.values()


def imported(names: Iterable[str]) -> Iterator[Any]:
    """Import modules, but for programs that import what is beside them: they run in
    their directory, and what has the services is among the modules itself."""
    for name in names:
        try:
            yield import_module(name)
        except ModuleNotFoundError as error:
            if not list((ROOT / "examples").rglob(f"{error.name}.py")):
                raise


EXAMPLES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "examples").rglob("*.py")
)


def test_services_of_all_examples_and_made_up_ones_compile_with_their_ids(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # some examples are programs that write files
    modules = [*imported(EXAMPLES), signatures.python_module()]
    sources: dict[str, str] = {}
    for module in modules:
        services = list(services_of(module))
        if services:
            name = f"module{len(sources)}"
            sources[name] = write_typescript(services)
            for method in chain.from_iterable(each.methods for each in services):
                assert f"id: 0x{method.id:016x}n," in sources[name]
    assert len(sources) > 8
    program(tmp_path, packages, **sources)
