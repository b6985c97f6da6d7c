// Lanes and activations held and released.
import { api, ask, button, count, h, renew, some, table, tell, when } from "./kit.js";
import { activationKey, activationRows, heldTag, laneColumns, laneKey } from "./now.js";
import { mayChange, relay, toActivation } from "./live.js";

const until = (said) => (said.until ? ["until ", when(said.until)] : "until it is released, or the relay is started again");

async function hold(which, name, waits) {
  const said = await ask(`Hold ${name}?`, "Hold",
    h("p", {}, `What is under way is answered, then nothing leaves: ${waits} from now on. Nothing is lost, and nothing grows old by it.`),
    h("label", {}, "For so many minutes (empty: until it is released)", h("input", { name: "minutes", type: "number", min: 1, max: 525600, step: 1, value: 10 })),
    h("label", {}, "Why (shown with the hold, and in the audit)", h("input", { name: "because", maxlength: 300, autocomplete: "off" })));
  if (!said) return;
  const body = { ...which };
  if (said.minutes) body.for_seconds = Number(said.minutes) * 60;
  if (said.because.trim()) body.because = said.because.trim();
  const done = await api("/api/v1/lanes/hold", body);
  tell([`Held: ${[...done.lanes, ...done.activations].join(", ")}, `, until(done), "."]);
}

async function release(which, name, waits) {
  if (!await ask(`Release ${name}?`, "Release", h("p", {}, `${waits} and go on at once, at the pace that its limits allow.`))) return;
  const done = await api("/api/v1/lanes/release", which);
  tell(`Released: ${[...done.lanes, ...done.activations].join(", ") || "nothing was held"}.`);
}

function change(which, name, isHeld, n) {
  if (!mayChange()) return null;
  const calls = some(n, "call");
  return isHeld
    ? button("Release …", () => release(which, name, `${calls} ${n === 1 ? "waits" : "wait"} there`), { "aria-label": `Release ${name}` })
    : button("Hold …", () => hold(which, name, `${calls} ${n === 1 ? "waits" : "wait"} there`), { "aria-label": `Hold ${name}` });
}

/** Holds an activation, or ends its hold. */
export const holdButton = (it) => change({ activation: it.activation }, it.activation, Boolean(it.held), it.due);

/** A lane as its table has it. What activations that are held wait in is no lane to hold. */
const laneButton = (lane) => (lane.lane.endsWith("/held") ? h("small", { class: "soft" }, "what held activations wait in")
  : change({ lane: lane.lane }, lane.lane, Boolean(lane.held), lane.depth + lane.waiting));

function everything(status) {
  const lanes = status.lanes.filter((lane) => !lane.lane.endsWith("/held"));
  const held = lanes.filter((lane) => lane.held).length + status.held_activations.length;
  const due = lanes.reduce((all, lane) => all + lane.depth + lane.waiting, 0);
  return mayChange() && h("div", { class: "buttons left" },
    button(`Hold all ${lanes.length} lanes …`, () => hold({ all: true }, some(lanes.length, "lane"), `${some(due, "call")} wait`)),
    held > 0 && button(`Release all ${held} …`, () => release({ all: true }, "whatever is held", `${some(held, "hold ends", "holds end")}: calls wait`)));
}

export function lanes(main) {
  const top = h("div", {});
  const all = h("div", { class: "card" });
  const active = h("div", { class: "card" });
  main.replaceChildren(h("h1", {}, "Lanes"), h("p", { class: "soft" },
    "A lane is what shares one rate limit in a workspace. What is held waits, and goes on where it was. Holds end with the process."),
  top, all, h("h2", {}, "Activations"), active);
  return () => {
    const { status } = relay;
    if (!status) return;
    renew(top, everything(status));
    const [lane, ...rest] = laneColumns;
    renew(all, table("Lanes", [["Lane", (it) => it.lane, lane[2]], ...rest,
      ["Since", (it) => when(it.held?.since)],
      ["", laneButton, "wide act-cell"]], status.lanes, "no lane is configured", laneKey));
    renew(active, table("Activations", [
      ["Activation", (it) => h("a", { href: toActivation(it) }, it.activation), "wide name"],
      ["Workspace", (it) => it.workspace],
      ["State", (it) => [heldTag(it.held) ?? "not held", it.held?.because && h("small", { class: "soft block" }, it.held.because)]],
      ["Died of", (it) => it.held?.died_of?.replaceAll("_", " ") ?? "–"],
      ["Since", (it) => when(it.held?.since)],
      ["Until", (it) => when(it.held?.until)],
      ["Due", (it) => count(it.due), "n"],
      ["", holdButton, "wide act-cell"],
    ], activationRows(status), "no activation is configured", activationKey));
  };
}
