"""Models of pydantic as types of methods (extra `pydantic`).

`register_models` gives every `pydantic.BaseModel` the wire form of a class with the
same fields. The validators of a model run on what a peer sends.
"""

from .models import register_models

__all__ = ["register_models"]
