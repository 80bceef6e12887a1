// Editing of attributes, in a dialog: of items here, of profiles in the view of people.

import { dialog, field, h, toast } from "../../dom.js";
import { patch } from "../../http.js";
import { say } from "../../i18n.js";

/** Ask for an item's attributes as they are to be; resolves to whether something was changed. */
export function editAttributes(item) {
  return edit(item.attributes, say("Attributes of “{}”", item.title), (attributes) => patch("v1/items", { items: [{ item_id: item.item_id, attributes }] }));
}

/** The same for a user with a profile. */
export function editProfile(user) {
  return edit(user.attributes, say("Profile of “{}”", user.user_id), (attributes) => patch("v1/users", { users: [{ user_id: user.user_id, attributes }] }));
}

async function edit(attributes, title, save) {
  const text = h("textarea", { rows: 14, spellcheck: false, class: "json", value: JSON.stringify(attributes, null, 2) });
  const wrong = h("p", { class: "notice bad", role: "alert", hidden: true });
  const content = [field(say("JSON, one object"), text, { note: say("What you take out is removed.") }), wrong];
  text.addEventListener("input", () => {
    const problem = read(text.value).problem;
    wrong.hidden = !problem;
    wrong.textContent = problem ?? "";
    text.setCustomValidity(problem ?? "");
  });
  if (await dialog({ title, content, actions: [["save", say("Save")]] }) !== "save") return false;
  const change = difference(attributes, read(text.value).value);
  if (!Object.keys(change).length) return false;
  try {
    await save(change);
    toast(say("Saved."));
    return true;
  } catch (error) {
    toast(error.message, "bad");
    return false;
  }
}

function read(text) {
  try {
    const value = JSON.parse(text);
    if (value === null || typeof value !== "object" || Array.isArray(value)) return { problem: say("This must be an object: { … }") };
    return { value };
  } catch (error) {
    return { problem: say("This is not JSON: {}", error.message) };
  }
}

/** What turns `before` into `after`: attributes that differ, null for those that are gone. */
export function difference(before, after) {
  const changed = Object.entries(after).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(before[name]));
  const gone = Object.keys(before).filter((name) => !(name in after)).map((name) => [name, null]);
  return Object.fromEntries([...changed, ...gone]);
}
