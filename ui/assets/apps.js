// The apps as their supervisor sees them, and why those that wait do.

import { ago, bar, el, keepDrawing, link, memory, pill, put, read, round, row, table } from "/ui/stoa.js";

/** More rows than anybody reads; the filter finds the others. */
const ROWS = 200;
const EVENTS = 100;
const TYPES = [
  "status_update_event", "health_status_changed_event", "failed_health_check_event", "instance_health_changed_event",
  "unhealthy_instance_kill_event", "deployment_info", "deployment_success", "deployment_failed", "deployment_step_success",
  "deployment_step_failure", "api_post_event", "app_terminated_event", "group_change_success", "group_change_failed",
  "framework_message_event",
];

/** Reasons of the queue in words. */
const REASONS = {
  UnfulfilledRole: "role does not match", UnfulfilledConstraint: "a constraint does not hold", NoCorrespondingReservationFound: "nothing reserved fits",
  AgentMaintenance: "node is going into maintenance", InsufficientCpus: "not enough processors", InsufficientMemory: "not enough memory",
  InsufficientDisk: "not enough disk", InsufficientGpus: "not enough GPUs", InsufficientPorts: "ports are taken", DeclinedScarceResources: "node is kept for GPU work",
};

const seconds = (time) => (time ? Date.parse(time) / 1000 : 0);
const chosen = () => decodeURIComponent(location.hash.slice(1));

async function draw() {
  const [apps, queue, deployments, info] = await Promise.all([
    read("/v2/apps"), read("/v2/queue"), read("/v2/deployments"), read("/v2/info"),
  ]);
  navigation(info);
  list(apps.apps, queue.queue);
  waiting(queue.queue);
  changes(deployments);
  await one(apps.apps);
}

function navigation(info) {
  const master = (info.marathon_config?.master ?? "").split(",")[0];
  put("nav", master ? link(`http://${master}/`, "Cluster") : null, el("span", { "aria-current": "page" }, "Apps"));
  put("who", `led by ${info.leader ?? "nobody"} · framework ${info.frameworkId ?? "not registered"}`);
}

function state(app, waits) {
  if (app.deployments.length > 0) return pill("deploying", "warn");
  if (waits.has(app.id)) return pill("waiting", "warn");
  if (app.instances === 0) return pill("suspended", "");
  if (app.tasksUnhealthy > 0) return pill("unhealthy", "bad");
  return pill("running", "good");
}

function list(apps, queue) {
  const words = document.getElementById("apps-filter").value.trim().toLowerCase();
  const waits = new Set(queue.map((entry) => entry.app?.id ?? entry.pod?.id));
  const found = apps.filter((app) => words === "" || app.id.toLowerCase().includes(words));
  put("apps-count", found.length > ROWS ? `${ROWS} of ${found.length}` : `${found.length}`);
  const share = (app, count) => count / Math.max(1, app.instances, app.tasksRunning);
  const rows = found.slice(0, ROWS).map((app) => row([
    link(`/ui/#${encodeURIComponent(app.id)}`, app.id), state(app, waits),
    [`${app.tasksRunning} of ${app.instances}`, bar([share(app, app.tasksRunning - app.tasksUnhealthy), "good"], [share(app, app.tasksUnhealthy), "bad"])],
    app.healthChecks.length > 0 ? `${app.tasksHealthy} healthy` : "not checked",
    round(app.cpus), memory(app.mem), (app.ports ?? []).join(", "), ago(seconds(app.version)),
  ]));
  table("apps", ["app", "", "instances", "health", "processors each", "memory each", "service ports", "changed"], rows,
    words ? "No app matches." : "No app yet: POST one to /v2/apps, or `stoa app deploy FILE`.");
}

function waiting(queue) {
  const entries = queue.map((entry) => {
    const offers = entry.processedOffersSummary ?? {};
    const reasons = (offers.rejectSummaryLastOffers ?? []).filter((reason) => reason.declined > 0);
    const delay = entry.delay?.timeLeftSeconds ?? 0;
    const lines = reasons.map((reason) => row([
      REASONS[reason.reason] ?? reason.reason, `${reason.declined} of ${reason.processed}`,
      bar([reason.declined / Math.max(1, reason.processed), "bad"]),
    ]));
    const sentence = delay > 0
      ? `starts again in ${delay} s, after failures`
      : `${offers.processedOffersCount ?? 0} offers looked at, ${offers.unusedOffersCount ?? 0} did not fit`;
    return el("div", { class: "note" },
      el("b", {}, `${entry.app?.id ?? entry.pod?.id}`), ` waits for ${entry.count} instances for ${ago(seconds(entry.since))}: ${sentence}`,
      lines.length > 0 ? el("table", {}, el("tbody", {}, lines)) : null);
  });
  put("queue", entries.length > 0 ? entries : el("p", { class: "empty" }, "Nothing waits."));
}

function changes(all) {
  const rows = all.map((deployment) => row([
    deployment.affectedApps.join(", "), `step ${deployment.currentStep} of ${deployment.totalSteps}`,
    (deployment.currentActions ?? []).map((action) => action.action).join(", "), ago(seconds(deployment.version)),
  ]));
  table("deployments", ["apps", "", "", "since"], rows, "None is under way.");
}

async function one(apps) {
  const app = apps.find((app) => app.id === chosen());
  if (app === undefined) return put("chosen");
  const details = (await read(`/v2/apps${app.id}?embed=app.lastTaskFailure&embed=app.tasks`)).app;
  const failure = details.lastTaskFailure;
  const rows = (details.tasks ?? []).map((task) => row([
    pill(task.state.replace("TASK_", "").toLowerCase(), task.state === "TASK_RUNNING" ? "good" : "warn"), health(task),
    task.ports.length > 0 ? link(`http://${task.host}:${task.ports[0]}/`, `${task.host}:${task.ports.join(",")}`) : task.host,
    ago(seconds(task.startedAt)), task.version === app.version ? "" : pill("old version", "warn"), el("code", {}, task.id),
  ]));
  put("chosen", el("section", {},
    el("h2", {}, app.id, el("small", {}, link(`/v2/apps${app.id}`, "definition"))),
    failure ? el("p", { class: "note bad" }, `Last failure, ${ago(seconds(failure.timestamp))} ago on ${failure.host}: ${failure.state} ${failure.message}`) : null,
    el("dl", {}, el("dt", {}, "command"), el("dd", {}, el("code", {}, app.cmd ?? (app.args ?? []).join(" "))),
      el("dt", {}, "constraints"), el("dd", {}, app.constraints.map((words) => words.join(" ")).join("; ") || "none")),
    el("div", { id: "instances" })));
  table("instances", ["", "", "address", "since", "", "id"], rows, "No instance.");
}

function health(task) {
  const results = (task.healthCheckResults ?? []).filter((result) => result !== null);
  if (results.length === 0) return "";
  return results.every((result) => result.alive) ? pill("healthy", "good") : pill("unhealthy", "bad");
}

function follow() {
  const feed = document.getElementById("events");
  const source = new EventSource("/v2/events");
  for (const type of TYPES) {
    source.addEventListener(type, (event) => {
      const told = JSON.parse(event.data);
      const about = [told.appId ?? told.runSpecId ?? told.id, told.taskStatus, told.host, told.message].filter(Boolean);
      feed.prepend(el("li", {}, el("span", { class: "faint" }, `${(told.timestamp ?? "").slice(11, 19)} `), `${type.replace(/_event$/, "").replaceAll("_", " ")} `, el("span", { class: "faint" }, about.join(" · "))));
      while (feed.children.length > EVENTS) feed.lastChild.remove();
    });
  }
}

const again = () => draw().catch(() => {});
document.getElementById("apps-filter").addEventListener("input", again);
addEventListener("hashchange", again);
keepDrawing(draw);
follow();
