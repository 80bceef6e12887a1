"""Generates what the clients in ``clients/`` know of the API from its OpenAPI document."""
