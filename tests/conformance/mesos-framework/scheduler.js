"use strict";
// Adapter of mesos-framework's scheduler: commands on standard input, what the library saw on standard output.

const readline = require("readline");
const { Scheduler, Mesos } = require("mesos-framework");

const mesos = Mesos.getMesos();
const AGAIN = 1000;
const [host, port] = process.argv[2].split(":");

function say(saw, details) {
    process.stdout.write(JSON.stringify(Object.assign({ saw }, details)) + "\n");
}

const agents = {};
const waiting = [];
let offers = [];
// Set while another subscription is due.
let again = null;

function offered(message) {
    message.offers.forEach(offer => {
        offers.push(offer);
        say("offer", { offer: offer.id.value });
    });
    while (offers.length > 0 && waiting.length > 0) {
        waiting.shift()(offers.shift());
    }
}

const scheduler = new Scheduler({
    masterUrl: host,
    port: port,
    frameworkName: "mesos-framework",
    frameworkFailoverTimeout: 600,
    logging: { level: "error" },
    handlers: {
        OFFERS: function (message) { offered(message); },
        UPDATE: function (message) {
            const status = message.status;
            agents[status.task_id.value] = status.agent_id && status.agent_id.value;
            scheduler.acknowledge(message);
            say("update", { task: status.task_id.value, state: status.state, reason: status.reason });
        }
    }
});

scheduler.on("subscribed", subscribed => {
    offers = [];
    clearTimeout(again);
    again = null;
    say("subscribed", { framework: subscribed.frameworkId });
});
scheduler.on("heartbeat", () => say("heartbeat"));
scheduler.on("rescind", rescind => {
    offers = offers.filter(offer => offer.id.value !== rescind.offer_id.value);
    say("rescind", { offer: rescind.offer_id.value });
});
// The library subscribes again after an orderly end; a refused or broken connection and an answer 503 are left to its user.
scheduler.on("error", error => {
    const message = error.message || String(error);
    const refused = /problem with the request|Error registering with mesos.*code: 503/.test(message);
    if (refused && again === null) {
        again = setTimeout(() => {
            again = null;
            scheduler.subscribe();
        }, AGAIN);
    }
    say(refused || /Long-running connection was closed/.test(message) ? "lost" : "error", { message });
});
scheduler.on("ready", () => scheduler.subscribe());

function resource(name, amount) {
    return new mesos.Resource(name, mesos.Value.Type.SCALAR, new mesos.Value.Scalar(amount));
}

function launch(task, command, done) {
    waiting.push(offer => {
        const info = new mesos.TaskInfo(
            task,
            new mesos.TaskID(task),
            new mesos.AgentID(offer.agent_id.value),
            [resource("cpus", 0.1), resource("mem", 32)],
            null,
            new mesos.CommandInfo(null, null, true, command)
        );
        const operation = new mesos.Offer.Operation(mesos.Offer.Operation.Type.LAUNCH, new mesos.Offer.Operation.Launch([info]));
        scheduler.once("sent_accept", done);
        scheduler.accept([offer.id], [operation], new mesos.Filters(0));
    });
    offered({ offers: [] });
}

const verbs = {
    launch: (order, done) => launch(order.task, order.command, done),
    kill: (order, done) => {
        scheduler.once("sent_kill", done);
        scheduler.kill(order.task, agents[order.task]);
    },
    reconcile: (order, done) => {
        scheduler.once("sent_reconcile", done);
        if (order.tasks.length === 0) {
            scheduler.reconcile();
        } else {
            order.tasks.forEach(task => scheduler.reconcile(task, agents[task]));
        }
    },
    decline: (order, done) => {
        const held = offers;
        offers = [];
        scheduler.once("sent_decline", done);
        scheduler.decline(held.map(offer => offer.id), new mesos.Filters(order.seconds));
    },
    // The library has no call of that name; its requests are open to its users.
    suppress: (order, done) => {
        const helpers = require("mesos-framework/lib/helpers");
        const call = { framework_id: { value: scheduler.frameworkId }, type: "SUPPRESS" };
        helpers.doRequest.call(scheduler, call, error => error ? say("error", error) : done());
    },
    revive: (order, done) => {
        scheduler.once("sent_revive", done);
        scheduler.revive();
    },
    teardown: (order, done) => {
        scheduler.once("sent_teardown", done);
        scheduler.teardown();
    }
};

readline.createInterface({ input: process.stdin }).on("line", line => {
    const order = JSON.parse(line);
    verbs[order.do](order, () => say("done", { command: order.do }));
}).on("close", () => process.exit(0));
