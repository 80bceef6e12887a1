import { h, showState } from "../dom.js";
import { get } from "../http.js";
import { say } from "../i18n.js";

export const title = "Plugins";

/** Show the view. */
export async function show(root, { signal }) {
  const place = h("div");
  root.append(h("h1", {}, say(title)), place);
  await showState(place, async () => {
    const { plugins } = await get("v1/plugins", { signal });
    return h("ul", {}, plugins.map((plugin) => h("li", {}, `${plugin.name} ${plugin.version}`)));
  }, signal);
}
