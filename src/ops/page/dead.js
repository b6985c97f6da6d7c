// Dead letters: by reason, filtered, one of them whole, previewed and replayed; and the replays themselves.
import { api, ask, bar, button, count, filters, h, percent, query, span, table, tag, when } from "./kit.js";

const FIELDS = [
  ["reason", "Reason"], ["workspace", "Workspace"], ["activation", "Activation"], ["flow", "Flow"],
  ["class", "Class"], ["participant", "E-mail or hash"], ["since", "Since"], ["until", "Until"], ["text", "Words"],
];

const chosen = () => {
  const { after, ...rest } = filters();
  for (const name of ["since", "until"]) if (rest[name]) rest[name] = new Date(rest[name]).toISOString();
  return rest;
};

function form() {
  const now = filters();
  return h("form", {
    class: "filter",
    onsubmit: (event) => {
      event.preventDefault();
      location.hash = `#dead${query(Object.fromEntries(new FormData(event.target)))}`;
    },
  },
  FIELDS.map(([name, title]) => h("label", {}, title,
    h("input", { name, value: now[name] ?? "", type: /since|until/.test(name) ? "datetime-local" : "text", autocomplete: "off", size: name === "participant" ? 22 : 12 }))),
  h("button", { class: "act" }, "Filter"), h("a", { class: "button", href: "#dead" }, "All"));
}

/** All of a list that comes in slices, added up. */
async function all(ask, add) {
  let after = null;
  do {
    const part = await ask(after);
    add(part);
    after = part.next;
  } while (after);
}

export async function dead(page) {
  const filter = chosen();
  const counts = { count: 0, by: {} };
  const head = h("div", { class: "card" }, "…");
  const rows = h("div", { class: "card" }, "…");
  page.replaceChildren(h("h1", {}, "Dead letters"), form(), head, rows);
  await all((after) => api(`/api/v1/dead/counts${query({ ...filter, after })}`), (part) => {
    counts.count += part.count;
    for (const [reason, n] of Object.entries(part.by_reason)) counts.by[reason] = (counts.by[reason] ?? 0) + n;
  });
  head.replaceChildren(
    h("p", {}, h("strong", {}, count(counts.count)), " dead letters ",
      Object.entries(counts.by).map(([reason, n]) => [" ", h("a", { href: `#dead${query({ ...filters(), reason })}` }, tag(`${reason} ${count(n)}`, "warn"))])),
    counts.count > 0 && h("div", { class: "buttons left" },
      button("Replay these …", () => begin(filter), { class: "act" }),
      button("Discard these …", () => discard(filter, counts.count))));
  const list = [];
  let next = filters().after ?? null;
  do {
    const part = await api(`/api/v1/dead${query({ ...filter, after: next, limit: 50 })}`);
    list.push(...part.items);
    next = part.next;
  } while (next && list.length < 50);
  rows.replaceChildren(
    table("Dead letters", [
      ["Died", (it) => when(it.died_at)],
      ["Reason", (it) => h("a", { href: `#letter/${it.id}` }, it.reason)],
      ["Participant", (it) => it.participant],
      ["Activation", (it) => it.activation],
      ["Step", (it) => `${it.flow ?? "none"}${it.step ? ` · ${it.step}` : ""}`],
      ["Answer", (it) => it.answer.text ?? it.answer.status ?? JSON.stringify(it.answer), "wide"],
      ["Attempts", (it) => count(it.failures), "n"],
    ], list, "no dead letter matches"),
    next && h("p", {}, h("a", { href: `#dead${query({ ...filters(), after: next })}` }, "older ones")));
}

export async function letter(page, _relay, id) {
  const it = await api(`/api/v1/dead/${id}`);
  page.replaceChildren(
    h("h1", {}, "Dead letter"),
    h("div", { class: "card" }, h("dl", { class: "pairs" },
      [["Reason", tag(it.reason, "warn")], ["Class", it.class], ["Activation", it.activation], ["Workspace", it.workspace ?? "none"],
        ["Flow", it.flow ?? "none"], ["Step", it.step ?? "never began"], ["Accepted", when(it.accepted_at)], ["Died", when(it.died_at)],
        ["Failed attempts", count(it.failures)], ["Id", h("code", {}, it.id)]]
        .map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
    h("div", { class: "buttons left" },
      button("Replay it", async () => {
        if (!await ask("Replay this letter?", "Replay", h("p", {}, "It goes on at the step it died at."))) return;
        const said = await api("/api/v1/dead/replay", { ids: [id] });
        if (!said.revived) throw new Error(said.still_dead.length ? `it would die again: ${said.still_dead[0].reason}` : "it is not there any more");
        location.hash = "#dead";
      }, { class: "act" }),
      button("Discard it …", () => discard(null, 1, [id])))),
    h("h2", {}, "What was answered last"), h("pre", {}, JSON.stringify(it.answer, null, 2)),
    h("h2", {}, "Attempts"), h("div", { class: "card" }, table("Attempts", [
      ["When", (row) => when(row.at)], ["Step", (row) => row.step], ["Answer", (row) => JSON.stringify(row.answer), "wide"],
    ], it.history, "none")),
    h("h2", {}, "What was posted"), h("pre", {}, JSON.stringify(it.event, null, 2)));
}

async function discard(filter, n, ids) {
  const said = await ask(`Discard ${count(n)} dead letter${n === 1 ? "" : "s"} for good?`, "Discard",
    h("p", {}, "They can't be replayed afterwards."),
    h("label", {}, "Why, for the audit", h("input", { name: "because", required: true, maxlength: 300, autocomplete: "off" })));
  if (!said) return;
  if (ids) await api("/api/v1/dead/discard", { ids, because: said.because });
  else {
    let rest = {};
    do {
      const done = await api("/api/v1/dead/discard", { filter: { ...filter, ...rest }, because: said.because });
      rest = done.next ? { after: done.next, until: done.until } : null;
    } while (rest);
  }
  if (location.hash.startsWith("#dead")) window.dispatchEvent(new HashChangeEvent("hashchange"));
  else location.hash = "#dead";
}

/** Previews a replay and begins it. */
async function begin(filter) {
  const seen = { count: 0, by: {}, dead: {}, lanes: {}, sample: [], until: null };
  await all((after) => api("/api/v1/replays/preview", { filter: { ...filter, after, until: filter.until ?? seen.until ?? undefined }, budget: 0.25 }), (part) => {
    seen.count += part.count;
    seen.until ??= part.until;
    for (const [into, from] of [[seen.by, part.by_reason], [seen.dead, part.still_dead]])
      for (const [reason, n] of Object.entries(from)) into[reason] = (into[reason] ?? 0) + n;
    for (const [lane, row] of Object.entries(part.lanes))
      seen.lanes[lane] = { ...row, letters: (seen.lanes[lane]?.letters ?? 0) + row.letters };
    if (!seen.sample.length) seen.sample = part.sample;
  });
  const takes = Math.max(0, ...Object.values(seen.lanes).map((row) => row.letters / row.per_second));
  const said = await ask(`Replay ${count(seen.count)} dead letters?`, "Begin",
    h("p", {}, Object.entries(seen.by).map(([reason, n]) => [tag(`${reason} ${count(n)}`, "warn"), " "])),
    Object.keys(seen.dead).length > 0 && h("p", { class: "bad" }, "As configured today these stay dead: ",
      Object.entries(seen.dead).map(([reason, n]) => `${reason} ${count(n)} `)),
    table("Lanes", [["Lane", ([lane]) => lane], ["Letters", ([, row]) => count(row.letters), "n"],
      ["At", ([, row]) => `${row.per_second.toFixed(1)}/s`, "n"], ["Held", ([, row]) => row.held ?? ""]], Object.entries(seen.lanes)),
    h("p", {}, `At a quarter of the budget that takes about ${span(takes)}.`),
    h("div", { class: "filter" },
      h("label", {}, "Part of the budget", h("input", { name: "budget", type: "number", min: 0.01, max: 1, step: 0.01, value: 0.25 })),
      h("label", {}, "Stop when this share dies again", h("input", { name: "stop_at", type: "number", min: 0.01, max: 1, step: 0.01, value: 0.2 }))));
  if (!said) return;
  const body = { filter: { ...filter, until: seen.until }, budget: Number(said.budget), stop_at: Number(said.stop_at), expected: seen.count };
  const replay = await api("/api/v1/replays", body);
  location.hash = `#replay/${replay.number}`;
}

const kinds = { running: "good", paused: "warn", stopped_itself: "bad", cancelled: "soft", finished: "soft" };

export async function replays(page) {
  const { items } = await api("/api/v1/replays");
  page.replaceChildren(h("h1", {}, "Replays"), h("div", { class: "card" }, table("Replays", [
    ["Replay", (it) => h("a", { href: `#replay/${it.number}` }, `No. ${it.number}`)],
    ["State", (it) => tag(it.state.replace("_", " "), kinds[it.state])],
    ["Began", (it) => when(it.began_at)], ["By", (it) => it.who],
    ["Revived", (it) => count(it.revived), "n"], ["Delivered", (it) => count(it.delivered), "n"],
    ["Died again", (it) => count(it.died_again), "n"], ["Left", (it) => count(it.left), "n"],
  ], items, "nothing was ever replayed")));
}

export function replay(page, _relay, number) {
  const body = h("div", {});
  page.replaceChildren(h("h1", {}, `Replay ${number}`), body);
  let asked = 0;
  const change = (what, title) => button(title, async () => {
    if (!await ask(`${title} replay ${number}?`, title)) return;
    await api(`/api/v1/replays/${number}/${what}`, {});
    asked = 0;
  });
  return async () => {
    if (Date.now() - asked < 900) return;
    asked = Date.now();
    const it = await api(`/api/v1/replays/${number}`);
    const seen = it.expected ? 1 - (it.left ?? 0) / it.expected : null;
    const over = it.state === "cancelled" || it.state === "finished";
    body.replaceChildren(h("div", { class: "card" },
      h("p", {}, tag(it.state.replace("_", " "), kinds[it.state]), it.why && ` ${it.why}`),
      seen !== null && h("p", {}, bar(seen, `${percent(seen)} looked at`), h("small", { class: "soft" }, `${percent(seen)} looked at`)),
      h("dl", { class: "pairs" }, [["Began", when(it.began_at)], ["By", it.who], ["Which", h("code", {}, JSON.stringify(it.filter))],
        ["Pace", it.rate ? `${it.rate}/s` : `${percent(it.budget)} of the budget`], ["Stops at", `${percent(it.stop_at)} dying again`],
        ["Revived", count(it.revived)], ["Delivered", count(it.delivered)], ["Under way", count(it.living)],
        ["Died again", count(it.died_again)], ["Can't run as configured", count(it.still_dead)], ["Left", count(it.left)]]
        .map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
      !over && h("div", { class: "buttons left" },
        it.state === "running" ? change("pause", "Pause") : change("resume", "Resume"), change("cancel", "Cancel"))));
  };
}
