// What all pages share: reading JSON, making elements, and drawing again while somebody looks.
//
// Text always enters the page as text, never as markup: names of tasks and hosts are chosen by users.

/** An element; attributes whose value is a function become listeners, `null` children are left out. */
export function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") node.addEventListener(key, value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/** A link, if the address is one a browser may follow safely. */
export function link(address, text) {
  return /^https?:\/\//.test(address) || address.startsWith("/") ? el("a", { href: address }, text) : text;
}

export function pill(text, kind) {
  return el("span", { class: `pill ${kind ?? ""}` }, text);
}

/** A bar of parts `[share, class]`, shares between 0 and 1. */
export function bar(...parts) {
  return el("div", { class: "bar", role: "img" }, parts.map(([share, kind]) => {
    const piece = el("i", { class: kind ?? "" });
    piece.style.width = `${Math.min(100, Math.max(0, share * 100))}%`;
    return piece;
  }));
}

/** Puts new rows into the table of a section, or a sentence where there are none. */
export function table(place, columns, rows, none) {
  const head = el("tr", {}, columns.map((column) => el("th", {}, column)));
  const content = rows.length === 0
    ? el("p", { class: "empty" }, none)
    : el("table", {}, el("thead", {}, head), el("tbody", {}, rows));
  document.getElementById(place).replaceChildren(content);
}

export function row(cells, attributes = {}) {
  return el("tr", attributes, cells.map((cell) => el("td", {}, cell)));
}

export function put(place, ...children) {
  document.getElementById(place).replaceChildren(...children.flat().filter((child) => child !== null));
}

const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

/** How long ago a time in seconds since 1970 was. */
export function ago(seconds) {
  if (!seconds) return "";
  const passed = Math.max(0, Date.now() / 1000 - seconds);
  const [unit, size] = UNITS.find(([, size]) => passed >= size) ?? ["s", 1];
  return `${Math.floor(passed / size)} ${unit}`;
}

/** A number of mebibytes for people. */
export function memory(mebibytes) {
  if (mebibytes >= 1024 * 1024) return `${round(mebibytes / 1024 / 1024)} TiB`;
  return mebibytes >= 1024 ? `${round(mebibytes / 1024)} GiB` : `${round(mebibytes)} MiB`;
}

export function round(number) {
  return String(Math.round(number * 100) / 100);
}

/** The parsed answer; errors are sentences. */
export async function read(path) {
  const answer = await fetch(path, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}: ${(await answer.text()).slice(0, 300)}`);
  return answer.json();
}

const LEAST_PAUSE = 2000;

/**
 * Draws now and again while the page is looked at. A server that takes long is asked more seldom: at most a tenth of the
 * time goes into answering one page. Failures are shown and tried again.
 */
export async function keepDrawing(draw) {
  for (;;) {
    const begun = performance.now();
    if (!document.hidden) {
      try {
        await draw();
        put("trouble");
      } catch (error) {
        put("trouble", el("section", {}, el("p", { class: "note bad" }, `Not up to date: ${error.message}`)));
      }
    }
    const pause = Math.max(LEAST_PAUSE, 10 * (performance.now() - begun));
    await new Promise((done) => setTimeout(done, pause));
  }
}
