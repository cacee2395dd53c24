"""Functions that compute the id of a method.

kebab("TemplateHost")       the name of a service or method in kebab-case
signature_of(shape)         the canonical bytes of a type
method_id(service, method, signature)
"""

from .schema.signature import kebab, method_id, signature_of

__all__ = ["kebab", "method_id", "signature_of"]
