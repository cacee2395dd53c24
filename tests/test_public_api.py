"""The public face: every name that belongs there is, and says what it is for."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import itertools
import pkgutil
import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import roam_trio
from roam_trio import errors, lowlevel

PUBLIC = [*roam_trio.__all__, *lowlevel.__all__]

ROOT = Path(__file__).parent.parent

# The names that other implementations export, by what they are about.
PARITY = {
    "services": """
        service ServiceDescriptor MethodDescriptor MethodId hash Handler Caller
        DriverCaller ErasedCaller NoopCaller Call SinkCall ReplySink DriverReplySink
        RequestCall RequestResponse ResponseParts RoamError RpcPlan rpc_plan Payload
        Backing SelfRef schema facet facet_postcard
        session.ServiceDescriptor session.MethodDescriptor
    """,
    "channels": """
        Tx Rx channel TxError RxError ChannelId bind_channels_caller_args
        bind_channels_callee_args DriverChannelSink
    """,
    "sessions": """
        initiator acceptor SessionInitiatorBuilder SessionAcceptorBuilder Session
        SessionError PROTOCOL_VERSION ConnectionHandle ConnectionState ConnectionId
        ConnectionSettings Parity Driver Metadata MetadataEntry MetadataValue
        MetadataFlags session SessionHandle ConnectionAcceptor AcceptedConnection
        SessionKeepaliveConfig proxy_connections BoxSessionFuture
    """,
    "conduits": """
        Conduit ConduitTx ConduitRx ConduitTxPermit MsgFamily MessageFamily BareConduit
        BareConduitTx BareConduitRx BareConduitPermit BareConduitError
        ConduitAcceptor IntoConduit DynConduitTx StableConduit StableConduitTx
        StableConduitRx StableConduitPermit StableConduitError LinkSource Attachment
        prepare_acceptor_attachment
    """,
    "links": """
        Link LinkTx LinkRx LinkTxPermit WriteSlot SplitLink MemoryLink MemoryLinkTx
        MemoryLinkRx MemoryLinkTxPermit MemoryWriteSlot MemoryLinkRxError
        memory_link_pair
    """,
    "beyond them": """
        client connect dispatcher serve current_call describe with_metadata Fallible
        Server Limits StreamLink StreamLimits errors links
    """,
}

INTEGERS = [f"{sign}{bits}" for sign in "ui" for bits in (8, 16, 32, 64, 128, "size")]
WIRE_TYPES = [*INTEGERS, "f32", "f64", "char"]


def find(name: str) -> Any:
    """What a dotted name below `roam_trio` stands for."""
    value: Any = roam_trio
    for part in name.split("."):
        value = getattr(value, part)
    return value


@pytest.mark.parametrize("area", PARITY)
def test_the_names_of_other_implementations_are_public(area: str) -> None:
    for name in PARITY[area].split():
        find(name)


def imported_names(module: types.ModuleType) -> list[str]:
    """What a public module takes from the modules below, at once or later."""
    tree = ast.parse(Path(inspect.getfile(module)).read_text(encoding="utf-8"))
    at_once = [
        alias.asname or alias.name
        for statement in tree.body
        if isinstance(statement, ast.ImportFrom) and statement.level
        for alias in statement.names
    ]
    return [*at_once, *vars(module).get("_IMPORTED_LATER", ())]


@pytest.mark.parametrize(
    "module", [roam_trio, lowlevel], ids=lambda each: each.__name__
)
def test_all_is_exactly_what_is_imported(module: types.ModuleType) -> None:
    assert sorted(module.__all__) == sorted(imported_names(module))
    assert len(set(module.__all__)) == len(module.__all__)


def test_a_name_is_shown_in_one_place() -> None:
    assert set(roam_trio.__all__) & set(lowlevel.__all__) == set()


def test_completion_shows_only_what_services_and_clients_need() -> None:
    shown = {name for name in dir(roam_trio) if not name.startswith("_")}
    assert set(roam_trio.__all__) <= shown
    assert shown & set(lowlevel.__all__) == set()
    assert len(roam_trio.__all__) <= 115


@pytest.mark.parametrize("name", lowlevel.__all__)
def test_what_is_below_can_be_imported_from_the_top_too(name: str) -> None:
    assert getattr(roam_trio, name) is getattr(lowlevel, name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'roam_trio' has no attribute 'x'"):
        find("x")
    with pytest.raises(AttributeError, match=r"'roam_trio\.lowlevel' has no .* 'x'"):
        find("lowlevel.x")


def test_import_of_everything_shadows_no_name_of_python() -> None:
    found: dict[str, Any] = {}
    exec("from roam_trio import *", found)
    shadowed = (set(found) & set(dir(builtins))) - {"__builtins__", "__doc__"}
    assert shadowed == set()
    assert inspect.ismodule(roam_trio.hash)


def test_every_error_is_public_and_in_one_tree() -> None:
    for name in roam_trio.errors.__all__:
        error = getattr(roam_trio.errors, name)
        assert getattr(roam_trio, name) is error
        assert issubclass(error, roam_trio.RoamTrioError)


@pytest.mark.parametrize(
    "name", ["schema", "session", "hash", "links", "errors", "facet", "facet_postcard"]
)
def test_submodules_are_importable_and_documented(name: str) -> None:
    module = importlib.import_module(f"roam_trio.{name}")
    assert getattr(roam_trio, name) is module
    assert module.__doc__


def test_the_hash_module_computes_identities() -> None:
    shape = roam_trio.schema.shape_of(None)
    signature = roam_trio.hash.signature_of(shape)
    assert roam_trio.hash.kebab("TemplateHost") == "template-host"
    assert roam_trio.hash.method_id("Testbed", "ping", signature) == (
        roam_trio.schema.method_id("testbed", "Ping", signature)
    )


def modules() -> list[types.ModuleType]:
    found = [
        importlib.import_module(each.name)
        for each in pkgutil.walk_packages(roam_trio.__path__, "roam_trio.")
        if not each.name.endswith("__main__") and ".cli" not in each.name
    ]
    return [roam_trio, *found]


def test_every_module_and_every_name_it_exports_exists_and_is_documented() -> None:
    for module in modules():
        assert module.__doc__, module.__name__
        for name in getattr(module, "__all__", ()):
            assert hasattr(module, name), f"{module.__name__}.{name}"


def documented_data() -> set[str]:
    """Constants and aliases with a string below them."""
    found: set[str] = set()
    paths = (Path(inspect.getfile(module)) for module in modules())
    for path in (path for path in paths if path.suffix == ".py"):  # not the extension
        body = ast.parse(path.read_text("utf-8")).body
        for statement, below in itertools.pairwise(body):
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                match statement:
                    case ast.Assign(targets=[ast.Name(name)]):
                        found.add(name)
                    case ast.AnnAssign(target=ast.Name(name)):
                        found.add(name)
    return found


def is_documented_itself(value: object) -> bool:
    return inspect.isclass(value) or inspect.isroutine(value) or inspect.ismodule(value)


def test_every_public_name_has_a_docstring() -> None:
    data = documented_data()
    wanting: list[str] = []
    for name in set(PUBLIC) - set(WIRE_TYPES):
        value = getattr(roam_trio, name)
        if is_documented_itself(value):
            # Not an inherited one, nor one that attrs or msgspec made up.
            text = value.__dict__.get("__doc__") if inspect.isclass(value) else None
            text = text or (None if inspect.isclass(value) else value.__doc__)
            if not text or text.startswith(f"{name}("):
                wanting.append(name)
        elif name not in data:
            wanting.append(name)
    assert sorted(set(wanting) - SPEAK_FOR_THEMSELVES) == []


def test_every_public_method_has_a_docstring() -> None:
    wanting: list[str] = []
    for name in PUBLIC:
        cls = getattr(roam_trio, name)
        if not inspect.isclass(cls):
            continue
        for method, member in vars(cls).items():
            function = getattr(member, "fget", getattr(member, "__func__", member))
            if method.startswith("_") or not inspect.isfunction(function):
                continue
            if not inspect.getdoc(getattr(cls, method)):
                wanting.append(f"{name}.{method}")
    assert sorted(set(wanting) - INTERNAL) == []


SPEAK_FOR_THEMSELVES = {"Message", "PROTOCOL_VERSION"}

# What one part of a session or link calls on another.
INTERNAL = {
    "DriverChannelSink.on_lost",
    "DriverChannelSink.on_reset",
    "MemoryLinkTx.statistics",
}


def test_every_wire_type_is_described_in_the_documentation() -> None:
    text = (ROOT / "docs" / "types.md").read_text(encoding="utf-8")
    assert [name for name in WIRE_TYPES if f"`{name}`" not in text] == []
    assert [name for name in WIRE_TYPES if name not in roam_trio.__all__] == []


def test_every_error_is_described_in_the_documentation() -> None:
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    assert [name for name in errors.__all__ if f"`{name}`" not in text] == []


def test_the_documentation_describes_no_error_that_is_gone() -> None:
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*?) \|", text, re.M)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named - set(errors.__all__) == set()


def test_every_public_name_is_on_a_page() -> None:
    named = {
        name
        for page in documents()
        for code in re.findall(r"`([^`\n]+)`", page.read_text(encoding="utf-8"))
        for name in re.findall(r"\w+", code)
    }
    assert [name for name in PUBLIC if name not in named] == []


def documents() -> list[Path]:
    return sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("document", documents(), ids=lambda path: path.name)
def test_the_files_that_the_documentation_names_exist(document: Path) -> None:
    missing = [
        word
        for word in document.read_text(encoding="utf-8").replace("`", " ").split()
        if word.startswith("roam_trio/") and not (ROOT / word.rstrip(".,;:)")).exists()
    ]
    # The extension is in a checkout only once it has been built there.
    missing = [word for word in missing if ".abi3." not in word]
    assert missing == []


@pytest.mark.parametrize(
    "document",
    [
        ROOT / "README.md",
        ROOT / "docs" / "guide.md",
        ROOT / "docs" / "reference.md",
        ROOT / "docs" / "types.md",
    ],
    ids=lambda path: path.name,
)
def test_the_code_in_the_documentation_runs(
    document: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As a module, since the hints of a service are resolved in the module it is in.
    module = types.ModuleType(f"code_of_{document.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    blocks = re.findall(r"```python\n(.*?)```", document.read_text("utf-8"), re.S)
    assert blocks
    for block in blocks:
        exec(compile(block, document.name, "exec"), module.__dict__)


async def test_chapters_of_the_guide_on_callers_and_middleware_do_what_they_say(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    guide = types.ModuleType("code_of_guide")
    monkeypatch.setitem(sys.modules, guide.__name__, guide)
    text = await trio.Path(ROOT / "docs/guide.md").read_text()
    for block in re.findall(r"```python\n(.*?)```", text, re.S):
        exec(compile(block, "guide.md", "exec"), guide.__dict__)
    await guide.who_calls("memory://who-calls")
    assert capsys.readouterr().out == "Ada by memory\ndenied unknown token\n"
    await guide.around_every_call("memory://around-every-call")
    assert capsys.readouterr().out == ("server divide True\nclient divide True\n3 1\n")
    await guide.around_one_service("memory://around-one-service")
    assert capsys.readouterr().out == "3\ndenied\n"
    await guide.serve_counters("memory://serve-counters")
    url = "memory://look-around"
    async with (
        trio.open_nursery() as nursery,
        roam_trio.serving(url, guide.offered, reflection=True, grace=5),
    ):
        nursery.start_soon(guide.look_around, url)
        await trio.testing.wait_all_tasks_blocked()
    assert capsys.readouterr().out == "3\nSERVING\nDRAINING\n"


async def test_recipe_of_the_guide_connects_again_whatever_tells_of_the_loss(
    nursery: trio.Nursery,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    autojump_clock: trio.testing.MockClock,
) -> None:
    guide = types.ModuleType("code_of_guide")
    monkeypatch.setitem(sys.modules, guide.__name__, guide)
    blocks = re.findall(
        r"```python\n(.*?)```",
        await trio.Path(ROOT / "docs/guide.md").read_text(),
        re.S,
    )
    for block in blocks:
        exec(compile(block, "guide.md", "exec"), guide.__dict__)
    for name in roam_trio.errors.__all__:
        if name.endswith("ConnectionLost"):
            assert issubclass(getattr(roam_trio, name), roam_trio.Disconnected), name
    attempts = 0

    class LosesTheFirst(guide.CalculatorImpl):  # type: ignore[misc, name-defined]
        async def count(self, end: int, out: roam_trio.Tx[int]) -> None:
            nonlocal attempts
            attempts += 1
            if attempts == 1:
                await out.send(0)
                (session,) = server.sessions
                await session.shutdown()
            await super().count(end, out)

    counting = roam_trio.dispatcher(guide.Calculator, LosesTheFirst())
    server = await nursery.start(roam_trio.serve, "memory://recipe", counting)
    assert await guide.count_always("memory://recipe", 3) == [0, 1, 2]
    assert attempts == 2
    assert "the stream was lost" in capsys.readouterr().out
    browser = guide.web("memory://recipe").test_app()
    async with browser as running:
        answer = await running.test_client().get("/divide/7/2")
        assert await answer.get_json() == {"quotient": 3}
