// What every page is made of: elements, requests, questions, and how numbers are written.

/** An element. `on…` attributes are listeners; falsy children are left out. */
export function h(tag, attrs = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attrs ?? {})) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(9).filter((it) => it !== null && it !== undefined && it !== false));
  return element;
}

/** The answer of the API as JSON; what it refuses is thrown with its own words. */
export async function api(path, body) {
  const options = body === undefined ? {} : {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  };
  let answer;
  try {
    answer = await fetch(path, { ...options, credentials: "same-origin" });
  } catch {
    throw new Error("the relay does not answer");
  }
  if (answer.status === 401) {
    location.hash = "#login";
    throw new Error("sign in first");
  }
  const text = await answer.text();
  let said = {};
  try { said = text ? JSON.parse(text) : {}; } catch { /* not JSON: told by its status */ }
  if (!answer.ok) throw new Error(said.detail ?? said.title ?? `answered ${answer.status}`);
  return said;
}

/** Asks once before something is changed. Resolves with the form's values, or null. */
export function ask(title, yes, ...body) {
  const dialog = document.getElementById("ask");
  document.getElementById("ask-title").textContent = title;
  document.getElementById("ask-body").replaceChildren(...body.flat(9).filter(Boolean));
  document.getElementById("ask-yes").textContent = yes;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const form = new FormData(dialog.querySelector("form"));
      resolve(dialog.returnValue === "yes" ? Object.fromEntries(form) : null);
    }, { once: true });
  });
}

/** A button that does something and says, beside itself, when that failed. */
export function button(text, act, attrs = {}) {
  const said = h("span", { class: "bad", role: "alert" });
  const it = h("button", {
    type: "button",
    ...attrs,
    onclick: async () => {
      it.disabled = true;
      said.textContent = "";
      try { await act(); } catch (error) { said.textContent = ` ${error.message}`; }
      it.disabled = false;
    },
  }, text);
  return h("span", {}, it, said);
}

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export const count = (n) => (n === null || n === undefined ? "–" : whole.format(n));
export const brief = (n) => (n === null || n === undefined ? "–" : n < 10000 ? whole.format(n) : short.format(n));
export const rate = (n) => (n === null || n === undefined ? "–" : n >= 100 ? whole.format(Math.round(n)) : n.toFixed(n >= 10 || n === 0 ? 0 : 1));
export const percent = (n) => (n === null || n === undefined ? "–" : `${Math.round(n * 100)} %`);

/** Seconds as people say them. */
export function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return seconds <= 0 ? "0 s" : "< 1 s";
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const at = units.findIndex(([, size]) => seconds >= size);
  const [name, size] = units[at];
  const first = Math.floor(seconds / size);
  const next = units[at + 1];
  const rest = next ? Math.floor((seconds % size) / next[1]) : 0;
  return rest && first < 10 ? `${first} ${name} ${rest} ${next[0]}` : `${first} ${name}`;
}

export function bytes(n) {
  if (n === null || n === undefined) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  while (n >= 1000 && at < units.length - 1) { n /= 1000; at += 1; }
  return `${n >= 100 || at === 0 ? Math.round(n) : n.toFixed(1)} ${units[at]}`;
}

/** A moment: short to read, whole to hover. */
export function when(text) {
  if (!text) return "–";
  const at = new Date(text);
  const today = at.toDateString() === new Date().toDateString();
  const said = today ? at.toLocaleTimeString() : at.toLocaleString();
  return h("time", { datetime: text, title: text }, said);
}

export const tag = (text, kind = "soft") => h("span", { class: `tag ${kind}` }, text);

export function bar(part, label) {
  const inner = h("i");
  inner.style.width = `${Math.min(100, Math.max(0, (part ?? 0) * 100))}%`;
  return h("span", { class: "bar", role: "img", "aria-label": label }, inner);
}

/** A table whose rows become blocks on a narrow screen. `columns`: [title, cell, class]. */
export function table(caption, columns, rows, empty = "nothing") {
  if (!rows.length) return h("p", { class: "soft" }, empty);
  return h("div", { class: "scroll" }, h("table", { class: "stack", "aria-label": caption },
    h("thead", {}, h("tr", {}, columns.map(([title, , kind]) => h("th", { class: kind, scope: "col" }, title)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, columns.map(([title, cell, kind]) =>
      h("td", { class: kind, "data-label": title }, cell(row))))))));
}

/** A line of what a number was. */
export function spark(values) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 100 20");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const most = Math.max(...values, 1e-9);
  const step = 100 / Math.max(1, values.length - 1);
  const points = values.map((value, at) => `${(at * step).toFixed(2)},${(19 - 18 * (value / most)).toFixed(2)}`);
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", points.length > 1 ? `M${points.join("L")}` : "");
  svg.append(path);
  return svg;
}

/** The part of the address behind the page's name, as filters. */
export const filters = () => Object.fromEntries(new URLSearchParams(location.hash.split("?")[1] ?? ""));

/** `?a=b` of what is said. */
export function query(pairs) {
  const said = Object.entries(pairs).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return said.length ? `?${new URLSearchParams(said)}` : "";
}
