"""Events of the links of a session that resumes, for its observer."""

from __future__ import annotations

from ..rpc.observer import Observer, tell
from .terms import SessionTerms

__all__ = ["LinkEvents"]


class LinkEvents:
    """Tells the observer of a session about its links, once the session is set up.

    Args:
        observer: tells the observer.
        terms: has the session; the conduit, which has this object, must not hold it.
    """

    __slots__ = ("_observer", "_terms")

    def __init__(self, observer: Observer, terms: SessionTerms) -> None:
        self._observer = observer
        self._terms = terms

    def link_lost(self, because: Exception) -> None:
        """See `LinkWatcher`."""
        session = self._terms.session()
        if session is not None and session.ended_because is None:
            tell(self._observer, Observer.link_lost, session, because)

    def link_resumed(self) -> None:
        """See `LinkWatcher`."""
        session = self._terms.session()
        if session is not None and session.ended_because is None:
            tell(self._observer, Observer.link_resumed, session)
