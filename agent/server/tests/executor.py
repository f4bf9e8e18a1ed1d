#!/usr/bin/env python3
"""An executor for tests: says what it is asked to, keeps what is not acknowledged, comes back to an agent that was away.

A task finishes when a file `finish-<task>` appears in the sandbox; a message comes back as it went.
"""
import base64
import http.client
import json
import os
import threading
import time
import uuid

ENDPOINT = os.environ["MESOS_AGENT_ENDPOINT"]
IDS = {
    "framework_id": {"value": os.environ["MESOS_FRAMEWORK_ID"]},
    "executor_id": {"value": os.environ["MESOS_EXECUTOR_ID"]},
}
HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}

lock = threading.Lock()
tasks = {}
updates = {}


def post(call):
    connection = http.client.HTTPConnection(ENDPOINT, timeout=60)
    connection.request("POST", "/api/v1/executor", json.dumps({**IDS, **call}), HEADERS)
    return connection.getresponse()


def update(task, state, data=b""):
    name = uuid.uuid4().bytes
    status = {
        "task_id": {"value": task},
        "state": state,
        "source": "SOURCE_EXECUTOR",
        "uuid": base64.b64encode(name).decode(),
        "data": base64.b64encode(data).decode(),
    }
    with lock:
        updates[status["uuid"]] = {"status": status}
    try:
        answer = post({"type": "UPDATE", "update": {"status": status}})
        if answer.status != 202:
            print("update refused:", answer.status, answer.read(), flush=True)
    except OSError:
        print("nobody there: the update waits", flush=True)


def watch(task):
    while task in tasks:
        if os.path.exists("finish-" + task):
            tasks.pop(task, None)
            update(task, "TASK_FINISHED")
            return
        time.sleep(0.01)


def records(answer):
    while True:
        length = answer.readline()
        if not length:
            return
        yield json.loads(answer.read(int(length)))


def handle(event):
    kind = event["type"]
    print(kind, flush=True)
    if kind == "LAUNCH":
        info = event["launch"]["task"]
        task = info["task_id"]["value"]
        tasks[task] = info
        names = sorted(name for name in os.environ if name.startswith(("MESOS_", "LIBPROCESS_")))
        update(task, "TASK_RUNNING", " ".join(names).encode())
        threading.Thread(target=watch, args=(task,), daemon=True).start()
    elif kind == "KILL":
        task = event["kill"]["task_id"]["value"]
        if tasks.pop(task, None):
            update(task, "TASK_KILLED")
    elif kind == "ACKNOWLEDGED":
        with lock:
            updates.pop(event["acknowledged"]["uuid"], None)
    elif kind == "MESSAGE":
        post({"type": "MESSAGE", "message": {"data": event["message"]["data"]}})
    elif kind == "SHUTDOWN":
        raise SystemExit(0)


while True:
    try:
        with lock:
            known = {"unacknowledged_tasks": list(tasks.values()), "unacknowledged_updates": list(updates.values())}
        stream = post({"type": "SUBSCRIBE", "subscribe": known})
        if stream.status == 200:
            for event in records(stream):
                handle(event)
    except (OSError, http.client.HTTPException):
        pass
    time.sleep(0.05)
