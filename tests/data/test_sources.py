"""Where datasets come from: names, paths, folders and addresses, and one paragraph for whatever is none."""

import http.server
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from hades import zoo
from hades.data import sources
from hades.data.sources import load_dataset
from hades.errors import DatasetError, HadesError

NAME = "cartpole-hades-r-d2"
CONTENT = zoo.path(NAME).read_bytes()
PAGE = b"<!DOCTYPE html><html><body>Sign in</body></html>"
HUB = "/bee/hives/resolve/main/a%20b/x.safetensors"


class Server(http.server.BaseHTTPRequestHandler):
    """Answers each path in its own way, and keeps the headers that it was asked with."""

    asked: list[tuple[str, str | None]] = []  # noqa: RUF012  (emptied by the fixture)

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        Server.asked.append((self.path, self.headers["Authorization"]))
        elsewhere = self.headers["Host"].replace("127.0.0.1", "localhost")  # another host, as far as a client knows
        moved = {
            **{"/moved": "/file", "/away": "http://example.org/file", "/own/hives/resolve/main/near": "/file"},
            "/own/hives/resolve/main/far": f"http://{elsewhere}/file",
        }
        if self.path in moved:
            self.answer(302, b"", Location=moved[self.path])
        elif self.path == "/page":
            self.answer(200, PAGE, **{"Content-Type": "text/html; charset=utf-8"})
        elif self.path in ("/missing", "/forbidden", "/broken"):
            self.answer({"/missing": 404, "/forbidden": 403, "/broken": 500}[self.path], b"")
        elif self.path == "/short":
            self.answer(200, CONTENT[:100], **{"Content-Length": str(len(CONTENT))})
        else:
            self.answer(200, b"nothing of ours" if self.path == "/other" else CONTENT)

    def answer(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("HF_TOKEN", "http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    Server.asked.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        address = f"http://127.0.0.1:{running.server_port}"
        monkeypatch.setenv("HF_ENDPOINT", f"{address}/")
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        try:
            yield address
        finally:
            running.shutdown()
            thread.join()


def test_every_kind_of_source_gives_the_same_dataset(server, tmp_path, monkeypatch):
    file = tmp_path / "x.safetensors"
    file.write_bytes(CONTENT)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "dataset.safetensors").write_bytes(CONTENT)
    monkeypatch.setenv("HOME", str(tmp_path))
    places = [NAME, file, str(file), tmp_path / "run", str(tmp_path / "run"), "~/x.safetensors"]
    for source in [*places, f"{server}/file", f"{server}/moved", "hf://bee/hives/a b/x.safetensors"]:
        assert load_dataset(source) == zoo.load(NAME)
    assert Server.asked[-1] == (HUB, None)
    assert load_dataset(f"{server}/file").source == f"{server}/file"


def test_a_name_of_the_zoo_is_that_of_no_file(tmp_path, monkeypatch):
    """What a name means does not depend on the folder that a program runs in; ./name is a path."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / NAME).mkdir()
    assert load_dataset(NAME) == zoo.load(NAME)


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("hf://bee/hives/x", "/bee/hives/resolve/main/x"),
        ("hf://bee/hives@v/1/x", "/bee/hives/resolve/v/1/x"),
        ("hf://bee/hives@refs/pr/1/x", "/bee/hives/resolve/refs%2Fpr%2F1/x"),
        ("hf://datasets/bee/hives@abc/d/x", "/datasets/bee/hives/resolve/abc/d/x"),
    ],
)
def test_the_address_of_a_file_on_the_hub(address, path, monkeypatch):
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert sources._request(address).full_url == f"https://huggingface.co{path}"


def test_a_token_goes_to_the_hub_and_no_further(server, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret\n")
    for name in ("near", "far"):
        load_dataset(f"hf://own/hives/{name}")
    load_dataset(f"{server}/file")
    folder, mine = "/own/hives/resolve/main", "Bearer secret"
    assert Server.asked == [
        *((f"{folder}/near", mine), ("/file", mine)),
        *((f"{folder}/far", mine), ("/file", None)),
        ("/file", None),
    ]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/missing", r"was refused: 404 Not Found\. Check the address"),
        ("/forbidden", r"was refused: 403 Forbidden\. .*set HF_TOKEN"),
        ("/broken", r"was refused: 500 Internal Server Error\. Try again later"),
        ("/page", r"is a web page, not a dataset file.*hf://.*Raw"),
        ("/other", r"is not a complete hades dataset file"),
        ("/short", rf"broke off after 100 of {len(CONTENT):,} bytes"),
        ("/away", r"leads to http://example\.org/file, and what comes by http:// can be changed on the way"),
    ],
)
def test_an_answer_that_is_no_dataset_is_explained(server, path, message):
    with pytest.raises(DatasetError, match=message) as refused:
        load_dataset(f"{server}{path}")
    assert str(refused.value).startswith(f"{server}{path} ")
    assert "\n" not in str(refused.value)


def test_a_download_is_bounded_in_size_and_time(server, monkeypatch):
    monkeypatch.setattr(sources, "MOST_SECONDS", -1.0)
    with pytest.raises(DatasetError, match=r"/file sent [\d,]+ bytes in -1 seconds and was not finished"):
        load_dataset(f"{server}/file")
    monkeypatch.setattr(sources, "MOST_BYTES", 100)
    with pytest.raises(DatasetError, match=r"/file has more than 100 bytes"):
        load_dataset(f"{server}/file")


def test_a_server_that_does_not_answer_is_given_up(monkeypatch):
    monkeypatch.setattr(sources, "PATIENCE", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/x"
        with pytest.raises(DatasetError, match=r"cannot be reached \(timed out\).*give its path"):
            load_dataset(address)
    with pytest.raises(DatasetError, match=r"cannot be reached \(.*refused\)"):
        load_dataset(address)  # nobody listens there now


def test_the_hub_without_a_network_is_explained(monkeypatch):
    def unknown(*args: Any, **options: Any) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    with pytest.raises(
        DatasetError, match=r"^hf://bee/hives/x cannot be reached \(.*not known\)\. Is this machine online"
    ):
        load_dataset("hf://bee/hives/x")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("http://example.org/x.safetensors", r"by http:// can be changed on the way\. Use https://, or download"),
        ("hf://bee/x.safetensors", r"names no file on the Hugging Face hub\. Write hf://owner/repository/file"),
        ("cartpole-hades-r", rf'neither a file "cartpole-hades-r" here nor .* Did you mean "{NAME}"\? Known: acrobot'),
        ("pendulum-hades-r-d8.safetensors", r'Did you mean "pendulum-hades-r-d8"\?'),
        ("runs/nowhere/x.safetensors", r"There is no dataset file at runs/nowhere/x\.safetensors"),
        ("gs://bucket/x.safetensors", r"is an address; .*Mount the bucket"),
        ("", r"The path is empty"),
    ],
)
def test_what_is_no_source_is_explained(source, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HadesError, match=message):
        load_dataset(source)


def test_a_folder_without_a_dataset_is_explained(tmp_path):
    with pytest.raises(
        DatasetError, match=rf"The folder {tmp_path} holds no dataset\.safetensors.*hades-export-dataset"
    ):
        load_dataset(tmp_path)
