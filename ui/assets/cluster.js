// The cluster as its masters see it.

import { ago, bar, el, keepDrawing, link, memory, pill, put, read, round, row, table } from "/ui/stoa.js";

/** More rows than anybody reads; the filter finds the others. */
const ROWS = 200;
/** The newest tasks, of which the filter picks. */
const TASKS = 1000;

const filter = (place) => document.getElementById(place).value.trim().toLowerCase();
const has = (text, words) => words === "" || text.toLowerCase().includes(words);

async function draw() {
  const group = await read("/members");
  members(group);
  if (!group.leading) {
    for (const place of ["totals", "nodes", "frameworks", "roles", "tasks"]) put(place);
    const leader = group.leader;
    put("totals", el("section", {}, leader === null
      ? "No leader is known at present."
      : ["This master follows. The cluster is shown by its leader: ", link(`http://${leader}/`, leader)]));
    return;
  }
  const [summary, roles, tasks] = await Promise.all([
    read("/state-summary"), read("/roles"), read(`/tasks?limit=${TASKS}&order=des`),
  ]);
  navigation(summary.frameworks);
  totals(summary);
  nodes(summary.slaves);
  frameworks(summary.frameworks);
  sharing(roles.roles);
  work(tasks.tasks, summary);
}

function navigation(frameworks) {
  const pages = frameworks.filter((framework) => framework.webui_url && framework.connected !== false)
    .map((framework) => link(`${framework.webui_url.replace(/\/$/, "")}/ui/`, framework.name));
  put("nav", el("span", { "aria-current": "page" }, "Cluster"), pages);
}

function members(group) {
  put("who", `${group.address} · version ${group.version} · term ${group.term}`);
  const rows = group.members.map((member) => row([
    link(`http://${member.address}/`, member.address),
    member.address === group.leader ? pill("leads", "good") : member.standing === "VOTER" ? "follows" : pill("catching up", "warn"),
    el("code", {}, member.id),
    behind(group.applied - member.held, member.held === null),
  ]));
  table("members", ["address", "", "id", ""], rows, "No members are known yet.");
}

function behind(entries, unknown) {
  if (unknown) return "";
  return entries <= 0 ? "up to date" : `${entries} entries behind`;
}

function card(title, used, offered, total, text) {
  const share = (part) => (total > 0 ? part / total : 0);
  return el("section", { class: "card" },
    el("span", { class: "faint" }, title),
    el("b", {}, `${text(used)} of ${text(total)}`),
    bar([share(used)], [share(offered), "offered"]),
    el("span", { class: "faint" }, offered > 0 ? `${text(offered)} on offer` : "used"));
}

function totals(summary) {
  const sum = (what, name) => summary.slaves.reduce((all, node) => all + (node[what][name] ?? 0), 0);
  const resource = (title, name, text) =>
    card(title, sum("used_resources", name), sum("offered_resources", name), sum("resources", name), text);
  const running = summary.frameworks.reduce((all, framework) => all + framework.TASK_RUNNING, 0);
  const coming = summary.frameworks.reduce((all, framework) => all + framework.TASK_STAGING + framework.TASK_STARTING, 0);
  const lost = summary.frameworks.reduce((all, framework) => all + framework.TASK_UNREACHABLE, 0);
  put("totals",
    resource("Processors", "cpus", round), resource("Memory", "mem", memory), resource("Disk", "disk", memory),
    sum("resources", "gpus") > 0 ? resource("GPUs", "gpus", round) : null,
    el("section", { class: "card" }, el("span", { class: "faint" }, "Tasks"), el("b", {}, `${running} running`),
      el("span", { class: "faint" }, `${coming} starting`), " ", lost > 0 ? pill(`${lost} unreachable`, "bad") : null));
}

function gauge(node, name, text) {
  const total = node.resources[name] ?? 0;
  const used = node.used_resources[name] ?? 0;
  const offered = node.offered_resources[name] ?? 0;
  const share = (part) => (total > 0 ? part / total : 0);
  return [`${text(used)} / ${text(total)}`, bar([share(used)], [share(offered), "offered"])];
}

function nodes(all) {
  const words = filter("nodes-filter");
  const text = (node) => `${node.hostname} ${node.id} ${JSON.stringify(node.attributes)}`;
  const found = all.filter((node) => has(text(node), words));
  put("nodes-count", found.length > ROWS ? `${ROWS} of ${found.length}` : `${found.length}`);
  const state = (node) => {
    if (node.deactivated) return pill("deactivated", "warn");
    return node.active ? pill("active", "good") : pill("not connected", "bad");
  };
  const rows = found.slice(0, ROWS).map((node) => row([
    link(`http://${node.hostname}:${node.port}/state`, `${node.hostname}:${node.port}`), state(node),
    gauge(node, "cpus", round), gauge(node, "mem", memory), gauge(node, "disk", memory),
    String(node.TASK_RUNNING),
    Object.entries(node.attributes).map(([name, value]) => `${name}:${value}`).join(" "),
    ago(node.registered_time), el("code", {}, node.id.replace(/^.*-/, "")),
  ]));
  table("nodes", ["node", "", "processors", "memory", "disk", "tasks", "attributes", "since", "id"], rows,
    words ? "No node matches." : "No agent has registered: start `stoa agent --master HOST:PORT`.");
}

function frameworks(all) {
  const state = (framework) => {
    if (framework.connected === false) return pill("disconnected", "bad");
    return framework.active ? pill("active", "good") : pill("inactive", "warn");
  };
  const rows = all.map((framework) => row([
    framework.webui_url ? link(framework.webui_url, framework.name) : framework.name, state(framework),
    String(framework.TASK_RUNNING), round(framework.used_resources.cpus ?? 0), memory(framework.used_resources.mem ?? 0),
    el("code", {}, framework.id),
  ]));
  table("frameworks", ["name", "", "tasks", "processors", "memory", "id"], rows, "No framework has subscribed.");
}

function sharing(all) {
  const numbers = (bag) => Object.entries(bag ?? {}).filter(([name]) => name !== "ports")
    .map(([name, value]) => `${name} ${round(value)}`).join(", ");
  const rows = all.map((role) => row([
    role.name, round(role.weight), numbers(role.allocated ?? role.resources), numbers(role.quota?.guarantee) || "none",
    numbers(role.quota?.limit) || "none", String(role.frameworks.length),
  ]));
  table("roles", ["role", "weight", "has", "guarantee", "limit", "frameworks"], rows, "No role is in use.");
}

const KINDS = {
  TASK_RUNNING: "good", TASK_FINISHED: "", TASK_KILLED: "", TASK_STAGING: "warn", TASK_STARTING: "warn", TASK_KILLING: "warn",
};

function work(all, summary) {
  const hosts = new Map(summary.slaves.map((node) => [node.id, `${node.hostname}:${node.port}`]));
  const words = filter("tasks-filter");
  const found = all.filter((task) => has(`${task.id} ${task.name} ${task.state} ${hosts.get(task.slave_id) ?? ""}`, words));
  put("tasks-count", found.length > ROWS ? `${ROWS} of ${found.length}` : `${found.length}`);
  const rows = found.slice(0, ROWS).map((task) => {
    const last = task.statuses[task.statuses.length - 1] ?? {};
    const host = hosts.get(task.slave_id);
    const file = (name) => {
      const path = encodeURIComponent(`/sandboxes/${task.framework_id}/${task.executor_id || task.id}/${name}`);
      return link(`http://${host}/files/download?path=${path}`, name);
    };
    return row([
      task.name, pill(task.state.replace("TASK_", "").toLowerCase(), KINDS[task.state] ?? "bad"),
      last.healthy === undefined ? "" : last.healthy ? pill("healthy", "good") : pill("unhealthy", "bad"),
      host ?? "gone", ago(last.timestamp), host ? [file("stdout"), " ", file("stderr")] : "",
      el("code", {}, task.id),
    ]);
  });
  table("tasks", ["name", "", "", "node", "since", "output", "id"], rows, words ? "No task matches." : "No task runs.");
}

for (const place of ["nodes-filter", "tasks-filter"]) {
  document.getElementById(place).addEventListener("input", () => draw().catch(() => {}));
}
keepDrawing(draw);
