// What the keys do and what the numbers mean.

import { el } from "./dom";

const KEYS: [string, string][] = [
  ["/", "search functions"],
  ["Arrows", "move through the flame graph, once it has the focus"],
  ["Enter", "zoom to the frame under the cursor"],
  ["Esc", "leave the zoom, then the search"],
  ["w", "twice the time range"],
  ["l", "live on or off"],
  ["t", "light or dark"],
  ["?", "this help"],
];

export function helpDialog(): HTMLDialogElement {
  const dialog = el("dialog", { class: "help", "aria-label": "Help" });
  const rows = KEYS.map(([key, text]) => el("tr", {}, el("th", { scope: "row" }, el("kbd", {}, key)), el("td", {}, text)));
  dialog.append(
    el("h2", {}, "Keys"),
    el("table", {}, el("tbody", {}, ...rows)),
    el("h2", {}, "Meaning"),
    el("p", {}, "A frame is as wide as its part of the profile; callers are above. Self is what a function did itself, total includes what it called."),
    el("p", {}, "The range beside a share is its 95 % interval: a profile is a sample, and small frames are uncertain."),
    el("p", {}, "The loss budget counts samples that are missing from the profile and says why."),
    el("form", { method: "dialog" }, el("button", { class: "button" }, "Close")),
  );
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  return dialog;
}
