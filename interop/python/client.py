"""The sigstore-python client of the matrix: its command, "sigstore", in a process that
stays. Each line of standard input is a JSON array of the command's arguments, and is
answered with one line, {"error": ...}, null if the command ended well.
"""

import contextlib
import io
import json
import sys

from sigstore._cli import main


def run(args: list[str]) -> str | None:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main(args)
        except SystemExit as e:
            if e.code:
                return f"sigstore {args}: exit status {e.code}: {said.getvalue()}"
    return None


for line in sys.stdin:
    answer = {"error": run(json.loads(line))}
    print(json.dumps(answer), flush=True)
