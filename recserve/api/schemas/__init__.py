"""Wire formats: pydantic models of requests and responses."""
