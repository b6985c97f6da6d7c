// What every page is made of: elements, requests, questions, and how numbers are written.

const DRAWN = new Set(["svg", "path", "rect"]);
const listeners = new WeakMap();

/** Listens once for `type`; told again, by the new `act`. */
function listen(element, type, act) {
  const known = listeners.get(element) ?? {};
  if (!known[type]) element.addEventListener(type, (event) => listeners.get(element)[type](event));
  known[type] = act;
  listeners.set(element, known);
}

const there = (it) => it !== null && it !== undefined && it !== false && it !== true && it !== "";

/**
 * An element. `on…` attributes are listeners, `key` names it among its neighbours (see `renew`), `own` keeps what is in
 * it from being renewed; children that are nothing are left out.
 */
export function h(tag, attrs = {}, ...children) {
  const element = DRAWN.has(tag) ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  element.append(...children.flat(9).filter(there));
  for (const [name, value] of Object.entries(attrs ?? {})) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) listen(element, name.slice(2), value);
    else if (name === "value") element.value = value;
    else if (name === "key" || name === "own") element.dataset[name] = value === true ? "" : value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  return element;
}

/**
 * Makes what is in `place` be `children`, by changing as little as possible: what is focused, typed, selected, scrolled or
 * opened stays so.
 */
export function renew(place, ...children) {
  const next = children.flat(9).filter(there).map((it) => (it instanceof Node ? it : document.createTextNode(String(it))));
  knit(place, next);
}

function knit(place, next) {
  const key = (it) => it.dataset?.key;
  const kept = new Map();
  const wanted = new Set(next.map(key).filter(there));
  for (const it of [...place.children]) {
    if (!there(key(it))) continue;
    if (wanted.has(key(it))) kept.set(key(it), it);
    else it.remove();
  }
  let at = place.firstChild;
  for (const it of next) {
    const old = there(key(it)) ? kept.get(key(it)) : at && !there(key(at)) ? at : null;
    if (!old || old.nodeName !== it.nodeName || old.name !== it.name) {
      place.insertBefore(it, at);
      continue;
    }
    if (old === at) at = at.nextSibling;
    else place.insertBefore(old, at);
    if (old.nodeType === Node.TEXT_NODE) {
      if (old.data !== it.data) old.data = it.data;
    } else match(old, it);
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

/** What the page's reader changes, and no redrawing does. */
const theirs = (element, name) => name === "data-busy" || (name === "open" && /DETAILS|DIALOG/.test(element.nodeName));

function match(old, next) {
  for (const { name } of [...old.attributes]) {
    if (!next.hasAttribute(name) && !theirs(old, name)) old.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    if (old.getAttribute(name) !== value && !theirs(old, name)) old.setAttribute(name, value);
  }
  for (const [type, act] of Object.entries(listeners.get(next) ?? {})) listen(old, type, act);
  if (old.dataset.own === undefined) knit(old, [...next.childNodes]);
}

/** What the API refused, in its own words; `said` is all of its answer. */
export class Refused extends Error {
  constructor(message, said) {
    super(message);
    this.said = said;
  }
}

/** The answer of the API as JSON. */
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
    throw new Refused("The relay does not answer.");
  }
  const text = await answer.text();
  let said = {};
  try { said = text ? JSON.parse(text) : {}; } catch { /* not JSON: told by its status */ }
  if (answer.status === 401 && path !== "/api/v1/login") {
    location.hash = "#login";
    throw new Refused("Sign in first.");
  }
  if (!answer.ok) throw new Refused(said.detail ?? said.title ?? `The relay answered ${answer.status}.`, said);
  return said;
}

/** All of a list that comes in slices; `add` is given each. */
export async function slices(ask, add) {
  let after = null;
  do {
    const part = await ask(after);
    add(part);
    after = part.next;
  } while (after);
}

/** Asks once before something is changed. Resolves with the form's values, or null. */
export function ask(title, yes, ...body) {
  const dialog = document.getElementById("ask");
  document.getElementById("ask-title").textContent = title;
  document.getElementById("ask-body").replaceChildren(...body.flat(9).filter(there));
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

/** Says what came of something, until it is closed or something else is said. */
export function tell(text, kind = "good") {
  const close = h("button", { type: "button", class: "plain", "aria-label": "Close this message", onclick: () => renew(place) }, "✕");
  const place = document.getElementById(kind === "bad" ? "failed" : "said");
  renew(document.getElementById("said"));
  renew(document.getElementById("failed"));
  renew(place, h("p", { class: kind }, text, close));
}

/** A button that does something, once at a time, and says when that failed. */
export function button(text, act, attrs = {}) {
  return h("button", {
    type: "button",
    ...attrs,
    onclick: async (event) => {
      const it = event.currentTarget;
      if (it.dataset.busy !== undefined) return;
      it.dataset.busy = "";
      try { await act(); } catch (error) { tell(error.message, "bad"); } finally { delete it.dataset.busy; }
    },
  }, text);
}

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

const told = (write) => (n) => (n === null || n === undefined ? "–" : write(n));
export const count = told((n) => whole.format(n));
export const brief = told((n) => (n < 100000 ? whole.format(n) : short.format(n).replace("K", "k")));
export const rate = told((n) => (n >= 100 ? whole.format(Math.round(n)) : n.toFixed(n >= 10 || n === 0 ? 0 : 1)));
export const percent = told((n) => (n > 0 && n < 0.01 ? "< 1 %" : `${Math.round(n * 100)} %`));
export const some = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

/** Seconds as people say them. */
export const span = told((seconds) => {
  if (seconds < 1) return seconds <= 0 ? "0 s" : "< 1 s";
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const at = units.findIndex(([, size]) => seconds >= size);
  const [name, size] = units[at];
  const first = Math.floor(seconds / size);
  const next = units[at + 1];
  const rest = next ? Math.floor((seconds % size) / next[1]) : 0;
  return rest && first < 10 ? `${first} ${name} ${rest} ${next[0]}` : `${first} ${name}`;
});

export const bytes = told((n) => {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  while (n >= 1000 && at < units.length - 1) { n /= 1000; at += 1; }
  return `${n >= 100 || at === 0 ? Math.round(n) : n.toFixed(1)} ${units[at]}`;
});

/** A moment as it is read here: without the day where it is today. */
export function clock(text) {
  const at = new Date(text);
  const today = at.toDateString() === new Date().toDateString();
  return today ? at.toLocaleTimeString("en-GB") : at.toLocaleString("en-GB");
}

/** The same as an element that tells all of it. */
export const when = (text) => (text ? h("time", { datetime: text, title: text }, clock(text)) : "–");

export const tag = (text, kind = "soft") => h("span", { class: `tag ${kind}` }, text);

export function bar(part, label, kind = "") {
  const width = `${Math.min(100, Math.max(0, (part ?? 0) * 100)).toFixed(1)}%`;
  return h("svg", { class: `bar ${kind}`, role: "img", "aria-label": label }, h("rect", { width, height: "100%" }));
}

/** Names with what they are. */
export const pairs = (...all) => h("dl", { class: "pairs" },
  all.filter(Boolean).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));

/** A table whose rows become blocks on a narrow screen. `columns`: [title, cell, class]; `key` tells rows apart. */
export function table(caption, columns, rows, empty = "nothing", key = null) {
  if (!rows.length) return h("p", { class: "soft" }, empty);
  return h("table", { class: "stack" }, h("caption", { class: "hidden" }, caption),
    h("thead", {}, h("tr", {}, columns.map(([title, , kind]) =>
      h("th", { class: kind, scope: "col" }, title || h("span", { class: "hidden" }, "Change"))))),
    h("tbody", {}, rows.map((row) => h("tr", { key: key?.(row) }, columns.map(([title, cell, kind]) =>
      h("td", { class: kind, "data-label": title }, h("div", {}, cell(row))))))));
}

/** A line of what a number was. */
export function spark(values) {
  const most = Math.max(...values, 1e-9);
  const step = 100 / Math.max(1, values.length - 1);
  const points = values.map((value, at) => `${(at * step).toFixed(2)},${(19 - 18 * (value / most)).toFixed(2)}`);
  return h("svg", { class: "spark", viewBox: "0 0 100 20", preserveAspectRatio: "none", "aria-hidden": "true" },
    h("path", { d: points.length > 1 ? `M${points.join("L")}` : "M0,19" }));
}

/** The part of the address behind the page's name, as filters. */
export const filters = () => Object.fromEntries(new URLSearchParams(location.hash.split("?")[1] ?? ""));

/** `?a=b` of what is said. */
export function query(said) {
  const given = Object.entries(said).filter(([, value]) => there(value));
  return given.length ? `?${new URLSearchParams(given)}` : "";
}

export const link = (page, ...names) => `#${[page, ...names.map(encodeURIComponent)].join("/")}`;
