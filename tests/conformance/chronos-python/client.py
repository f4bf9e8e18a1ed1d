"""Adapter of chronos-python: calls of its client on standard input, answers and errors on standard output.

Arguments: the servers, separated by commas, and the version of the API; without one the client speaks as to Chronos 2.
"""

import json
import logging
import sys

import chronos


def say(saw, **details):
    print(json.dumps(dict(details, saw=saw)), flush=True)


class Log(logging.Handler):
    """What a server answered reaches users of the library by its log alone."""

    def emit(self, record):
        say("logged", message=record.getMessage())


def main():
    logging.getLogger("chronos").addHandler(Log())
    version = sys.argv[2] if len(sys.argv) > 2 else None
    client = chronos.connect(sys.argv[1].split(","), scheduler_api_version=version)
    for line in sys.stdin:
        order = json.loads(line)
        method = order["method"]
        try:
            answer = getattr(client, method)(*order["arguments"], **order["named"])
            say("answer", method=method, answer=answer)
        except chronos.ChronosError as error:
            say("error", method=method, kind=type(error).__name__, message=str(error))


main()
