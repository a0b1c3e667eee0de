/* hiredvlm-bench.c - how fast each phase of a frame is, and could be
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 *   hiredvlm-bench --shape llava-v1.6-vicuna-7b --layers 4 --token-budget 0.2
 */
#include <glib/gi18n-lib.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/engine.h"
#include "engine/error.h"
#include "engine/model-shape.h"
#include "pipelines/bench.h"

static gboolean
fail_setting (GError **error, const char *format, const char *value)
{
  return vlm_fail (error, VLM_ERROR_SETTINGS, NULL, format, value);
}

static gboolean
parse_size (BenchOptions *o, GError **error)
{
  char rest;

  if (sscanf (o->size, "%dx%d%c", &o->width, &o->height, &rest) == 2 &&
      o->width > 0 && o->height > 0 && o->width <= 16384 && o->height <= 16384)
    return TRUE;
  return fail_setting (error,
      "--size: WIDTHxHEIGHT of 1 to 16384 pixels was expected, not \"%s\".",
      o->size);
}

static gboolean
check_model (BenchOptions *o, GError **error)
{
  if (o->model && o->shape)
    return fail_setting (error,
        "--model and --shape both name what to run; --shape %s cannot be "
        "combined.",
        o->shape);
  if (o->shape && !vlm_shape_find (o->shape)) {
    g_autoptr (GString) names = g_string_new (NULL);

    for (const VlmShape *s = vlm_shapes; s->name; s++)
      g_string_append_printf (
          names, "%s%s", s == vlm_shapes ? "" : ", ", s->name);
    g_set_error (error, VLM_ERROR, VLM_ERROR_SETTINGS,
        "--shape: one of %s was expected, not \"%s\".", names->str, o->shape);
    return FALSE;
  }
  if (!o->model && !o->shape && !(o->model = vlm_engine_default_model ()))
    return fail_setting (error, "%s",
        "The shipped model is not installed; name one with --model or "
        "--shape.");
  return TRUE;
}

static gboolean
check_attention (const BenchOptions *o, GError **error)
{
  g_auto (GStrv) contexts = g_strsplit (o->contexts, ",", -1);

  if (!g_str_equal (o->decode_attention, "full") &&
      !g_str_equal (o->decode_attention, "tidal"))
    return fail_setting (error,
        "--decode-attention: full or tidal was expected, not \"%s\".",
        o->decode_attention);
  if (o->tidal_tokens < VLM_TIDAL_MIN_TOKENS)
    return fail_setting (
        error, "%s", "--tidal-tokens: 2 or more was expected.");
  for (int i = 0; contexts[i]; i++) {
    guint64 n;

    if (!g_ascii_string_to_unsigned (contexts[i], 10, 1, 1 << 20, &n, NULL))
      return fail_setting (error,
          "--contexts: numbers of 1 to 1048576 were expected, not \"%s\".",
          o->contexts);
  }
  return TRUE;
}

static gboolean
check_options (BenchOptions *o, GError **error)
{
  if (!parse_size (o, error) || !check_model (o, error) ||
      !check_attention (o, error))
    return FALSE;
  if (o->policy && !vlm_policy_find (o->policy))
    return fail_setting (
        error, "--policy: there is none named \"%s\".", o->policy);
  if (o->tokens < 1 || o->tokens > 4096)
    return fail_setting (error, "%s", "--tokens: 1 to 4096 was expected.");
  if (o->count && g_str_equal (o->device, "auto")) {
    g_free (o->device);
    o->device = g_strdup ("cpu");
  }
  if (o->count && !g_str_has_prefix (o->device, "cpu"))
    return fail_setting (
        error, "--count: the device cpu was expected, not \"%s\".", o->device);
  if (o->layers < 0)
    return fail_setting (error, "%s", "--layers: 1 or more was expected.");
  if (!(o->token_budget > 0))
    return fail_setting (
        error, "%s", "--token-budget: a number above 0 was expected.");
  return TRUE;
}

static void
default_text (char **text, const char *value)
{
  if (!*text)
    *text = g_strdup (value);
}

static void
fill_defaults (BenchOptions *o)
{
  default_text (&o->weights, "auto");
  default_text (&o->device, "auto");
  default_text (&o->size, "672x672");
  default_text (&o->decode_attention, "full");
  default_text (&o->contexts, "2928,8192,32768");
}

static gboolean
parse_options (BenchOptions *o, int *argc, char ***argv, GError **error)
{
  const GOptionEntry entries[] = {
    { "model", 'm', 0, G_OPTION_ARG_FILENAME, &o->model,
        "checkpoint folder (default: the shipped model)", "FOLDER" },
    { "shape", 0, 0, G_OPTION_ARG_STRING, &o->shape,
        "a model of this shape and random weights: llava-v1.6-vicuna-7b, "
        "llava-v1.6-vicuna-13b, mistral-7b, llava-v1.5-7b-flexattn, tiny",
        "NAME" },
    { "layers", 0, 0, G_OPTION_ARG_INT, &o->layers,
        "run only so many layers of both networks (default: all that fit)",
        "N" },
    { "weights", 0, 0, G_OPTION_ARG_STRING, &o->weights,
        "auto, f32 or bf16 (auto)", "TYPE" },
    { "token-budget", 0, 0, G_OPTION_ARG_DOUBLE, &o->token_budget,
        "share of visual tokens kept, or above 1 their number (0.2)", "X" },
    { "policy", 0, 0, G_OPTION_ARG_STRING, &o->policy,
        "token policy (hired, or all of FlexAttention)", "NAME" },
    { "tokens", 0, 0, G_OPTION_ARG_INT, &o->tokens, "tokens to generate (32)",
        "N" },
    { "size", 0, 0, G_OPTION_ARG_STRING, &o->size,
        "size of the picture (672x672: the most tokens)", "WxH" },
    { "nv12", 0, 0, G_OPTION_ARG_NONE, &o->nv12,
        "a picture in NV12, as decoders give it to a GPU (default: RGB)",
        NULL },
    { "device", 0, 0, G_OPTION_ARG_STRING, &o->device,
        "auto, cpu, cpu:plain, cpu:avx2, cpu:avx512, cuda, cuda:N (auto)",
        "NAME" },
    { "threads", 0, 0, G_OPTION_ARG_INT, &o->threads,
        "threads of the CPU (one per processor)", "N" },
    { "no-probes", 0, 0, G_OPTION_ARG_NONE, &o->no_probes,
        "do not measure the device's peaks, which shares are of", NULL },
    { "decode-attention", 0, 0, G_OPTION_ARG_STRING, &o->decode_attention,
        "full; tidal: time no frames but one layer's attention to all and to "
        "chosen keys (full)",
        "NAME" },
    { "tidal-tokens", 0, 0, G_OPTION_ARG_INT, &o->tidal_tokens,
        "with tidal: keys chosen (256)", "N" },
    { "contexts", 0, 0, G_OPTION_ARG_STRING, &o->contexts,
        "with tidal: keys there are (2928,8192,32768)", "N,M" },
    { "fine-threshold", 0, 0, G_OPTION_ARG_INT, &o->fine_threshold,
        "of a FlexAttention model: 255 looks at nothing closer, 0 at most "
        "(as the model says)",
        "N" },
    { "count", 0, 0, G_OPTION_ARG_NONE, &o->count,
        "count, in seconds and without its memory, what a frame costs: "
        "operations, bytes cached and bytes read; with tidal, of frames",
        NULL },
    { "json", 0, 0, G_OPTION_ARG_NONE, &o->json,
        "print one JSON object instead of a table", NULL },
    { NULL },
  };
  g_autoptr (GOptionContext) context =
      g_option_context_new ("- time the phases of a frame");

  g_option_context_add_main_entries (context, entries, NULL);
  g_option_context_set_description (context,
      "Figures of fewer layers are those of fewer layers: nothing is "
      "extrapolated.\n");
  if (!g_option_context_parse (context, argc, argv, error))
    return FALSE;
  if (*argc > 1)
    return fail_setting (error, "\"%s\" is not an option.", (*argv)[1]);
  fill_defaults (o);
  return check_options (o, error);
}

static void
options_clear (BenchOptions *o)
{
  char *owned[] = { o->model, o->shape, o->weights, o->policy, o->device,
    o->size, o->decode_attention, o->contexts };

  for (gsize i = 0; i < G_N_ELEMENTS (owned); i++)
    g_free (owned[i]);
}

/* What is asked for, or the model's own, which some keep to. */
static gboolean
settle_policy (const BenchBed *bed, BenchOptions *options, GError **error)
{
  const VlmConfig *config = &bed->model->config;
  const char *own = vlm_policy_of (config)->name;

  default_text (&options->policy, own);
  if (!config->family->zooms || g_str_equal (options->policy, own))
    return TRUE;
  return fail_setting (
      error, "--policy: only %s goes with a FlexAttention model.", own);
}

static gboolean
measure (BenchBed *bed, BenchOptions *options, GError **error)
{
  BenchProbes probes;
  BenchResult result;

  if (options->count)
    return bench_bed_init (bed, options, error) &&
           settle_policy (bed, options, error) &&
           bench_count (bed, options, error);
  if (g_str_equal (options->decode_attention, "tidal"))
    return bench_bed_open (bed, options, error) &&
           bench_attention (bed, options, error);
  if (!bench_bed_init (bed, options, error) ||
      !settle_policy (bed, options, error) ||
      !bench_run (bed, options, &result, &probes, error))
    return FALSE;
  if (options->json)
    bench_print_json (bed, options, &probes, &result);
  else
    bench_print_text (bed, options, &probes, &result);
  return TRUE;
}

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  BenchOptions options = {
    .tokens = 32, .token_budget = 0.2, .tidal_tokens = 256, .fine_threshold = -1
  };
  BenchBed bed = { 0 };
  gboolean done;

  setlocale (LC_CTYPE, "");
  setlocale (LC_MESSAGES, "");
  bindtextdomain (GETTEXT_PACKAGE, HIREDVLM_LOCALEDIR);
  bind_textdomain_codeset (GETTEXT_PACKAGE, "UTF-8");
  done = parse_options (&options, &argc, &argv, &error) &&
         measure (&bed, &options, &error);

  if (!done)
    fprintf (stderr, "hiredvlm-bench: %s\n", error->message);
  bench_bed_clear (&bed);
  options_clear (&options);
  return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
