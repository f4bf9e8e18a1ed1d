"""Adapter of pymesos' operator drivers: calls on standard input, answers and events on standard output.

    operation.py HOST:PORT          a master, with its events
    operation.py HOST:PORT agent    an agent
"""

import json
import sys
import threading

from pymesos import MesosOperatorAgentDriver, MesosOperatorMasterDriver, OperatorMaster

LOCK = threading.Lock()


def say(saw, **details):
    with LOCK:
        print(json.dumps(dict(details, saw=saw)), flush=True)


class Adapter(OperatorMaster):
    def taskAdded(self, task):
        say("task_added", task=task["task_id"]["value"], state=task["state"])

    def taskUpdated(self, event):
        say("task_updated", task=event["status"]["task_id"]["value"], state=event["state"])

    def frameworkAdded(self, framework):
        say("framework_added", framework=framework["framework_info"]["id"]["value"])

    def frameworkUpdated(self, framework):
        say("framework_updated", framework=framework["framework_info"]["id"]["value"])

    def frameworkRemoved(self, info):
        say("framework_removed", framework=info["id"]["value"])

    def agentAdded(self, agent):
        say("agent_added", agent=agent["agent_info"]["id"]["value"])

    def agentRemoved(self, agent):
        say("agent_removed", agent=agent)


class Driver(MesosOperatorMasterDriver):
    """The driver only logs that it has subscribed; here it says so as well."""

    def on_subscribed(self, info):
        super(Driver, self).on_subscribed(info)
        agents = info["get_state"]["get_agents"]["agents"]
        say("subscribed", agents=[agent["agent_info"]["id"]["value"] for agent in agents])


def main():
    if sys.argv[2:] == ["agent"]:
        driver = MesosOperatorAgentDriver(sys.argv[1])
    else:
        driver = Driver(sys.argv[1], operator=Adapter())
        driver.start()
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = getattr(driver, order["method"])(*order["arguments"])
        except RuntimeError as refusal:
            say("error", message=str(refusal))
        else:
            say("answer", method=order["method"], answer=answer)


main()
