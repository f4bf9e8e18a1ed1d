"use strict";
// An executor on mesos-framework's executor class. Its tasks run until a message says how one of them ends.

const crypto = require("crypto");
const fs = require("fs");
const { Executor } = require("mesos-framework");

const STATES = { finish: "TASK_FINISHED", fail: "TASK_FAILED" };
const AGAIN = 500;

let registrations = 0;
// Set while another subscription is due.
let again = null;

function update(task, state, message) {
    executor.update({
        task_id: task,
        state,
        message,
        source: "SOURCE_EXECUTOR",
        uuid: crypto.randomBytes(16).toString("base64")
    });
}

const executor = new Executor({
    handlers: {
        SUBSCRIBED: function (subscribed) {
            registrations += 1;
            if (registrations > 1) {
                executor.message("back " + registrations);
            }
        },
        LAUNCH: function (launched) { update(launched.task.task_id, "TASK_RUNNING", String(process.pid)); },
        KILL: function (killed) { update(killed.task_id, "TASK_KILLED"); },
        ACKNOWLEDGED: function (acknowledged) {},
        MESSAGE: function (message) {
            const words = Buffer.from(message.data, "base64").toString().split(" ");
            if (words[0] in STATES) {
                update({ value: words[1] }, STATES[words[0]]);
            } else {
                executor.message("heard " + words.join(" "));
            }
        },
        ERROR: function (error) {},
        SHUTDOWN: function (shutdown) {
            fs.writeFileSync("shut-down", "");
            process.exit(0);
        }
    }
});

// The library leaves it to its user to subscribe again. It cannot name what was not acknowledged.
executor.on("error", error => {
    const message = error.message || String(error);
    console.error(message);
    if (/Long-running connection was closed|problem with the request/.test(message) && again === null) {
        again = setTimeout(() => {
            again = null;
            executor.subscribe();
        }, AGAIN);
    }
});
executor.subscribe();
