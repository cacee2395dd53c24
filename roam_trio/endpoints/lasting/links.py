"""The links of sessions that resume, for the pool of a lasting client."""

from __future__ import annotations

from collections.abc import Callable

from ...rpc.connection import AnySession, Connection
from ...rpc.observer import Observer, tell
from ..options import ConnectOptions

__all__ = ["Links"]


class Links:
    """The links of one session, one after the other.

    Args:
        changed: told whether there is one, when that changes.
    """

    __slots__ = ("_changed", "has_link")

    def __init__(self, changed: Callable[[bool], None]) -> None:
        self._changed = changed
        self.has_link = True

    def followed_with(self, options: ConnectOptions) -> ConnectOptions:
        """Return options of `connect` that let this object follow the session."""
        if not options.get("resume"):
            return options  # the session ends with its link
        beside = options.get("observer")
        return {**options, "observer": _Following(self, beside or Observer())}

    def set(self, *, has_link: bool) -> None:
        """Take note of whether there is a link."""
        self.has_link = has_link
        self._changed(has_link)


class _Following(Observer):
    """Follows the links of a session, beside the observer of the application."""

    def __init__(self, links: Links, beside: Observer) -> None:
        self._links = links
        self._beside = beside

    def session_opened(self, session: AnySession) -> None:
        tell(self._beside, Observer.session_opened, session)

    def session_closed(self, session: AnySession, because: Exception) -> None:
        tell(self._beside, Observer.session_closed, session, because)

    def connection_opened(self, connection: Connection) -> None:
        tell(self._beside, Observer.connection_opened, connection)

    def connection_closed(self, connection: Connection, because: BaseException) -> None:
        tell(self._beside, Observer.connection_closed, connection, because)

    def link_lost(self, session: AnySession, because: Exception) -> None:
        self._links.set(has_link=False)
        tell(self._beside, Observer.link_lost, session, because)

    def link_resumed(self, session: AnySession) -> None:
        self._links.set(has_link=True)
        tell(self._beside, Observer.link_resumed, session)
