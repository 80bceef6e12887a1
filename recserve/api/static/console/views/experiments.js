// Experiments: create one, start it, watch it, stop it.

import { showForm } from "./experiments/form.js";
import { showList } from "./experiments/list.js";
import { showExperiment } from "./experiments/watch.js";

export const title = "Experiments";

/** `#/experiments`, `#/experiments/new`, `#/experiments/NAME`, and `#/experiments/NAME/copy`, a new one like it. */
export async function show(root, { path, query, signal }) {
  const [name, part] = path;
  if (name === "new" || part === "copy") await showForm(root, { like: part === "copy" ? name : null, query, signal });
  else if (name) await showExperiment(root, name, signal);
  else await showList(root, signal);
}
