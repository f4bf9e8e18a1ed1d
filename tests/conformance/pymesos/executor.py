"""An executor on pymesos' executor driver. Its tasks run until a message says how one of them ends."""

import os
import threading

from pymesos import Executor, MesosExecutorDriver, decode_data, encode_data

STATES = {"finish": "TASK_FINISHED", "fail": "TASK_FAILED"}


class Adapter(Executor):
    def __init__(self):
        self.lock = threading.Lock()
        self.tasks = []
        self.registrations = 0

    def registered(self, driver, executor_info, framework_info, agent_info):
        self.registrations += 1

    def reregistered(self, driver, agent_info):
        self.registrations += 1
        self.say(driver, "back %d" % self.registrations)

    def launchTask(self, driver, task):
        with self.lock:
            self.tasks.append(task["task_id"]["value"])
        self.update(driver, task["task_id"]["value"], "TASK_RUNNING", str(os.getpid()))

    def killTask(self, driver, task_id):
        self.end(driver, task_id["value"], "TASK_KILLED")

    def frameworkMessage(self, driver, message):
        words = decode_data(message).decode("utf-8").split(" ")
        if words[0] in STATES:
            self.end(driver, words[1], STATES[words[0]])
        else:
            self.say(driver, "heard %s" % " ".join(words))

    def shutdown(self, driver):
        with open("shut-down", "w") as left:
            left.write(" ".join(self.tasks))

    def end(self, driver, task, state):
        with self.lock:
            self.tasks.remove(task)
        self.update(driver, task, state)

    # The driver's calls wait for answers that its own thread must not wait for.

    def update(self, driver, task, state, message=""):
        status = {"task_id": {"value": task}, "state": state, "message": message}
        threading.Thread(target=driver.sendStatusUpdate, args=(status,)).start()

    def say(self, driver, text):
        data = encode_data(text.encode("utf-8"))
        threading.Thread(target=driver.sendFrameworkMessage, args=(data,)).start()


MesosExecutorDriver(Adapter()).run()
