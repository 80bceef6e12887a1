"""What a replica must know to guard the API: the keys, and whether other machines can reach it."""

from __future__ import annotations

import logging

from recserve.auth.keyring import Keyring
from recserve.auth.masking import mask_keys_in_logs
from recserve.data.system.addresses import is_loopback
from recserve_deployments.local_server import ports
from recserve_deployments.replica.spec import Opened

logger = logging.getLogger(__name__)


def serve_address() -> tuple[str, int]:
    """Host and port that Serve really listens on here, whatever anybody asked for; blocks."""
    # Serve has no public way to ask, and ignores the options of whoever finds it running.
    from ray.serve.context import _get_global_client

    options = _get_global_client().http_config
    return options.host or ports.EVERYWHERE, options.port


def exposed(host: str) -> bool:
    """Whether other machines can reach the API; blocks.

    Args:
        host: ``server.host``. A file of ``serve deploy`` may say something else in its ``http_options``, and
            the one that is more open counts.
    """
    if not is_loopback(host):
        return True
    try:
        actual, _ = serve_address()
    except Exception as error:  # not knowing must not open anything
        logger.warning("cannot tell what Serve listens on, so calls need a key: %s", error)
        return True
    return not is_loopback(actual)


def open_keyring(opened: Opened) -> Keyring:
    """The keys of a replica's store, followed from now on; blocks."""
    mask_keys_in_logs()
    server = opened.config.server
    keyring = Keyring(
        opened.store,
        exposed=exposed(server.host),
        rate_limit=server.rate_limit,
        max_age=server.keys_max_age_seconds,
    )
    keyring.start()
    return keyring
