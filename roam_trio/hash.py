"""Functions that compute the id of a method.

kebab("TemplateHost")       the name of a service or method in kebab-case
signature_of(shape)         the canonical bytes of a type
sig.STRUCT                  the tags in them
method_id(service, method, signature)
method_descriptor(service, method, {"name": str}, None)
                            a method that no class describes
"""

from .schema import sig
from .schema.signature import kebab, method_id, signature_of
from .service.descriptor import method_descriptor

__all__ = ["kebab", "method_descriptor", "method_id", "sig", "signature_of"]
