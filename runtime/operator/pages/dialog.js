// Questions before something is changed, and news after it.

import { Refused } from "./api.js";
import { button, el } from "./dom.js";

/**
 * Asks in a dialog. `act(form)` does it when the operator agrees; what it throws is shown and the dialog
 * stays. → Whether it was done.
 */
export function dialog(title, body, verb, act, { danger = false } = {}) {
  return new Promise((resolve) => {
    const problem = el("p", { class: "problem", role: "alert", hidden: true });
    const go = el("button", { type: "submit", class: danger ? "danger" : "primary" }, verb);
    let done = false;
    const form = el(
      "form",
      {
        method: "dialog",
        on: {
          submit: async (event) => {
            event.preventDefault();
            go.disabled = true;
            problem.hidden = true;
            try {
              await act(form.elements);
              done = true;
              box.close();
            } catch (error) {
              problem.textContent = error.message;
              problem.hidden = false;
            }
            go.disabled = false;
          },
        },
      },
      el("h2", {}, title),
      body,
      problem,
      el(
        "div",
        { class: "actions" },
        button("Cancel", () => box.close()),
        go,
      ),
    );
    const box = el(
      "dialog",
      {
        on: {
          close: () => {
            box.remove();
            resolve(done);
          },
        },
      },
      form,
    );
    document.body.append(box);
    box.showModal();
  });
}

/** Shows a line at the top of the page for a while. */
export function notice(text, kind = "good") {
  const line = document.getElementById("notice");
  line.textContent = text;
  line.className = kind;
  line.hidden = false;
  clearTimeout(line.timer);
  line.timer = setTimeout(() => (line.hidden = true), 6_000);
}

/** Does something, and shows why it was refused. */
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    notice(error.message, "bad");
  }
}
