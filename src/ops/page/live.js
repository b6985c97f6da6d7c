// What the relay tells as it happens, whether it still does, and what is wrong.
import { api, button, clock, count, h, link, query, renew, some } from "./kit.js";

/** What the relay told last. `heard`: when, by this machine's clock; `stale`: it has not for too long. */
export const relay = { moment: null, status: null, hour: [], every: 10, heard: null, stale: true, who: null, role: null };

/** Whether the one who is here may change anything. */
export const mayChange = () => relay.role === "operator";

const QUIET_MS = 5000;
const AGAIN_MS = 2000;
const GROWTH_SECONDS = 300;
let source = null;
let again = null;
let changed = () => {};

/** What a hold means, and what is to be done about it. */
const HOLDS = {
  denied: "Braze or Quikly refuses the key or a permission. Put that right there, or in the configuration and reload; it is tried once a minute and goes on by itself.",
  breaker: "It failed again and again. It is tried again by itself; if this lasts, ask whether the other side is down.",
  unconfigured: "What waits there is not configured any more. Configure it and reload.",
  burials: "Too many in a row died of the same. Open the dead letters, put the cause right, release it, replay.",
  invalid_group: "Braze does not know the subscription group. Correct its id, reload, release.",
  manual: "Release it once the cause is gone.",
};

export const byHand = (held) => held?.reason === "manual";
const holdKind = (held) => (byHand(held) || held.reason === "breaker" ? "warn" : "bad");

/** A hold in a sentence. */
export function holdText(name, held) {
  const how = byHand(held) ? "is held by hand" : `is held: ${(held.died_of ? `${held.reason}, ${held.died_of}` : held.reason).replace("_", " ")}`;
  const until = held.until ? ` until ${clock(held.until)}` : "";
  return `${name} ${how}${until}${held.because ? ` – ${held.because}` : ""}.`;
}

/** What it was so long ago, of what is remembered. */
export function ago(seconds) {
  const from = Date.parse(relay.moment?.at) - seconds * 1000;
  return relay.hour.findLast((it) => Date.parse(it.at) <= from) ?? relay.hour[0];
}

/** Everything that is wrong: `{kind, text, todo, href, name}`, the worst first. */
export function alarms() {
  const { status, moment } = relay;
  const said = [];
  const say = (kind, text, todo, href, name) => said.push({ kind, text, todo, href, name });
  if (relay.stale && relay.role) {
    say("bad", `The relay does not answer.${relay.moment ? ` What is shown is of ${clock(relay.moment.at)}.` : ""}`,
      "Look at its log and at /readyz. This page goes on by itself once it answers.");
  }
  if (!status) return said;
  if (!status.events.adds_up) say("bad", "The counts do not add up.", "That is a mistake of the relay: keep the store and report it.");
  if (status.store.refusing) say("bad", `New events are refused: ${status.store.refusing}.`, "Whoever posts is asked to come back. Make room, or let the queue drain.");
  for (const lane of status.lanes) {
    if (lane.held) say(holdKind(lane.held), holdText(lane.lane, lane.held), HOLDS[lane.held.reason], "#lanes", "to the lanes");
  }
  for (const it of status.held_activations) {
    const to = it.reason === "burials" ? [`#dead${query({ activation: it.activation })}`, "to its dead letters"] : ["#lanes", "to the lanes"];
    say(holdKind(it), holdText(`Activation ${it.activation}`, it), HOLDS[it.reason], ...to);
  }
  const grown = moment.dead - (ago(GROWTH_SECONDS)?.dead ?? moment.dead);
  const over = [1000, 500, 100, 50, 10].find((bound) => grown >= bound);
  if (over) say("warn", `Dead letters grow: ${count(over)} or more in five minutes.`, "Open one, put the cause right, replay.", "#dead", "to the dead letters");
  return said.sort((one, other) => (one.kind === "warn") - (other.kind === "warn"));
}

function drawAlarms() {
  const place = document.getElementById("alarms");
  const all = alarms();
  const text = JSON.stringify(all);
  if (place.dataset.said === text) return;
  place.dataset.said = text;
  const line = (it) => h("p", { class: it.kind, key: it.text }, h("strong", {}, it.text), it.todo && h("span", { class: "todo" }, ` ${it.todo}`), it.href && [" ", h("a", { href: it.href }, it.name)]);
  const rest = all.slice(3);
  renew(place, all.slice(0, 3).map(line),
    rest.length > 0 && h("details", {}, h("summary", {}, `${some(rest.length, "more is", "more are")} wrong`), rest.map(line)));
}

function drawLink() {
  const place = document.getElementById("link");
  const text = !relay.stale ? "live" : relay.moment ? `not connected since ${clock(relay.moment.at)}` : "connecting";
  if (place.textContent !== text) place.textContent = text;
  place.classList.toggle("off", relay.stale);
}

function drawn() {
  drawLink();
  drawAlarms();
  changed();
}

/** Once a second: whether anything was heard. */
function watch() {
  const stale = relay.heard === null || performance.now() - relay.heard > QUIET_MS;
  if (stale !== relay.stale) {
    relay.stale = stale;
    drawn();
  }
}

/** Listens, for ever: `change` is called each time something was told. */
export function listen(change) {
  changed = change;
  setInterval(watch, 1000);
  connect();
}

export function connect() {
  clearTimeout(again);
  source?.close();
  source = new EventSource("/api/v1/live");
  source.addEventListener("history", (event) => {
    const { moments, every_seconds: every } = JSON.parse(event.data);
    relay.hour = moments;
    relay.every = every;
  });
  source.addEventListener("now", (event) => {
    const { moment, step, status } = JSON.parse(event.data);
    Object.assign(relay, { moment, status, heard: performance.now(), stale: false });
    if (step && step.at !== relay.hour.at(-1)?.at) relay.hour = [...relay.hour.slice(-359), step];
    drawn();
  });
  source.onerror = () => {
    // A listener that was answered with a refusal does not try again by itself.
    if (source.readyState === EventSource.CLOSED) again = setTimeout(rejoin, AGAIN_MS);
  };
}

async function rejoin() {
  await me();
  connect();
}

/** Asks who is here. */
export async function me() {
  try {
    Object.assign(relay, await api("/api/v1/me"));
    document.body.dataset.role = relay.role;
    renew(document.getElementById("who"), relay.who !== "local" && relay.who,
      relay.signed_in && button("Sign out", async () => {
        await api("/api/v1/logout", {});
        location.reload();
      }));
  } catch { /* told by the link, or by the page for signing in */ }
}

export const toActivation = (it) => link("activation", it.workspace, it.activation);
