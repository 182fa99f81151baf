"""What samples refer to instead of holding it: images by URL, files of a storage. Off by default.

A request must not make this machine read what its client could not: only listed hosts and folders
are read, no address of a private network, no redirect, nothing large or slow.
"""

import asyncio
import base64
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import httpx

from umc_ray.errors import StoreError
from umc_ray.serving.messages import Sample
from umc_ray.serving.settings import ServingConfig
from umc_ray.storage import Storage

PORTS = {"http": 80, "https": 443}

Resolve = Callable[[str, int], Awaitable[list[str]]]


class Unusable(Exception):
    """A reference that is refused, or leads to nothing."""


async def addresses(host: str, port: int) -> list[str]:
    """Look up all addresses of a host."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[4][0]) for address in found]


class Media:
    """Fetches the content of samples that refer to it."""

    def __init__(
        self,
        settings: ServingConfig,
        transport: httpx.AsyncBaseTransport | None = None,
        resolve: Resolve = addresses,
    ) -> None:
        self.settings, self.transport, self.resolve = settings, transport, resolve

    async def bring(self, sample: Sample, column: str) -> Sample:
        """Return a sample that holds what it referred to, as the text or image that is needed.

        Raises:
            Unusable: with what the client may know of the reason.
        """
        if sample.image_url is None and sample.reference is None:
            return sample
        given = (sample.text, sample.image, sample.image_url, sample.reference)
        if sum(each is not None for each in given) != 1:
            raise Unusable("one of text, image, image_url and reference is needed")
        if sample.image_url is not None:
            data = await self._fetch(sample.image_url)
        else:
            data = await asyncio.to_thread(self._read, str(sample.reference))
        if column == "image":
            return Sample(id=sample.id, image=base64.b64encode(data).decode())
        if sample.image_url is not None:
            raise Unusable(f"{column} is needed, found image_url")
        try:
            return Sample(id=sample.id, text=data.decode())
        except UnicodeDecodeError:
            raise Unusable("reference is not UTF-8") from None

    async def _fetch(self, url: str) -> bytes:
        try:
            place = urlsplit(url)
            port = place.port or PORTS.get(place.scheme, 0)
        except ValueError:
            raise Unusable("image_url is not a URL") from None
        host = (place.hostname or "").lower()
        if host not in self.settings.image_hosts:
            raise Unusable("image_url is of a host that is not allowed")
        if place.username is not None or port != PORTS.get(place.scheme):
            raise Unusable("image_url must be http or https, at its own port, without a user")
        try:
            async with asyncio.timeout(self.settings.fetch_timeout_s):
                return await self._download(place, host, await self._public(host, port))
        except (TimeoutError, OSError, httpx.HTTPError):
            raise Unusable("image_url could not be read in time") from None

    async def _public(self, host: str, port: int) -> str:
        """Return an address of a host, all of which must be of the public network."""
        found = await self.resolve(host, port)
        if not found or not all(ipaddress.ip_address(each).is_global for each in found):
            raise Unusable("image_url is of a host that is not allowed")
        return found[0]

    async def _download(self, place: SplitResult, host: str, address: str) -> bytes:
        # The address that was checked is asked, not the name: it could mean another by now.
        literal = f"[{address}]" if ":" in address else address
        url = place._replace(netloc=literal, fragment="").geturl()
        data = bytearray()
        async with (
            httpx.AsyncClient(
                transport=self.transport,
                follow_redirects=False,
                timeout=self.settings.fetch_timeout_s,
                trust_env=False,
            ) as client,
            client.stream(
                "GET", url, headers={"host": host}, extensions={"sni_hostname": host}
            ) as response,
        ):
            if response.status_code != 200:
                raise Unusable(f"image_url answered with status {response.status_code}")
            async for some in response.aiter_bytes():
                data += some
                if len(data) > self.settings.max_fetch_bytes:
                    raise Unusable(f"more than {self.settings.max_fetch_bytes} bytes")
        return bytes(data)

    def _read(self, reference: str) -> bytes:
        for prefix in self.settings.references:
            key = _below(prefix, reference)
            if key is not None:
                return self._stored(Storage(prefix), key)
        raise Unusable("reference is not below a folder that is allowed")

    def _stored(self, storage: Storage, key: str) -> bytes:
        try:
            if storage.size(key) > self.settings.max_fetch_bytes:
                raise Unusable(f"more than {self.settings.max_fetch_bytes} bytes")
            return storage.read_bytes(key)
        except StoreError:
            raise Unusable("reference cannot be read") from None


def _below(prefix: str, reference: str) -> str | None:
    """Return the key of a file below a folder, None if it is elsewhere."""
    start = prefix.rstrip("/") + "/"
    steps = reference.removeprefix(start).split("/")
    if not reference.startswith(start) or {"", ".", ".."} & set(steps) or "\0" in reference:
        return None
    if "://" not in prefix:  # links lead anywhere
        folder = Path(prefix).resolve()
        if not Path(reference).resolve().is_relative_to(folder):
            return None
    return "/".join(steps)
