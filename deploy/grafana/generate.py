#!/usr/bin/env python3
"""Writes the dashboards beside it, or with --check says which are not what it would write. Needs Python alone.

A row answers one question, the most pressing first. Every panel says what it shows and in which unit; the links at the top
lead to the runbooks of the alerts that the dashboard is opened for.
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
# What tells installations apart. Where targets have no namespace, it is empty everywhere, and so matches.
JOB = 'namespace=~"$namespace", job=~"$job"'
# One process. Elsewhere than on Kubernetes there is no pod.
PROCESS = "namespace, job, instance, pod"
WHO = "{{roles}} {{pod}} {{instance}}"


def rate(metric, labels="", by=""):
    """How much of a counter there is in a second."""
    inside = ", ".join(part for part in (JOB, labels) if part)
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{{{inside}}}[$__rate_interval]))"


def of(metric, labels="", by="", how="sum"):
    inside = ", ".join(part for part in (JOB, labels) if part)
    return f"{how}{f' by ({by})' if by else ''} ({metric}{{{inside}}})"


def lag(labels="", by=""):
    """Records that wait. Several processes tell of one partition, so its greatest lag counts, once."""
    told = of(LAG, labels, "namespace, job, topic, group, partition", "max")
    return f"sum{f' by ({by})' if by else ''} ({told})"


def with_roles(expr):
    """What is by PROCESS, with the roles that each plays."""
    return f"{expr} * on ({PROCESS}) group_left (roles) postrider_info{{{JOB}}}"


def quantiles(metric, labels="", which=(0.5, 0.9, 0.99)):
    inside = ", ".join(part for part in (JOB, labels) if part)
    buckets = f"sum by (le) (rate({metric}_bucket{{{inside}}}[$__rate_interval]))"
    return [(f"histogram_quantile({q}, {buckets})", f"{q:.0%}") for q in which]


def share(good, bad):
    return f"{good} / (({good} + {bad}) > 0)"


def panel(title, description, unit, *queries, kind="timeseries", limit=None):
    return {"title": title, "description": description, "unit": unit, "queries": queries, "kind": kind, "limit": limit}


PROMPT = "postrider_delivery_prompt_total"
IN_TIME = rate(PROMPT, 'result="in_time"')
NOT_IN_TIME = rate(PROMPT, 'result=~"late|put_off"')
ACCEPTED = rate("postrider_ingest_accepted_total")
OUR_REFUSALS = rate("postrider_ingest_rejected_total", 'reason=~"unavailable|full|broken|abandoned"')
LAG, OLDEST = "postrider_log_lag_records", "postrider_log_oldest_unfinished_seconds"

LOST = (("fan-out", "postrider_fanout_lost_ranges_total"), ("worker", "postrider_delivery_trimmed_unread_total"), ("pump", "postrider_pump_trimmed_total"),
        ("recorder", "postrider_recorder_trimmed_total"), ("dead letters", "postrider_deadletter_trimmed_total"))

DASHBOARDS = {
    "overview": ("Postrider: overview", ["PostriderDeliveriesLate", "PostriderIngestUnavailable", "PostriderOldestRecordTooOld", "PostriderProcessDown", "PostriderRestarting", "PostriderRoleAway", "PostriderAway", "PostriderApiFailing"], {
        "Do we keep what we promise?": [
            panel("Delivered in time", "Of the deliveries whose endpoint could take them at once: how many succeeded within 30 s of acceptance.", "percentunit", (share(IN_TIME, NOT_IN_TIME), "in time"), kind="stat", limit=0.999),
            panel("Events taken", "Of the events that were sent to us and were right: how many we accepted.", "percentunit", (share(ACCEPTED, OUR_REFUSALS), "accepted"), kind="stat", limit=0.999),
            panel("Parts that are not ready", "Logs, stores, disks and processes, over all processes, that /health/ready calls not ready.", "short", (f"count(postrider_part_ready{{{JOB}}} == 0) or vector(0)", "not ready"), kind="stat"),
        ],
        "Who is there, and who is not ready?": [
            panel("Processes by role", "Processes that answer, by the roles that they play. A role that has none is missing here.", "short", (of("postrider_role", "", "role"), "{{role}}")),
            panel("What is not ready, and whose", "Each part that /health/ready calls not ready: log, store, space (the embedded log's disk), process (it starts or stops). Empty is well.", "short", (with_roles(f"(1 - postrider_part_ready{{{JOB}}} > 0)"), "{{part}} of " + WHO), kind="table"),
            panel("What runs", "Processes that answer, with their roles and version.", "short", (of("postrider_info", "", f"{PROCESS}, roles, version"), WHO), kind="table"),
        ],
        "How much is there to do?": [
            panel("Events", "Accepted over HTTP, and fanned out, from producers on the topic too.", "ops", (ACCEPTED, "accepted"), (rate("postrider_fanout_events_total"), "fanned out")),
            panel("Attempts by outcome", "Attempts that ended, by how. succeeded are deliveries made.", "ops", (rate("postrider_delivery_attempts_total", "", "outcome"), "{{outcome}}")),
            panel("Refused events by reason", "Requests to publish that were refused, or not answered in time (abandoned). unavailable, full, broken and abandoned are our fault.", "ops", (rate("postrider_ingest_rejected_total", "", "reason"), "{{reason}}")),
        ],
        "How long does it take?": [
            panel("From acceptance to success", "Of every delivery that succeeded, at whichever attempt; replays not counted.", "s", *quantiles("postrider_delivery_success_latency_seconds")),
            panel("From acceptance to the first attempt's end", "What an event waits for us and for one answer, whatever the answer.", "s", *quantiles("postrider_delivery_first_attempt_latency_seconds")),
            panel("Accepting an event", "From a request's head to its 202.", "s", *quantiles("postrider_ingest_accept_seconds")),
        ],
        "Does the API answer?": [
            panel("API: answers by status", "What customers and operators ask for, publishing left out. 5xx is our fault.", "ops", (rate("postrider_api_requests_total", "", "status"), "{{status}}")),
            panel("API: duration", "From a request's head to its answer's.", "s", *quantiles("postrider_api_request_seconds")),
        ],
        "Is anything behind?": [
            panel("Records to be read", "Lag of each reader, but for what waits for its time.", "short", (lag('group!="pump"', "group"), "{{group}}")),
            panel("Oldest record", "Age of the oldest record that a reader has not finished, but for what waits for its time.", "s", (of(OLDEST, 'group!="pump"', "group", "max"), "{{group}}")),
            panel("Deliveries that wait", "For their next attempt, and parked because their endpoint cannot take them.", "short", (lag('topic=~"retry[.].*"'), "retry"), (lag('topic=~"park[.].*"'), "parked")),
        ],
    }),
    "endpoints": ("Postrider: endpoints", ["PostriderEndpointsDisabled", "PostriderParkedGrowing", "PostriderParkedOverflow"], {
        "Which are worst?": [
            panel("Largest backlogs", "Deliveries that wait or are parked, of the ten endpoints that have most.", "short", (f"topk(10, postrider_delivery_worst_backlog{{{JOB}}})", "{{endpoint}}"), kind="table"),
            panel("Failing longest", "Time without a success, of the ten endpoints that have failed longest.", "s", (f"topk(10, postrider_delivery_worst_failing_seconds{{{JOB}}})", "{{endpoint}}"), kind="table"),
        ],
        "How are all of them?": [
            panel("Breakers", "Endpoints in memory by where their breaker stands; those not in memory are well or idle.", "short", (of("postrider_delivery_breakers", "", "state"), "{{state}}")),
            panel("Disabled", "Endpoints that were disabled, because they failed too long or answered 410.", "ops", (rate("postrider_recorder_endpoints_disabled_total", "", "reason"), "{{reason}}")),
            panel("Known", "Endpoints in the configuration, disabled ones included.", "short", (of("postrider_registry_endpoints", "", "", "max"), "endpoints"), kind="stat"),
        ],
        "What holds deliveries up?": [
            panel("Parked by reason", "limited and lane_full: the endpoint is slower than its events. breaker_open: it fails. memory, unfinished_budget, store_down: we are short.", "ops", (rate("postrider_delivery_parked_total", "", "reason"), "{{reason}}")),
            panel("Failed attempts by outcome", "Attempts that did not succeed.", "ops", (rate("postrider_delivery_attempts_total", 'outcome!="succeeded"', "outcome"), "{{outcome}}")),
            panel("Duration of an attempt", "From its start to the end of the answer, of those that succeeded.", "s", *quantiles("postrider_delivery_attempt_seconds", 'outcome="succeeded"')),
        ],
    }),
    "pipeline": ("Postrider: pipeline", ["PostriderLagGrowing", "PostriderOldestRecordTooOld", "PostriderWaitingOverdue", "PostriderRetriesLate", "PostriderRecorderBehind", "PostriderRegistryStale", "PostriderDataLost", "PostriderPositionLost", "PostriderCommitsFailing"], {
        "Where does it pile up?": [
            panel("Lag by topic", "Records that their reader has not finished, but for what waits for its time.", "short", (lag('group!="pump"', "topic, group"), "{{topic}} ({{group}})")),
            panel("Oldest record by topic", "Age of the oldest of them.", "s", (of(OLDEST, 'group!="pump"', "topic, group", "max"), "{{topic}} ({{group}})")),
            panel("Partitions that lag most", "The ten partitions with the greatest lag: one alone is one key, or one process.", "short", ("topk(10, " + of(LAG, 'group!="pump"', "namespace, job, topic, group, partition", "max") + ")", "{{topic}}/{{partition}} ({{group}})")),
        ],
        "What waits for its time?": [
            panel("Retries by delay", "Deliveries that wait for their next attempt, by the delay of their topic.", "short", (lag('topic=~"retry[.].*"', "topic"), "{{topic}}")),
            panel("Parked by delay", "Deliveries put aside because their endpoint cannot take them now.", "short", (lag('topic=~"park[.].*"', "topic"), "{{topic}}")),
            panel("For how long they are overdue", "How long ago the oldest of each topic should have been moved on; a pump that keeps up shows some seconds.", "s", (of("postrider_log_overdue_seconds", "", "topic", "max"), "{{topic}}")),
            panel("How late they are moved on", "After the end of a tier's delay, nine of ten batches.", "s", *quantiles("postrider_pump_late_seconds", "", (0.5, 0.9))),
        ],
        "What do the workers have in hand?": [
            panel("Deliveries in memory", "Read and not started, and attempts in flight.", "short", (of("postrider_delivery_waiting"), "waiting"), (of("postrider_delivery_in_flight"), "in flight")),
            panel("Age of the oldest in memory", "Not started though its endpoint could take it: more workers would help. Unfinished alone: an endpoint is slow; panel \"Largest backlogs\" of the endpoints has which.", "s", (of("postrider_delivery_oldest_waiting_seconds", "", "", "max"), "not started"), (of("postrider_delivery_oldest_unfinished_seconds", "", "", "max"), "unfinished")),
            panel("Lanes", "Endpoints that have a lane in memory.", "short", (of("postrider_delivery_lanes"), "lanes")),
            panel("Paused partitions", "Partitions whose reading is paused because memory, budget or the log are short.", "short", (of("postrider_delivery_reading_paused"), "paused")),
        ],
        "Is what happened written down?": [
            panel("Rows recorded", "Rows of history that were written into the store.", "ops", (rate("postrider_recorder_recorded_total", "", "kind"), "{{kind}}")),
            panel("Age of the configuration", "Of the process whose configuration is oldest.", "s", (of("postrider_registry_age_seconds", "", "", "max"), "age")),
            panel("Lost, by reader", "Places where records were gone before they were read.", "ops", *[(rate(name), reader) for reader, name in LOST]),
            panel("Done again", "Repeats that were passed over; commits of what was delivered and refreshes of the configuration that failed, and are tried again.", "ops",
                  (rate("postrider_delivery_repeats_total"), "repeats"), (rate("postrider_delivery_commit_failures_total"), "commits"), (rate("postrider_registry_refresh_failures_total"), "refreshes")),
        ],
        "Kafka only: do members keep their partitions?": [
            panel("Partitions by process", "Partitions that each process owns; an uneven share is normal only for a moment.", "short", (with_roles(of("postrider_kafka_owned_partitions", "", PROCESS)), WHO)),
            panel("Handed over, and lost", "Given up in order at a rebalance, and lost with work in hand.", "ops", (rate("postrider_kafka_given_up_partitions_total"), "given up"), (rate("postrider_kafka_lost_partitions_total"), "lost")),
        ],
    }),
    "dead-letters": ("Postrider: dead letters and replay", ["PostriderParkedOverflow", "PostriderRecordsSetAside", "PostriderReplayHalted", "PostriderStoreUnreachable"], {
        "What was given up?": [
            panel("Given up by reason", "Deliveries that became dead letters. parked_overflow and too_large are limits of ours.", "ops", (rate("postrider_delivery_dead_letters_total", "", "reason"), "{{reason}}"), (rate("postrider_pump_moved_total", 'route="expired"'), "expired while waiting"),
                  (rate("postrider_fanout_too_large_total"), "too_large, at fan-out"), (rate("postrider_pump_too_large_total"), "too_large, at the pump")),
            panel("Given up since the start", "Of the processes that run now.", "short", (of("postrider_delivery_dead_letters_total", "", "reason"), "{{reason}}"), (of("postrider_pump_moved_total", 'route="expired"'), "expired while waiting"), kind="table"),
            panel("Kept in the store", "Dead letters written into the store, and deleted by age.", "ops", (rate("postrider_deadletter_kept_total"), "kept"), (rate("postrider_deadletter_deleted_total"), "deleted")),
        ],
        "How do replays go?": [
            panel("Replays under way", "Being carried out at present.", "short", (of("postrider_replay_active"), "replays"), kind="stat"),
            panel("Still to replay", "Dead letters that the replays under way have still to come to.", "short", (of("postrider_replay_remaining"), "dead letters"), kind="stat"),
            panel("Replayed", "Dead letters published again, and those that could not be.", "ops", (rate("postrider_replay_published_total"), "published"), (rate("postrider_replay_failed_total"), "failed")),
            panel("Halted by us", "Replays that we paused because the store refused their progress.", "short", (of("postrider_replay_halted_total"), "halted"), kind="stat"),
        ],
        "What could not be read?": [
            panel("Set aside by the pipeline", "Records put into events.rejected because they could not be read or stored.", "ops", (rate("postrider_delivery_malformed_total"), "worker"), (rate("postrider_pump_moved_total", 'route="rejected"'), "pump"), (rate("postrider_recorder_set_aside_total", "", "reason"), "recorder, {{reason}}"), (rate("postrider_deadletter_set_aside_total", "", "reason"), "dead letters, {{reason}}")),
            panel("Rows left out", "Rows of the store that could not be read, by kind. One of an endpoint, application or token is missing in what is delivered by.", "ops", (rate("postrider_store_rows_skipped_total", "", "kind"), "{{kind}}")),
            panel("Refused from the topic by reason", "Records of the events topic that are no events as we take them: a producer is wrong.", "ops", (rate("postrider_fanout_rejected_total", "", "reason"), "{{reason}}")),
        ],
    }),
    "resources": ("Postrider: resources", ["PostriderDiskFilling", "PostriderLogFilling", "PostriderDiskFull", "PostriderLogSlow", "PostriderStoreSlow", "PostriderRowsUnreadable", "PostriderCheckpointStalls", "PostriderLogUnreachable", "PostriderStoreUnreachable", "PostriderSnapshotFailing", "PostriderBrokerClockOff", "PostriderPartitionsUnknown", "PostriderConfigRefused"], {
        "What do processes use?": [
            panel("Processors", "Processors in use, by process.", "short", (with_roles(rate("postrider_process_cpu_seconds_total", "", PROCESS)), WHO)),
            panel("Memory", "What each process holds.", "bytes", (with_roles(of("postrider_process_resident_memory_bytes", "", PROCESS)), WHO)),
            panel("Descriptors", "Open files and connections, of those that may be.", "percentunit", (with_roles(f"max by ({PROCESS}) (postrider_process_open_fds{{{JOB}}} / postrider_process_max_fds{{{JOB}}})"), WHO)),
        ],
        "Does the store answer?": [
            panel("Store: operations", "By what was asked.", "ops", (rate("postrider_store_operation_seconds_count", "", "operation"), "{{operation}}")),
            panel("Store: duration", "From the call to its answer, waiting for a connection included.", "s", *quantiles("postrider_store_operation_seconds")),
            panel("Store: failures", "Operations that returned an error. conflict, not_found and refused are answers; the others are faults.", "ops", (rate("postrider_store_failures_total", "", "kind"), "{{kind}}")),
        ],
        "Embedded log: does the disk keep up?": [
            panel("Records and commits", "Appended to the embedded log, and the transactions that did it.", "ops", (rate("postrider_log_records_total"), "records"), (rate("postrider_log_commits_total"), "commits")),
            panel("Commit and fsync", "Nine of ten take no longer. Acceptance waits for an fsync.", "s", *[(expr, f"commit {name}") for expr, name in quantiles("postrider_log_commit_seconds", "", (0.9,))], *[(expr, f"fsync {name}") for expr, name in quantiles("postrider_log_fsync_seconds", "", (0.9,))]),
            panel("Writer paused", "Share of the time that the writer pauses while a full WAL is emptied.", "percentunit", (rate("postrider_log_stall_seconds_sum"), "paused")),
            panel("Disk", "Free on the data directory's disk, and what the log takes of it.", "bytes", (of("postrider_data_disk_free_bytes", "", PROCESS), "free, {{pod}} {{instance}}"), (of("postrider_log_disk_bytes", "", PROCESS), "log, {{pod}} {{instance}}")),
            panel("Room for new events", "What may still be written until new events are refused: on the disk or of log.max, whichever is less.", "bytes", (of("postrider_log_room_bytes", "", PROCESS), "{{pod}} {{instance}}")),
            panel("WAL and tail", "What the WAL holds, and the records kept in memory for readers.", "bytes", (of("postrider_log_wal_bytes"), "WAL"), (of("postrider_log_tail_bytes"), "tail")),
        ],
        "Kafka only: does it keep up?": [
            panel("On the way to Kafka", "Bytes in the producers' queues.", "bytes", (with_roles(of("postrider_kafka_queued_bytes", "", PROCESS)), WHO)),
            panel("Kafka: duration of an append", "From an append to its acknowledgement.", "s", *quantiles("postrider_kafka_append_seconds")),
            panel("Kafka: refusals", "Records that were not acknowledged in time, and appends refused because too much was on its way.", "ops", (rate("postrider_kafka_refused_total"), "refused"), (rate("postrider_kafka_busy_total"), "busy")),
        ],
    }),
}


def drawn(spec, number, at):
    kind = spec["kind"]
    steps = [{"color": "green", "value": None}]
    if spec["limit"]:
        steps = [{"color": "red", "value": None}, {"color": "green", "value": spec["limit"]}]
    targets = [
        {"refId": chr(ord("A") + n), "expr": expr, "legendFormat": legend, "datasource": {"type": "prometheus", "uid": "${datasource}"},
         **({"instant": True, "format": "table"} if kind == "table" else {"instant": kind == "stat"})}
        for n, (expr, legend) in enumerate(spec["queries"])
    ]
    return {
        "id": number, "type": kind, "title": spec["title"], "description": spec["description"], "gridPos": at,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "fieldConfig": {"defaults": {"unit": spec["unit"], "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}, "overrides": []},
        "targets": targets,
    }


def chosen(name, label, query):
    """A variable: one, several or all of what the query finds."""
    return {"name": name, "label": label, "type": "query", "datasource": {"type": "prometheus", "uid": "${datasource}"},
            "query": query, "includeAll": True, "multi": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"}, "refresh": 2}


def dashboard(name, title, runbooks, rows):
    panels, y, number = [], 0, 0
    for question, specs in rows.items():
        number += 1
        panels.append({"id": number, "type": "row", "title": question, "collapsed": False, "panels": [], "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}})
        y += 1
        across = min(len(specs), 3)
        for n, spec in enumerate(specs):
            number += 1
            at = {"x": n % across * (24 // across), "y": y + n // across * 8, "w": 24 // across, "h": 8}
            panels.append(drawn(spec, number, at))
        y += -(-len(specs) // across) * 8
    return {
        "uid": f"postrider-{name}", "title": title, "tags": ["postrider"], "schemaVersion": 39, "version": 1, "editable": True,
        "refresh": "30s", "time": {"from": "now-1h", "to": "now"}, "timezone": "browser",
        "links": [{"type": "link", "title": one, "url": f"${{runbooks:raw}}/{one}.md", "targetBlank": True} for one in runbooks],
        "templating": {"list": [
            {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
            chosen("namespace", "Namespace", "label_values(postrider_process_start_time_seconds, namespace)"),
            chosen("job", "Installation", 'label_values(postrider_process_start_time_seconds{namespace=~"$namespace"}, job)'),
            {"name": "runbooks", "label": "Runbooks are at", "type": "textbox", "query": "docs/runbooks", "current": {"text": "docs/runbooks", "value": "docs/runbooks"}},
        ]},
        "panels": panels,
    }


def main():
    stale = []
    for name, (title, runbooks, rows) in DASHBOARDS.items():
        path = HERE / f"{name}.json"
        text = json.dumps(dashboard(name, title, runbooks, rows), indent=1) + "\n"
        if path.exists() and path.read_text() == text:
            continue
        stale.append(path.name)
        if sys.argv[1:] != ["--check"]:
            path.write_text(text)
    for name in stale:
        print(f"{name} {'is not what deploy/grafana/generate.py writes: run it' if sys.argv[1:] == ['--check'] else 'written'}")
    return 1 if stale and sys.argv[1:] == ["--check"] else 0


sys.exit(main())
