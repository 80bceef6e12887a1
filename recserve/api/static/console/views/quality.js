import { h } from "../dom.js";
import { say } from "../i18n.js";

export const title = "Quality";

/** Show the view. */
export async function show(root) {
  root.append(h("h1", {}, say(title)));
}
