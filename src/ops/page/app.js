// The page: which part of it is shown, and what the relay tells as it happens.
import { api, button, h } from "./kit.js";
import { activation, list, now } from "./now.js";
import { dead, letter, replay, replays } from "./dead.js";
import { audit, config, lanes, login, person } from "./lanes.js";

const pages = { now, activations: list, activation, dead, letter, replays, replay, lanes, audit, config, person, login };
const under = { activation: "activations", letter: "dead", replay: "replays" };

/** What the relay told last. */
const relay = { moment: null, status: null, hour: [], every: 10, connect };

let source = null;
let draw = null;
let drawing = false;

async function redraw() {
  if (!draw || drawing) return;
  drawing = true;
  try { await draw(); } catch (error) { trouble(error); }
  drawing = false;
}

function trouble(error) {
  const main = document.getElementById("main");
  main.querySelector(".trouble")?.remove();
  main.append(h("p", { class: "bad trouble", role: "alert" }, error.message));
}

async function show() {
  const [path] = location.hash.slice(1).split("?");
  const [name, ...rest] = (path || "now").split("/").map(decodeURIComponent);
  const page = pages[name] ?? now;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${under[name] ?? name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const main = document.getElementById("main");
  draw = null;
  main.replaceChildren();
  try {
    const next = await page(main, relay, ...rest);
    draw = typeof next === "function" ? next : null;
    document.title = `${main.querySelector("h1")?.textContent ?? "braze-relay"} – braze-relay`;
  } catch (error) { trouble(error); }
  redraw();
}

function alarms() {
  const { status } = relay;
  const said = [];
  if (status) {
    if (!status.events.adds_up) said.push("The counts do not add up: that is a mistake of the relay; keep the store and report it.");
    if (status.store.refusing) said.push(`New events are refused: ${status.store.refusing}`);
    for (const lane of status.lanes) if (lane.held && lane.held.reason !== "manual") said.push(`${lane.lane} is held: ${lane.held.reason}`);
    for (const it of status.held_activations) if (it.reason !== "manual") said.push(`Activation ${it.activation} is held: ${it.died_of ?? it.reason}`);
  }
  const place = document.getElementById("alarms");
  const text = said.join("\n");
  if (place.dataset.said !== text) {
    place.dataset.said = text;
    place.replaceChildren(...said.map((it) => h("p", {}, it)));
  }
}

function link(text, off) {
  const place = document.getElementById("link");
  place.textContent = text;
  place.classList.toggle("off", off);
}

function connect() {
  source?.close();
  source = new EventSource("/api/v1/live");
  source.addEventListener("history", (event) => {
    const { moments, every_seconds: every } = JSON.parse(event.data);
    relay.hour = moments;
    relay.every = every;
  });
  source.addEventListener("now", (event) => {
    Object.assign(relay, JSON.parse(event.data));
    const last = relay.hour.at(-1);
    if (!last || Date.parse(relay.moment.at) - Date.parse(last.at) >= relay.every * 1000) {
      relay.hour = [...relay.hour.slice(-359), relay.moment];
    }
    link("live", false);
    alarms();
    redraw();
  });
  source.onerror = () => {
    link("not connected", true);
    me();
  };
}

async function me() {
  try {
    const it = await api("/api/v1/me");
    document.getElementById("who").replaceChildren(it.who,
      it.signed_in && button("Sign out", async () => { await api("/api/v1/logout", {}); location.hash = "#login"; }));
    document.body.dataset.role = it.role;
  } catch { /* said by the link */ }
}

addEventListener("hashchange", show);
show();
me();
connect();
