"""The OpenAPI 3.1 document: what routes say of themselves, errors with their codes, examples."""

from recserve.api.openapi.document import BODIES, document
from recserve.api.openapi.operations import request_body, responses, text_responses

__all__ = ["BODIES", "document", "request_body", "responses", "text_responses"]
