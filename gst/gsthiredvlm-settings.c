/* gsthiredvlm-settings.c - defaults, and the settings of one description
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gst/gsthiredvlm-settings.h"

#include "engine/error.h"

void
gst_hired_vlm_settings_init (GstHiredVlmSettings *settings)
{
  *settings = (GstHiredVlmSettings){
    .device = g_strdup ("auto"),
    .weights = VLM_WEIGHTS_AUTO,
    .share_model = TRUE,
    .token_budget = 0.2,
    .min_budget = 0.05,
    .policy_params = gst_structure_new_empty ("params"),
    .resampling = VLM_RESAMPLING_TORCHVISION,
    .reuse = VLM_REUSE_ALL,
    .max_tokens = 128,
    .top_p = 1,
    .repetition_penalty = 1,
    .tidal_tokens = 256,
    .tidal_reselect_layer = VLM_TIDAL_KNOWN_LAYER,
    .interval = GST_SECOND,
    .caption_duration = GST_CLOCK_TIME_NONE,
    .text_refresh = 500 * GST_MSECOND,
    .single_line = TRUE,
    .language = g_strdup ("en"),
    .post_messages = TRUE,
  };
}

void
gst_hired_vlm_settings_clear (GstHiredVlmSettings *settings)
{
  g_free (settings->model_path);
  g_free (settings->tower_path);
  g_free (settings->device);
  g_free (settings->prompt);
  g_free (settings->system_prompt);
  g_free (settings->language);
  g_strfreev (settings->stop);
  g_strfreev (settings->labels);
  gst_clear_structure (&settings->policy_params);
}

typedef struct {
  const VlmPolicy *policy;
  VlmPolicyInput *input;
  GError **error;
} SetParam;

static gboolean
set_param (GQuark field, const GValue *value, gpointer user_data)
{
  SetParam *set = user_data;
  g_auto (GValue) number = G_VALUE_INIT;

  g_value_init (&number, G_TYPE_DOUBLE);
  if (G_VALUE_HOLDS_BOOLEAN (value))
    g_value_set_double (&number, g_value_get_boolean (value) ? 1 : 0);
  else if (!g_value_transform (value, &number))
    return vlm_fail (set->error, VLM_ERROR_REQUEST,
        VLM_ABOUT (.setting = "policy-params", .expected = "a number",
            .found = G_VALUE_TYPE_NAME (value)),
        "policy-params: \"%s\" of policy \"%s\" must be a number, found %s.",
        g_quark_to_string (field), set->policy->name,
        G_VALUE_TYPE_NAME (value));
  return vlm_policy_set_param (set->policy, set->input,
      g_quark_to_string (field), g_value_get_double (&number), set->error);
}

static gboolean
fill_policy (const GstHiredVlmSettings *settings, gdouble budget,
    VlmSettings *task, GError **error)
{
  VlmPolicyInput input = { 0 };
  SetParam set = { vlm_policies[settings->policy], &input, error };

  vlm_policy_defaults (set.policy, &input);
  if (!gst_structure_foreach (settings->policy_params, set_param, &set))
    return FALSE;
  task->policy = settings->policy_set ? set.policy : NULL;
  task->token_budget = budget;
  for (int i = 0; i < VLM_POLICY_MAX_PARAMS; i++)
    task->policy_param[i] = input.param[i];
  return TRUE;
}

gboolean
gst_hired_vlm_settings_task (const GstHiredVlmSettings *settings,
    const gchar *prompt, gdouble budget, VlmSettings *task, GError **error)
{
  if (!fill_policy (settings, budget, task, error))
    return FALSE;
  task->prompt = g_strdup (prompt ? prompt : settings->prompt);
  task->system_prompt = g_strdup (settings->system_prompt);
  task->raw_prompt = settings->raw_prompt;
  task->max_tokens = settings->max_tokens;
  task->sampling.temperature = settings->temperature;
  task->sampling.top_p = settings->top_p;
  task->sampling.top_k = settings->top_k;
  task->sampling.repetition_penalty = settings->repetition_penalty;
  task->sampling.seed = settings->seed;
  task->stop = g_strdupv (settings->stop);
  task->positions = settings->positions;
  task->resampling = settings->resampling;
  task->reuse = settings->reuse;
  task->decode_attention = settings->decode_attention;
  task->tidal.tokens = settings->tidal_tokens;
  task->tidal.reselect_layer = settings->tidal_reselect_layer;
  task->tidal.group = settings->tidal_group;
  task->tidal.correct_every = settings->tidal_correct_every;
  task->detail = settings->detail || settings->draw_tokens;
  return TRUE;
}

void
gst_hired_vlm_settings_set_strings (gchar ***strings, const GValue *array)
{
  guint n = gst_value_array_get_size (array);

  g_strfreev (*strings);
  *strings = n > 0 ? g_new0 (gchar *, n + 1) : NULL;
  for (guint i = 0; i < n; i++)
    (*strings)[i] = g_value_dup_string (gst_value_array_get_value (array, i));
}

void
gst_hired_vlm_settings_get_strings (gchar *const *strings, GValue *array)
{
  for (gchar *const *s = strings; s && *s; s++) {
    GValue value = G_VALUE_INIT;

    g_value_init (&value, G_TYPE_STRING);
    g_value_set_string (&value, *s);
    gst_value_array_append_and_take_value (array, &value);
  }
}
