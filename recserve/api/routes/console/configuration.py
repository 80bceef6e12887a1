"""Handlers of the configuration."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from recserve.api.middleware.body import read, validate
from recserve.api.routes.recommendations import backend_of
from recserve.api.schemas.configuration import ConfigurationTextBody, check_answer, configuration_answer
from recserve.api.schemas.responses import json_response
from recserve.api.settings import ApiSettings


class ConfigurationRoutes:
    """The handlers.

    Args:
        settings: The API's settings.
    """

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings

    async def configuration(self, request: Request) -> Response:
        """Answer `GET /v1/config`."""
        return json_response(configuration_answer(await backend_of(request).configuration.shown()))

    async def check_configuration(self, request: Request) -> Response:
        """Answer `POST /v1/config/validate`."""

        def parse(data: Any) -> ConfigurationTextBody:
            return validate(ConfigurationTextBody, data)

        body = await read(request, self._settings.max_body_bytes, parse)
        return json_response(check_answer(await backend_of(request).configuration.check(body.text)))
