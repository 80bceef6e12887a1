// Promoting and rolling back, with the reason that the history keeps.

import { dialog, field, h, toast } from "../../dom.js";
import { post } from "../../http.js";
import { say } from "../../i18n.js";

const OVERRULED = new Set(["worse_bundle", "not_measured"]);

function reasonField({ required = false } = {}) {
  const control = h("textarea", { rows: 3, maxlength: 1000, required });
  return [field(say("Why"), control, { optional: !required, note: say("Kept in the history of promotions.") }), control];
}

/** Ask and promote; resolves to whether the bundle is current now. */
export async function promote(bundleId) {
  const [asked, reason] = reasonField();
  const told = h("p", {}, say("{} becomes current, and servers follow within seconds, unless the evidence speaks against it.", bundleId));
  if (!await dialog({ title: say("Promote this bundle?"), content: [told, asked], actions: [["promote", say("Promote")]] })) return false;
  const path = `v1/bundles/${encodeURIComponent(bundleId)}/promote`;
  try {
    return done(await post(path, { reason: reason.value || null }), say("{} is current", bundleId));
  } catch (error) {
    if (!OVERRULED.has(error.code)) return refused(error);
    return anyway(path, bundleId, error, reason.value);
  }
}

async function anyway(path, bundleId, error, before) {
  const [asked, reason] = reasonField({ required: true });
  reason.value = before;
  const content = [h("p", { class: "notice bad", role: "alert" }, error.message), asked];
  const title = error.code === "not_measured" ? say("Nothing tells how good it is") : say("The evidence speaks against it");
  if (!await dialog({ title, content, actions: [["force", say("Promote anyway"), "danger"]] })) return false;
  try {
    return done(await post(path, { reason: reason.value, force: true }), say("{} is current", bundleId));
  } catch (failure) {
    return refused(failure);
  }
}

/** Ask and roll back; resolves to whether another bundle is current now. */
export async function rollBack(earlier) {
  const [asked, reason] = reasonField();
  const told = h("p", {}, say("{} becomes current again, and servers follow within seconds.", earlier));
  if (!await dialog({ title: say("Roll back?"), content: [told, asked], actions: [["back", say("Roll back"), "danger"]] })) return false;
  try {
    const answer = await post("v1/bundles/rollback", { reason: reason.value || null });
    return done(answer, say("{} is current again", answer.bundle_id));
  } catch (error) {
    return refused(error);
  }
}

function done(answer, text) {
  toast(answer.changed ? text : say("It was current already"));
  return answer.changed;
}

function refused(error) {
  if (error.status === undefined) throw error;
  toast(error.message, "bad");
  return false;
}
