"""The command line, ``python -m roam_trio``. It needs the extra ``cli``.

No other module of roam_trio imports this package, so that programs that use roam_trio
need neither typer nor rich.
"""
