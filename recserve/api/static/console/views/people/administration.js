// What only an administrator may do to a person: merge a session into them, and forget them.

import { dialog, failing, field, h, toast } from "../../dom.js";
import { number, when } from "../../format.js";
import { del, post } from "../../http.js";
import { say } from "../../i18n.js";
import { href } from "../../router.js";

const LIFETIME = 60_000;

/** Ask whose events become this person's; resolves to whether any id was merged. */
export async function merge(id) {
  const source = h("input", { required: true, maxlength: 10_000, spellcheck: false, autocomplete: "off" });
  const content = [
    h("p", { class: "note" }, say("Events and logged recommendations of the other id become those of “{}”; attributes are added where there are none of that name. It cannot be undone.", id)),
    field(say("The other id, such as that of an anonymous session"), source),
  ];
  if (await dialog({ title: say("Merge into “{}”", id), content, actions: [["merge", say("Merge")]] }) !== "merge") return false;
  try {
    const { moved } = await post(`v1/users/${encodeURIComponent(id)}/merge`, { from: source.value });
    toast(say("{} events moved.", number(moved)));
    return true;
  } catch (error) {
    toast(error.message, "bad");
    return false;
  }
}

/** Ask whether a person is to be forgotten, do it, and show the receipt in `place`. */
export async function forget(id, place) {
  const typed = h("input", { required: true, spellcheck: false, autocomplete: "off" });
  typed.addEventListener("input", () => typed.setCustomValidity(typed.value === id ? "" : say("This is another id.")));
  const content = [
    h("p", { class: "note" }, say("Events, profile and logged recommendations of “{}” are deleted, and no bundle trained from now on knows of them. It cannot be undone.", id)),
    field(say("Type the id to confirm"), typed),
  ];
  if (await dialog({ title: say("Delete “{}”?", id), content, actions: [["delete", say("Delete"), "danger"]] }) !== "delete") return;
  await remove(id, place);
}

async function remove(id, place) {
  try {
    const receipt = await del(`v1/users/${encodeURIComponent(id)}`);
    place.replaceChildren(shown(receipt));
    place.querySelector("h1").focus();
  } catch (error) {
    // A key without the scope can be changed for another one; what is shown of the person stays.
    const notice = failing(error, () => {
      notice.remove();
      remove(id, place);
    });
    place.prepend(notice);
  }
}

function shown(receipt) {
  const counts = [["events", say("Events")], ["exposures", say("Logged recommendations")], ["profiles", say("Profiles")], ["impressions", say("Items whose impressions were counted")]];
  return h("section", { class: "panel receipt" },
    h("h1", { tabindex: -1 }, say("Deleted")),
    h("p", {}, say("This is the receipt. It does not name the person; keep it.")),
    h("dl", { class: "known" },
      h("dt", {}, say("Receipt")), h("dd", {}, h("code", {}, receipt.receipt_id)),
      h("dt", {}, say("Deleted at")), h("dd", {}, when(receipt.deleted_at)),
      counts.map(([name, label]) => [h("dt", {}, label), h("dd", {}, number(receipt.deleted[name]))]),
      h("dt", {}, say("To verify")), h("dd", {}, h("code", {}, receipt.verify.replace(/^Run: /, "")))),
    h("div", { class: "row" },
      h("button", { type: "button", class: "primary", onclick: () => save(receipt) }, say("Download the receipt")),
      h("a", { href: href("people") }, say("To the list of people"))));
}

function save(receipt) {
  const content = new Blob([`${JSON.stringify(receipt, null, 2)}\n`], { type: "application/json" });
  const link = h("a", { href: URL.createObjectURL(content), download: `recserve-deletion-${receipt.receipt_id}.json` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), LIFETIME);
}
