#include "mechanism/plan.h"

#include <stdlib.h>
#include <string.h>

#include "mechanism/accounts.h"
#include "mechanism/open.h"
#include "mechanism/rights.h"

bool plan_begin(const struct root_request *asked, struct root_plan *plan, struct failure *why) {
  if (!rights_configuration(&plan->config, why)) return false;
  const char *default_type = plan->config.udiroot[UDIROOT_DEFAULT_IMAGE_TYPE].text;
  if (!reference_parse(asked->image, strlen(asked->image), default_type, &plan->reference, why)) return false;
  AUTO_BUFFER request = {0};
  buffer_print(&request, "%s:%s", image_type_name(plan->reference.type), plan->reference.reference);
  plan->request = steal(&request.at);
  plan->writable = asked->writable;
  return modules_select(&plan->config, asked->modules, &plan->modules, why) &&
         volumes_select(&plan->config, &plan->modules, asked->volumes, &plan->volumes, why);
}

bool plan_open_image(struct root_plan *plan, struct failure *why) {
  if (plan->device >= 0) return true; // a preparation told of it
  return image_open(&plan->config, &plan->reference, plan->request, &plan->who, &plan->image, why);
}

static void add_text(struct buffer *out, const char *text) {
  for (; *text != '\0'; text++) {
    if (*text == '"' || *text == '\\') buffer_byte(out, '\\');
    buffer_byte(out, *text);
  }
}

// As the reference system writes it, byte for byte: programs inside look there.
void plan_describe(const struct root_plan *plan, struct buffer *out) {
  AUTO_BUFFER volumes = {0};
  volume_map_signature(&plan->volumes, &volumes);
  buffer_text(out, "{\"identifier\":\"");
  add_text(out, plan->image.id);
  buffer_text(out, "\",\"user\":\"");
  add_text(out, plan->accounts.caller.name);
  buffer_text(out, "\",\"volMap\":\"");
  if (volumes.at != NULL) add_text(out, volumes.at);
  buffer_text(out, "\",\"modules\":\"");
  for (size_t i = 0; i < plan->modules.count; i++) buffer_print(out, "%s,", plan->modules.items[i]->name);
  buffer_text(out, "\"}");
}

bool plan_identify(struct root_plan *plan, struct failure *why) {
  if (!accounts_look_up(&plan->config, &plan->who, plan->user, &plan->accounts, why)) {
    bool named = plan->user != NULL && *plan->user != '\0' && why->code == ERROR_CALLER_UNKNOWN;
    return named ? fail(why, ERROR_CALLER_UNKNOWN, "uid %u is not found by the name '%s'", plan->who.uid, plan->user) : false;
  }
  if (plan->user == NULL) return true;
  plan->who.groups = plan->accounts.memberships;
  plan->accounts.memberships = (struct ids){0};
  return true;
}

bool plan_complete(struct root_plan *plan, struct failure *why) {
  // Accounts first: their child, which is the user, inherits no descriptor of an image.
  if (!plan_identify(plan, why) || !plan_open_image(plan, why)) return false;
  plan_describe(plan, &made_files_add(&plan->var, "shifterConfig.json")->content);
  return etc_files_collect(&plan->config, &plan->accounts, &plan->who, &plan->etc, why);
}
