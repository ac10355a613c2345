"""Serves a page to try an exported model on; runs without TensorFlow where the export does."""

from __future__ import annotations

from absl import logging

from anil_tf.config import Demo, input_errors
from anil_tf.deploy import exported
from anil_tf.deploy.demo.server import DemoServer
from anil_tf.deploy.demo.service import Service, refuse_unfit


def demo(config: Demo) -> None:
    """Loads an export and serves its page until interrupted.

    Args:
        config: the export, and the address to listen on.

    Raises:
        InputError: for what is no export, and for an address that is not free.
    """
    with input_errors(config, "export_dir"):  # before anything slow is done
        refuse_unfit(exported.read_manifest(config.export_dir))
    server = _listen(config)
    try:
        # The export's first variant where none is named.
        names = ("export_dir", "variant") if config.variant else ("export_dir",)
        with input_errors(config, *names):
            service = Service(exported.load(config.export_dir, config.variant))
        service.warm_up()
        _announce(server)
        server.serve(service, verbose=logging.level_debug())
    except KeyboardInterrupt:
        print("\nStopped.")
    finally:
        server.server_close()


def _listen(config: Demo) -> DemoServer:
    """Binds the address, found fit before the model is loaded."""
    try:
        return DemoServer(config.host, config.port)
    except (OSError, UnicodeError) as error:  # UnicodeError: no host can have such a name
        reason = getattr(error, "strerror", None) or error
        raise config.error(
            f"expected an address of this machine and a port that is free ({reason}); --port=0 takes any that is.",
            *("host", "port"),
        ) from error


def _announce(server: DemoServer) -> None:
    print(f"Open {server.url} in a browser. Ctrl-C ends this.", flush=True)
    if server.is_local:
        return
    if server.url_elsewhere:
        print(f"On a phone in the same network: {server.url_elsewhere}", flush=True)
    print("Everybody who can reach this machine can use the page (--host).", flush=True)
