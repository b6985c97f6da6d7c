// Dead letters: by reason, filtered, one of them whole; replayed and discarded.
import { api, ask, button, clock, count, filters, h, link, pairs, query, slices, some, table, tag, tell, when } from "./kit.js";
import { mayChange, relay } from "./live.js";
import { begin } from "./replays.js";
import { hashOf } from "./people.js";

const REASONS = ["unknown_activation", "no_flow", "no_profile", "phone_mismatch", "rejected", "gave_up", "not_subscribed", "unknown_outcome", "bad_answer"];
const CLASSES = ["transient", "throttled", "rejected", "denied"];
const FLOWS = ["email", "sms", "double_opt_in", "progress", "webhook", "outgrow", "credit", "erase"];
const PAGE = 50;

const words = (text) => text.replaceAll("_", " ");

/** The filter as the API takes it. */
function chosen() {
  const { after, ...rest } = filters();
  for (const name of ["since", "until"]) if (rest[name]) rest[name] = new Date(rest[name]).toISOString();
  return rest;
}

const pick = (name, title, all, now) => h("label", {}, title, h("select", { name, value: now },
  h("option", { value: "" }, "any"), all.map((it) => h("option", { value: it }, words(it)))));

function form() {
  const now = filters();
  const text = (name, title, more = {}) => h("label", {}, title, h("input", { name, value: now[name] ?? "", autocomplete: "off", ...more }));
  const open = Object.keys(now).some((name) => !["reason", "after"].includes(name));
  return h("details", { class: "card", open }, h("summary", {}, "Filter"), h("form", { class: "filter", onsubmit: apply },
    pick("reason", "Reason", REASONS, now.reason ?? ""), pick("flow", "Flow", FLOWS, now.flow ?? ""), pick("class", "Class", CLASSES, now.class ?? ""),
    text("workspace", "Workspace"), text("activation", "Activation"),
    text("participant", "Participant: e-mail, or hash", { "aria-describedby": "hashed" }), text("text", "Words of the answer"),
    text("since", "Died since", { type: "datetime-local" }), text("until", "Died until", { type: "datetime-local" }),
    h("div", { class: "buttons left" }, h("button", { class: "act" }, "Filter"), h("a", { class: "button", href: "#dead" }, "All"))),
  h("p", { class: "soft", id: "hashed" }, "An e-mail becomes its hash before it stands in this page's address."));
}

async function apply(event) {
  event.preventDefault();
  try {
    const said = Object.fromEntries(new FormData(event.target));
    if (said.participant.includes("@")) said.participant = await hashOf(said.participant);
    const other = Object.entries(said).find(([name, value]) => name !== "participant" && value.includes("@"));
    if (other) throw new Error("Type an e-mail into the participant's field: nothing else keeps it out of this page's address.");
    location.hash = `#dead${query(said)}`;
  } catch (error) { tell(error.message, "bad"); }
}

const columns = [
  ["Died", (it) => when(it.died_at)],
  ["Reason", (it) => h("a", { href: link("letter", it.id), "aria-label": `${words(it.reason)}: open the letter of ${it.participant}` }, words(it.reason))],
  ["Participant", (it) => it.participant, "wide"],
  ["Activation", (it) => it.activation, "wide"],
  ["Flow · step", (it) => `${it.flow ?? "none"}${it.step ? ` · ${words(it.step)}` : ""}`],
  ["Failures", (it) => count(it.failures), "n"],
  ["Last answer", (it) => answer(it.answer), "wide long"],
];

const answer = (it) => [it.status, it.text].filter(Boolean).join(" ") || "none";

export async function dead(main) {
  const filter = chosen();
  const { after } = filters();
  const head = h("div", {}, h("p", { class: "soft" }, "Counting …"));
  const rows = h("div", {});
  const fresh = h("p", { class: "fresh" });
  main.replaceChildren(h("h1", {}, "Dead letters"), form(), fresh, head, rows);
  const found = { count: 0, by: {} };
  let seen = relay.status?.events.dead;
  const at = new Date().toISOString();
  // What died after it was counted is none of what is asked about.
  let until = filter.until;
  await slices((next) => api(`/api/v1/dead/counts${query({ ...filter, after: next })}`), (part) => {
    until ??= part.at;
    found.count += part.count;
    for (const [reason, n] of Object.entries(part.by_reason)) found.by[reason] = (found.by[reason] ?? 0) + n;
  });
  const by = Object.entries(found.by).sort(([, one], [, other]) => other - one);
  head.replaceChildren(h("div", { class: "card" },
    h("p", {}, h("strong", {}, some(found.count, "dead letter")), Object.keys(filter).length > 0 && " match the filter"),
    by.length > 0 && h("p", { class: "chips" }, by.map(([reason, n]) => h("a", { class: "tag warn", href: `#dead${query({ ...filters(), after: "", reason })}` }, `${words(reason)} ${count(n)}`))),
    mayChange() && found.count > 0 && h("div", { class: "buttons left" },
      button(`Replay ${found.count === 1 ? "it" : `these ${count(found.count)}`} …`, () => begin(filter), { class: "act" }),
      button(`Discard ${found.count === 1 ? "it" : `these ${count(found.count)}`} …`, () => discardAll({ ...filter, until }, found.count)))));
  const { list, next } = await page(filter, after);
  rows.replaceChildren(h("div", { class: "card" },
    table("Dead letters", columns, list, "No dead letter matches.", (it) => it.id),
    (after || next) && h("p", { class: "buttons left" },
      after && h("a", { class: "button", href: `#dead${query({ ...filters(), after: "" })}` }, "From the first"),
      next && h("a", { class: "button", href: `#dead${query({ ...filters(), after: next })}` }, "More"))));
  return () => {
    seen ??= relay.status?.events.dead;
    if (fresh.firstChild || (relay.status?.events.dead ?? seen) === seen) return;
    fresh.replaceChildren(`It is no longer as it was at ${clock(at)}. `, button("Look again", () => look()));
  };
}

/** So many that match, behind `after`: a slice of the API may have fewer than asked for, and more behind it. */
async function page(filter, after) {
  const list = [];
  let next = after;
  do {
    const part = await api(`/api/v1/dead${query({ ...filter, after: next, limit: PAGE - list.length })}`);
    list.push(...part.items);
    next = part.next;
  } while (next && list.length < PAGE);
  return { list, next };
}

const look = () => dispatchEvent(new HashChangeEvent("hashchange"));

export async function letter(main, id) {
  const it = await api(`/api/v1/dead/${id}`);
  const { event } = it;
  main.replaceChildren(
    h("h1", {}, "Dead letter"),
    h("div", { class: "card" }, pairs(["Reason", tag(words(it.reason), "warn")], ["Last answer", answer(it.answer)],
      ["Activation", it.activation], ["Workspace", it.workspace ?? "none"], ["Flow", it.flow ?? "none"], ["Step", it.step ? words(it.step) : "never began"],
      ["Class", it.class], ["Accepted", when(it.accepted_at)], ["Died", when(it.died_at)],
      ["Failures", count(it.failures)], it.replay && ["Lived again by", h("a", { href: `#replay/${it.replay}` }, `replay ${it.replay}`)],
      ["Participant", [it.participant, " ", h("small", { class: "soft" }, h("code", {}, it.participant_hash))]],
      ["Letters of theirs", h("a", { href: `#dead${query({ participant: it.participant_hash })}` }, "show")], ["Id", h("code", {}, it.id)]),
    mayChange() && h("div", { class: "buttons left" },
      button("Replay it …", () => replayOne(it), { class: "act", id: "replay" }),
      button("Discard it …", () => discardOne(it)))),
    h("h2", {}, "Attempts"), h("div", { class: "card" }, table("Attempts", [
      ["When", (row) => when(row.at)], ["Step", (row) => words(row.step)], ["Answer", (row) => answer(row.answer), "wide long"],
    ], it.history, "none is kept")),
    h("h2", {}, "What was posted"), h("pre", {}, JSON.stringify(event, null, 2)));
}

async function replayOne(it) {
  if (!await ask("Replay this dead letter?", "Replay 1 letter",
    h("p", {}, it.step ? `One letter lives again: it goes on at the step it died at, ${words(it.step)}.` : "One letter lives again, from its beginning."),
    it.reason === "unknown_outcome" && h("p", { class: "bad" }, "Nobody knows whether what it asked for has happened. It may then happen twice."))) return;
  const said = await api("/api/v1/dead/replay", { ids: [it.id] });
  if (!said.revived) throw new Error(said.still_dead.length ? `It would die again: ${words(said.still_dead[0].reason)}.` : "It is no dead letter any more.");
  location.hash = "#dead";
  tell("One letter lives again.");
}

const why = () => h("label", {}, "Why, for the audit", h("input", { name: "because", required: true, maxlength: 300, autocomplete: "off" }));

async function discardOne(it) {
  const said = await ask("Discard this dead letter for good?", "Discard 1 letter", h("p", {}, "It cannot be replayed afterwards."), why());
  if (!said) return;
  await api("/api/v1/dead/discard", { ids: [it.id], because: said.because });
  location.hash = "#dead";
  tell("One letter is discarded.");
}

async function discardAll(filter, n) {
  const said = await ask(`Discard ${some(n, "dead letter")} for good?`, `Discard ${some(n, "letter")}`,
    h("p", {}, "They cannot be replayed afterwards. Those that were counted are meant, and none that died since."), why());
  if (!said) return;
  let gone = 0;
  await slices((after) => api("/api/v1/dead/discard", { filter: { ...filter, ...(after && { after }) }, because: said.because }), (part) => { gone += part.discarded; });
  look();
  tell(`${some(gone, "letter is", "letters are")} discarded.`);
}
