/* policy.c - the list of policies, their parameters
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/policy.h"

#include <string.h>

#include "engine/error.h"

extern const VlmPolicy vlm_policy_hired;
extern const VlmPolicy vlm_policy_hired_reference;
extern const VlmPolicy vlm_policy_all;

const VlmPolicy *const vlm_policies[] = {
  &vlm_policy_hired,
  &vlm_policy_hired_reference,
  &vlm_policy_all,
  NULL,
};

const VlmPolicy *
vlm_policy_find (const char *name)
{
  for (int i = 0; vlm_policies[i]; i++)
    if (!strcmp (vlm_policies[i]->name, name))
      return vlm_policies[i];
  return NULL;
}

int
vlm_policy_bound (const VlmTileGeometry *geometry)
{
  return vlm_tile_count (geometry) * geometry->side * geometry->side;
}

void
vlm_policy_defaults (const VlmPolicy *policy, VlmPolicyInput *input)
{
  for (int i = 0; i < policy->n_params; i++)
    input->param[i] = policy->params[i].fallback;
}

gboolean
vlm_policy_set_param (const VlmPolicy *policy, VlmPolicyInput *input,
    const char *name, double value, GError **error)
{
  for (int i = 0; i < policy->n_params; i++) {
    const VlmPolicyParam *p = &policy->params[i];

    if (strcmp (p->name, name))
      continue;
    if (value >= p->minimum && value <= p->maximum) {
      input->param[i] = value;
      return TRUE;
    }
    g_set_error (error, VLM_ERROR, VLM_ERROR_SETTINGS,
        "The parameter %s of policy %s is %g, expected %g to %g.", name,
        policy->name, value, p->minimum, p->maximum);
    return FALSE;
  }
  g_set_error (error, VLM_ERROR, VLM_ERROR_SETTINGS,
      "The policy %s has no parameter %s.", policy->name, name);
  return FALSE;
}
