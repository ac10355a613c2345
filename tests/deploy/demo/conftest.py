"""The page's server over a model that needs no runtime."""

import contextlib
import threading

import pytest

from anil_tf.deploy.demo.server import DemoServer
from anil_tf.deploy.demo.service import Service
from tests.deploy.demo.fake_model import FakeModel


@contextlib.contextmanager
def serving(model, host="127.0.0.1"):
    server = DemoServer(host, 0)
    thread = threading.Thread(target=server.serve, args=(Service(model),))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def serve():
    """Serves a model: `with serve(model) as server`."""
    return serving


@pytest.fixture(scope="module")
def server():
    with serving(FakeModel()) as server:
        yield server
