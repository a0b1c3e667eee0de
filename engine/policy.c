/* policy.c - the list of policies, their parameters
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/policy.h"

#include <string.h>

#include "engine/error.h"

extern const VlmPolicy vlm_policy_hired;
extern const VlmPolicy vlm_policy_hired_reference;
extern const VlmPolicy vlm_policy_hired_plus;
extern const VlmPolicy vlm_policy_prumerge;
extern const VlmPolicy vlm_policy_prumerge_plus;
extern const VlmPolicy vlm_policy_visionzip;
extern const VlmPolicy vlm_policy_fastervlm;
extern const VlmPolicy vlm_policy_uniform;
extern const VlmPolicy vlm_policy_random;
extern const VlmPolicy vlm_policy_all;

const VlmPolicy *const vlm_policies[] = {
  &vlm_policy_hired,
  &vlm_policy_hired_reference,
  &vlm_policy_hired_plus,
  &vlm_policy_prumerge,
  &vlm_policy_prumerge_plus,
  &vlm_policy_visionzip,
  &vlm_policy_fastervlm,
  &vlm_policy_uniform,
  &vlm_policy_random,
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

const VlmPolicy *
vlm_policy_of (const VlmConfig *config)
{
  return config->family->zooms ? &vlm_policy_all : vlm_policies[0];
}

int
vlm_policy_tokens (const VlmTileGeometry *geometry)
{
  return vlm_tile_count (geometry) * geometry->side * geometry->side;
}

int
vlm_policy_bound (const VlmTileGeometry *geometry)
{
  return vlm_policy_tokens (geometry) + vlm_tile_count (geometry);
}

void
vlm_selection_init (VlmSelection *selection, const VlmPolicy *policy,
    const VlmPolicyInput *input)
{
  const VlmTileGeometry *g = &input->geometry;
  int bound = vlm_policy_bound (g);
  int n_work = VLM_POLICY_WORK * vlm_policy_tokens (g);

  *selection = (VlmSelection){ .order = g_new (int, bound),
    .per_tile = g_new0 (int, vlm_tile_count (g)),
    .lines = g_new (int, g->rows * g->side),
    .work = g_new (int, n_work),
    .values = g_new (float, g->side * g->side) };
  if (!policy->entries)
    return;
  selection->start = g_new (int, bound + 1);
  selection->source = g_new (int, policy->entries (input));
  selection->weight = g_new (float, policy->entries (input));
}

void
vlm_selection_clear (VlmSelection *selection)
{
  g_free (selection->order);
  g_free (selection->per_tile);
  g_free (selection->lines);
  g_free (selection->work);
  g_free (selection->values);
  g_free (selection->start);
  g_free (selection->source);
  g_free (selection->weight);
  *selection = (VlmSelection){ 0 };
}

void
vlm_policy_defaults (const VlmPolicy *policy, VlmPolicyInput *input)
{
  for (int i = 0; i < policy->n_params; i++)
    input->param[i] = policy->params[i].fallback;
}

static gboolean
fail_range (const VlmPolicyParam *p, const VlmPolicy *policy, double value,
    GError **error)
{
  g_autofree char *expected =
      g_strdup_printf ("%g to %g", p->minimum, p->maximum);
  g_autofree char *found = g_strdup_printf ("%g", value);

  return vlm_fail (error, VLM_ERROR_SETTINGS,
      VLM_ABOUT (.setting = "policy-params", .expected = expected,
          .found = found),
      "The parameter %s of policy %s is %s, expected %g to %g.", p->name,
      policy->name, found, p->minimum, p->maximum);
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
    return fail_range (p, policy, value, error);
  }
  return vlm_fail (error, VLM_ERROR_SETTINGS,
      VLM_ABOUT (.setting = "policy-params", .found = name),
      "The policy %s has no parameter %s.", policy->name, name);
}
