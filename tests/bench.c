/* bench.c - what hiredvlm-bench prints and refuses
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 *   HIREDVLM_BENCH=build/pipelines/hiredvlm-bench test-bench
 *   ... test-bench -m slow     the probes too, which take memory and seconds
 */
#include <glib.h>
#include <json-glib/json-glib.h>
#include <string.h>

/* Runs the tool with the options, split at spaces. */
static int
run (const char *options, char **out, char **err)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *line =
      g_strdup_printf ("%s %s", g_getenv ("HIREDVLM_BENCH"), options);
  g_auto (GStrv) argv = g_strsplit (line, " ", -1);
  int status;

  g_spawn_sync (
      NULL, argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, out, err, &status, &error);
  g_assert_no_error (error);
  return status;
}

static void
check_phase (JsonObject *phases, const char *name, const char *bound)
{
  JsonObject *phase = json_object_get_object_member (phases, name);
  double ms;

  g_assert_nonnull (phase);
  ms = json_object_get_double_member (phase, "ms");
  g_assert_cmpfloat (json_object_get_double_member (phase, "ms_least"), >=, 0);
  g_assert_cmpfloat (json_object_get_double_member (phase, "ms_least"), <=, ms);
  g_assert_cmpfloat (json_object_get_double_member (phase, "ms_most"), >=, ms);
  if (!g_test_slow ())
    return;
  g_assert_cmpint (json_object_has_member (phase, "share"), ==, bound != NULL);
  if (!bound)
    return;
  g_assert_cmpfloat (json_object_get_double_member (phase, "share"), >, 0);
  g_assert_cmpstr (json_object_get_string_member (phase, "bound"), ==, bound);
}

static void
check_probes (JsonObject *root, const char *name)
{
  static const char *const probes[] = { "f32_gflops", "bf16_gflops",
    "int8_gops", "read_gbs" };
  JsonObject *probe = json_object_get_object_member (root, name);

  for (gsize i = 0; i < G_N_ELEMENTS (probes); i++)
    g_assert_true (json_object_has_member (probe, probes[i]));
  g_assert_cmpint (json_object_get_size (probe), ==, G_N_ELEMENTS (probes));
  g_assert_cmpfloat (json_object_get_double_member (probe, "f32_gflops"), >, 0);
  g_assert_cmpfloat (json_object_get_double_member (probe, "read_gbs"), >, 0);
}

static void
test_json (void)
{
  static const char line[] = "--shape tiny --layers 2 --weights f32 "
                             "--size 320x200 --tokens 4 --device cpu --json";
  g_autofree char *options =
      g_strconcat (line, g_test_slow () ? "" : " --no-probes", NULL);
  g_autofree char *out = NULL, *err = NULL;
  g_autoptr (JsonParser) parser = json_parser_new ();
  JsonObject *root, *phases;

  g_assert_cmpint (run (options, &out, &err), ==, 0);
  g_assert_cmpstr (err, ==, "");
  g_assert_cmpint (strcspn (out, "\n") + 1, ==, strlen (out));
  g_assert_true (json_parser_load_from_data (parser, out, -1, NULL));
  root = json_node_get_object (json_parser_get_root (parser));
  g_assert_cmpint (json_object_get_int_member (root, "text_layers"), ==, 2);
  g_assert_cmpint (
      json_object_get_int_member (root, "text_layers_of_model"), ==, 4);
  if (g_test_slow ()) {
    check_probes (root, "probes");
    check_probes (root, "probes_best");
  }
  phases = json_object_get_object_member (root, "phases");
  check_phase (phases, "preprocess", NULL);
  check_phase (phases, "vision", "f32_gflops");
  check_phase (phases, "policy", NULL);
  check_phase (phases, "projector", "f32_gflops");
  check_phase (phases, "prefill", "f32_gflops");
  check_phase (phases, "decode", "read_gbs");
  check_phase (phases, "frame", NULL);
  g_assert_cmpint (json_object_get_size (phases), ==, 7);
}

/* A model that fits no test machine, counted: the published shape's numbers. */
static void
test_count (void)
{
  static const char common[] =
      "--shape llava-v1.6-vicuna-7b --size 672x672 --weights bf16 --tokens 1 "
      "--count";
  static const struct {
    const char *more, *lines[3];
  } runs[] = {
    { "--token-budget 0.2",
        { "prompt 608 tokens", "7.764 Tflop, 637.5 MB of keys",
            "reads 638.6 MB of them and 13214.7 MB of weights" } },
    { "--token-budget 0.2 --decode-attention tidal",
        { "prompt 608 tokens", "7.764 Tflop, 637.5 MB of keys",
            "reads 334.7 MB of them and 13214.7 MB of weights" } },
  };

  for (gsize i = 0; i < G_N_ELEMENTS (runs); i++) {
    g_autofree char *out = NULL, *err = NULL;
    g_autofree char *line = g_strconcat (common, " ", runs[i].more, NULL);

    g_assert_cmpint (run (line, &out, &err), ==, 0);
    g_assert_cmpstr (err, ==, "");
    g_test_message ("%s", out);
    for (int k = 0; k < 3; k++)
      if (!strstr (out, runs[i].lines[k]))
        g_error ("\"%s\" lacks %s", out, runs[i].lines[k]);
  }
}

/* Attention alone. */
static void
test_attention (void)
{
  static const char *const groups[] = { "kv", "query", "pages" };
  g_autofree char *out = NULL, *err = NULL;
  g_autoptr (JsonParser) parser = json_parser_new ();
  JsonArray *contexts;

  g_assert_cmpint (
      run ("--shape tiny --device cpu --decode-attention tidal --contexts "
           "70,300 --tidal-tokens 20 --no-probes --json",
          &out, &err),
      ==, 0);
  g_assert_true (json_parser_load_from_data (parser, out, -1, NULL));
  contexts = json_object_get_array_member (
      json_node_get_object (json_parser_get_root (parser)), "contexts");
  g_assert_cmpint (json_array_get_length (contexts), ==, 2);
  for (guint i = 0; i < 2; i++) {
    JsonObject *one = json_array_get_object_element (contexts, i);

    g_assert_cmpint (
        json_object_get_int_member (one, "context"), ==, i ? 300 : 70);
    g_assert_cmpfloat (json_object_get_double_member (one, "full_ms"), >, 0);
    for (gsize g = 0; g < G_N_ELEMENTS (groups); g++)
      g_assert_cmpfloat (
          json_object_get_double_member (
              json_object_get_object_member (one, groups[g]), "sparse_ms"),
          >, 0);
  }
}

static void
test_refusals (void)
{
  static const char *const options[] = { "--shape nonesuch", "--size 10x",
    "--shape tiny --tokens 0", "--shape tiny --weights int3",
    "--shape tiny --device abacus", "--shape tiny --policy none",
    "--model /nonexistent", "--shape tiny --model x",
    "--shape tiny --token-budget 0", "surplus",
    "--shape tiny --decode-attention some",
    "--shape tiny --decode-attention tidal --contexts 1,x",
    "--shape tiny --decode-attention tidal --tidal-tokens 1" };

  for (gsize i = 0; i < G_N_ELEMENTS (options); i++) {
    g_autofree char *out = NULL, *err = NULL;

    g_assert_cmpint (run (options[i], &out, &err), !=, 0);
    g_assert_cmpstr (out, ==, "");
    g_assert_true (g_str_has_prefix (err, "hiredvlm-bench: "));
    g_assert_cmpint (strcspn (err, "\n") + 1, ==, strlen (err));
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/bench/json", test_json);
  g_test_add_func ("/bench/count", test_count);
  g_test_add_func ("/bench/attention", test_attention);
  g_test_add_func ("/bench/refusals", test_refusals);
  return g_test_run ();
}
