"""Where datasets come from: the one resolver, for Python and for every program.

A source is a name of the zoo, a dataset file, a work directory (its `dataset.safetensors`), an address `https://…`, or
a file on the Hugging Face hub: `hf://owner/repository/file`, with `@revision` behind the repository where it is not
"main", and `hf://datasets/owner/…` for a repository of kind dataset.

A download is read whole, within limits of size and time, before anything of it is parsed. It is not kept on disk: files
are kilobytes. Plain http:// is refused, because anybody on the way could change the file, except from this machine.
"""

import http.client
import os
import re
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import hades
from hades.data import zoo
from hades.data.arrays import read_content
from hades.data.dataset import DistilledDataset, parse_dataset
from hades.data.files import user_path
from hades.errors import DatasetError, offer, printable

FILE = "dataset.safetensors"
"""Name of the dataset in a work directory."""
MOST_BYTES = 2**27
"""Largest download; embedded weights of the largest policy that a file may hold fit."""
MOST_SECONDS = 120.0
"""Longest download."""
PATIENCE = 20.0
"""Seconds without an answer after which a server counts as unreachable."""
HUB = "https://huggingface.co"
HUB_ADDRESS = re.compile(
    r"hf://(?P<kind>datasets/|spaces/)?(?P<repository>[^/@]+/[^/@]+)"
    r"(?:@(?P<revision>refs/(?:pr|convert)/[^/]+|[^/]+))?/(?P<path>.+)"
)
LOCAL = ("localhost", "127.0.0.1", "::1")


def load_dataset(source: str | os.PathLike[str]) -> DistilledDataset:
    """Read a dataset.

    Args:
        source: a name of the zoo, a dataset file, a work directory, or an address: `https://…` or
            `hf://owner/repository/file.safetensors`.

    Raises:
        DatasetError: where there is no such dataset, it cannot be reached, is damaged or of a newer format.
        ConfigError: for what is neither a name, a path nor such an address.
    """
    if is_address(source):
        return parse_dataset(_download(str(source)), str(source))
    path = _file(source)
    return parse_dataset(read_content(path, "dataset file"), str(path))


def is_address(source: str | os.PathLike[str]) -> bool:
    """Return True for an address that a dataset can be downloaded from, or that says plainly it cannot."""
    return isinstance(source, str) and source.lower().startswith(("https://", "http://", "hf://"))


def _file(source: str | os.PathLike[str]) -> Path:
    """The file of a dataset of the zoo by its name, of a work directory, or of any path."""
    path = user_path(source)
    if str(path) in zoo.names():
        return zoo.path(str(path))
    if os.path.isdir(path):  # a method of Path raises an OSError for a path that is too long
        if not os.path.isfile(path / FILE):
            raise DatasetError(
                f"The folder {path} holds no {FILE}. A run of HaDES-R or HaDES-F writes it when it ends, and "
                f"hades-export-dataset --workdir={path} --output=best.safetensors writes the best one of a run so far. "
                "Give a file, the folder of such a run, or a name of the zoo."
            )
        return path / FILE
    if len(path.parts) == 1 and path.suffix in ("", ".safetensors") and not os.path.exists(path):
        name = path.name.removesuffix(".safetensors")
        raise DatasetError(
            f'There is neither a file "{path}" here nor a dataset of the zoo. {offer(name, zoo.names())}'
        )
    return path


def _download(address: str) -> bytes:
    """The content behind an address.

    Raises:
        DatasetError: where it cannot be reached or is no file of sane size.
    """
    request, opener = _request(address), urllib.request.build_opener(_SafeRedirects)
    end = time.monotonic() + MOST_SECONDS
    try:
        with opener.open(request, timeout=PATIENCE) as response:
            content = _read(response, address, end)
            kind = response.headers.get_content_type()
    except DatasetError:
        raise
    except urllib.error.HTTPError as error:
        raise DatasetError(
            f"{address} was refused: {error.code} {printable(str(error.reason))}. {_remedy(error)}"
        ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = printable(str(getattr(error, "reason", error)) or type(error).__name__)
        raise DatasetError(
            f"{address} cannot be reached ({reason}). Is this machine online, and is the address right? Otherwise "
            "download the file where there is a network, and give its path."
        ) from error
    if kind == "text/html" or content.lstrip()[:1] == b"<":
        raise DatasetError(
            f"{address} is a web page, not a dataset file. Give the address of the file itself: on the Hugging Face "
            "hub hf://owner/repository/file.safetensors, on GitHub that of the button Raw."
        )
    return content


def _request(address: str) -> urllib.request.Request:
    headers = {"User-Agent": f"hades/{hades.__version__}"}
    if not address.lower().startswith("hf://"):
        return urllib.request.Request(_checked(address, address), headers=headers)
    match = HUB_ADDRESS.fullmatch(address)
    if match is None:
        raise DatasetError(
            f"{printable(address)} names no file on the Hugging Face hub. Write "
            "hf://owner/repository/file.safetensors, or hf://owner/repository@revision/file.safetensors."
        )
    revision = quote(unquote(match["revision"] or "main"), safe="")
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or HUB
    url = f"{endpoint}/{match['kind'] or ''}{match['repository']}/resolve/{revision}/{quote(match['path'])}"
    request = urllib.request.Request(_checked(url, address), headers=headers)
    if token := os.environ.get("HF_TOKEN", "").strip():
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    return request


def _checked(url: str, address: str) -> str:
    """The URL, unless it is plain http:// from another machine."""
    parts = urlsplit(url)
    if parts.scheme.lower() != "https" and parts.hostname not in LOCAL:
        raise DatasetError(
            f"{printable(address)} leads to {printable(url)}, and what comes by {printable(parts.scheme)}:// can be "
            "changed on the way. Use https://, or download the file yourself and give its path."
        )
    return url


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https:// alone; a token goes to the host that it is for, and to no other."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        request = super().redirect_request(req, fp, code, msg, headers, _checked(newurl, req.full_url))
        if request is not None and urlsplit(newurl).netloc == urlsplit(req.full_url).netloc:
            request.unredirected_hdrs.update(req.unredirected_hdrs)
        return request


def _read(response: Any, address: str, end: float) -> bytes:
    """The content of a response, read until `end` at most."""
    size, parts = response.headers.get("Content-Length"), []
    total = 0
    while part := response.read1(65536):
        parts.append(part)
        total += len(part)
        if total > MOST_BYTES or int(size or 0) > MOST_BYTES:
            raise DatasetError(f"{address} has more than {MOST_BYTES:,} bytes; no dataset file is so large.")
        if time.monotonic() > end:
            raise DatasetError(
                f"{address} sent {total:,} bytes in {MOST_SECONDS:.0f} seconds and was not finished. Download the file "
                "yourself and give its path."
            )
    if size is not None and total != int(size):
        raise DatasetError(f"{address} broke off after {total:,} of {int(size):,} bytes. Try again.")
    return b"".join(parts)


def _remedy(error: urllib.error.HTTPError) -> str:
    if error.code in (401, 403):
        return (
            "The repository may be private, or its name wrong: set HF_TOKEN to a token of the Hugging Face hub that "
            "may read it, or download the file and give its path."
        )
    if error.code in (404, 410):
        return "Check the address: owner, repository, revision and the file's path in it."
    return "Try again later, or download the file and give its path."
