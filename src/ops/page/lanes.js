// Lanes and activations held and released; the configuration; the audit; one participant; signing in.
import { activations, heldTag, laneColumns } from "./now.js";
import { api, ask, button, count, filters, h, query, table, tag, when } from "./kit.js";

async function hold(which, name) {
  const said = await ask(`Hold ${name}?`, "Hold", h("p", {}, "What is under way ends; nothing new begins. Nothing is lost."),
    h("label", {}, "For so many minutes (empty: until it is released)", h("input", { name: "minutes", type: "number", min: 1, step: 1, value: 10 })),
    h("label", {}, "Why, for the audit", h("input", { name: "because", maxlength: 300, autocomplete: "off" })));
  if (!said) return;
  const body = { ...which };
  if (said.minutes) body.for_seconds = Number(said.minutes) * 60;
  if (said.because) body.because = said.because;
  await api("/api/v1/lanes/hold", body);
}

async function release(which, name) {
  if (await ask(`Release ${name}?`, "Release", h("p", {}, "Work goes on at once."))) await api("/api/v1/lanes/release", which);
}

const buttons = (which, name, held) => (held
  ? button("Release", () => release(which, name), { "aria-label": `Release ${name}` })
  : button("Hold", () => hold(which, name), { "aria-label": `Hold ${name}` }));

export function lanes(page, relay) {
  const all = h("div", { class: "card" });
  const active = h("div", { class: "card" });
  page.replaceChildren(h("h1", {}, "Lanes"), all, h("h2", {}, "Activations"), active);
  let shown = "";
  return () => {
    if (!relay.status) return;
    // A button in use is not replaced under the finger.
    const key = JSON.stringify([relay.status.lanes, relay.status.held_activations, relay.status.activations]);
    if (key === shown || page.contains(document.activeElement) && document.activeElement.matches("button:active")) return;
    shown = key;
    const focused = document.activeElement?.getAttribute("aria-label");
    const change = ["", (lane) => buttons({ lane: lane.lane }, lane.lane, lane.held?.reason !== undefined), "wide"];
    all.replaceChildren(table("Lanes", [...laneColumns.slice(0, 6), ["Since", (lane) => when(lane.held?.since)], change], relay.status.lanes));
    active.replaceChildren(table("Activations", [
      ["Activation", (it) => it.activation], ["Workspace", (it) => it.workspace],
      ["State", (it) => heldTag(it.held) ?? tag("worked", "good")],
      ["Died of", (it) => it.held?.died_of ?? ""],
      ["Until", (it) => when(it.held?.until)],
      ["", (it) => buttons({ activation: it.activation }, it.activation, Boolean(it.held)), "wide"],
    ], activations(relay.status)));
    if (focused) page.querySelector(`[aria-label="${CSS.escape(focused)}"]`)?.focus();
  };
}

export async function audit(page) {
  const part = await api(`/api/v1/audit${query({ after: filters().after, limit: 50 })}`);
  page.replaceChildren(h("h1", {}, "Audit"), h("div", { class: "card" }, table("Audit", [
    ["When", (it) => when(it.at)], ["Who", (it) => it.who], ["What", (it) => it.what],
    ["Which", (it) => h("code", {}, typeof it.which === "string" ? it.which : JSON.stringify(it.which)), "wide"],
    ["Why", (it) => it.why ?? ""],
    ["Counts", (it) => Object.entries(it.counts).map(([name, n]) => `${name} ${count(n)}`).join(", ")],
    ["Outcome", (it) => it.outcome],
  ], part.items, "nobody has changed anything yet")),
  part.next && h("p", {}, h("a", { href: `#audit${query({ after: part.next })}` }, "older ones")));
}

export async function config(page) {
  const it = await api("/api/v1/config");
  page.replaceChildren(h("h1", {}, "Configuration"),
    h("p", { class: "soft" }, "In effect, with every default; secrets are masked. Changed in the file, then reloaded."),
    h("div", { class: "buttons left" }, button("Reload …", async () => {
      if (!await ask("Reload the configuration?", "Reload", h("p", {}, "The file is checked as a whole: it is applied, or nothing changes."))) return;
      const said = await api("/api/v1/reload", {});
      await ask("Reloaded", "Good", h("pre", {}, JSON.stringify(said, null, 2)));
      await config(page);
    })),
    Object.entries(it).map(([name, part]) => [h("h2", {}, `[${name}]`), h("pre", {}, JSON.stringify(part, null, 2))]));
}

export function person(page) {
  const found = h("div", {});
  const form = h("form", {
    class: "filter",
    onsubmit: async (event) => {
      event.preventDefault();
      const { email, workspace } = Object.fromEntries(new FormData(event.target));
      found.replaceChildren("…");
      try {
        const it = await api("/api/v1/participants", { email, ...(workspace && { workspace }) });
        found.replaceChildren(
          h("p", {}, "Shown as ", h("code", {}, it.participant), ", hash ", h("code", {}, it.participant_hash)),
          it.addresses.length > 0 && h("p", { class: "soft" }, "Address known in ", it.addresses.join(", ")),
          h("div", { class: "card" }, table("Events", [
            ["Accepted", (row) => when(row.accepted_at)], ["Source", (row) => row.source], ["Activation", (row) => row.activation],
            ["State", (row) => tag(row.state, { dead: "bad", done: "good" }[row.state] ?? "warn")],
            ["Jobs", (row) => row.jobs.map((job) => h("div", {}, `${job.flow ?? "none"}: ${job.step ?? job.state}`,
              job.due && [" due ", when(job.due)], job.reason && [" ", h("a", { href: `#letter/${job.id}` }, job.reason)])), "wide"],
          ], it.events, "nothing is kept of this person")));
      } catch (error) { found.replaceChildren(h("p", { class: "bad", role: "alert" }, error.message)); }
    },
  }, h("label", {}, "E-mail", h("input", { name: "email", type: "email", required: true, autocomplete: "off", size: 28 })),
  h("label", {}, "Workspace (empty: all)", h("input", { name: "workspace", autocomplete: "off", size: 12 })),
  h("button", { class: "act" }, "Find"));
  page.replaceChildren(h("h1", {}, "Participant"),
    h("p", { class: "soft" }, "What is typed is asked for and kept nowhere."), form, found);
}

export function login(page, relay) {
  const said = h("p", { class: "bad", role: "alert" });
  page.replaceChildren(h("h1", {}, "Sign in"), h("form", {
    class: "filter",
    onsubmit: async (event) => {
      event.preventDefault();
      try {
        const answer = await fetch("/api/v1/login", {
          method: "POST", credentials: "same-origin", headers: { "content-type": "application/json" },
          body: JSON.stringify(Object.fromEntries(new FormData(event.target))),
        });
        if (!answer.ok) throw new Error(answer.status === 401 ? "no token of ops.tokens" : `answered ${answer.status}`);
        location.hash = "#now";
        relay.connect();
      } catch (error) { said.textContent = error.message; }
    },
  }, h("label", {}, "Token", h("input", { name: "token", type: "password", required: true, autocomplete: "current-password", size: 32 })),
  h("button", { class: "act" }, "Sign in")), said);
}
