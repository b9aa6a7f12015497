"""Bad input on the RPC, and a bad weir.toml: a bounded answer each time, and forwarding does not notice."""

import json
import threading
import time

import pytest
from lab.site import one_tenant
from lab.steady import SteadyPing

PARSE, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, INVALID_STATE, LIMIT = -32700, -32600, -32601, -32602, 1, 4
MEGABYTE = 1 << 20


@pytest.fixture
def busy(lab):
    """A gateway that answers pings all the while; at the end none may be lost, and the RPC still answers."""
    site = one_tenant(lab)
    with site.weir(rpc={"socket": str(lab.directory / "weir/weir.sock"), "max_message_mib": 8, "max_connections": 16,
                        "timeout_seconds": 2}) as weir:
        weir.apply(site.state)
        site.host.reaches("10.0.0.2")
        with SteadyPing(site.host, "10.0.0.2", count=250, interval=0.01) as ping:
            yield weir
            assert weir.stats()["uptime_seconds"] >= 0
        assert ping.lost == 0


def exchange(weir, line):
    """One line in, one response out."""
    with weir.connect() as connection:
        connection.sendall(line + b"\n")
        return json.loads(connection.makefile("rb").readline())


def resident_kib(weir):
    """How much memory the gateway has, KiB."""
    status = open(f"/proc/{weir.process.pid}/status").read()
    return int(status.split("VmRSS:")[1].split()[0])


def test_garbage_is_answered_by_name(busy):
    for line, code in (
        (b"garbage", PARSE),
        (b"\xff\xfe\x00", PARSE),
        (b"[" * 100000, PARSE),
        (b"{}", INVALID_REQUEST),
        (b'{"jsonrpc":"1.0","id":1,"method":"stats","params":{}}', INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":1,"method":"reboot","params":{}}', METHOD_NOT_FOUND),
        (b'{"jsonrpc":"2.0","id":1,"method":"stats","params":{"colour":1}}', INVALID_PARAMS),
        (b'{"jsonrpc":"2.0","id":1,"method":"apply","params":{"ops":[{"put":{"bridge":{"nam":"x"}}}]}}', INVALID_PARAMS),
    ):
        response = exchange(busy, line)
        assert response["error"]["code"] == code, (line[:80], response)


def test_an_invalid_batch_changes_nothing_and_is_named(busy):
    generation, before = busy.stats()["generation"], busy.ctl("export").stdout
    ops = [{"put": {"bridge": {"name": f"b{n}"}}} for n in range(10000)]
    ops[7000] = {"put": {"segment": {"id": "vlan/lan0/77", "bridge": "nowhere"}}}
    error = busy.rpc("apply", {"ops": ops}, timeout=20)["error"]
    assert error["code"] == INVALID_STATE
    assert error["data"] == {"path": "ops[7000].put.segment.bridge", "value": "nowhere"}
    # Half a batch: the client dies in the middle of its line.
    whole = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "apply", "params": {"ops": ops[:7000]}}).encode()
    with busy.connect() as connection:
        connection.sendall(whole[: len(whole) // 2])
    assert (busy.stats()["generation"], busy.ctl("export").stdout) == (generation, before)


def test_a_line_without_end_is_cut_off(busy):
    before, sent, block = resident_kib(busy), 0, b"x" * MEGABYTE
    with busy.connect() as connection:
        with pytest.raises(OSError):
            while sent < 1024 * MEGABYTE:
                connection.sendall(block)
                sent += MEGABYTE
    assert sent < 64 * MEGABYTE, "the bound is 8 MiB"
    assert resident_kib(busy) - before < 64 * 1024


def test_slow_clients_do_not_hold_up_the_others(busy):
    slow_reader, slow_writer = busy.connect(), busy.connect()
    with slow_reader, slow_writer:
        slow_writer.sendall(b'{"jsonrpc":')
        slow_reader.setblocking(False)
        question = b'{"jsonrpc":"2.0","id":1,"method":"stats","params":{}}\n'
        with pytest.raises((BlockingIOError, ConnectionError)):
            for _ in range(10000):
                slow_reader.sendall(question)
        for _ in range(10):
            started = time.monotonic()
            busy.stats()
            assert time.monotonic() - started < 1
        # Who stops in the middle of a message is closed after the 2 s of this configuration.
        slow_writer.settimeout(5)
        rest = slow_writer.makefile("rb").read()
        assert rest == b"" or json.loads(rest.splitlines()[0])["error"]["code"] == LIMIT


def test_too_many_connections_are_refused_by_name(busy):
    open_ones = [busy.connect() for _ in range(16)]
    try:
        for connection in open_ones:
            connection.sendall(b'{"jsonrpc":"2.0","id":1,"method":"stats","params":{}}\n')
            assert json.loads(connection.makefile("rb").readline())["id"] == 1
        for _ in range(200):
            with busy.connect() as surplus:
                line = surplus.makefile("rb").readline()
                assert json.loads(line)["error"]["code"] == LIMIT
    finally:
        for connection in open_ones:
            connection.close()


def test_many_clients_at_once_are_all_answered(busy):
    answers = []

    def ask():
        for _ in range(20):
            answers.append("result" in busy.rpc("stats"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert answers == [True] * 160
