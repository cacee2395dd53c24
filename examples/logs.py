"""Log records as JSON, by two packages: `python examples/logs.py`.

Needs `python-json-logger` and `structlog`. The handler of a service refuses a call, and
the record of that is written twice.
"""

from __future__ import annotations

import logging
import sys
from copy import copy
from typing import Any, Protocol

import structlog
import trio
from pythonjsonlogger.json import JsonFormatter
from structlog.typing import EventDict

from roam_trio import Refused, service
from roam_trio.testing import connected_pair


@service
class Shop(Protocol):
    async def buy(self, item: str) -> None: ...


class ShopImpl:
    async def buy(self, item: str) -> None:
        raise Refused("sold-out", f"there is no more {item}")


# region json
class WithTracebacks(JsonFormatter):
    """Takes the traceback that a record has, instead of making one."""

    def format(self, record: logging.LogRecord) -> str:
        if record.exc_text:
            record = copy(record)
            record.exc_info = None
        return super().format(record)


def json_formatter() -> logging.Formatter:
    return WithTracebacks(
        "%(levelname)s %(name)s %(message)s %(roam_method)s %(roam_peer)s "
        "%(roam_connection)s %(roam_error_id)s"
    )


# endregion json


# region structlog
FIELDS = ["roam_method", "roam_peer", "roam_connection", "roam_error_id"]


def take_traceback(logger: Any, name: str, event: EventDict) -> EventDict:
    traceback = event["_record"].exc_text
    if traceback:
        event["exception"] = traceback
        del event["exc_info"]
    return event


def structlog_formatter() -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(allow=FIELDS),
            take_traceback,
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(sort_keys=True),
        ],
    )


# endregion structlog


def write_to_standard_output(formatter: logging.Formatter) -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    logging.getLogger("roam_trio").addHandler(handler)


async def main() -> None:
    logging.getLogger("roam_trio.service").setLevel(logging.DEBUG)
    write_to_standard_output(json_formatter())
    write_to_standard_output(structlog_formatter())
    async with connected_pair(Shop, ShopImpl()) as shop:
        try:
            await shop.buy("tea")
        except Refused as refusal:
            print("refused:", refusal.code)


if __name__ == "__main__":
    trio.run(main)
