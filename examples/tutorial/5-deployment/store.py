import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

TABLE = """
    CREATE TABLE IF NOT EXISTS notes
    (number INTEGER PRIMARY KEY, author TEXT NOT NULL, text TEXT NOT NULL)
"""


def query(file: Path, statement: str, *values: object) -> list[Any]:
    """Run a statement on the notes in a file, which several processes may use."""
    with closing(sqlite3.connect(file)) as database, database:
        database.execute(TABLE)
        return database.execute(statement, values).fetchall()
