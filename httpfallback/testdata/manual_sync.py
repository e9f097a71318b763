"""A calendar service's POST /manual-sync, for the tests of package httpfallback.

It answers every kind of request as the Python calendar does. What happens to
the matches is chosen by the test:

    PUT  /control    {"sync": WHAT, "broken": [matchid, ...]}
    GET  /control    the requests that /manual-sync got: [{"headers", "body"}]

WHAT is "write" (every match is written, but for those in "broken"), "raise"
(the calendar's own code fails), "nothing" (it forgets to say how it went),
"unset" (nobody told the service how to write) or "gone" (the service started
without its Redis settings, so the route does not exist).

The program prints its port and serves until its standard input ends.
"""

import sys
import threading

from flask import Flask, abort, jsonify, request
from werkzeug.serving import WSGIRequestHandler, make_server

app = Flask(__name__)
lock = threading.Lock()
control = {"sync": "write", "broken": []}
seen = []


def write_matches(matches):
    """Counts a run as good when one match of many was written."""
    if control["sync"] == "raise":
        raise RuntimeError("cannot write for ake.oberg@example.com, 070-174 06 10")
    if control["sync"] == "nothing":
        return None
    written = [m for m in matches if m["matchid"] not in control["broken"]]
    return len(written) > 0 or len(matches) == 0


def refused(text, status):
    return jsonify({"success": False, "error": text}), status


@app.route("/manual-sync", methods=["POST"])
def manual_sync():
    with lock:
        seen.append(
            {
                "headers": dict(request.headers),
                "body": request.get_data(as_text=True),
            }
        )
    if control["sync"] == "gone":
        abort(404)
    try:
        data = request.get_json(force=True, silent=True)
        if not data:
            return refused("Missing JSON data in request", 400)
        if "matches" not in data:
            return refused("Missing 'matches' in request data", 400)
        if control["sync"] == "unset":
            return refused("No calendar sync callback configured", 500)
        matches = data["matches"]
        count = len(matches)
        success = write_matches(matches)
    except Exception as err:
        return refused(str(err), 500)
    body = {
        "success": success,
        "matches_processed": count,
        "timestamp": "2031-05-06T17:00:00.123456",
    }
    return jsonify(body), 200 if success else 500


@app.route("/control", methods=["GET", "PUT"])
def controlled():
    with lock:
        if request.method == "PUT":
            control.clear()
            control.update({"sync": "write", "broken": []}, **request.get_json())
            seen.clear()
        return jsonify(seen)


class Quiet(WSGIRequestHandler):
    def log_request(self, *args):
        pass


server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.read()
