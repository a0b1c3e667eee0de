/* hiredvlm-describe.c - describes pictures and videos, the tool to try first
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <locale.h>
#include "pipelines/describe.h"

static void
complain (const char *message)
{
  g_printerr ("hiredvlm-describe: %s\n", message);
}

static void
options_clear (DescribeOptions *options)
{
  g_free (options->model);
  g_free (options->prompt);
  g_strfreev (options->policies);
  g_free (options->token_budget);
  g_free (options->max_tokens);
  g_free (options->picture);
  g_strfreev (options->set);
  g_strfreev (options->inputs);
}

static gboolean
parse (DescribeOptions *options, int *argc, char ***argv, GError **error)
{
  g_autofree char *policies = NULL;
  const GOptionEntry entries[] = {
    { "model", 'm', 0, G_OPTION_ARG_FILENAME, &options->model,
        "Model folder (default: the shipped one)", "FOLDER" },
    { "prompt", 'p', 0, G_OPTION_ARG_STRING, &options->prompt,
        "What to ask about each picture", "TEXT" },
    { "policy", 0, 0, G_OPTION_ARG_STRING, &policies,
        "Which visual tokens to keep: hired, all, ...; several describe by "
        "each in turn",
        "NAME[,NAME...]" },
    { "token-budget", 0, 0, G_OPTION_ARG_STRING, &options->token_budget,
        "Share of the visual tokens to keep, 0 to 1", "X" },
    { "max-tokens", 0, 0, G_OPTION_ARG_STRING, &options->max_tokens,
        "Longest description, in tokens", "N" },
    { "set", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options->set,
        "Set any property of the hiredvlm element (repeatable)",
        "PROPERTY=VALUE" },
    { "interval", 0, 0, G_OPTION_ARG_DOUBLE, &options->interval,
        "Time between the described frames of a video", "SECONDS" },
    { "json", 0, 0, G_OPTION_ARG_NONE, &options->json,
        "Print one JSON object per line", NULL },
    { "picture", 0, 0, G_OPTION_ARG_FILENAME, &options->picture,
        "Draw the last described frame with its kept tokens, by each policy",
        "OUT.png" },
    { "detail", 0, 0, G_OPTION_ARG_NONE, &options->detail,
        "Add prompt, token ids, grid and kept tokens to the JSON", NULL },
    { G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &options->inputs,
        NULL, "FILE-or-URI..." },
    { NULL },
  };
  g_autoptr (GOptionContext) context = g_option_context_new (NULL);
  g_option_context_set_summary (
      context, "Describes pictures and videos with a vision-language model.");
  g_option_context_add_main_entries (context, entries, NULL);
  g_option_context_add_group (context, gst_init_get_option_group ());
  if (!g_option_context_parse (context, argc, argv, error))
    return FALSE;
  if (policies)
    options->policies = g_strsplit (policies, ",", -1);
  if (!options->inputs) {
    g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED,
        "No file was given; see hiredvlm-describe --help.");
    return FALSE;
  }
  return TRUE;
}

static int
run (const DescribeOptions *options)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Describe) describe = describe_new (options, &error);
  if (describe)
    describe_run (describe, &error);
  if (error)
    complain (error->message);
  return error ? 1 : 0;
}

int
main (int argc, char **argv)
{
  DescribeOptions options = { .interval = -1 };
  g_autoptr (GError) error = NULL;
  int status = 1;
  setlocale (LC_ALL, "");
  /* Decoders and the model share the processors: threads of oneDNN that spin
   * while they wait would take them away. */
  g_setenv ("OMP_WAIT_POLICY", "passive", FALSE);
  if (parse (&options, &argc, &argv, &error))
    status = run (&options);
  else
    complain (error->message);
  options_clear (&options);
  return status;
}
