// What happens now: the numbers, the last hour, every lane, and activations with their funnels.
import { api, bar, brief, bytes, count, h, percent, query, rate, span, spark, table, tag, when } from "./kit.js";

export const heldTag = (held) => held && tag(`held: ${held.reason}`, held.reason === "manual" ? "warn" : "bad");

function tile(name, value, note, values) {
  return h("dl", { class: "tile" }, h("dt", {}, name), h("dd", {}, value, note && h("small", {}, note)), values && spark(values));
}

function state(lane) {
  if (lane.held) return h("span", {}, heldTag(lane.held), lane.held.until && h("small", { class: "soft" }, " until ", when(lane.held.until)));
  if (lane.stopped_until) return h("span", {}, tag("429", "warn"), h("small", { class: "soft" }, " until ", when(lane.stopped_until)));
  return lane.depth ? tag("working", "good") : tag("idle");
}

export const laneColumns = [
  ["Lane", (lane) => h("a", { href: "#lanes" }, lane.lane), "wide"],
  ["State", state],
  ["Due", (lane) => count(lane.depth), "n"],
  ["Later", (lane) => count(lane.waiting), "n"],
  ["Oldest", (lane) => span(lane.oldest_seconds), "n"],
  ["ETA", (lane) => (lane.eta_seconds === null ? "unknown" : span(lane.eta_seconds)), "n"],
  ["Under way", (lane) => count(lane.in_flight), "n"],
  ["Budget", (lane) => (lane.budget_used_ratio === null ? "–" : h("span", {},
    bar(lane.budget_used_ratio, `${percent(lane.budget_used_ratio)} of the budget used`),
    h("small", { class: "soft" }, `${percent(lane.budget_used_ratio)} of ${rate(lane.requests_per_second)}/s`)))],
];

const activationColumns = [
  ["Activation", (it) => h("a", { href: `#activation/${encodeURIComponent(it.workspace)}/${encodeURIComponent(it.activation)}` }, it.activation), "wide"],
  ["Workspace", (it) => it.workspace],
  ["Due", (it) => count(it.due), "n"],
  ["Living", (it) => count(it.living), "n"],
  ["Dead", (it) => count(it.dead), "n"],
  ["ETA", (it) => (it.held ? heldTag(it.held) : it.eta_seconds === null ? "unknown" : span(it.eta_seconds)), "n"],
];

/** The activations of a status, with what the rest of it says of them. */
export function activations(status) {
  const of = (it, group) => group.workspace === it.workspace && group.activation === it.activation;
  return status.activations.map((it) => {
    const jobs = status.jobs.filter((group) => of(it, group));
    const sum = (pick) => jobs.reduce((all, row) => all + pick(row), 0);
    return {
      ...it,
      living: sum((row) => row.waiting + row.ready),
      dead: sum((row) => row.dead),
      held: status.held_activations.find((held) => of(it, held)),
    };
  });
}

function chart(hour) {
  const place = h("div", { class: "plot", role: "img", "aria-label": "Accepted and done per second, and depth, over the last hour" });
  requestAnimationFrame(() => {
    if (!place.isConnected || hour.length < 2) return;
    const ink = getComputedStyle(document.body);
    const soft = ink.getPropertyValue("--soft");
    const line = ink.getPropertyValue("--line");
    const axis = { stroke: soft, grid: { stroke: line, width: 1 }, ticks: { stroke: line } };
    new uPlot({
      width: place.clientWidth,
      height: 220,
      cursor: { y: false },
      axes: [axis, { ...axis, size: 52 }, { ...axis, side: 1, scale: "calls", grid: { show: false }, size: 60 }],
      scales: { y: { range: (_, __, most) => [0, Math.max(1, most * 1.1)] }, calls: { range: (_, __, most) => [0, Math.max(1, most * 1.1)] } },
      series: [
        {},
        { label: "accepted/s", stroke: "#3b82f6", width: 2 },
        { label: "done/s", stroke: "#16a34a", width: 2 },
        { label: "due", stroke: "#d97706", width: 1, dash: [4, 3], scale: "calls" },
      ],
    }, [
      hour.map((it) => Date.parse(it.at) / 1000),
      hour.map((it) => it.accepted_per_second),
      hour.map((it) => it.done_per_second),
      hour.map((it) => it.depth),
    ], place);
  });
  return place;
}

export function now(page, relay) {
  const numbers = h("div", { class: "tiles" });
  const plot = h("div", { class: "card" });
  const lanes = h("div", { class: "card" });
  const active = h("div", { class: "card" });
  page.replaceChildren(h("h1", {}, "Now"), numbers,
    h("h2", {}, "The last hour"), plot, h("h2", {}, "Lanes"), lanes, h("h2", {}, "Activations"), active);
  let drawn = 0;
  return () => {
    const { moment, status, hour } = relay;
    if (!status) return;
    const events = status.events;
    const of = (pick) => hour.map(pick);
    numbers.replaceChildren(
      tile("Accepted per second", rate(moment.accepted_per_second), `${count(events.accepted)} in all`, of((it) => it.accepted_per_second)),
      tile("Due", brief(moment.depth), `${brief(moment.waiting)} later`, of((it) => it.depth)),
      tile("Oldest", span(moment.oldest_seconds ?? 0), "since due", of((it) => it.oldest_seconds ?? 0)),
      tile("Done per second", rate(moment.done_per_second), `${count(events.done)} in all`, of((it) => it.done_per_second)),
      tile("Credits per second", rate(moment.credits_per_second), null, of((it) => it.credits_per_second)),
      tile("Dead", brief(events.dead), events.dead ? h("a", { href: "#dead" }, "look at them") : "none", of((it) => it.dead)),
      tile("Disk", bytes(status.store.bytes), `${bytes(status.store.free_bytes)} free`),
    );
    lanes.replaceChildren(table("Lanes", laneColumns, status.lanes));
    active.replaceChildren(table("Activations", activationColumns, activations(status), "no activation is configured"));
    if (hour.length !== drawn) {
      drawn = hour.length;
      plot.replaceChildren(hour.length > 1 ? chart(hour) : h("p", { class: "soft" }, "drawn after twenty seconds"));
    }
  };
}

export function list(page, relay) {
  const active = h("div", { class: "card" });
  page.replaceChildren(h("h1", {}, "Activations"), active);
  return () => relay.status && active.replaceChildren(
    table("Activations", activationColumns, activations(relay.status), "no activation is configured"));
}

export function activation(page, relay, workspace, name) {
  const body = h("div", {});
  page.replaceChildren(h("h1", {}, `${name} `, h("span", { class: "soft" }, workspace)), body);
  let asked = 0;
  return async () => {
    if (Date.now() - asked < 900) return;
    asked = Date.now();
    const path = [workspace, name].map(encodeURIComponent).join("/");
    const it = await api(`/api/v1/activations/${path}`);
    const most = Math.max(1, ...it.funnel.map((step) => step.count));
    body.replaceChildren(
      h("div", { class: "card" },
        h("dl", { class: "pairs" },
          h("dt", {}, "Flow"), h("dd", {}, it.flow ?? "none"),
          h("dt", {}, "ETA"), h("dd", {}, it.held ? heldTag(it.held) : it.eta_seconds === null ? "unknown" : span(it.eta_seconds)),
          h("dt", {}, "Dead letters"), h("dd", {}, h("a", { href: `#dead${query({ activation: name })}` }, "those of this activation")))),
      h("div", { class: "card" }, h("ol", { class: "funnel" }, it.funnel.map((step) =>
        h("li", {}, h("span", {}, step.step), bar(step.count / most, `${count(step.count)} of ${count(most)}`), h("b", {}, count(step.count)))))),
    );
  };
}
