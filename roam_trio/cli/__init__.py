"""The command line, ``python -m roam_trio``. It needs the extra ``cli``.

Nothing outside of this package imports it, so that whoever embeds roam_trio needs
neither typer nor rich.
"""
