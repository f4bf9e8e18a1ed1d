"""Adapter of pymesos' scheduler driver: commands on standard input, what the driver saw on standard output."""

import json
import sys
import threading

from pymesos import MesosSchedulerDriver, Scheduler, decode_data, encode_data

LOCK = threading.Lock()


def say(saw, **details):
    with LOCK:
        print(json.dumps(dict(details, saw=saw)), flush=True)


class Adapter(Scheduler):
    def __init__(self):
        self.arrived = threading.Condition()
        self.offers = []
        # Where tasks run: what the calls for an executor name.
        self.agents = {}

    def subscribed(self, driver):
        with self.arrived:
            self.offers = []
        say("subscribed", framework=driver.framework_id)

    def registered(self, driver, framework_id, master_info):
        assert framework_id["value"] == driver.framework_id
        self.subscribed(driver)

    def reregistered(self, driver, master_info):
        self.subscribed(driver)

    def disconnected(self, driver):
        say("lost")

    def resourceOffers(self, driver, offers):
        with self.arrived:
            self.offers.extend(offers)
            self.arrived.notify_all()
        for offer in offers:
            say("offer", offer=offer["id"]["value"])

    def offerRescinded(self, driver, offer_id):
        with self.arrived:
            self.offers = [offer for offer in self.offers if offer["id"] != offer_id]
        say("rescind", offer=offer_id["value"])

    def statusUpdate(self, driver, update):
        self.agents[update["task_id"]["value"]] = update["agent_id"]
        say(
            "update",
            task=update["task_id"]["value"],
            state=update["state"],
            reason=update.get("reason"),
            message=update.get("message"),
        )

    def frameworkMessage(self, driver, executor_id, agent_id, message):
        say("message", executor=executor_id["value"], text=decode_data(message).decode("utf-8"))

    def executorLost(self, driver, executor_id, agent_id, status):
        say("executor_lost", executor=executor_id["value"])

    def processHeartBeat(self, driver):
        say("heartbeat")

    def error(self, driver, message):
        say("error", message=message)

    def take(self):
        """The first offer that is held; waits for one."""
        with self.arrived:
            if not self.arrived.wait_for(lambda: self.offers, timeout=60):
                raise RuntimeError("no offer within 60 s")
            return self.offers.pop(0)

    def take_all(self):
        with self.arrived:
            offers, self.offers = self.offers, []
            return offers


def resource(name, amount):
    return {"name": name, "type": "SCALAR", "scalar": {"value": amount}}


def launch(driver, adapter, task, command, executor):
    offer = adapter.take()
    info = {
        "name": task,
        "task_id": {"value": task},
        "agent_id": offer["agent_id"],
        "resources": [resource("cpus", 0.1), resource("mem", 32)],
    }
    if executor:
        # Fetched into the sandbox, and started there for the first of its tasks.
        info["executor"] = {
            "executor_id": {"value": executor["id"]},
            "command": {"value": command, "uris": [{"value": executor["uri"]}]},
            "resources": [resource("cpus", 0.1), resource("mem", 64)],
            "shutdown_grace_period": {"nanoseconds": 5000000000},
        }
    else:
        info["command"] = {"value": command}
    driver.launchTasks(offer["id"], [info], {"refuse_seconds": 0})


def obey(driver, adapter, order):
    verb = order["do"]
    if verb == "launch":
        launch(driver, adapter, order["task"], order["command"], order.get("executor"))
    elif verb == "message":
        data = encode_data(order["text"].encode("utf-8"))
        driver.sendFrameworkMessage({"value": order["executor"]}, adapter.agents[order["task"]], data)
    elif verb == "shutdown":
        # The driver has no method for it.
        shutdown = {"executor_id": {"value": order["executor"]}, "agent_id": adapter.agents[order["task"]]}
        body = {"type": "SHUTDOWN", "framework_id": {"value": driver.framework_id}, "shutdown": shutdown}
        driver._send(body)
    elif verb == "kill":
        driver.killTask({"value": order["task"]})
    elif verb == "reconcile":
        driver.reconcileTasks([{"task_id": {"value": task}} for task in order["tasks"]])
    elif verb == "decline":
        offers = adapter.take_all()
        driver.declineOffer([offer["id"] for offer in offers], {"refuse_seconds": order["seconds"]})
    elif verb == "suppress":
        driver.suppressOffers()
    elif verb == "revive":
        driver.reviveOffers()
    elif verb == "teardown":
        driver.stop()
    say("done", command=verb)


def main():
    adapter = Adapter()
    framework = {"user": "root", "name": "pymesos", "failover_timeout": 600, "checkpoint": True}
    driver = MesosSchedulerDriver(adapter, framework, sys.argv[1])
    driver.start()
    for line in sys.stdin:
        obey(driver, adapter, json.loads(line))


main()
