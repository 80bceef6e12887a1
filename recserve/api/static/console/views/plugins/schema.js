// Parameters of a component, as its JSON schema describes them.

import { h, table } from "../../dom.js";
import { say } from "../../i18n.js";

/**
 * A table of parameters: name, type, default, what it is.
 *
 * `schema`: JSON schema of an object; parameters that are objects themselves follow under a dotted name. `given`: name ->
 * values that the configuration sets. `sought(name)`: whether somebody looks for a parameter.
 */
export function parameters(schema, caption, given = {}, sought = () => false) {
  return table({
    caption, hideCaption: true, rows: rows(schema, schema, ""), marked: (row) => sought(row.name),
    columns: [
      { title: say("Name"), header: true, cell: (row) => h("code", {}, row.name) },
      { title: say("Type"), cell: (row) => row.type },
      { title: say("Default"), cell: (row) => (row.required ? h("span", { class: "chip warn" }, say("required")) : h("code", {}, shown(row.default))) },
      { title: say("Set to"), cell: (row) => (given[row.name] ? [...new Set(given[row.name].map(shown))].map((value) => h("code", { class: "set" }, value)) : "") },
      { title: say("What it is"), cell: (row) => row.description },
    ],
  });
}

const shown = (value) => (value === undefined ? "–" : JSON.stringify(value));

function rows(schema, whole, prefix, depth = 0) {
  return Object.entries(schema.properties ?? {}).flatMap(([name, raw]) => {
    const one = resolved(raw, whole);
    const inner = depth < 3 ? objectIn(one, whole) : null;
    const row = {
      name: prefix + name, type: typeOf(one, whole), default: raw.default ?? one.default, description: (raw.description ?? one.description ?? "").replaceAll("`", ""),
      required: (schema.required ?? []).includes(name),
    };
    return [row, ...(inner ? rows(inner, whole, `${prefix}${name}.`, depth + 1) : [])];
  });
}

function resolved(schema, whole) {
  const reference = schema.$ref ?? (schema.allOf?.length === 1 ? schema.allOf[0].$ref : undefined);
  if (!reference) return schema;
  const found = reference.replace(/^#\//, "").split("/").reduce((place, key) => place?.[key], whole);
  return { ...found, ...schema };
}

function objectIn(schema, whole) {
  if (schema.properties) return schema;
  const alternatives = (schema.anyOf ?? []).map((one) => resolved(one, whole));
  return alternatives.find((one) => one.properties) ?? null;
}

/** A type in words: "integer, 1 to 4096, or null". */
function typeOf(schema, whole) {
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  const alternatives = schema.anyOf ?? schema.oneOf;
  if (alternatives) return [...new Set(alternatives.map((one) => typeOf(resolved(one, whole), whole)))].join(say(" or "));
  if (schema.type === "array") return say("list of {}", typeOf(resolved(schema.items ?? {}, whole), whole));
  if (schema.properties) return say("object");
  if (schema.type === "object") return say("mapping");
  return [words(schema.type), bounds(schema)].filter(Boolean).join(", ");
}

function words(type) {
  const known = { integer: say("whole number"), number: say("number"), string: say("text"), boolean: say("yes or no"), null: "null" };
  return known[type] ?? type ?? say("anything");
}

function bounds({ minimum, maximum, exclusiveMinimum, exclusiveMaximum }) {
  if (minimum !== undefined && maximum !== undefined) return say("{} to {}", minimum, maximum);
  return [
    minimum !== undefined && say("at least {}", minimum), exclusiveMinimum !== undefined && say("above {}", exclusiveMinimum),
    maximum !== undefined && say("at most {}", maximum), exclusiveMaximum !== undefined && say("below {}", exclusiveMaximum),
  ].filter(Boolean).join(", ");
}
