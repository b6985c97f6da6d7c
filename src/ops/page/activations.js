// Activations, and one of them: where the people who joined it are.
import { api, bar, count, h, pairs, percent, query, renew, some, span, table } from "./kit.js";
import { activationColumns, activationKey, activationRows, heldTag } from "./now.js";
import { holdText, relay } from "./live.js";
import { holdButton } from "./lanes.js";

export function activations(main) {
  const all = h("div", { class: "card" });
  main.replaceChildren(h("h1", {}, "Activations"), all);
  return () => relay.status && renew(all,
    table("Activations", activationColumns, activationRows(relay.status), "no activation is configured", activationKey));
}

const KINDS = { living: "under way", done: "done", dead: "dead" };

const step = (joined) => (it) => h("li", { class: it.kind, key: it.step },
  h("span", { class: "label" }, it.label, !it.label.startsWith(KINDS[it.kind]) && h("small", { class: "soft" }, ` ${KINDS[it.kind]}`)),
  bar(joined ? it.count / joined : 0, `${count(it.count)} of ${some(joined, "person", "people")}`),
  h("b", {}, count(it.count)),
  h("small", { class: "soft n" }, joined ? percent(it.count / joined) : "–"));

export function activation(main, workspace, name) {
  const body = h("div", {});
  main.replaceChildren(h("h1", {}, `${name} `, h("small", { class: "soft" }, workspace)), body);
  const path = [workspace, name].map(encodeURIComponent).join("/");
  let asked = 0;
  return async () => {
    if (performance.now() - asked < 900) return;
    asked = performance.now();
    const it = await api(`/api/v1/activations/${path}`);
    const held = it.held && { reason: "manual", ...it.held };
    const row = { workspace, activation: name, due: it.due, dead: it.credits.dead };
    renew(body,
      h("div", { class: "card" },
        pairs(["Flow", it.flow ?? "none: only what is passed on"], ["Joined", some(it.joined, "person", "people")],
          ["State", held ? [heldTag(held), " ", holdText("It", held)] : it.due ? "working" : "nothing is due"],
          ["Due", some(it.due, "call")], ["Done in", it.eta_seconds === null ? "unknown" : span(it.eta_seconds)],
          ["Credits", `${count(it.credits.credited)} told to Quikly, ${count(it.credits.waiting)} waiting, ${count(it.credits.dead)} dead`],
          it.webhooks.waiting + it.webhooks.passed_on + it.webhooks.dead > 0 && ["Webhooks", `${count(it.webhooks.passed_on)} passed on, ${count(it.webhooks.waiting)} waiting, ${count(it.webhooks.dead)} dead`],
          it.updates_living > 0 && ["Updates", `${count(it.updates_living)} not delivered yet`],
          ["Dead letters", it.dead.length ? it.dead.map(({ reason, count: n }, at) => [at > 0 && ", ",
            h("a", { href: `#dead${query({ workspace, activation: name, reason })}` }, `${reason.replaceAll("_", " ")} ${count(n)}`)]) : "none"]),
        h("div", { class: "buttons left" }, holdButton({ ...row, held: it.held }))),
      h("h2", {}, "Where those who joined are"),
      h("div", { class: "card" }, it.joined ? h("ol", { class: "funnel" }, it.steps.map(step(it.joined))) : h("p", { class: "soft" }, "Nobody has joined yet.")));
  };
}
