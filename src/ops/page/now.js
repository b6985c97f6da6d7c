// What happens now: whether it works and keeps up, the last hour, every lane, every activation.
import { bar, brief, bytes, clock, count, h, percent, rate, renew, some, span, spark, table, tag, when } from "./kit.js";
import { ago, alarms, byHand, relay, toActivation } from "./live.js";

export const heldTag = (held) => held && tag(`held: ${held.reason.replace("_", " ")}`, byHand(held) ? "warn" : "bad");

const eta = (it) => (it.eta_seconds === null ? "unknown" : span(it.eta_seconds));

function state(lane) {
  if (lane.held) {
    return [heldTag(lane.held), lane.held.until && h("small", { class: "soft" }, " until ", when(lane.held.until)),
      lane.held.because && h("small", { class: "soft block" }, lane.held.because)];
  }
  if (lane.stopped_until) return [tag("stopped by a 429", "warn"), h("small", { class: "soft" }, " until ", when(lane.stopped_until))];
  return lane.depth ? tag("working", "good") : tag("idle");
}

function pace(lane) {
  if (lane.requests_per_second === null) return h("small", { class: "soft" }, "no limit");
  const used = lane.budget_used_ratio ?? 0;
  return h("div", { class: "used" }, bar(used, `${percent(used)} of its budget is used`, used >= 0.95 ? "full" : ""),
    h("small", { class: "soft" }, `${percent(used)} of ${lane.requests_per_second < 10000 ? rate(lane.requests_per_second) : brief(Math.round(lane.requests_per_second))}/s`));
}

export const laneColumns = [
  ["Lane", (lane) => h("a", { href: "#lanes" }, lane.lane), "wide name"],
  ["State", state, "wide state"],
  ["Due", (lane) => count(lane.depth), "n"],
  ["Later", (lane) => count(lane.waiting), "n"],
  ["Oldest", (lane) => span(lane.oldest_seconds), "n"],
  ["Done in", eta, "n"],
  ["Under way", (lane) => count(lane.in_flight), "n"],
  ["Pace of its budget", pace, "pace"],
];

export const activationColumns = [
  ["Activation", (it) => h("a", { href: toActivation(it) }, it.activation), "wide name"],
  ["Workspace", (it) => it.workspace],
  ["State", (it) => heldTag(it.held) ?? (!it.due ? tag("idle") : it.eta_seconds === null ? tag("waits for a lane", "warn") : tag("working", "good"))],
  ["Due", (it) => count(it.due), "n"],
  ["Under way", (it) => count(it.living), "n"],
  ["Dead", (it) => count(it.dead), "n"],
  ["Done in", eta, "n"],
];

export const activationKey = (it) => `${it.workspace}/${it.activation}`;
export const laneKey = (lane) => lane.lane;

/** The activations of a status, with what the rest of it says of them. */
export function activationRows({ activations, jobs, held_activations: held }) {
  return activations.map((it) => {
    const ours = jobs.filter((row) => activationKey(row) === activationKey(it));
    const sum = (pick) => ours.reduce((all, row) => all + pick(row), 0);
    return {
      ...it,
      living: sum((row) => row.waiting + row.ready + row.in_flight),
      dead: sum((row) => row.dead),
      held: held.find((row) => activationKey(row) === activationKey(it)),
    };
  });
}

const GROWTH_SECONDS = 300;

/** The longest that a lane with work needs; `null`: nobody knows of one. */
function wholeEta(lanes) {
  const busy = lanes.filter((lane) => lane.depth);
  return busy.some((lane) => lane.eta_seconds === null) ? null : Math.max(0, ...busy.map((lane) => lane.eta_seconds));
}

/** Whether it works and keeps up: `[kind, in a word or two, in a sentence]`. */
function verdict() {
  const { status, moment } = relay;
  if (relay.stale) return ["bad", "Nobody knows", "The relay does not answer."];
  if (status.store.refusing) return ["bad", "Refusing", "New events are refused; what was accepted is worked on."];
  const held = status.lanes.filter((lane) => lane.held);
  const stuck = held.reduce((all, lane) => all + lane.depth, 0)
    + status.lanes.filter((lane) => lane.lane.endsWith("/held")).reduce((all, lane) => all + lane.depth + lane.waiting, 0);
  const before = ago(GROWTH_SECONDS)?.depth ?? moment.depth;
  const free = moment.depth - stuck;
  const grows = free > 200 && moment.depth > before * 1.2 && moment.depth - before > 200;
  const keeps = grows ? `What is due grew from ${count(before)} to ${count(moment.depth)} within five minutes.`
    : free > 0 ? `The other lanes keep up.` : "Everything else is done.";
  if (held.length || status.held_activations.length) {
    const what = [held.length && some(held.length, "lane"), status.held_activations.length && some(status.held_activations.length, "activation")];
    const one = held.length + status.held_activations.length === 1;
    return ["warn", stuck ? `${count(stuck)} stuck` : "Working",
      `${what.filter(Boolean).join(" and ")} ${one ? "is" : "are"} held, and ${stuck ? some(stuck, "call") : "no call"} ${stuck > 1 ? "wait" : "waits"} for that. ${keeps}`];
  }
  const time = wholeEta(status.lanes);
  const done = time === null ? "" : ` At today's pace that takes ${span(time)}.`;
  if (grows) return ["warn", "Falling behind", keeps + done];
  if (!moment.depth) return ["good", "Keeping up", moment.waiting ? `Nothing is due; ${some(moment.waiting, "call")} for later.` : "Nothing is due."];
  return ["good", "Keeping up", `${some(moment.depth, "call")} due.${done}`];
}

const tile = (name, value, note, values, kind) => h("dl", { class: `tile ${kind ?? ""}`, key: name },
  h("dt", {}, name), h("dd", {}, value, h("small", {}, note)), values && h("dd", { class: "drawn" }, spark(values)));

function tiles() {
  const { moment, status: { events, store, lanes }, hour } = relay;
  const of = (pick) => [...hour.map(pick), pick(moment)];
  const time = wholeEta(lanes);
  return [
    tile("Accepted per second", rate(moment.accepted_per_second), `${count(events.accepted)} in all`, of((it) => it.accepted_per_second)),
    tile("Done per second", rate(moment.done_per_second), `${count(events.done)} in all`, of((it) => it.done_per_second)),
    tile("Credits per second", rate(moment.credits_per_second), "told to Quikly", of((it) => it.credits_per_second)),
    tile("Dead", brief(events.dead), events.dead ? h("a", { href: "#dead" }, "look at them") : "none", of((it) => it.dead), events.dead ? "bad" : ""),
    tile("Due", brief(moment.depth), `${count(moment.waiting)} for later`, of((it) => it.depth)),
    tile("Oldest due", span(moment.oldest_seconds ?? 0), `${count(events.queued)} events queued`, of((it) => it.oldest_seconds ?? 0)),
    tile("Done in", time === null ? "unknown" : span(time), time === null ? "a lane with work is held, or silent" : "what is due now"),
    tile("Disk", bytes(store.bytes), `${bytes(store.free_bytes)} free`),
  ];
}

/** The plot of the last hour in `place`: answers what draws it anew. */
function plotter(place) {
  let plot = null;
  let drawn = "";
  const rates = ["accepted_per_second", "done_per_second"];
  /** The legend tells the newest, unless something is pointed at. */
  const latest = () => plot.cursor.idx === null && plot.setLegend({ idx: plot.data[0].length - 1 });
  const draw = () => {
    const { hour } = relay;
    if (hour.length < 2) return renew(place, h("p", { class: "soft" }, "Drawn after twenty seconds."));
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const key = `${dark} ${place.clientWidth}`;
    const data = [hour.map((it) => Date.parse(it.at) / 1000), ...[...rates, "depth"].map((name) => hour.map((it) => it[name]))];
    if (plot && key === drawn) {
      plot.setData(data);
      return latest();
    }
    drawn = key;
    place.replaceChildren();
    const ink = getComputedStyle(document.documentElement);
    const colour = (name) => { const probe = place.appendChild(h("i", { class: name })); const it = getComputedStyle(probe).color; probe.remove(); return it; };
    const axis = { stroke: colour("soft"), font: `12px ${ink.fontFamily}`, grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line"), width: 1 } };
    const range = (_, __, most) => [0, Math.max(5, most * 1.1)];
    const points = { show: false };
    const values = (_, all) => all.map((it) => brief(it));
    plot = new uPlot({
      width: place.clientWidth,
      height: 220,
      cursor: { y: false },
      axes: [{ ...axis, incrs: [60, 120, 300, 600, 900], space: 70, values: (_, all) => all.map((it) => new Date(it * 1000).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" })) },
        { ...axis, size: 46, values }, { ...axis, side: 1, scale: "calls", grid: { show: false }, size: 52, values }],
      scales: { x: { range: (_, least, most) => [Math.min(least, most - 300), most] }, y: { range }, calls: { range } },
      series: [
        { value: (_, it) => (it ? clock(it * 1000) : "–") },
        { label: "accepted/s", stroke: colour("plot-accepted"), width: 2, points, value: (_, it) => rate(it) },
        { label: "done/s", stroke: colour("plot-done"), width: 2, points, value: (_, it) => rate(it) },
        { label: "due (right)", stroke: colour("plot-due"), width: 2, points, dash: [6, 4], scale: "calls", value: (_, it) => count(it) },
      ],
    }, data, place);
    latest();
  };
  new ResizeObserver(() => plot && place.isConnected && draw()).observe(place);
  return draw;
}

export function now(main) {
  const said = h("div", { class: "verdict" });
  const numbers = h("div", { class: "tiles" });
  const place = h("div", { class: "plot", own: true, role: "img", "aria-label": "Events accepted and done per second, and calls due, over the last hour. The tiles tell the same in numbers." });
  const lanes = h("div", { class: "card" });
  const active = h("div", { class: "card" });
  main.replaceChildren(h("h1", {}, "Now"), said, numbers, h("h2", {}, "The last hour"), h("div", { class: "card" }, place),
    h("h2", {}, "Lanes"), lanes, h("h2", {}, "Activations"), active);
  const plot = plotter(place);
  return () => {
    const { status } = relay;
    if (!status) return renew(said, h("p", { class: "soft" }, "Nothing was told yet."));
    const [kind, word, sentence] = verdict();
    const wrong = alarms().length;
    renew(said, h("p", { class: kind }, h("strong", {}, word), " ", h("span", {}, sentence), wrong > 0 && h("span", { class: "soft" }, " What to do is said on top.")));
    renew(numbers, tiles());
    plot();
    renew(lanes, table("Lanes", laneColumns, status.lanes, "no lane is configured", laneKey));
    renew(active, table("Activations", activationColumns, activationRows(status), "no activation is configured", activationKey));
  };
}
