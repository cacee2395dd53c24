from pathlib import Path

from roam_trio import Dispatcher, dispatcher

from access import authorise, identify
from notes import Notes, NotesImpl


def handlers() -> Dispatcher:
    handler: Notes = NotesImpl(Path("notes.sqlite"))
    return dispatcher(Notes, handler, middleware=[identify, authorise])
