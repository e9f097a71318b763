"""Reads match updates as the Python calendar service does, for tests.

    calendar.py REDIS_URL     subscribes, prints one JSON line for each message
    calendar.py --read        reads a JSON list of matches on standard input and
                              prints what the calendar makes of each

It decides what the calendar decides: which handler a message gets, whether
the handler calls the calendar, what is left of the changes, and whether each
match has what an event needs. It keeps the calendar's weaknesses, since the
tests are about them: a failed match update counts as processed, and one
payload that is no UTF-8 ends the subscription.

The first line is {"ready": [channels]}. The program ends with its standard
input.
"""

import hashlib
import json
import os
import sys
import threading
from datetime import datetime, timezone

CHANNELS = [
    "fogis:matches:updates:v2",
    "fogis:matches:updates:v1",
    "fogis:matches:updates",
    "fogis:processor:status",
    "fogis:system:alerts",
]
HIGH_CATEGORIES = {"time_change", "date_change", "venue_change", "referee_change"}
EVENT_KEYS = ["lag1namn", "lag2namn", "anlaggningnamn", "tid", "tavlingnamn"]
OFFICIAL_KEYS = ["domarrollkortnamn", "personnamn", "mobiltelefon", "adress", "postnr", "postort"]
CONTACT_KEYS = ["lagnamn", "personnamn", "telefon", "mobiltelefon", "epostadress"]
PHONEBOOK_KEYS = ["domarnr", "epostadress", "land"]


def calendar_hash(match):
    """What decides whether an event that exists is written again."""
    facts = {key: match[key] for key in EVENT_KEYS}
    for people in ("kontaktpersoner", "domaruppdraglista"):
        facts[people] = match.get(people, [])
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


class Calendar:
    """The events written so far, by match."""

    def __init__(self):
        self.hashes = {}

    def write(self, match):
        """Writes one match; raises as the calendar does when something is missing."""
        match_id = str(match["matchid"])
        digest = calendar_hash(match)
        begin = datetime.fromtimestamp(int(match["tid"][6:-2]) / 1000, timezone.utc)
        for official in match["domaruppdraglista"]:
            for key in OFFICIAL_KEYS:
                official[key]
        for contact in match.get("kontaktpersoner") or []:
            for key in CONTACT_KEYS:
                contact[key]
        match["matchnr"]
        before = self.hashes.get(match_id)
        self.hashes[match_id] = digest
        return {
            "hash": digest,
            "event": "unchanged" if before == digest else "updated" if before else "inserted",
            "title": match["lag1namn"] + " - " + match["lag2namn"],
            "place": match["anlaggningnamn"],
            "begin": begin.isoformat(),
            "phonebook": all(key in o for o in match["domaruppdraglista"] for key in PHONEBOOK_KEYS),
        }

    def read(self, match):
        """One match's line: what became of it, and its values after a parse."""
        line = {"accepted": True, "values": json.dumps(match, sort_keys=True, ensure_ascii=False)}
        try:
            line["id"] = str(match["matchid"])
            line.update(self.write(match))
        except Exception as err:
            line.update(accepted=False, why=f"{type(err).__name__}: {err}")
        return line

    def sync(self, update, line):
        """The application's callback. It succeeds with one match of many."""
        line["calls"] += 1
        line["changes"] = update["detailed_changes"]
        line["high_priority"] = update["high_priority"]
        try:
            line["change_count"] = len(update["detailed_changes"])
            line["matches"] = [self.read(m) for m in update["matches"]]
        except Exception as err:
            line["why"] = f"{type(err).__name__}: {err}"
            return False
        accepted = [m for m in line["matches"] if m["accepted"]]
        return len(accepted) > 0 or len(line["matches"]) == 0


class Subscriber:
    """The calendar's handlers."""

    def __init__(self):
        self.calendar = Calendar()

    def handle(self, channel, data):
        line = {"channel": channel, "route": "none", "calls": 0, "result": None, "counted": "processed"}
        try:
            message = json.loads(data)
            kind = message.get("type")
            line["id"] = message.get("message_id")
            line["keys"] = list(message)
            if kind == "match_updates":
                self.route(message, line)
        except Exception as err:
            line["counted"] = "errors"
            line["why"] = f"{type(err).__name__}: {err}"
        return line

    def route(self, message, line):
        version = message.get("schema_version", "1.0")
        if version == "2.0":
            line["route"] = "v2.0"
        elif version in ["1.5", "1.0"]:
            line["route"] = "v1.0"
        else:
            line["route"] = "unknown"
        try:
            self.update(message.get("payload", {}), line, keep=version == "2.0")
        except Exception as err:  # the calendar's handlers swallow it
            line["why"] = f"{type(err).__name__}: {err}"

    def update(self, payload, line, keep):
        metadata = payload.get("metadata", {})
        if not metadata.get("has_changes", False):
            line["why"] = "no changes"
            return
        matches = payload.get("matches", [])
        len(matches)
        changes, high = [], False
        if keep:
            changes = payload.get("detailed_changes", [])
            for change in changes or []:
                if change.get("priority") == "high" or change.get("category") in HIGH_CATEGORIES:
                    high = True
        update = {
            "matches": matches,
            "schema_version": "2.0" if keep else "1.0",
            "detailed_changes": changes,
            "high_priority": high,
        }
        line["result"] = self.calendar.sync(update, line)


def say(line):
    print(json.dumps(line), flush=True)


def end_with_stdin():
    sys.stdin.read()
    os._exit(0)


def subscribe(url):
    import redis

    threading.Thread(target=end_with_stdin, daemon=True).start()
    pubsub = redis.from_url(url, decode_responses=True, socket_connect_timeout=5).pubsub()
    for channel in CHANNELS:
        pubsub.subscribe(channel)
    confirmed, subscriber = [], Subscriber()
    try:
        for message in pubsub.listen():
            if message["type"] == "subscribe":
                confirmed.append(message["channel"])
                if len(confirmed) == len(CHANNELS):
                    say({"ready": confirmed})
            elif message["type"] == "message":
                say(subscriber.handle(message["channel"], message["data"]))
    except Exception as err:
        # Decoding happens in listen, outside of every handler.
        say({"stopped": type(err).__name__})
    sys.stdin.read()


def main(argument):
    if argument == "--read":
        calendar = Calendar()
        for match in json.load(sys.stdin):
            say(calendar.read(match))
    else:
        subscribe(argument)


main(sys.argv[1])
