// The configuration in effect, and the audit.
import { api, ask, button, count, filters, h, pairs, query, table, tell, when } from "./kit.js";
import { mayChange } from "./live.js";

/** What is said in `value`, as `[name, text]`, in order. */
function settings(value, name = []) {
  const isTable = (it) => it !== null && typeof it === "object" && !Array.isArray(it);
  if (!isTable(value)) return [[name.join("."), typeof value === "string" ? value : JSON.stringify(value)]];
  return Object.entries(value).flatMap(([key, it]) => settings(it, [...name, key]));
}

/** One table of the file. What is not by default says where it is from. */
const section = ({ table: name, settings: all }) => [h("h2", {}, h("code", {}, `[${name}]`)),
  h("div", { class: "card" }, pairs(...all.map((it) => [h("code", {}, it.key),
    [h("code", {}, it.value), it.from !== "default" && h("small", { class: "soft" }, ` ${it.from}`)]])))];

const list = (title, all) => all?.length > 0 && [h("p", {}, title), h("ul", {}, all.map((it) => h("li", {}, h("code", {}, it))))];

async function reload(main) {
  if (!await ask("Reload the configuration?", "Reload", h("p", {}, "The file is read and checked as a whole: all of it is applied, or nothing changes and it is said why. Lanes held for a key that has changed go on."))) return;
  let said;
  try {
    said = await api("/api/v1/reload", { force: false });
  } catch (error) {
    if (!error.said?.mistakes?.length) throw error;
    await config(main);
    return main.querySelector("h1").after(h("div", { class: "card", role: "alert" }, h("p", { class: "bad" }, error.message),
      table("Mistakes", [["Line", (it) => it.line ?? "–"], ["Key", (it) => h("code", {}, it.key)], ["What is wrong", (it) => it.problem, "wide"],
        ["Remedy", (it) => it.remedy, "wide"]], error.said.mistakes)));
  }
  await config(main);
  main.querySelector("h1").after(h("div", { class: "card", role: "status" },
    h("p", {}, said.applied ? "It is in effect." : "Nothing changed."), list("Changed:", said.changed), list("Only after a restart:", said.needs_restart),
    list("Released:", [...said.released, ...said.released_activations]), said.jobs_without_rules > 0 && h("p", { class: "bad" }, `${count(said.jobs_without_rules)} jobs have no rules any more.`)));
}

export async function config(main) {
  const it = await api("/api/v1/config");
  main.replaceChildren(h("h1", {}, "Configuration"),
    h("p", { class: "soft" }, "What is in effect, every default included; secrets are masked. It is changed in its file, then reloaded."),
    ...(mayChange() ? [h("div", { class: "buttons left" }, button("Reload …", () => reload(main)))] : []),
    ...it.tables.flatMap(section));
}

const which = (it) => h("code", {}, typeof it === "string" ? it : settings(it).filter(([, text]) => text !== "null").map(([name, text]) => (name ? `${name}=${text}` : text)).join(" "));

export async function audit(main) {
  const { after } = filters();
  const part = await api(`/api/v1/audit${query({ after, limit: 50 })}`);
  main.replaceChildren(h("h1", {}, "Audit"), h("p", { class: "soft" }, "What was changed through this listener, and by whom; the newest first."),
    h("div", { class: "card" }, table("Audit", [
      ["When", (it) => when(it.at)], ["Who", (it) => it.who], ["What", (it) => it.what],
      ["Which", (it) => which(it.which), "wide long"],
      ["Why", (it) => it.why ?? "–", "wide long"],
      ["Counts", (it) => Object.entries(it.counts).map(([name, n]) => `${name.replaceAll("_", " ")} ${count(n)}`).join(", ") || "–"],
      ["Outcome", (it) => it.outcome],
    ], part.items, "Nobody has changed anything yet."),
    (after || part.next) && h("p", { class: "buttons left" }, after && h("a", { class: "button", href: "#audit" }, "The newest"),
      part.next && h("a", { class: "button", href: `#audit${query({ after: part.next })}` }, "Older ones"))));
}
