"""What the OpenAPI document says of each route, one module a tag."""
