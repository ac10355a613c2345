"""A page to try an exported model on: python bin/demo.py --export_dir=OUT, then open the address it prints

Make classes by drawing, by dropping image files or with the camera: the model adapts as examples are
added and names what is drawn next. OUT is what bin/export.py wrote, with --format=saved_model or
litert. The page runs that export and nothing else, loads nothing from other hosts, and writes
nothing of what it is sent. It listens on this machine only unless --host says otherwise.
Ctrl-C ends it.
"""

from __future__ import annotations

from typing import Any

from launch import flags, launch

FLAGS, InputError, blamed_on = flags.FLAGS, flags.InputError, flags.blamed_on
GROUPS = ("demo",)


def main() -> int:
    """Loads the export and serves the page until interrupted."""
    _check_export()
    server = _listen()
    try:
        service = _service()
        service.warm_up()
        _say(server)
        server.serve(service, verbose=FLAGS.verbosity >= 1)
    except KeyboardInterrupt:
        print("\nStopped.")
    finally:
        server.server_close()
    return flags.EXIT_DONE


def _check_export() -> None:
    """Refuses what the page cannot use before anything slow is done."""
    from anil_tf.deploy import exported
    from anil_tf.deploy.demo.service import refuse_unfit

    with blamed_on("export_dir"):
        refuse_unfit(exported.read_manifest(FLAGS.export_dir))


def _listen() -> Any:
    """Binds the address, found fit before the model is loaded."""
    from anil_tf.deploy.demo.server import DemoServer

    try:
        return DemoServer(FLAGS.host, FLAGS.port)
    except (OSError, UnicodeError) as error:  # UnicodeError: no host can have such a name
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"--host={FLAGS.host} --port={FLAGS.port}: expected an address of this machine and a port "
            f"that is free ({reason}); --port=0 takes any that is."
        ) from error


def _service() -> Any:
    from anil_tf.deploy import exported
    from anil_tf.deploy.demo.service import Service

    # The export's first variant where none is named.
    blamed = ("export_dir", "variant") if FLAGS.variant else ("export_dir",)
    with blamed_on(*blamed):
        return Service(exported.load(FLAGS.export_dir, FLAGS.variant))


def _say(server: Any) -> None:
    print(f"Open {server.url} in a browser. Ctrl-C ends this.", flush=True)
    if server.is_local:
        return
    if server.url_elsewhere:
        print(f"On a phone in the same network: {server.url_elsewhere}", flush=True)
    print("Everybody who can reach this machine can use the page (--host).", flush=True)


if __name__ == "__main__":
    launch(
        main, title=__doc__, groups=GROUPS, required=("export_dir", "host"), needs_tensorflow=False
    )
