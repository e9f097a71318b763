"""Publishes as the Python services of FOGIS do and did, for tests.

    publisher.py REDIS_URL

Each line of standard input orders one message:

    {"shape": NAME, "channel": C, "matches": [...], "changes": [...]}

and is answered by {"channel", "receivers", "body"} when it was published; body
is base64 of the bytes. Without "channel" it goes where the service sent
it. {"shape": "?"} answers with the names of all shapes.
"""

import base64
import json
import sys
import uuid
from datetime import datetime, timezone

import redis

BASE = "fogis:matches:updates"
STATUS = "fogis:processor:status"
ALERTS = "fogis:system:alerts"
SERVICE = "match-list-processor"

shapes = {}


def shape(name, channel):
    def register(make):
        shapes[name] = (channel, make)
        return make

    return register


def zulu():
    """Six digits, or none at all when the microseconds happen to be zero."""
    return datetime.now(timezone.utc).replace(tzinfo=None).isoformat() + "Z"


def naive():
    return datetime.now().isoformat()


def raw_letters(message):
    return json.dumps(message, ensure_ascii=False)


def escaped(message):
    return json.dumps(message)


def head(kind, stamp):
    return {
        "message_id": str(uuid.uuid4()),
        "timestamp": stamp,
        "source": SERVICE,
        "version": "1.0",
        "type": kind,
    }


# Match updates, first version.


@shape("E1 guide of the calendar", BASE)
def e1_calendar_guide(matches, changes):
    """Its message_id is no UUID and its time has no fraction."""
    message = {
        "message_id": "match-update-123",
        "timestamp": "2031-05-06T10:30:00Z",
        "source": SERVICE,
        "version": "1.0",
        "type": "match_updates",
        "payload": {
            "matches": matches,
            "metadata": {
                "has_changes": True,
                "change_summary": {"new_matches": 1, "updated_matches": 2},
            },
        },
    }
    return raw_letters(message)


@shape("E1 guide of the publisher", BASE)
def e1_publisher_guide(matches, changes):
    message = head("match_updates", "2031-05-06T10:30:00.000Z")
    message["payload"] = {
        "matches": matches,
        "metadata": {
            "total_matches": len(matches),
            "has_changes": True,
            "change_summary": {
                "new_matches": 1,
                "updated_matches": 2,
                "cancelled_matches": 1,
                "total_changes": 4,
            },
            "change_detection": {
                "new_match_ids": [6200001],
                "updated_match_ids": [6200002],
                "cancelled_match_ids": [],
                "change_types": ["new_matches", "time_change"],
            },
            "processing_cycle": 42,
            "processing_timestamp": "2031-05-06T10:29:58.500Z",
        },
    }
    return raw_letters(message)


@shape("E1 first generator", BASE)
def e1_generator(matches, changes):
    message = head("match_updates", naive())
    message["payload"] = {
        "matches": matches,
        "metadata": {
            "total_matches": len(matches),
            "has_changes": len(changes) > 0,
            "change_summary": {"new_matches": 0, "updated_matches": len(changes)},
            "change_detection": {"change_types": ["referee_assignment"]},
            "processing_timestamp": naive(),
        },
    }
    return escaped(message)


# Match updates, the standard publisher.


def standard_metadata(matches, changes, summary, **extra):
    metadata = {
        "total_matches": len(matches),
        "has_changes": bool(changes),
        "change_summary": summary,
        "processing_timestamp": zulu(),
    }
    metadata.update(extra)
    return metadata


@shape("E2", BASE)
def e2(matches, changes):
    message = head("match_updates", zulu())
    message["payload"] = {
        "matches": matches,
        "metadata": standard_metadata(matches, changes, {"updated_matches": len(changes)}),
    }
    return raw_letters(message)


@shape("E2 with changes", BASE)
def e2_changes(matches, changes):
    message = head("match_updates", zulu())
    message["payload"] = {
        "matches": matches,
        "detailed_changes": changes,
        "metadata": standard_metadata(matches, changes, {"updated_matches": len(changes)}),
    }
    return raw_letters(message)


def production(matches, changes, summary, **extra):
    message = head("match_updates", zulu())
    message["payload"] = {
        "matches": matches,
        "schema_version": "2.0",
        "detailed_changes": changes,
        "high_priority": any(c.get("priority") in ("critical", "high") for c in changes),
        "metadata": standard_metadata(matches, changes, summary, processor_type="UnifiedMatchProcessor", **extra),
    }
    return message


@shape("E3", BASE)
def e3(matches, changes):
    """In production the summary is an object that is lost on the way."""
    return raw_letters(production(matches, changes, {}))


@shape("E3 of a dict", BASE)
def e3_dict(matches, changes):
    return raw_letters(production(matches, changes, {"updated_matches": len(changes)}))


@shape("E3 with nothing for its changes", BASE)
def e3_null_changes(matches, changes):
    message = production(matches, changes, {})
    message["payload"]["detailed_changes"] = None
    return raw_letters(message)


@shape("E3 with the caller's metadata over it", BASE)
def e3_overwritten(matches, changes):
    return raw_letters(production(matches, changes, {}, total_matches="many"))


@shape("E3 on a full second", BASE)
def e3_second(matches, changes):
    message = production(matches, changes, {})
    message["timestamp"] = "2031-05-06T15:00:00Z"
    return raw_letters(message)


@shape("E3 with NaN", BASE)
def e3_nan(matches, changes):
    first = dict(matches[0], anlaggningLatitud=float("nan"), anlaggningLongitud=float("-inf"))
    return raw_letters(production([first] + matches[1:], changes, {}))


@shape("hybrid", BASE)
def hybrid(matches, changes):
    message = production(matches, changes, {"updated_matches": len(changes)})
    return raw_letters(dict({"schema_version": "2.0"}, **message))


@shape("hybrid, version as a number", BASE)
def hybrid_number(matches, changes):
    message = production(matches, changes, {})
    return raw_letters(dict({"schema_version": 2.0}, **message))


# Match updates, the structured forms.


def enhanced_match(match):
    def team(n):
        club = match.get(f"lag{n}foreningid")
        return {
            "name": match.get(f"lag{n}namn", "N/A"),
            "id": match.get(f"lag{n}lagid"),
            "logo_id": club,
            "organization_id": club,
        }

    return {
        "match_id": match.get("matchid"),
        "teams": {"home": team(1), "away": team(2)},
        "date": match.get("speldatum"),
        "time": match.get("avsparkstid"),
        "venue": {"name": match.get("anlaggningnamn", "N/A"), "address": ""},
        "referees": [
            {"name": r.get("namn", "N/A"), "role": "N/A"} for r in match.get("domaruppdraglista", [])
        ],
        "team_contacts": [],
        "series": {"name": "N/A", "level": "N/A"},
        "status": "scheduled",
    }


def enhanced(matches, changes):
    message = {
        "schema_version": "2.0",
        "schema_type": "enhanced_with_contacts_and_logo_ids",
        "backward_compatible": True,
        "new_fields": ["teams.home.logo_id", "teams.away.logo_id", "team_contacts", "referees.contact"],
    }
    message.update(head("match_updates", zulu()))
    message["payload"] = {
        "matches": [enhanced_match(m) for m in matches],
        "detailed_changes": changes,
        "metadata": standard_metadata(
            matches,
            changes,
            {"updated_matches": len(changes)},
            processor_type="UnifiedMatchProcessor",
            schema_version="2.0",
            logo_service_compatible=True,
        ),
    }
    return raw_letters(message)


shape("E4", "match_updates_v2")(enhanced)
shape("E4 on the base channel", BASE)(enhanced)


@shape("E5", "match_updates_v1")
def e5(matches, changes):
    """The caller's metadata brings the other form's version along."""
    message = head("match_updates", zulu())
    message["payload"] = {
        "matches": [
            {
                "match_id": m.get("matchid"),
                "teams": f"{m.get('lag1namn', 'N/A')} vs {m.get('lag2namn', 'N/A')}",
                "date": m.get("speldatum"),
                "time": m.get("avsparkstid"),
                "venue": m.get("anlaggningnamn"),
                "referees": [r.get("namn") for r in m.get("domaruppdraglista", [])],
            }
            for m in matches
        ],
        "metadata": {
            "total_matches": len(matches),
            "has_changes": bool(changes),
            "processing_timestamp": zulu(),
            "schema_version": "2.0",
        },
    }
    return raw_letters(message)


def deployment_match(match):
    """Cancelled and suspended are taken from each other's field."""
    enhanced_form = enhanced_match(match)
    enhanced_form.update(
        match_number=match.get("matchnr"),
        formatted_datetime=match.get("tidsangivelse"),
        venue={
            "name": match.get("anlaggningnamn"),
            "id": match.get("anlaggningid"),
            "coordinates": {
                "latitude": match.get("anlaggningLatitud"),
                "longitude": match.get("anlaggningLongitud"),
            },
        },
        competition={
            "name": match.get("tavlingnamn"),
            "number": match.get("tavlingnr"),
            "category": match.get("tavlingskategorinamn"),
            "id": match.get("tavlingid"),
        },
        status={
            "cancelled": match.get("avbruten", False),
            "postponed": match.get("uppskjuten", False),
            "suspended": match.get("installd", False),
            "final_result": match.get("arslutresultat", False),
            "referee_approved": False,
        },
        referees=[
            {
                "name": r.get("personnamn"),
                "role": r.get("domarrollnamn"),
                "role_short": r.get("domarrollkortnamn"),
                "id": r.get("domareid"),
                "contact": {
                    "mobile": r.get("mobiltelefon"),
                    "phone": r.get("telefon") or None,
                    "email": r.get("epostadress"),
                    "address": r.get("adress"),
                },
            }
            for r in match.get("domaruppdraglista", [])
        ],
        team_contacts=[
            {
                "name": k.get("personnamn"),
                "team_name": k.get("lagnamn"),
                "team_id": k.get("lagid"),
                "organization_id": k.get("foreningId"),
                "is_reserve": k.get("reserv"),
                "contact": {
                    "mobile": k.get("mobiltelefon"),
                    "phone": k.get("telefon"),
                    "work_phone": k.get("telefonarbete"),
                    "email": k.get("epostadress"),
                    "address": None,
                },
            }
            for k in match.get("kontaktpersoner", [])
        ],
        match_url="https://match.invalid/6200001",
    )
    return enhanced_form


def deployment_stamp():
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@shape("E4b", "match_updates_v2")
def e4b(matches, changes):
    message = {"schema_version": "2.0", "schema_type": "enhanced_with_contacts_and_logo_ids"}
    message.update(head("match_updates", deployment_stamp()))
    message["payload"] = {
        "matches": [deployment_match(m) for m in matches],
        "detailed_changes": changes,
        "metadata": {
            "total_matches": len(matches),
            "has_changes": bool(changes),
            "change_summary": "Time and venue changes detected",
            "processing_timestamp": deployment_stamp(),
            "processor_version": "2.1.0",
            "schema_version": "2.0",
            "logo_service_compatible": True,
            "contact_data_included": True,
        },
    }
    return escaped(message)


@shape("E5b", "match_updates_v1")
def e5b(matches, changes):
    """It has a schema_version at the top and no version."""
    message = head("match_updates", deployment_stamp())
    del message["version"]
    message = dict({"schema_version": "1.0"}, **message)
    message["payload"] = {
        "matches": [
            {
                "match_id": m.get("matchid"),
                "teams": f"{m.get('lag1namn')} vs {m.get('lag2namn')}",
                "date": m.get("speldatum"),
                "time": m.get("avsparkstid"),
                "venue": m.get("anlaggningnamn"),
                "referees": [r.get("personnamn") for r in m.get("domaruppdraglista", [])],
            }
            for m in matches
        ],
        "metadata": {
            "total_matches": len(matches),
            "has_changes": bool(changes),
            "change_summary": "Changes detected" if changes else "No changes",
            "processing_timestamp": deployment_stamp(),
        },
    }
    return escaped(message)


# Match updates without an envelope.


@shape("E6", "fogis_matches")
def e6(matches, changes):
    return escaped({"matches": matches, "timestamp": naive(), "source": SERVICE, "count": len(matches)})


@shape("E6 barest", "fogis_matches")
def e6_barest(matches, changes):
    return escaped({"matches": matches, "timestamp": naive(), "source": SERVICE})


def counted(matches, changes):
    return {
        "total_matches": len(matches),
        "has_changes": bool(changes),
        "new_matches_count": 0,
        "updated_matches_count": len(changes),
        "processing_timestamp": naive(),
    }


@shape("E6b", "fogis_matches")
def e6b(matches, changes):
    return escaped(
        {"matches": matches, "timestamp": naive(), "source": SERVICE, "metadata": counted(matches, changes)}
    )


@shape("E8", "test:matches:updates")
def e8(matches, changes):
    match = {
        "match_id": "MATCH001",
        "home_team": "Åby IF",
        "away_team": "Östra BK",
        "date": "2031-05-06",
        "time": "17:00",
        "venue": "Björkängsvallen",
        "referee": "Åke Öberg-Påhittad",
        "assistant_referees": ["Märta Exempelsson"],
    }
    return raw_letters(
        {"matches": [match], "timestamp": naive(), "source": "mock", "metadata": counted([match], changes)}
    )


# The event system.


def event(kind, data):
    return json.dumps(
        {
            "event_type": kind,
            "data": data,
            "timestamp": naive(),
            "source": SERVICE,
            "metadata": {},
            "version": "1.0",
        },
        default=str,
    )


@shape("E7 list", "fogis.matches.all")
def e7_list(matches, changes):
    return event("matches.updated", matches)


@shape("E7 object", "fogis.events.all")
def e7_object(matches, changes):
    return event("matches.all", {"matches": matches})


@shape("E7 one match", "fogis.events.matches.added")
def e7_match(matches, changes):
    return event("matches.added", matches[0])


@shape("E7 health", "fogis.events.system.health")
def e7_health(matches, changes):
    return event("system.health", {"status": "healthy", "uptime": 12.5})


@shape("E7 service", "fogis.events.service.started")
def e7_service(matches, changes):
    return event("service.started", {"service": SERVICE})


@shape("E7 error", "fogis.events.system.error")
def e7_error(matches, changes):
    return event("system.error", {"error": "Connection refused", "component": "api"})


# Statuses.


@shape("ST guide of the calendar", STATUS)
def st_calendar_guide(matches, changes):
    message = head("processing_status", "2031-05-06T10:30:00Z")
    message["payload"] = {
        "status": "completed",
        "cycle_number": 42,
        "matches_processed": 15,
        "processing_duration_ms": 2500,
    }
    return raw_letters(message)


@shape("ST guide of the publisher", STATUS)
def st_publisher_guide(matches, changes):
    message = head("processing_status", "2031-05-06T10:30:00.000Z")
    message["payload"] = {
        "status": "completed",
        "cycle_number": 42,
        "matches_processed": 15,
        "processing_duration_ms": 2500,
        "errors": [],
        "details": {
            "start_time": "2031-05-06T10:29:57.500Z",
            "end_time": "2031-05-06T10:30:00.000Z",
            "changes_detected": 3,
            "services_notified": ["calendar"],
            "redis_publishing": {
                "match_updates": {"success": True, "subscribers": 2, "message_id": str(uuid.uuid4())}
            },
        },
    }
    return raw_letters(message)


def status(state, details):
    message = head("processing_status", zulu())
    message["payload"] = {"status": state, "timestamp": zulu(), "details": details}
    return raw_letters(message)


@shape("ST started", STATUS)
def st_started(matches, changes):
    return status("started", {"processor_type": "UnifiedMatchProcessor"})


@shape("ST completed", STATUS)
def st_completed(matches, changes):
    return status(
        "completed",
        {
            "matches_processed": len(matches),
            "changes_detected": True,
            "match_publishing_success": True,
            "processor_type": "UnifiedMatchProcessor",
        },
    )


@shape("ST failed", STATUS)
def st_failed(matches, changes):
    return status(
        "failed",
        {"error_type": "KeyError", "error_message": "'x'", "processor_type": "UnifiedMatchProcessor"},
    )


@shape("fogis_status", "fogis_status")
def fogis_status(matches, changes):
    return escaped(
        {
            "type": "processing_status",
            "status": "completed",
            "timestamp": naive(),
            "source": SERVICE,
            "details": {"matches_processed": len(matches)},
        }
    )


# Alerts.


@shape("AL guide", ALERTS)
def al_guide(matches, changes):
    message = head("system_alert", "2031-05-06T10:30:00Z")
    message["source"] = "system"
    message["payload"] = {"alert_type": "error", "severity": "high", "message": "Larm på östra sidan"}
    return raw_letters(message)


@shape("AL", ALERTS)
def al(matches, changes):
    message = head("system_alert", zulu())
    message["payload"] = {
        "alert_type": "processing_error",
        "severity": "error",
        "message": "Match processing failed: list index out of range",
        "timestamp": zulu(),
        "details": {"error_type": "IndexError", "processor_type": "UnifiedMatchProcessor"},
    }
    return raw_letters(message)


# What operators and accidents bring.


def epoch():
    return str(int(datetime.now().timestamp()))


shape("probe health_check", BASE)(lambda matches, changes: "health_check_" + epoch())
shape("probe test_message", STATUS)(lambda matches, changes: "test_message_" + epoch())
shape("probe object", "fogis_matches")(lambda matches, changes: escaped({"test": True}))
shape("probe with time", "fogis_test")(lambda matches, changes: escaped({"test": True, "timestamp": naive()}))


@shape("other encoding", BASE)
def other_encoding(matches, changes):
    return raw_letters(production(matches, changes, {})).encode("iso-8859-1", "replace")


shape("text", BASE)(lambda matches, changes: "hello")
shape("number", BASE)(lambda matches, changes: "17")
shape("byte order mark", BASE)(lambda matches, changes: "\ufeff" + e3(matches, changes))


def main(url):
    connection = redis.from_url(url, decode_responses=True)
    for line in sys.stdin:
        order = json.loads(line)
        if order["shape"] == "?":
            answer = {"shapes": list(shapes)}
        else:
            channel, make = shapes[order["shape"]]
            channel = order.get("channel") or channel
            body = make(order.get("matches") or [], order.get("changes") or [])
            receivers = connection.publish(channel, body)
            body = body if isinstance(body, bytes) else body.encode()
            answer = {
                "channel": channel,
                "receivers": receivers,
                "body": base64.b64encode(body).decode(),
            }
        print(json.dumps(answer), flush=True)


main(sys.argv[1])
