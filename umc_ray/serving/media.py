"""Payloads by reference: images by URL and files in a storage. Off by default.

A request must not make this machine read what its client could not read itself (SSRF). So only
listed hosts and folders are read, with no private addresses, no redirects, and limits on size and
time.
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

Resolver = Callable[[str, int], Awaitable[list[str]]]


class MediaError(Exception):
    """A reference is not allowed or cannot be read; the message is safe to show to the client."""


async def resolve_host(host: str, port: int) -> list[str]:
    """Return all IP addresses of a host."""
    addresses = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[4][0]) for address in addresses]


TUNNELS = tuple(map(ipaddress.IPv6Network, ("2002::/16", "2001::/32", "64:ff9b::/96", "::/96")))
"""Whose addresses have an IPv4 address in them: 6to4, Teredo, NAT64, IPv4-compatible ones."""


class MediaLoader:
    """Loads the payloads of samples that refer to them."""

    def __init__(
        self,
        settings: ServingConfig,
        transport: httpx.AsyncBaseTransport | None = None,
        resolve: Resolver = resolve_host,
    ) -> None:
        self.settings, self.transport, self.resolve = settings, transport, resolve

    async def load(self, sample: Sample, column: str) -> Sample:
        """Return the sample with its reference replaced by the text or image.

        Raises:
            MediaError: the reference is not allowed or cannot be read.
        """
        if sample.image_url is None and sample.reference is None:
            return sample
        payloads = (sample.text, sample.image, sample.image_url, sample.reference)
        if sum(payload is not None for payload in payloads) != 1:
            raise MediaError("exactly one of text, image, image_url and reference is required")
        if sample.image_url is not None:
            data = await self._fetch(sample.image_url)
        else:
            data = await asyncio.to_thread(self._read, str(sample.reference))
        if column == "image":
            return Sample(id=sample.id, image=base64.b64encode(data).decode())
        if sample.image_url is not None:
            raise MediaError(f"{column} is required, found image_url")
        try:
            return Sample(id=sample.id, text=data.decode())
        except UnicodeDecodeError:
            raise MediaError("the file at reference is not UTF-8") from None

    async def _fetch(self, image_url: str) -> bytes:
        url, host, port = self._check_url(image_url)
        try:
            async with asyncio.timeout(self.settings.fetch_timeout_s):
                return await self._download(url, host, await self._public_address(host, port))
        except (TimeoutError, OSError, httpx.HTTPError):
            raise MediaError("image_url could not be read in time") from None

    def _check_url(self, image_url: str) -> tuple[SplitResult, str, int]:
        """Return an allowed URL with its host and port."""
        try:
            url = urlsplit(image_url)
            port = url.port or PORTS.get(url.scheme, 0)
        except ValueError:
            raise MediaError("image_url is not a URL") from None
        host = (url.hostname or "").lower()
        if host not in self.settings.image_hosts:
            raise MediaError("image_url has a host that is not allowed")
        if url.username is not None or port != PORTS.get(url.scheme):
            raise MediaError("image_url must be http or https, on the default port, without a user")
        return url, host, port

    async def _public_address(self, host: str, port: int) -> str:
        """Return the first address of a host; all of them must be public."""
        addresses = await self.resolve(host, port)
        if not addresses or not all(map(_is_public, addresses)):
            raise MediaError("image_url has a host that is not allowed")
        return addresses[0]

    async def _download(self, url: SplitResult, host: str, address: str) -> bytes:
        # Connect to the address that was checked: the name could resolve to another one by now.
        literal = f"[{address}]" if ":" in address else address
        pinned_url = url._replace(netloc=literal, fragment="").geturl()
        data = bytearray()
        async with (
            httpx.AsyncClient(
                transport=self.transport,
                follow_redirects=False,
                timeout=self.settings.fetch_timeout_s,
                trust_env=False,
            ) as client,
            client.stream(
                "GET",
                pinned_url,
                headers={"host": host, "accept-encoding": "identity"},
                extensions={"sni_hostname": host},
            ) as response,
        ):
            if response.status_code != 200:
                raise MediaError(f"image_url returned status {response.status_code}")
            if response.headers.get("content-encoding", "identity") != "identity":
                raise MediaError("image_url returned a compressed file")  # or a bomb
            async for chunk in response.aiter_bytes():
                data += chunk
                if len(data) > self.settings.max_fetch_bytes:
                    raise self._too_large()
        return bytes(data)

    def _read(self, reference: str) -> bytes:
        for prefix in self.settings.references:
            key = _relative_key(prefix, reference)
            if key is not None:
                return self._read_stored(Storage(prefix), key)
        raise MediaError("reference is not inside an allowed folder")

    def _read_stored(self, storage: Storage, key: str) -> bytes:
        try:
            if storage.size(key) > self.settings.max_fetch_bytes:
                raise self._too_large()
            return storage.read_bytes(key)
        except StoreError:
            raise MediaError("the file at reference cannot be read") from None

    def _too_large(self) -> MediaError:
        return MediaError(f"the payload has more than {self.settings.max_fetch_bytes} bytes")


def _relative_key(prefix: str, reference: str) -> str | None:
    """Return the path of a file relative to a folder; None if it is not inside."""
    start = prefix.rstrip("/") + "/"
    steps = reference.removeprefix(start).split("/")
    if not reference.startswith(start) or {"", ".", ".."} & set(steps) or "\0" in reference:
        return None
    if "://" not in prefix:  # symbolic links may lead outside
        folder = Path(prefix).resolve()
        if not Path(reference).resolve().is_relative_to(folder):
            return None
    return "/".join(steps)


def _is_public(text: str) -> bool:
    """Return whether an address is on the internet, and no private one in disguise."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    return address.is_global and not any(address in network for network in TUNNELS)
