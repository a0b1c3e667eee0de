/* hiredvlm-quiz.c - asks a quiz of a model, once per policy and budget
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 *   hiredvlm-quiz --policies hired,random:seed=7 --budgets 0.2,1 quiz.json
 *
 * Prints one JSON object a line: policy, budget, tokens (visual, kept),
 * prompt-tokens (all of a prompt, mean), fine-tokens (FlexAttention: looked at
 * in a hierarchical layer, mean), ms (a description), cache-bytes (keys and
 * values of a prompt), scores {kind: [[right, of] per picture]}; with --answers
 * also the answers. evaluate draws the pictures and reads this.
 */
#include <stdio.h>
#include <stdlib.h>

#include <json-glib/json-glib.h>

#include "engine/error.h"
#include "engine/numbers.h"
#include "models/quiz.h"

typedef struct {
  char *model, *policies, *budgets, *device, *weights, *tidal_group;
  int lanes, threads, max_tokens;
  int tidal_tokens; /* 0: full attention */
  gboolean answers;
} Options;

/* Which of the names, of which the last is NULL, or -1. */
static int
find_name (const char *const *names, const char *text)
{
  for (int i = 0; names[i]; i++)
    if (!g_strcmp0 (text, names[i]))
      return i;
  return -1;
}

static gboolean
set_positions (VlmSettings *settings, const char *text, GError **error)
{
  static const char *const names[] = { [VLM_POSITIONS_AUTO] = "auto",
    [VLM_POSITIONS_CLOSED] = "closed",
    [VLM_POSITIONS_WHOLE] = "whole",
    NULL };
  int found = find_name (names, text);

  if (found >= 0) {
    settings->positions = (VlmPositions) found;
    return TRUE;
  }
  g_set_error (error, VLM_ERROR, VLM_ERROR_SETTINGS,
      "--policies: positions are auto, closed or whole, not \"%s\".",
      text ? text : "");
  return FALSE;
}

static gboolean
set_param (VlmSettings *settings, VlmPolicyInput *input, const char *name,
    const char *value, GError **error)
{
  if (g_str_equal (name, "positions"))
    return set_positions (settings, value, error);
  return vlm_policy_set_param (settings->policy, input, name,
      value ? g_ascii_strtod (value, NULL) : 0, error);
}

/* "name" or "name:param=value:param=value"; positions count as one. */
static gboolean
set_policy (VlmSettings *settings, const char *text, GError **error)
{
  g_auto (GStrv) parts = g_strsplit (text, ":", -1);
  VlmPolicyInput input = { 0 };

  settings->policy = vlm_policy_find (parts[0] ? parts[0] : "");
  if (!settings->policy) {
    g_set_error (error, VLM_ERROR, VLM_ERROR_SETTINGS,
        "--policies: there is none named \"%s\".", text);
    return FALSE;
  }
  vlm_policy_defaults (settings->policy, &input);
  for (int i = 1; parts[i]; i++) {
    g_auto (GStrv) pair = g_strsplit (parts[i], "=", 2);

    if (!set_param (settings, &input, pair[0], pair[1], error))
      return FALSE;
  }
  for (int i = 0; i < VLM_POLICY_MAX_PARAMS; i++)
    settings->policy_param[i] = input.param[i];
  return TRUE;
}

static gboolean
set_budget (VlmSettings *settings, const char *text, GError **error)
{
  char *end;

  settings->token_budget = g_ascii_strtod (text, &end);
  if (end != text && !*end && settings->token_budget > 0)
    return TRUE;
  g_set_error (error, VLM_ERROR, VLM_ERROR_SETTINGS,
      "--budgets: a number above 0 was expected, not \"%s\".", text);
  return FALSE;
}

static gboolean
set_attention (VlmSettings *settings, const Options *o, GError **error)
{
  static const char *const groups[] = { [VLM_TIDAL_KV] = "kv",
    [VLM_TIDAL_QUERY] = "query",
    [VLM_TIDAL_PAGES] = "pages",
    NULL };
  int found;

  if (o->tidal_tokens <= 0)
    return TRUE;
  found = find_name (groups, o->tidal_group ? o->tidal_group : "kv");
  settings->decode_attention = VLM_DECODE_TIDAL;
  settings->tidal.tokens = o->tidal_tokens;
  if (found >= 0) {
    settings->tidal.group = (VlmTidalGroup) found;
    return TRUE;
  }
  g_set_error (error, VLM_ERROR, VLM_ERROR_SETTINGS,
      "--tidal-group: kv, query or pages was expected, not \"%s\".",
      o->tidal_group);
  return FALSE;
}

static void
add_scores (JsonBuilder *b, const Quiz *quiz, const QuizResult *result)
{
  json_builder_set_member_name (b, "scores");
  json_builder_begin_object (b);
  for (guint k = 0; k < quiz->kinds->len; k++) {
    json_builder_set_member_name (b, quiz->kinds->pdata[k]);
    json_builder_begin_array (b);
    for (guint i = 0; i < quiz->pictures->len; i++) {
      const QuizScore *score = &result->scores[k * quiz->pictures->len + i];

      json_builder_begin_array (b);
      json_builder_add_int_value (b, score->right);
      json_builder_add_int_value (b, score->of);
      json_builder_end_array (b);
    }
    json_builder_end_array (b);
  }
  json_builder_end_object (b);
}

static void
print_result (const Quiz *quiz, const QuizResult *result, double ms,
    const char *policy, double budget, gboolean answers)
{
  g_autoptr (JsonBuilder) b = json_builder_new ();

  json_builder_begin_object (b);
  json_builder_set_member_name (b, "policy");
  json_builder_add_string_value (b, policy);
  json_builder_set_member_name (b, "budget");
  json_builder_add_double_value (b, budget);
  json_builder_set_member_name (b, "tokens");
  json_builder_add_double_value (b, result->tokens);
  json_builder_set_member_name (b, "prompt-tokens");
  json_builder_add_double_value (b, result->prompt_tokens);
  json_builder_set_member_name (b, "fine-tokens");
  json_builder_add_double_value (b, result->fine_tokens);
  json_builder_set_member_name (b, "ms");
  json_builder_add_double_value (b, ms);
  json_builder_set_member_name (b, "cache-bytes");
  json_builder_add_double_value (b, result->cache_bytes);
  add_scores (b, quiz, result);
  if (answers) {
    json_builder_set_member_name (b, "answers");
    json_builder_begin_array (b);
    for (int i = 0; result->answers[i]; i++)
      json_builder_add_string_value (b, result->answers[i]);
    json_builder_end_array (b);
  }
  json_builder_end_object (b);
  g_autoptr (JsonNode) root = json_builder_get_root (b);
  g_autofree char *text = json_to_string (root, FALSE);
  puts (text);
  fflush (stdout);
}

static gboolean
run_policy (const Options *o, const Quiz *quiz, VlmEngine *engine,
    const char *policy, GError **error)
{
  g_auto (GStrv) budgets = g_strsplit (o->budgets, ",", -1);
  VlmSettings settings;

  vlm_settings_init (&settings);
  settings.max_tokens = o->max_tokens;
  if (!set_policy (&settings, policy, error) ||
      !set_attention (&settings, o, error))
    return FALSE;
  for (int i = 0; budgets[i]; i++) {
    QuizResult result = { 0 };
    gboolean done =
        set_budget (&settings, budgets[i], error) &&
        quiz_run (quiz, engine, &settings, o->lanes, &result, error);

    if (done)
      print_result (quiz, &result, quiz_time (quiz, engine, &settings), policy,
          settings.token_budget, o->answers);
    quiz_result_clear (&result);
    if (!done)
      return FALSE;
  }
  return TRUE;
}

static gboolean
run (const Options *o, const char *file, GError **error)
{
  g_auto (GStrv) policies = g_strsplit (o->policies, ",", -1);
  VlmOpenOptions open = {
    .path = o->model, .device = o->device, .threads = o->threads
  };
  g_autoptr (Quiz) quiz = quiz_read (file, error);

  if (!quiz)
    return FALSE;
  if (o->weights && !vlm_numbers_parse (&open.weights, o->weights, error))
    return FALSE;
  g_autoptr (VlmEngine) engine = vlm_engine_open (&open, error);
  if (!engine)
    return FALSE;
  for (int i = 0; policies[i]; i++)
    if (!run_policy (o, quiz, engine, policies[i], error))
      return FALSE;
  return TRUE;
}

static gboolean
parse_options (Options *o, int *argc, char ***argv, GError **error)
{
  const GOptionEntry entries[] = {
    { "model", 'm', 0, G_OPTION_ARG_FILENAME, &o->model,
        "checkpoint folder (default: the shipped model)", "FOLDER" },
    { "policies", 0, 0, G_OPTION_ARG_STRING, &o->policies,
        "policies, each with parameters and positions if wanted: "
        "NAME:PARAM=VALUE (hired)",
        "A,B" },
    { "budgets", 0, 0, G_OPTION_ARG_STRING, &o->budgets, "token budgets (0.2)",
        "X,Y" },
    { "device", 0, 0, G_OPTION_ARG_STRING, &o->device, "device (auto)",
        "NAME" },
    { "weights", 0, 0, G_OPTION_ARG_STRING, &o->weights,
        "auto, f32 or bf16 (auto)", "TYPE" },
    { "threads", 0, 0, G_OPTION_ARG_INT, &o->threads,
        "threads of the CPU (one per processor)", "N" },
    { "lanes", 0, 0, G_OPTION_ARG_INT, &o->lanes,
        "questions that run at a time (4)", "N" },
    { "max-tokens", 0, 0, G_OPTION_ARG_INT, &o->max_tokens,
        "longest answer (128)", "N" },
    { "tidal-tokens", 0, 0, G_OPTION_ARG_INT, &o->tidal_tokens,
        "decode-attention=tidal with so many tokens (0: full attention)", "N" },
    { "tidal-group", 0, 0, G_OPTION_ARG_STRING, &o->tidal_group,
        "kv, query or pages (kv)", "NAME" },
    { "answers", 0, 0, G_OPTION_ARG_NONE, &o->answers, "print the answers too",
        NULL },
    { NULL },
  };
  g_autoptr (GOptionContext) context =
      g_option_context_new ("QUIZ.json - ask a model and score its answers");

  g_option_context_add_main_entries (context, entries, NULL);
  if (!g_option_context_parse (context, argc, argv, error))
    return FALSE;
  if (*argc == 2 && o->lanes > 0)
    return TRUE;
  g_set_error (error, VLM_ERROR, VLM_ERROR_SETTINGS,
      "One quiz file and --lanes of 1 or more were expected.");
  return FALSE;
}

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  Options o = { .lanes = 4, .max_tokens = 128 };
  gboolean done = parse_options (&o, &argc, &argv, &error);

  if (done && !o.policies)
    o.policies = g_strdup ("hired");
  if (done && !o.budgets)
    o.budgets = g_strdup ("0.2");
  done = done && run (&o, argv[1], &error);
  if (!done)
    fprintf (stderr, "hiredvlm-quiz: %s\n", error->message);
  g_free (o.model);
  g_free (o.policies);
  g_free (o.budgets);
  g_free (o.device);
  g_free (o.weights);
  g_free (o.tidal_group);
  return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
