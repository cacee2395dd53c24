"""Metadata keeps order, duplicates and unknown flags, and never shows a secret."""

from __future__ import annotations

import logging
import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roam_trio.errors import DecodeError, EncodeError, SessionRejected
from roam_trio.metadata import (
    NO_METADATA,
    Metadata,
    MetadataEntry,
    MetadataFlags,
    MetadataValue,
    shown,
)
from roam_trio.wire.envelope import decode_message, encode_message
from roam_trio.wire.messages import ConnectionReject, RequestCancel

from .schema.numberlike import KINDS, fixed_width, number_of

SENSITIVE = MetadataFlags.SENSITIVE
NO_PROPAGATE = MetadataFlags.NO_PROPAGATE

SECRETS: list[MetadataValue] = ["tr0ub4dor", b"tr0ub4dor", 7_046_029_254]
SHOWN = ("tr0ub4dor", "7046029254")


def shows_a_secret(text: str) -> bool:
    return any(secret in text for secret in SHOWN)


def carried(metadata: Metadata) -> Metadata:
    """`metadata` after a journey over the wire."""
    message = RequestCancel(0, 1, metadata)
    received = decode_message(b"".join(encode_message(message)))
    assert isinstance(received, RequestCancel)
    return received.metadata


class TestMaking:
    def test_a_mapping_becomes_entries_in_its_order(self) -> None:
        values: dict[str, MetadataValue] = {"b": "text", "a": b"bytes", "c": 3}
        metadata = Metadata.of(values)
        assert metadata == (
            MetadataEntry("b", "text"),
            MetadataEntry("a", b"bytes"),
            MetadataEntry("c", 3),
        )

    def test_entries_are_taken_in_order_with_their_flags(self) -> None:
        entries = [MetadataEntry("a", 1, 3), MetadataEntry("a", 2)]
        assert Metadata.of(iter(entries)) == tuple(entries)

    def test_metadata_is_taken_as_it_is(self) -> None:
        received = Metadata([MetadataEntry("a", 1, 1 << 40)])
        assert Metadata.of(received) is received

    def test_nothing_gives_none(self) -> None:
        assert Metadata.of(()) == NO_METADATA
        assert Metadata.of({}) == NO_METADATA

    @pytest.mark.rule("rpc.metadata.flags")
    @pytest.mark.parametrize("flags", [4, 8, 1 << 63, SENSITIVE | 4, -1])
    def test_reserved_flags_are_refused_at_creation(self, flags: int) -> None:
        with pytest.raises(ValueError, match=r"metadata 'k': flags .* reserved"):
            Metadata.of([MetadataEntry("k", "v", flags)])

    @pytest.mark.rule("rpc.metadata.value")
    @pytest.mark.parametrize("value", [0, 127, 128, 2**64 - 1])
    def test_numbers_of_64_bits_are_taken(self, value: int) -> None:
        assert carried(Metadata.of({"k": value})).get("k") == value

    @pytest.mark.rule("rpc.metadata.value")
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("number", [5, 100, 200, 40_000, 3_000_000_000, 2**63])
    def test_numbers_of_other_classes_arrive_as_those_numbers(
        self, kind: type[Any], number: int
    ) -> None:
        value = kind(number)
        plain = number_of(value)
        if plain < 0:
            with pytest.raises(ValueError, match="expected 0 to"):
                Metadata.of({"k": value})
            with pytest.raises(EncodeError, match="expected a number from 0"):
                carried(Metadata([MetadataEntry("k", value)]))
            return
        made = Metadata.of({"k": value})
        assert type(made.get("k")) is int
        assert carried(made).get("k") == plain
        assert carried(Metadata([MetadataEntry("k", value)])).get("k") == plain

    @pytest.mark.rule("rpc.metadata.flags")
    @pytest.mark.parametrize("flags", [SENSITIVE, fixed_width(4, True)(3)])
    def test_flags_of_other_classes_arrive_as_their_bits(self, flags: Any) -> None:
        entry = MetadataEntry("k", "v", flags)
        for metadata in (Metadata.of([entry]), Metadata([entry])):
            (arrived,) = carried(metadata)
            assert arrived.flags == number_of(flags)

    def test_texts_and_bytes_of_derived_classes_arrive_as_what_they_hold(self) -> None:
        class Text(str):
            __slots__ = ()

            def encode(self, *_: Any) -> bytes:  # type: ignore[override]
                return b"other"

        class Data(bytes):
            def __bytes__(self) -> bytes:
                return b"other"

        for metadata in (
            Metadata.of({Text("k"): Text("v"), "d": Data(b"abc")}),
            Metadata(
                [MetadataEntry(Text("k"), Text("v")), MetadataEntry("d", Data(b"abc"))]
            ),
        ):
            arrived = carried(metadata)
            assert arrived.get("k") == "v"
            assert arrived.get("d") == b"abc"

    @pytest.mark.parametrize("value", [1.5, None, bytearray(b"a"), memoryview(b"a")])
    def test_unchecked_values_of_no_wire_kind_are_refused_by_their_class(
        self, value: Any
    ) -> None:
        with pytest.raises(EncodeError, match=f"got {type(value).__name__}") as caught:
            carried(Metadata([MetadataEntry("k", value)]))
        assert caught.value.path == "$.metadata[0].value"

    @pytest.mark.rule("rpc.metadata.value")
    @pytest.mark.parametrize("value", [-1, 2**64])
    def test_numbers_outside_64_bits_are_refused(self, value: int) -> None:
        with pytest.raises(ValueError, match=rf"metadata 'k': .*, got {value}$"):
            Metadata.of({"k": value})

    @pytest.mark.rule("rpc.metadata.value")
    @pytest.mark.parametrize("value", [1.5, None, ["a"], bytearray(b"a")])
    def test_values_of_no_wire_kind_are_refused(self, value: Any) -> None:
        with pytest.raises(
            TypeError,
            match=rf"metadata 'k': expected str, bytes or int, "
            rf"got {type(value).__name__}",
        ):
            Metadata.of({"k": value})

    @pytest.mark.parametrize("key", [b"k", 1, None])
    def test_keys_that_are_no_text_are_refused(self, key: Any) -> None:
        with pytest.raises(TypeError, match="expected a str as key"):
            Metadata.of({key: "v"})

    @pytest.mark.rule("rpc.metadata.keys")
    @pytest.mark.parametrize("part", ["key", "value"])
    def test_text_that_is_no_unicode_is_refused(self, part: str) -> None:
        key, value = ("\ud800", "v") if part == "key" else ("k", "\ud800")
        with pytest.raises(ValueError, match=f"{part} .* UTF-8"):
            Metadata.of({key: value})

    @pytest.mark.parametrize("source", ["ab", [("k", "v")], [None]])
    def test_what_is_no_entry_is_refused_with_advice(self, source: Any) -> None:
        with pytest.raises(TypeError, match="expected MetadataEntry, got"):
            Metadata.of(source)


class TestLooking:
    METADATA = Metadata.of(
        [
            MetadataEntry("hop", 1),
            MetadataEntry("trace-id", "abc"),
            MetadataEntry("hop", "2"),
            MetadataEntry("Hop", b"3"),
        ]
    )

    @pytest.mark.rule("rpc.metadata.duplicates")
    def test_all_values_of_a_key_come_in_order(self) -> None:
        assert self.METADATA.get_all("hop") == [1, "2"]
        assert carried(self.METADATA).get_all("hop") == [1, "2"]
        assert self.METADATA.get_all("nothing") == []

    def test_get_gives_the_first_value(self) -> None:
        assert self.METADATA.get("hop") == 1

    def test_get_gives_the_default_for_a_missing_key(self) -> None:
        assert self.METADATA.get("nothing") is None
        assert self.METADATA.get("nothing", "else") == "else"

    @pytest.mark.rule("rpc.metadata.keys")
    def test_case_of_a_key_matters(self) -> None:
        assert carried(self.METADATA).get("Hop") == b"3"
        assert self.METADATA.get("HOP") is None

    def test_repr_tells_every_entry(self) -> None:
        assert repr(
            Metadata.of([MetadataEntry("a", 1), MetadataEntry("b", "x", 2)])
        ) == (
            "Metadata([MetadataEntry('a', 1, flags=0), "
            "MetadataEntry('b', 'x', flags=2)])"
        )


class TestPropagating:
    def test_no_propagate_stays_behind(self) -> None:
        stays = MetadataEntry("auth", "x", NO_PROPAGATE)
        goes = [MetadataEntry("a", 1), MetadataEntry("b", 2, SENSITIVE)]
        propagated = Metadata([goes[0], stays, goes[1]]).propagated()
        assert propagated == tuple(goes)
        assert isinstance(propagated, Metadata)

    @pytest.mark.rule("rpc.metadata.flags", "rpc.metadata.unknown")
    def test_unknown_flags_and_keys_travel_on_untouched(self) -> None:
        received = carried(
            Metadata(
                [
                    MetadataEntry("never-heard-of", "x", 1 << 63),
                    MetadataEntry("neither-of-this", b"y", 4),
                ]
            )
        )
        assert [entry.flags for entry in received] == [1 << 63, 4]
        assert received.propagated() is received
        assert carried(received.propagated()) == received

    @pytest.mark.rule("rpc.metadata.flags")
    def test_unknown_flags_decide_nothing(self) -> None:
        """Bit 2 beside NO_PROPAGATE and SENSITIVE changes nothing about either."""
        received = Metadata(
            [MetadataEntry("a", "tr0ub4dor", 1 | 4), MetadataEntry("b", "x", 2 | 4)]
        )
        assert not shows_a_secret(repr(received))
        assert received.propagated() == received[:1]

    @pytest.mark.rule("rpc.metadata.duplicates")
    @given(
        st.lists(
            st.builds(
                MetadataEntry,
                st.sampled_from(["a", "b"]),
                st.integers(0, 3),
                st.integers(0, 7),
            )
        )
    )
    def test_propagating_keeps_order_and_duplicates(
        self, entries: list[MetadataEntry]
    ) -> None:
        kept = tuple(entry for entry in entries if not entry.flags & 2)
        assert Metadata(entries).propagated() == kept


@pytest.mark.rule("rpc.metadata.flags.sensitive")
class TestSecrets:
    @pytest.mark.parametrize("secret", SECRETS)
    @pytest.mark.parametrize(
        "flags", [SENSITIVE, SENSITIVE | NO_PROPAGATE, 1 | 1 << 40]
    )
    def test_no_repr_shows_a_secret(self, secret: MetadataValue, flags: int) -> None:
        entry = MetadataEntry("token", secret, flags)
        metadata = Metadata([entry])
        for hiding in (entry, metadata, metadata[:1], RequestCancel(0, 1, metadata)):
            for text in (repr(hiding), str(hiding), f"{hiding}", "%r" % (hiding,)):  # noqa: UP031
                assert not shows_a_secret(text)
                assert "<sensitive>" in text

    def test_others_are_shown(self) -> None:
        assert shows_a_secret(repr(MetadataEntry("token", "tr0ub4dor", NO_PROPAGATE)))

    @pytest.mark.parametrize("secret", SECRETS)
    def test_pretty_printers_show_no_secret(self, secret: MetadataValue) -> None:
        pretty = pytest.importorskip("rich.pretty")
        entry = MetadataEntry("token", secret, SENSITIVE)
        for hiding in (
            entry,
            Metadata([entry]),
            RequestCancel(0, 1, Metadata([entry])),
        ):
            text = pretty.pretty_repr(hiding)
            assert not shows_a_secret(text)
            assert "<sensitive>" in text

    def test_pretty_printers_show_the_rest(self) -> None:
        assert MetadataEntry("k", "v").__rich_repr__() == [
            ("key", "k"),
            ("value", "v"),
            ("flags", 0),
        ]

    @pytest.mark.parametrize(
        "secret", [7_046_029_254 << 64, -7_046_029_254, "tr0ub4dor\ud800", 7046029254.5]
    )
    def test_refusing_a_secret_does_not_tell_it(self, secret: Any) -> None:
        with pytest.raises((ValueError, TypeError)) as caught:
            Metadata.of([MetadataEntry("token", secret, SENSITIVE)])
        told = "".join(traceback.format_exception(caught.value))
        assert not any(part in told.split("Error: ", 1)[-1] for part in SHOWN)
        assert str(-7_046_029_254) not in str(caught.value)
        assert str(7_046_029_254 << 64) not in str(caught.value)

    @pytest.mark.parametrize("secret", [7_046_029_254 << 64, "tr0ub4dor\ud800"])
    def test_failing_to_encode_a_secret_does_not_tell_it(
        self, secret: MetadataValue
    ) -> None:
        metadata = Metadata([MetadataEntry("token", secret, SENSITIVE)])
        with pytest.raises(EncodeError) as caught:
            encode_message(RequestCancel(0, 1, metadata))
        assert not shows_a_secret(str(caught.value))
        assert str(secret) not in str(caught.value)
        assert caught.value.path == "$.metadata[0].value"

    def test_failing_to_decode_a_value_does_not_tell_it(self) -> None:
        """The flags come after the value, so that any value may be a secret."""
        too_large = (1 << 64) + 7_046_029_254
        varint = bytes((too_large >> shift) & 127 | 128 for shift in range(0, 63, 7))
        for value in (b"\2" + varint + b"\2", b"\0\x0atr0ub4dor\xff"):
            with pytest.raises(DecodeError) as caught:
                decode_message(b"\0\7\1\2\1\5token" + value + b"\1")
            assert caught.value.path == "$.metadata[0].value"
            assert not shows_a_secret(str(caught.value))
            assert str(too_large) not in str(caught.value)

    def test_errors_and_logs_that_carry_metadata_show_no_secret(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        metadata = Metadata([MetadataEntry("token", "tr0ub4dor", SENSITIVE)])
        error = SessionRejected("the peer refused", metadata)
        logging.getLogger("roam_trio").error("%r", metadata, exc_info=error)
        logging.getLogger("roam_trio").error("%s", ConnectionReject(1, metadata))
        assert "<sensitive>" in caplog.text
        assert not shows_a_secret(caplog.text + repr(error) + str(error))


def test_flags_are_the_bits_of_the_wire() -> None:
    assert [int(flag) for flag in (MetadataFlags.NONE, SENSITIVE, NO_PROPAGATE)] == [
        0,
        1,
        2,
    ]


def test_what_is_shown_stays_on_its_line() -> None:
    metadata = Metadata.of({"a\nb": "c\nd", "plain": 1})
    assert shown(metadata) == r"'a\nb'='c\nd', plain=1"
