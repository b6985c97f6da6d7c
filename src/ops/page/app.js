// The page: which part of it is shown.
import { h, renew, tell } from "./kit.js";
import { listen, me, relay } from "./live.js";
import { now } from "./now.js";
import { activation, activations } from "./activations.js";
import { dead, letter } from "./dead.js";
import { replay, replays } from "./replays.js";
import { lanes } from "./lanes.js";
import { audit, config } from "./settings.js";
import { login, person } from "./people.js";

/** By name. Each fills `main`, or answers what draws it whenever something was told, or both. */
const pages = { now, activations, activation, dead, letter, replays, replay, lanes, person, config, audit, login };
const under = { activation: "activations", letter: "dead", replay: "replays" };

let draw = null;
let drawing = false;
let shows = 0;

async function redraw() {
  if (!draw || drawing) return;
  drawing = true;
  try { await draw(); } catch (error) { trouble(error); }
  drawing = false;
}

function trouble(error) {
  const main = document.getElementById("main");
  if (!main.querySelector("h1")) main.prepend(h("h1", {}, document.querySelector("nav a[aria-current]")?.textContent ?? "braze-relay"));
  const said = main.querySelector(".trouble") ?? main.appendChild(h("p", { class: "bad trouble", role: "alert" }));
  if (said.textContent !== error.message) said.textContent = error.message;
}

async function show(event) {
  const [path] = location.hash.slice(1).split("?");
  let [name, ...rest] = (path || "now").split("/").map(decodeURIComponent);
  if (!pages[name]) name = "now";
  document.body.dataset.page = name;
  for (const it of document.querySelectorAll("nav a")) {
    if (it.hash === `#${under[name] ?? name}`) it.setAttribute("aria-current", "page");
    else it.removeAttribute("aria-current");
  }
  const main = document.getElementById("main");
  const own = ++shows;
  draw = null;
  main.replaceChildren();
  if (event) {
    renew(document.getElementById("failed"));
    scrollTo(0, 0);
    main.focus({ preventScroll: true });
  }
  try {
    const next = await pages[name](main, ...rest);
    if (own !== shows) return;
    draw = typeof next === "function" ? next : null;
  } catch (error) {
    if (own === shows) trouble(error);
  }
  document.title = `${main.querySelector("h1")?.textContent ?? "braze-relay"} – braze-relay`;
  redraw();
}

document.getElementById("ask-no").addEventListener("click", () => document.getElementById("ask").close("no"));
addEventListener("hashchange", show);
addEventListener("unhandledrejection", (event) => tell(event.reason.message, "bad"));
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById("main").focus();
});
await me();
listen(redraw);
if (relay.role || location.hash === "#login") show();
