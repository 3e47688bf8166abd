"""Webhooks: an HTTP POST of JSON for each notice."""

from __future__ import annotations

import httpx

from mnad.watching.addresses import host_of
from mnad.watching.history import Notice
from mnad.watching.sinks.base import SinkError

TIMEOUT = 10.0


class Webhook:
    """Posts to an address. The header ``Idempotency-Key`` tells a notice from all others, should it come twice.

    Args:
        address: http:// or https://, with user and password if they are needed.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._client = httpx.Client(timeout=TIMEOUT)  # a redirection would turn a POST into a GET

    def tell(self, notice: Notice) -> None:
        """Posts a notice.

        Raises:
            SinkError: If it is not answered, or not by a status of success.
        """
        try:
            answer = self._client.post(self.address, json=notice.content, headers={"Idempotency-Key": notice.key})
        except httpx.HTTPError as error:
            raise SinkError(f"{type(error).__name__}: {error}") from None
        if answer.next_request is not None:
            place = host_of(str(answer.next_request.url))
            raise SinkError(
                f"it answers {answer.status_code} {answer.reason_phrase}: give the address at {place} that it names"
            )
        if not answer.is_success:
            raise SinkError(f"it answers {answer.status_code} {answer.reason_phrase}")

    def close(self) -> None:
        """Ends the connection."""
        self._client.close()
