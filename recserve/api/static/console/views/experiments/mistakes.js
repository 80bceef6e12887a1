// Mistakes of a form, each shown at the field that it is about.

import { h } from "../../dom.js";
import { say } from "../../i18n.js";

/** Pattern of names of experiments, arms and layers. */
export const NAME = "[A-Za-z0-9][A-Za-z0-9._\\-]{0,99}";

/**
 * Shows mistakes in a form whose controls are named as the fields of the request body are.
 *
 * A mistake about a part of a value, such as `arms[1].parameters.retrievers.mf`, is shown at the nearest control that
 * there is; one about the whole at the end of the form.
 */
export function mistakesIn(form) {
  const controls = () => [...form.elements].filter((control) => control.name);

  function clear() {
    for (const message of form.querySelectorAll(".wrong")) message.remove();
    for (const control of controls()) {
      control.removeAttribute("aria-invalid");
      control.removeAttribute("aria-describedby");
    }
  }

  function put(control, message) {
    const id = `${control.id}-wrong`;
    control.setAttribute("aria-invalid", "true");
    control.setAttribute("aria-describedby", id);
    control.closest("details")?.setAttribute("open", "");
    control.after(h("p", { class: "wrong", id, role: "alert" }, message));
  }

  function show(field, message) {
    const control = nearest(field);
    if (control) {
      put(control, message);
      control.focus();
    } else {
      const told = h("p", { class: "wrong notice bad", role: "alert" }, message);
      form.append(told);
      told.scrollIntoView({ block: "center" });
    }
  }

  function nearest(field) {
    for (let name = field ?? ""; name; name = parent(name)) {
      const found = controls().find((control) => control.name === name) ?? controls().find((control) => control.name.startsWith(`${name}.`))
        // Rules are named as a request names them, without the arm that has them.
        ?? controls().find((control) => control.name.endsWith(`.parameters.${name}`) && control.value !== "");
      if (found) return found;
    }
    return null;
  }

  /** Whether the controls' own rules hold; shows where they do not. */
  function ownAreFine() {
    const wrong = controls().filter((control) => !control.checkValidity());
    for (const control of wrong) put(control, control.validity.patternMismatch ? say("Letters, digits, ., - and _ only, at most 100.") : control.validationMessage);
    wrong[0]?.focus();
    return wrong.length === 0;
  }

  return { clear, show, ownAreFine };
}

/** What a field is a part of: `arms[1].parameters` of `arms[1].parameters.rules`; "" of one that is no part. */
function parent(name) {
  return /[.[]/.test(name) ? name.replace(/(\.[^.[]*|\[[^\]]*\])$/, "") : "";
}
