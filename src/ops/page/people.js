// One participant, found by the e-mail that is typed in, which no address has; and signing in.
import { api, h, link, pairs, renew, some, table, tag, tell, when } from "./kit.js";
import { connect, me, relay } from "./live.js";

/** The hash that lists and filters know a participant by. */
export const hashOf = async (email) => (await api("/api/v1/participants", { email: email.trim() })).participant_hash;

const KINDS = { dead: "bad", ended: "good" };
const words = (text) => text.replaceAll("_", " ");

const job = (it) => h("li", {}, `${it.activation}: ${words(it.flow ?? "no flow")}${it.step ? ` · ${words(it.step)}` : ""}, `,
  it.state === "dead" ? h("a", { href: link("letter", it.id) }, words(it.last_failure?.reason ?? it.state)) : words(it.state),
  it.due && [", due ", when(it.due)], it.behind && ", behind an earlier one of theirs", it.held && ", held",
  it.failures > 0 && `, ${some(it.failures, "failed attempt")}`);

function timeline(it) {
  return [
    h("div", { class: "card" }, pairs(["Shown as", it.participant], ["Hash", h("code", {}, it.participant_hash)],
      ["Address known", it.addresses.length ? it.addresses.map((row) => `${row.workspace}: ${words(row.address_kind)}`).join(", ") : "in no workspace"],
      ["Dead letters", h("a", { href: `#dead?participant=${encodeURIComponent(it.participant_hash)}` }, "of this person")])),
    h("h2", {}, "Events"),
    h("div", { class: "card" }, table("Events", [
      ["Accepted", (row) => when(row.accepted_at)],
      ["State", (row) => tag(row.state, KINDS[row.state] ?? "warn")],
      ["Jobs that live or are dead", (row) => (row.jobs.length ? h("ul", { class: "jobs" }, row.jobs.map(job)) : "none"), "wide long"],
      ["Event", (row) => h("code", {}, row.id), "wide long"],
    ], it.events, "Nothing is kept of this person.", (row) => row.id),
    it.more && h("p", { class: "soft" }, "There are more than are shown.")),
  ];
}

export function person(main) {
  const found = h("div", { "aria-live": "polite" });
  async function find(event) {
    event.preventDefault();
    const { email } = Object.fromEntries(new FormData(event.target));
    try {
      renew(found, timeline(await api("/api/v1/participants", { email: email.trim() })));
    } catch (error) {
      renew(found);
      tell(error.message, "bad");
    }
  }
  main.replaceChildren(h("h1", {}, "Participant"),
    h("p", { class: "soft" }, "What is typed is asked for and kept nowhere: not in an address, not in a log."),
    h("form", { class: "filter", onsubmit: find },
      h("label", {}, "E-mail", h("input", { name: "email", type: "email", required: true, autocomplete: "off", spellcheck: "false" })),
      h("button", { class: "act" }, "Find")), found);
}

export function login(main) {
  const said = h("p", { class: "bad", role: "alert", id: "refused" });
  async function sign(event) {
    event.preventDefault();
    const form = event.target;
    said.textContent = "";
    try {
      await api("/api/v1/login", Object.fromEntries(new FormData(form)));
      await me();
      location.hash = "#now";
      connect();
    } catch (error) {
      said.textContent = error.message;
      form.elements.token.select();
    }
  }
  main.replaceChildren(h("h1", {}, "Sign in"), h("form", { class: "filter", onsubmit: sign },
    h("label", {}, "Token", h("input", { name: "token", type: "password", required: true, autocomplete: "current-password", "aria-describedby": "refused" })),
    h("button", { class: "act" }, "Sign in")), said,
  h("p", { class: "soft" }, "One of ", h("code", {}, "ops.tokens"), " of the relay's configuration."), ...(relay.signed_in ? [h("p", {}, "You are signed in as ", relay.who, ".")] : []));
}
