"""The load generator by itself: `python -m bench.load pubsub|connect|churn|idle|presence|revoke|tokens …`.

Prints one JSON object on one line. Exit status 0 only if every message arrived as it was sent and every
connection and request was accepted; otherwise the object has `error`.
"""

import argparse
import json
import os
import resource
import sys
from pathlib import Path

from bench import connects, issuing, links, presence, pubsub, revoking
from bench.links import Target
from bench.pubsub import Plan
from bench.wire import BadStream


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__.splitlines()[0])
    top.add_argument("--host", default="127.0.0.1")
    top.add_argument("--port", type=int, required=True)
    top.add_argument("--version", type=int, choices=(4, 5), default=4, help="4 is MQTT 3.1.1")
    top.add_argument("--websocket", action="store_true")
    top.add_argument("--credentials", metavar="FILE", help="lines of username, TAB, password, used in turn")
    top.add_argument("--server-pid", type=int, default=0, help="report its use of the processor, too")
    modes = top.add_subparsers(dest="mode", required=True)

    one = modes.add_parser("pubsub", help="publishers and their receivers")
    one.add_argument("--pairs", type=int, default=10, help="publishers")
    one.add_argument("--fanout", type=int, default=1, help="receivers of each publisher")
    one.add_argument("--qos", type=int, choices=(0, 1, 2), default=0)
    one.add_argument("--payload-bytes", type=int, default=64)
    one.add_argument("--window", type=int, default=100, help="messages outstanding of a publisher")
    one.add_argument("--seconds", type=float, default=2.0, help="measured, after the warm-up")
    one.add_argument("--warmup-seconds", type=float, default=0.5)
    one.add_argument("--write-each", action="store_true", help="one send() a message")
    one.add_argument("--properties", action="store_true", help="properties on every message (version 5)")
    one.add_argument("--fresh-properties", action="store_true", help="with --properties: others on each")
    one.add_argument("--vary", action="store_true", help="topics and sizes differ from message to message")
    one.add_argument("--scatter", action="store_true", help="each message of a publisher on another topic")
    one.add_argument("--no-local", action="store_true", help="receivers say No Local (version 5)")
    one.add_argument("--persistent", action="store_true", help="receivers' sessions outlive connections")
    one.add_argument("--verify", action="store_true", help="parse every message instead of comparing runs")
    one.add_argument("--rate", type=float, default=0.0, help="messages a second in all; reports latencies")
    one.add_argument("--prefix", default="bench")

    one = modes.add_parser("connect", help="connect, be accepted, disconnect")
    one.add_argument("--count", type=int, default=2000)
    one.add_argument("--concurrency", type=int, default=32)

    one = modes.add_parser("churn", help="connect, subscribe, leave, at a rate")
    one.add_argument("--per-second", type=float, default=200.0)
    one.add_argument("--seconds", type=float, default=3.0)
    one.add_argument("--filter", default="bench/churn/+")

    one = modes.add_parser("idle", help="hold connections until standard input ends")
    one.add_argument("--count", type=int, default=1000)
    one.add_argument("--subscriptions", type=int, default=1, help="of each connection")

    one = modes.add_parser("presence", help="who joins and leaves, and those who watch")
    one.add_argument("--key-file", required=True, help="file that holds the secret key: watchers' password")
    one.add_argument("--count", type=int, default=9000, help="members that stay")
    one.add_argument("--watchers", type=int, default=100)
    one.add_argument("--per-second", type=float, default=1000.0, help="joins and leaves")
    one.add_argument("--unwatched", action="store_true", help="on another topic, as many as there can be")
    one.add_argument("--seconds", type=float, default=2.0)
    one.add_argument("--warmup-seconds", type=float, default=0.5)

    one = modes.add_parser("revoke", help="open connections, and revoke their tokens (version 5)")
    one.add_argument("--http-port", type=int, required=True)
    one.add_argument("--key-file", required=True, help="file that holds the secret key")
    one.add_argument("--count", type=int, default=500)
    one.add_argument("--key-id", default="", help="of the key that made the tokens: revoke them in one call")

    one = modes.add_parser("tokens", help="token requests; --port is the HTTP port")
    one.add_argument("--key-file", required=True, help="file that holds the secret key")
    one.add_argument("--concurrency", type=int, default=64)
    one.add_argument("--seconds", type=float, default=2.0)
    one.add_argument("--warmup-seconds", type=float, default=0.5)
    return top


def perform(options: argparse.Namespace) -> dict[str, object]:
    """Carry out what the command line asks for."""
    target = Target(
        options.host, options.port, options.version, options.websocket,
        links.read_credentials(options.credentials), options.server_pid,
    )  # fmt: skip
    if options.mode == "pubsub":
        plan = Plan(
            target, options.pairs, options.fanout, options.qos, options.payload_bytes, options.window,
            options.seconds, options.warmup_seconds, batch=not options.write_each,
            properties=options.properties, fresh_properties=options.fresh_properties, vary=options.vary,
            scatter=options.scatter, no_local=options.no_local, persistent=options.persistent,
            verify=options.verify, rate=options.rate, prefix=options.prefix,
        )  # fmt: skip
        if (plan.properties or plan.no_local) and target.version != 5:
            raise BadStream("properties and No Local need --version 5")
        return pubsub.run(plan)
    if options.mode == "connect":
        return connects.run(target, count=options.count, concurrency=options.concurrency)
    if options.mode == "churn":
        return connects.churn(
            target, per_second=options.per_second, seconds=options.seconds, topic_filter=options.filter
        )
    if options.mode == "idle":
        return connects.idle(
            target, count=options.count, subscriptions=options.subscriptions, release=sys.stdin
        )
    key = Path(options.key_file).read_text().strip()
    if options.mode == "presence" and options.unwatched:
        return presence.unwatched(
            target, key, elsewhere=options.watchers,
            seconds=options.seconds, warmup_seconds=options.warmup_seconds,
        )  # fmt: skip
    if options.mode == "presence":
        return presence.watched(
            target, key, count=options.count, watchers=options.watchers, per_second=options.per_second,
            seconds=options.seconds, warmup_seconds=options.warmup_seconds,
        )  # fmt: skip
    if options.mode == "revoke":
        return revoking.run(
            target, http_port=options.http_port, key=key, count=options.count, key_id=options.key_id
        )
    return issuing.run(
        options.host, options.port, key, concurrency=options.concurrency,
        seconds=options.seconds, warmup_seconds=options.warmup_seconds, server_pid=options.server_pid,
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard), hard))
    try:
        result = perform(options)
    except (BadStream, OSError) as error:
        print(json.dumps({"mode": options.mode, "error": str(error), "pid": os.getpid()}), flush=True)
        return 1
    print(json.dumps(result), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
