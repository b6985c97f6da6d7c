// Replays: previewed, begun, watched, paused, cancelled.
import { api, ask, bar, button, count, h, link, pairs, percent, renew, slices, some, span, table, tag, tell, when } from "./kit.js";
import { mayChange, relay } from "./live.js";

const words = (text) => text.replaceAll("_", " ");
const USUAL = { budget: 0.25, stop_at: 0.2 };

/** What a replay of these would do, all slices added up. */
async function preview(filter) {
  const seen = { count: 0, left_out: 0, by: {}, dead: {}, lanes: {}, until: filter.until };
  await slices((after) => api("/api/v1/replays/preview", {
    filter: { ...filter, ...(after && { after }), ...(seen.until && { until: seen.until }) }, budget: USUAL.budget,
  }), (part) => {
    seen.count += part.count;
    seen.left_out += part.left_out ?? 0;
    seen.until ??= part.until;
    for (const [into, from] of [[seen.by, part.by_reason], [seen.dead, part.still_dead]])
      for (const [reason, n] of Object.entries(from)) into[reason] = (into[reason] ?? 0) + n;
    for (const [lane, row] of Object.entries(part.lanes))
      seen.lanes[lane] = { ...row, letters: (seen.lanes[lane]?.letters ?? 0) + row.letters };
  });
  return seen;
}

const counts = (all) => Object.entries(all).map(([reason, n]) => `${words(reason)} ${count(n)}`).join(", ");

/** Previews a replay, asks, and begins it. */
export async function begin(filter) {
  const seen = await preview(filter);
  if (!seen.count) throw new Error(seen.left_out ? "Only letters of an unknown outcome match: filter by that reason to replay them." : "Nothing matches any more.");
  const lanes = Object.entries(seen.lanes);
  const takes = Math.max(0, ...lanes.map(([, row]) => row.letters / row.per_second));
  const said = await ask(`Replay ${some(seen.count, "dead letter")}?`, `Replay ${some(seen.count, "letter")}`,
    h("p", {}, `They died of: ${counts(seen.by)}. Each goes on at the step it died at.`),
    Object.keys(seen.dead).length > 0 && h("p", { class: "bad" }, `As configured today these stay dead: ${counts(seen.dead)}.`),
    seen.left_out > 0 && h("p", { class: "soft" }, `${some(seen.left_out, "more is", "more are")} passed over: nobody knows what became of them. Filter by unknown outcome to replay those.`),
    table("Lanes they pass", [["Lane", ([lane]) => lane, "wide"], ["Letters", ([, row]) => count(row.letters), "n"],
      ["At most", ([, row]) => `${row.per_second.toFixed(1)}/s`, "n"], ["Held", ([, row]) => row.held ?? "no"]], lanes, "They pass no lane."),
    h("p", {}, `At a quarter of the budget that takes about ${span(takes)}.`),
    h("div", { class: "filter" },
      h("label", {}, "Part of the budget, 0.01 to 1", h("input", { name: "budget", type: "number", min: 0.01, max: 1, step: 0.01, value: USUAL.budget })),
      h("label", {}, "Stop when this share dies again", h("input", { name: "stop_at", type: "number", min: 0.01, max: 1, step: 0.01, value: USUAL.stop_at }))));
  if (!said) return;
  const replay = await api("/api/v1/replays", {
    filter: { ...filter, until: seen.until }, budget: Number(said.budget || USUAL.budget), stop_at: Number(said.stop_at || USUAL.stop_at), expected: seen.count,
  });
  location.hash = link("replay", replay.number);
}

const KINDS = { running: "good", paused: "warn", stopped_itself: "bad", cancelled: "soft", finished: "soft" };
const state = (it) => tag(words(it.state), KINDS[it.state]);

export function replays(main) {
  const all = h("div", { class: "card" });
  main.replaceChildren(h("h1", {}, "Replays"), all);
  let asked = null;
  let going = true;
  return async () => {
    // What is over changes no more until somebody begins another: then a dead letter lives again.
    const now = JSON.stringify(relay.status?.events);
    if (asked === now && !going) return;
    asked = now;
    const { items } = await api("/api/v1/replays");
    going = items.some((it) => it.living > 0 || !["finished", "cancelled"].includes(it.state));
    renew(all, table("Replays", [
      ["Replay", (it) => h("a", { href: link("replay", it.number) }, `No. ${it.number}`)],
      ["State", state], ["Began", (it) => when(it.began_at)], ["By", (it) => it.who],
      ["Lived again", (it) => count(it.revived), "n"], ["Delivered", (it) => count(it.delivered), "n"],
      ["Died again", (it) => count(it.died_again), "n"], ["Left", (it) => count(it.left), "n"],
    ], items, "Nothing was ever replayed. It begins with dead letters.", (it) => it.number));
  };
}

const MEANS = {
  pause: (it) => `No further letter lives again until it is resumed; ${some(it.living, "job goes on", "jobs go on")}.`,
  resume: (it) => `It goes on with what is left: ${count(it.left)}.`,
  cancel: (it) => `It ends for good, with ${it.left === null ? "what is left" : some(it.left, "letter")} not looked at. What lives, lives.`,
};

export function replay(main, number) {
  const body = h("div", {});
  main.replaceChildren(h("h1", {}, `Replay ${number}`), body);
  let asked = 0;
  const change = (it, what, title) => button(`${title} …`, async () => {
    if (!await ask(`${title} replay ${number}?`, title, h("p", {}, MEANS[what](it)))) return;
    await api(`/api/v1/replays/${number}/${what}`, {});
    asked = 0;
    await draw();
    tell(`Replay ${number}: ${what} is done.`);
  });
  async function draw() {
    if (performance.now() - asked < 900) return;
    asked = performance.now();
    const it = await api(`/api/v1/replays/${number}`);
    const seen = it.expected ? 1 - (it.left ?? 0) / it.expected : null;
    const over = it.state === "cancelled" || it.state === "finished";
    renew(body, h("div", { class: "card" },
      h("p", {}, state(it), it.why && ` ${it.why}`),
      seen !== null && h("p", {}, bar(seen, `${percent(seen)} is looked at`), h("small", { class: "soft" }, `${percent(seen)} looked at`)),
      pairs(["Lived again", count(it.revived)], it.spawned > 0 && ["And what they spawned", count(it.spawned)],
        ["Delivered", count(it.delivered)], ["Under way", count(it.living)], ["Died again", count(it.died_again)],
        ["Cannot run as configured", count(it.still_dead)], it.left_out > 0 && ["Passed over", count(it.left_out)], ["Left", count(it.left)],
        ["Pace", it.rate ? `${it.rate}/s` : `${percent(it.budget)} of the budget`], ["Stops by itself at", `${percent(it.stop_at)} dying again`],
        ["Began", when(it.began_at)], ["By", it.who], it.ended_at && ["Ended", when(it.ended_at)], ["Which", h("code", {}, JSON.stringify(it.filter))]),
      mayChange() && !over && h("div", { class: "buttons left" },
        it.state === "running" ? change(it, "pause", "Pause") : change(it, "resume", "Resume"), change(it, "cancel", "Cancel"))));
  }
  return draw;
}
