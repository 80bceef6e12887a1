// How good what is served is: bundles, what training measured of them, and what people did with what they were shown.

import { showBundle } from "./quality/bundle.js";
import { showComparison } from "./quality/compare.js";
import { showOverview } from "./quality/overview.js";

export const title = "Quality";

/** `#/quality`, `#/quality/BUNDLE`, `#/quality/compare?a=BUNDLE&b=BUNDLE`. */
export async function show(root, { path, query, signal }) {
  const [first] = path;
  if (first === "compare") await showComparison(root, { query, signal });
  else if (first) await showBundle(root, first, signal);
  else await showOverview(root, { query, signal });
}
